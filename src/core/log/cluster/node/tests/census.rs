//! Terms that begin before the one before them is settled.

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
