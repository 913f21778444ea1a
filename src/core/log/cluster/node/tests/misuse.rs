//! What somebody else does to the log: entries that are of no node, and older logs.

use super::publishing::reconnect;
use super::*;
use crate::frozen::{Freezer, Thawer};
use crate::message::IdempotencyKey;

fn keyed<'d>(name: &'d str, text: &'d str) -> Draft<'d> {
    Draft {
        key: IdempotencyKey::parse(b"key").ok(),
        ..Draft::new(channel(name), text.into())
    }
}

/// The publish lane is connected anew, and looks at the log. Returns how.
fn opens(script: &mut Script) -> OpenMode {
    loop {
        match script.command() {
            Some(Command::Open { mode, .. }) => return mode,
            Some(Command::Append { .. }) => {
                // To a term that is over.
                script.node.answered(Reply::Stale);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What the server has appended to an older log, with this id; nobody reads it.
fn misplaced(script: &mut Script, id: EntryId) {
    assert!(matches!(
        script.command(),
        Some(Command::Append { .. } | Command::Once { .. })
    ));
    script.node.answered(Reply::Appended(id));
}

/// A term begins because the server had an older log.
fn begins_anew(script: &mut Script, term: u64) {
    let body = Term {
        members: vec![OWN],
        chain: Vec::new(),
        end: EntryId::ZERO,
        run: "f",
        is_same: false,
        is_rolled: true,
    };
    script.term_begins(term, body);
}

#[test]
fn entry_of_no_node_ends_its_term_and_is_no_part_of_the_history() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.effects();
    // The last one begins like an entry that may not be skipped.
    for bytes in [
        &b""[..],
        b"{}",
        b"field",
        b"\x91\x00\0\0\0\0\0",
        "été, hiver".as_bytes(),
    ] {
        let foreign = id(150 + bytes.len() as u64, 0);
        script.node.read(foreign, bytes);
        script.node.read(foreign.next(), &b"\xc3"[..]);
    }
    assert_eq!(script.node.halted(), None);
    assert_eq!(script.node.counts().foreign, 10);
    assert_eq!(opens(&mut script), OpenMode::Look);
    // Read again after a connection has broken, they are not new.
    script.node.read(id(150, 0), &b""[..]);
    assert_eq!(script.node.counts().foreign, 10);
    script.begins(200, id(162, 1), &[OWN], false);
    let Mode::Census(census) = &script.node.mode else {
        panic!("a term has begun");
    };
    assert_eq!(census.opened_after, end);
    script.other(settled(&[end]));
    let effects = script.effects();
    let is_loss = |effect: &Effect| matches!(effect, Effect::LoseAll { .. });
    assert!(!effects.iter().any(is_loss), "{effects:?}");
}

#[test]
fn entry_without_bytes_in_the_term_is_passed() {
    let mut script = Script::new(Settings::default());
    script.message("a", "1");
    script.read(b"");
    let after = script.message("a", "2");
    let effects = script.effects();
    assert_eq!(applied(&effects)[1], (after, "2".to_owned()));
    assert_eq!(effects.len(), 2, "{effects:?}");
    assert_eq!(script.node.counts().foreign, 1);
}

#[test]
fn kind_that_must_be_known_halts_wherever_it_is() {
    // A later version may have kinds that this one does not know, and begin terms in another way.
    for (id, tag) in [(id(100, 99), 0x9f), (id(150, 0), 0xa2)] {
        let mut script = Script::new(Settings::default());
        script.node.read(id, &[tag, 1, 2][..]);
        assert_eq!(script.node.halted(), Some(&Halt::Unreadable { id }));
    }
}

#[test]
fn reply_of_an_older_log_opens_a_term_and_is_no_id() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.effects();
    let ticket = script.node.publish(&[keyed("a", "once")]).unwrap();
    // Under this id there is another entry in the history.
    misplaced(&mut script, id(100, 1));
    assert_eq!(script.node.counts().rolled, 1);
    assert_eq!(script.effects(), []);
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    begins_anew(&mut script, 200);
    script.other(settled(&[end]));
    script.opened(200, 1, Openness::New);
    let sent = std::iter::from_fn(|| script.command());
    let once = sent
        .filter_map(|command| match command {
            Command::Once { term, replaces, .. } => Some((term, replaces)),
            _ => None,
        })
        .collect::<Vec<_>>();
    assert_eq!(once, [(200, Some(id(100, 1)))]);
    assert!(
        !script
            .effects()
            .iter()
            .any(|effect| matches!(effect, Effect::Done { ticket: done, .. } if *done == ticket))
    );
}

#[test]
fn publish_that_has_the_id_of_another_message_is_not_done() {
    let mut script = Script::new(Settings::default());
    script.serve();
    let ticket = script
        .node
        .publish(&[Draft::new(channel("a"), "own".into())])
        .unwrap();
    // An older log has taken the place of one of which not all was read.
    let taken = id(100, script.next);
    misplaced(&mut script, taken);
    assert_eq!(script.message("b", "another"), taken);
    let effects = script.effects();
    assert_eq!(applied(&effects), [(taken, "another".to_owned())]);
    assert_eq!(effects.len(), 1, "it is not done: {effects:?}");
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    begins_anew(&mut script, 200);
    script.other(settled(&[taken]));
    script.opened(200, 1, Openness::New);
    script.serve();
    script.beat(id(200, script.next - 1));
    let effects = script.effects();
    let (id, text) = applied(&effects)[0].clone();
    assert_eq!((id.term, &*text), (200, "own"));
    let outcome = Outcome::Published { id, part: 0 };
    let done = Effect::Done { ticket, outcome };
    assert!(effects.contains(&done), "{effects:?}");
}

#[test]
fn doubt_outlives_a_term_that_is_opened_for_another_reason() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.beat(end);
    script.node.publish(&[keyed("a", "once")]).unwrap();
    misplaced(&mut script, end);
    // What is read now may be of the older log.
    script.effects();
    let read_to = script.node.read_to;
    script.message("b", "of the older log");
    assert_eq!((script.effects(), script.node.read_to), (vec![], read_to));
    script.next = read_to.number + 1;
    // Another node has opened a term before this one could.
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    script.opened(200, end.number, Openness::GoesOn);
    script.begins(200, id(100, script.next - 1), &[OWN], true);
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    script.opened(300, 0, Openness::New);
    // No further one before it has read what this one was opened for.
    assert!(!matches!(script.command(), Some(Command::Open { .. })));
    begins_anew(&mut script, 300);
    assert!(script.node.lane.doubted.is_none());
    script.node.doubt(200);
    assert!(script.node.lane.doubted.is_none(), "that was before");
}

#[test]
fn doubt_waits_until_the_newest_term_is_read() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.node.publish(&[keyed("a", "once")]).unwrap();
    misplaced(&mut script, end);
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    // Another node was faster.
    script.opened(200, 1, Openness::GoesOn);
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    assert_eq!(
        opens(&mut script),
        OpenMode::Look,
        "200 may be without doubt"
    );
    script.opened(200, 1, Openness::GoesOn);
    begins_anew(&mut script, 200);
    assert!(!matches!(script.command(), Some(Command::Open { .. })));
}

#[test]
fn doubt_ends_where_the_history_that_it_was_about_is_dropped() {
    let mut script = Script::new(Settings::default());
    let end = script.message("a", "1");
    script.node.publish(&[keyed("a", "once")]).unwrap();
    misplaced(&mut script, end);
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    script.node.broken(Lane::Publish);
    // The others have opened a term for it, which was trimmed before this node was connected again.
    (script.term, script.next) = (200, 40);
    script.message("a", "2");
    script.node.connected(Lane::Publish);
    assert_ne!(opens(&mut script), OpenMode::Doubt);
    // A key may still name what the older log had.
    script.node.doubt(100);
    assert_eq!(script.node.lane.doubted, None);
    // A doubt about the term that goes on is a new one.
    script.node.doubt(200);
    assert_eq!(script.node.lane.doubted, Some(200));
}

#[test]
fn node_that_is_handed_over_does_not_doubt_again_what_is_settled() {
    let mut script = Script::new(Settings::default());
    let other = script.message("a", "another");
    begins_anew(&mut script, 300);
    script.other(settled(&[other]));
    reconnect(&mut script, 300);
    script.serve();
    script.beat(id(300, script.next - 1));
    script.effects();
    script.node.rest(true);
    let mut state = Freezer::new(Vec::new());
    script.node.freeze(&mut state).unwrap();
    let state = state.into_inner();
    let mut state = Thawer::new(&state[..]);
    let now = Time(script.now);
    script.node = Node::thaw(Settings::default(), now, &mut state).unwrap();
    reconnect(&mut script, 300);
    script.serve();
    script.node.publish(&[keyed("b", "once")]).unwrap();
    assert!(matches!(script.command(), Some(Command::Once { .. })));
    // The key is from the older log.
    let (id, last) = (other, id(300, script.next));
    script.node.answered(Reply::Earlier { id, last });
    let Some(Command::Once { replaces, .. }) = script.command() else {
        panic!("it is sent again, and no term is opened");
    };
    assert_eq!(replaces, Some(other));
}

#[test]
fn key_that_has_the_id_of_another_message_is_not_believed() {
    let mut script = Script::new(Settings::default());
    let other = script.message("a", "another");
    let own = script.other(Body::Messages(Messages::of(&[keyed("b", "once")])));
    script.effects();
    for (name, earlier, last) in [
        // The log had less when it replied than was read before.
        ("c", id(90, 5), other),
        // This node has read another message under the id.
        ("b", other, own.next()),
    ] {
        let mut script = Script::new(Settings::default());
        assert_eq!(script.message("a", "another"), other);
        assert_eq!(
            script.other(Body::Messages(Messages::of(&[keyed("b", "once")]))),
            own
        );
        script.effects();
        script.node.publish(&[keyed(name, "once")]).unwrap();
        assert!(matches!(script.command(), Some(Command::Once { .. })));
        let id = earlier;
        script.node.answered(Reply::Earlier { id, last });
        assert_eq!(script.effects(), [], "{name}");
        assert_eq!(opens(&mut script), OpenMode::Doubt);
    }
    let ticket = script.node.publish(&[keyed("b", "once")]).unwrap();
    assert!(matches!(script.command(), Some(Command::Once { .. })));
    let (id, last) = (own, own);
    script.node.answered(Reply::Earlier { id, last });
    let outcome = Outcome::Earlier { id };
    assert_eq!(script.effects(), [Effect::Done { ticket, outcome }]);
}

#[test]
fn key_of_a_message_whose_id_this_node_had_from_an_older_log_keeps_that_id() {
    let mut script = Script::new(Settings::default());
    let taken = script.message("b", "of the older log");
    script.effects();
    begins_anew(&mut script, 200);
    // The other node has the message with the key under the id, and tells it again.
    let mut bytes = Vec::new();
    let head = Head {
        node: OTHER,
        nonce: 900,
        at_ms: 0,
    };
    let body = Body::Messages(Messages::of(&[keyed("b", "once")]));
    Entry { head, body }.write(&mut bytes);
    let record = Record::Entry {
        id: taken,
        bytes: &bytes,
    };
    script.other(Body::Retold(vec![record]));
    let settling = script.other(settled(&[taken]));
    assert!(script.effects().contains(&Effect::LoseAll { id: settling }));
    reconnect(&mut script, 200);
    script.serve();
    script.effects();
    let ticket = script.node.publish(&[keyed("b", "once")]).unwrap();
    assert!(matches!(script.command(), Some(Command::Once { .. })));
    let (id, last) = (taken, id(200, script.next));
    script.node.answered(Reply::Earlier { id, last });
    let outcome = Outcome::Earlier { id };
    assert_eq!(script.effects(), [Effect::Done { ticket, outcome }]);
    assert_eq!(script.command(), None, "it is published once");
}

#[test]
fn node_that_read_an_older_log_reports_its_differing_entries_as_lost() {
    let mut script = Script::new(Settings::default());
    let common = script.message("a", "1");
    let first = script.message("b", "of the older log");
    script.effects();
    script.begins(200, EntryId::ZERO, &[OWN, OTHER], false);
    let text = |text: &'static str| {
        let body = Body::Messages(Messages::of(&[Draft::new(channel("c"), text.into())]));
        let mut bytes = Vec::new();
        let head = Head {
            node: OTHER,
            nonce: 900,
            at_ms: 0,
        };
        Entry { head, body }.write(&mut bytes);
        bytes
    };
    let (second, third) = (text("2"), text("3"));
    let records = [(first, &second), (first.next(), &third)];
    let records = records.map(|(id, bytes)| Record::Entry { id, bytes });
    script.other(Body::Retold(records.to_vec()));
    // The census of such a log is told by the entry that begins it.
    let Mode::Census(census) = &mut script.node.mode else {
        panic!("a term has begun");
    };
    census.is_rolled = true;
    let settling = script.other(settled(&[first.next()]));
    let effects = script.effects();
    assert_eq!(applied(&effects), [(first.next(), "3".to_owned())]);
    assert!(
        effects.contains(&Effect::LoseAll { id: settling }),
        "{effects:?}"
    );
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    opens(&mut script);
    script.opened(200, settling.number, Openness::GoesOn);
    let lost =
        script
            .serve()
            .into_iter()
            .find_map(|bytes| match Entry::read(&bytes).unwrap().body {
                Body::Lost(channels) => Some(channels.iter().map(ToString::to_string).collect()),
                _ => None,
            });
    assert_eq!(lost, Some(vec!["b".to_owned()]), "after {common}");
}

#[test]
fn publish_that_another_node_has_read_in_the_older_log_is_not_sent_again() {
    let mut script = Script::new(Settings::default());
    let taken = script.message("a", "1");
    let end = script.message("a", "2");
    script.effects();
    let drafts = [Draft::new(channel("a"), "own".into())];
    // One has a reply, and one has none.
    let first = script.node.publish(&drafts).unwrap();
    let Some(Command::Append { bytes: one, .. }) = script.command() else {
        panic!("it publishes");
    };
    let second = script.node.publish(&drafts).unwrap();
    let Some(Command::Append { bytes: other, .. }) = script.command() else {
        panic!("it publishes");
    };
    script.node.answered(Reply::Appended(taken));
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    assert_eq!(opens(&mut script), OpenMode::Doubt);
    // The other node came late, read them there, and has come further than this one.
    begins_anew(&mut script, 200);
    let records = [(taken, &one), (end, &other), (end.next(), &other)];
    let records = records.map(|(id, bytes)| Record::Entry { id, bytes });
    script.other(Body::Retold(records.to_vec()));
    // What comes behind the end of the history is no part of it.
    script.other(settled(&[end]));
    script.opened(200, 2, Openness::New);
    let again = script.serve();
    assert!(!again.contains(&one) && !again.contains(&other));
    script.beat(id(200, script.next - 1));
    let published = |ticket, id| {
        let outcome = Outcome::Published { id, part: 0 };
        Effect::Done { ticket, outcome }
    };
    let effects = script.effects();
    for done in [published(first, taken), published(second, end)] {
        assert!(effects.contains(&done), "{effects:?}");
    }
    assert_eq!(
        applied(&effects),
        [],
        "others tell of them that they are lost"
    );
}

#[test]
fn publish_again_asks_for_replicas_where_they_are_awaited() {
    let settings = Settings {
        awaits_replicas: true,
        ..Settings::default()
    };
    let mut script = Script::new(settings);
    let first = script.other(Body::Messages(Messages::of(&[keyed("a", "once")])));
    script.effects();
    assert!(!script.node.is_confirmed(first));
    let ticket = script
        .node
        .publish_again(&keyed("a", "once"), first)
        .unwrap();
    let Some(Command::Once { known, .. }) = script.command() else {
        panic!("it asks");
    };
    assert_eq!(known, Some(first));
    assert_eq!(script.effects(), []);
    let (id, last) = (first, first);
    script.node.answered_of(true, Reply::Earlier { id, last });
    let outcome = Outcome::Earlier { id };
    assert_eq!(script.effects(), [Effect::Done { ticket, outcome }]);
}
