//! Terms: what is lost or told again when one is settled, and terms that begin before the one before them
//! is settled.

use super::publishing::reconnect;
use super::*;

#[test]
fn term_that_follows_an_unsettled_one_keeps_its_doubts() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.effects();
    // The server was replaced, and a third node does not answer.
    script.begins(200, end, &[OWN, OTHER, 9], false);
    script.beat(end);
    let unsettled = id(200, script.next - 1);
    // It was fenced, which says only that it has lost nothing since.
    script.begins(300, unsettled, &[OWN, OTHER], true);
    reconnect(&mut script, 300);
    for _ in 0..20 {
        script.pass(100);
        script.serve();
    }
    assert_eq!(script.node.counts().terms, 1, "the third one has time");
    script.other(Body::Answer(Answer {
        remembers: true,
        members: vec![OWN, OTHER],
        departed: Vec::new(),
        chain: vec![end],
    }));
    for _ in 0..40 {
        script.pass(100);
        script.serve();
    }
    assert_eq!(script.node.counts().terms, 2);
    let effects = script.effects();
    let is_loss = |effect: &Effect| matches!(effect, Effect::LoseAll { .. });
    assert!(effects.iter().any(is_loss), "{effects:?}");
}

#[test]
fn silence_counts_only_outside_a_census() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.beat_of(9, end);
    assert_eq!(script.node.members.ids(), [OWN, OTHER, 9]);
    let beats = |script: &mut Script| {
        for _ in 0..7 {
            script.beat(end);
        }
    };
    let end = id(100, script.next - 1);
    script.begins(200, end, &[OWN, OTHER, 9], false);
    beats(&mut script);
    assert_eq!(script.node.members.ids(), [OWN, OTHER, 9]);
    script.other(settled(&[end]));
    beats(&mut script);
    assert_eq!(script.node.members.ids(), [OTHER]);
}

#[test]
fn node_that_has_said_goodbye_answers_in_a_later_term() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.effects();
    script.node.leave();
    script.serve();
    assert_eq!(script.command(), None, "it has nothing more to say");
    script.begins(200, end, &[OWN, OTHER], false);
    assert!(matches!(script.command(), Some(Command::Open { .. })));
    script.opened(200, 0, Openness::GoesOn);
    let is_answer = |bytes: &Vec<u8>| {
        let entry = Entry::read(bytes).unwrap();
        matches!(entry.body, Body::Answer(_))
    };
    assert!(script.serve().iter().any(is_answer));
}

#[test]
fn term_is_not_before_the_time_by_the_terms_that_are_known() {
    let mut script = Script::new(Settings::default());
    let since = script.now;
    script.begins(5_000, EntryId::ZERO, &[], false);
    script.pass(1_234);
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    let Some(Command::Open { not_before, .. }) = script.command() else {
        panic!("it opens");
    };
    assert_eq!(not_before, 5_000 + script.now - since);
}

/// After how long the first node of a log is ready.
fn ready_after_ms(up_ms: u64) -> u64 {
    let mut script = Script {
        node: Node::new(Settings::default(), [OWN, 1, 2]),
        now: 0,
        term: 0,
        next: 0,
        nonce: 0,
    };
    script.node.connected(Lane::Publish);
    script.node.note_uptime(up_ms);
    script.node.connected(Lane::Follow);
    while !script.node.is_ready() {
        script.pass(1);
        assert!(script.now < 10_000);
        while let Some(command) = script.command() {
            match command {
                Command::Open {
                    mode: OpenMode::Peek,
                    ..
                } => script.opened(0, 0, Openness::IsDue),
                Command::Open { mut bytes, .. } => {
                    script.opened(100, 0, Openness::New);
                    script.term = 100;
                    bytes.extend_from_slice(b"0-0 f");
                    script.read(&bytes);
                }
                Command::Append { bytes, .. } => {
                    let id = script.read(&bytes);
                    script.node.answered(Reply::Appended(id));
                }
                Command::Once { .. } => panic!("nothing is published"),
            }
        }
    }
    script.now
}

#[test]
fn first_node_waits_longer_for_others_where_the_server_was_just_started() {
    assert_eq!(ready_after_ms(3_600_000), 1_500);
    assert_eq!(ready_after_ms(14_999), 3_500);
    assert_eq!(ready_after_ms(0), 3_500);
}

#[test]
fn node_with_more_than_was_settled_loses_only_its_channels() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "both");
    script.message("b", "lost 1");
    script.message("c", "lost 2");
    script.effects();
    // Another server took its place with less, and the others have settled that.
    script.begins(200, end, &[], false);
    script.other(settled(&[end]));
    let effects = script.effects();
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::LoseAll { .. })),
        "{effects:?}"
    );
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    assert!(matches!(script.command(), Some(Command::Open { .. })));
    script.opened(200, 1, Openness::GoesOn);
    let entries = script.serve();
    let lost = entries
        .iter()
        .find_map(|bytes| match Entry::read(bytes).unwrap().body {
            Body::Lost(channels) => Some(channels),
            _ => None,
        });
    assert_eq!(lost, Some(vec![channel("b"), channel("c")]));
    let effects = script.effects();
    let is_loss =
        |effect: &Effect| matches!(effect, Effect::Lose { channels, .. } if channels.len() == 2);
    assert_eq!(effects.iter().filter(|effect| is_loss(effect)).count(), 1);
    assert!(script.serve().is_empty(), "it is told once");
}

#[test]
fn nothing_is_applied_or_answered_before_the_settling() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.effects();
    script.begins(200, end, &[], false);
    let mut bytes = Vec::new();
    let lost = Draft::new(channel("a"), "2".into());
    let head = Head {
        node: OTHER,
        nonce: 99,
        at_ms: 0,
    };
    Entry {
        head,
        body: Body::Messages(Messages::of(&[lost])),
    }
    .write(&mut bytes);
    let record = Record::Entry {
        id: end.next(),
        bytes: &bytes,
    };
    let ticket = script
        .node
        .publish(&[Draft::new(channel("a"), "3".into())])
        .unwrap();
    script.other(Body::Retold(vec![record]));
    assert_eq!(script.effects(), []);
    let all = id(200, 2);
    assert_eq!(script.other(settled(&[end.next()])), all);
    let effects = script.effects();
    assert_eq!(applied(&effects), [(end.next(), "2".to_owned())]);
    let term = Effect::Term {
        term: 200,
        closed: Some(end.next()),
    };
    assert!(effects.contains(&term), "{effects:?}");
    // What waited is published in the new term.
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    script.command();
    script.opened(200, 2, Openness::GoesOn);
    script.beat(id(200, 2));
    script.serve();
    script.beat(id(200, script.next - 1));
    let effects = script.effects();
    let published = applied(&effects);
    assert_eq!(published[0].1, "3");
    let outcome = Outcome::Published {
        id: published[0].0,
        part: 0,
    };
    assert!(
        effects.contains(&Effect::Done { ticket, outcome }),
        "{effects:?}"
    );
}

#[test]
fn missing_member_is_a_loss_of_all() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.begins(200, end, &[OWN, 99], false);
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    script.command();
    script.opened(200, 0, Openness::GoesOn);
    script.other(Body::Answer(Answer {
        remembers: true,
        members: vec![],
        departed: vec![],
        chain: vec![end],
    }));
    script.serve();
    assert!(
        !script
            .effects()
            .iter()
            .any(|effect| matches!(effect, Effect::LoseAll { .. }))
    );
    script.pass(4_000);
    script.serve();
    // Node 7 comes before 8, so it is the one that settles.
    assert!(
        script
            .effects()
            .iter()
            .any(|effect| matches!(effect, Effect::LoseAll { .. }))
    );
}

#[test]
fn term_is_rolled_at_its_bound() {
    let mut script = Script::new(Settings {
        roll_at: 9,
        ..Settings::default()
    });
    while script.next < 12 {
        script.message("a", "1");
        script.beat(EntryId::ZERO);
    }
    let open = script.command();
    assert!(
        matches!(open, Some(Command::Open { mode: OpenMode::Fence, knows, .. }) if knows.term == 100),
        "{open:?}"
    );
}

/// The server forgets the log once more after all nodes were told a loss.
#[test]
fn loss_of_all_is_told_again() {
    let lives = || {
        let mut script = Script::new(Settings::default());
        let end = script.message("a", "1");
        script.effects();
        (script, end)
    };
    let (mut told, end) = lives();
    told.begins(200, end, &[], false);
    let loss = told.other(Body::Settled(Settled {
        loses_all: true,
        chain: vec![end],
    }));
    let tip = told.message("a", "2");
    assert!(
        told.effects()
            .iter()
            .any(|effect| loses_all_at(effect, loss))
    );

    let (mut late, same) = lives();
    assert_eq!(same, end);
    late.begins(300, end, &[], false);
    let records = told.node.replica.ring.after(end).collect();
    late.other(Body::Retold(records));
    late.other(settled(&[end, tip]));
    let effects = late.effects();
    assert!(
        effects.iter().any(|effect| loses_all_at(effect, loss)),
        "{effects:?}"
    );
    assert_eq!(applied(&effects), [(tip, "2".to_owned())]);
    // So does this one.
    let again: Vec<Record<'_>> = late.node.replica.ring.after(end).collect();
    let first: Vec<Record<'_>> = told.node.replica.ring.after(end).collect();
    assert_eq!(again[..first.len()], first[..]);
}

fn loses_all_at(effect: &Effect, at: EntryId) -> bool {
    matches!(effect, Effect::LoseAll { id, .. } if *id == at)
}
