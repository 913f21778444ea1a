//! Counts of readers that nodes tell each other.

use super::*;
use crate::log::cluster::entry::Readers;

/// A beat of a node that never tells of readers, as of an earlier version.
fn beat_of(script: &mut Script, node: u64, nonce: u64) {
    let beat = Beat {
        applied: EntryId::ZERO,
        is_leaving: false,
        connections: 0,
        digest: 0,
        chain: vec![],
        name: "earlier",
    };
    let (head, body) = (
        Head {
            node,
            nonce,
            at_ms: 0,
        },
        Body::Beat(beat),
    );
    let mut bytes = Vec::new();
    Entry { head, body }.write(&mut bytes);
    script.read(&bytes);
}

#[test]
fn readers_of_a_silent_node_go_whoever_else_is_there() {
    let mut script = Script::new(Settings::default());
    script.other(Body::Readers(Readers {
        round: 1,
        ends_round: true,
        asks: false,
        counts: vec![(5, 2)],
    }));
    let told = Effect::Readers {
        node: OTHER,
        round: 1,
        ends_round: true,
        counts: vec![(5, 2)],
    };
    assert!(script.effects().contains(&told));
    for nonce in 1..=5 {
        assert!(!script.effects().contains(&Effect::Gone { node: OTHER }));
        beat_of(&mut script, 99, nonce);
    }
    assert!(script.effects().contains(&Effect::Gone { node: OTHER }));
}

#[test]
fn readers_that_come_late_do_not_count() {
    let mut script = Script::new(Settings::default());
    let readers = |round, count| {
        Body::Readers(Readers {
            round,
            ends_round: true,
            asks: false,
            counts: vec![(5, count)],
        })
    };
    let told = |script: &mut Script| {
        let of_readers = |effect| match effect {
            Effect::Readers { round, .. } => Some(round),
            _ => None,
        };
        let effects = script.effects().into_iter();
        effects.filter_map(of_readers).collect::<Vec<_>>()
    };
    script.nonce += 2;
    let late = script.nonce;
    script.other(readers(2, 1));
    assert_eq!(told(&mut script), [2]);
    // A broken connection has left it behind.
    let next = std::mem::replace(&mut script.nonce, late - 1);
    script.other(readers(1, 2));
    assert!(told(&mut script).is_empty());
    script.nonce = next;
    script.other(readers(3, 3));
    assert_eq!(told(&mut script), [3]);
}

#[test]
fn readers_are_told_in_a_round_and_then_where_they_change() {
    let mut script = Script::new(Settings::default());
    let told = |entries: Vec<Vec<u8>>| {
        let read = |bytes: &Vec<u8>| match Entry::read(bytes).unwrap().body {
            Body::Readers(readers) => Some((readers.ends_round, readers.asks, readers.counts)),
            _ => None,
        };
        entries.iter().filter_map(read).collect::<Vec<_>>()
    };
    script.pass(2_000);
    let round = script.node.readers_round().unwrap();
    script.node.tell_readers(7, 1);
    assert_eq!(told(script.serve()), [], "the pass goes on");
    script.node.end_readers_pass();
    assert_eq!(told(script.serve()), [(true, false, vec![(7, 1)])]);
    script.node.end_readers_pass();
    assert_eq!(told(script.serve()), []);
    script.node.tell_readers(7, 0);
    script.node.end_readers_pass();
    assert_eq!(told(script.serve()), [(false, false, vec![(7, 0)])]);
    assert_eq!(script.node.readers_round(), Some(round));
    // Another one asks for all, and so does this one when it has missed an entry.
    script.other(Body::Readers(Readers {
        round: 1,
        ends_round: false,
        asks: true,
        counts: vec![],
    }));
    assert_eq!(script.node.readers_round(), Some(round + 1));
    script.next += 1;
    script.message("a", "after a hole");
    assert_eq!(told(script.serve()), [(false, true, vec![])]);
    // The first entry of a burst has room; a full one follows at its time.
    let room = script.node.room_for_readers();
    (0..2 * room as u64).for_each(|key| script.node.tell_readers(key, 1));
    script.node.end_readers_pass();
    let entries = told(script.serve());
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].0, entries[1].0), (false, true));
    assert_eq!(entries[0].2.len(), room);
}

#[test]
fn readers_take_no_more_of_a_full_log_than_their_part() {
    const LOG_BYTES: u64 = 1 << 20;
    let mut script = Script::new(Settings {
        log_bytes: LOG_BYTES,
        log_age_ms: 60_000,
        ..Settings::default()
    });
    // The log is full of messages.
    while script.node.gauges().log_bytes < LOG_BYTES / 2 {
        script.message("a", &"x".repeat(10_000));
        script.effects();
    }
    let mut bytes = 0;
    for _ in 0..60 {
        for _ in 0..10 {
            script.pass(100);
            let room = script.node.room_for_readers();
            (0..room as u64).for_each(|key| script.node.tell_readers(key << 20, 1));
            script.node.end_readers_pass();
            let entries = script.serve();
            bytes += entries
                .iter()
                .map(Vec::len)
                .filter(|&len| len > 1_000)
                .sum::<usize>();
            script.effects();
        }
        script.beat(id(script.term, script.next - 1));
    }
    // A quarter for two nodes, and the first burst and one entry more.
    let part = LOG_BYTES as usize / 4 / 2;
    assert!((part..part + 70_000).contains(&bytes), "{bytes}");
}
