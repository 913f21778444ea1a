//! Reading the log: holes, entries that the node does not know, terms from before its start, and a log
//! that it may not read.

use super::*;

#[test]
fn hole_is_a_loss_in_its_place() {
    let mut script = Script::new(Settings::default());
    script.message("a", "1");
    script.next += 3;
    let after = script.message("a", "2");
    let effects = script.effects();
    let loss = Effect::LoseAll {
        id: id(100, after.number - 1),
    };
    assert_eq!(effects[1], loss);
    assert_eq!(applied(&effects[2..]), [(after, "2".to_owned())]);
    assert_eq!(script.node.counts().holes, 1);
}

#[test]
fn unreadable_entry_that_must_be_known_halts() {
    let mut script = Script::new(Settings::default());
    script.read(&[0x1f, 1]);
    assert_eq!(script.node.counts().skipped, 1);
    let at = script.read(&[0x9f, 1]);
    assert_eq!(script.node.halted(), Some(&Halt::Unreadable { id: at }));
    assert!(!script.node.is_ready() && script.command().is_none());
    let refused = script.node.delete(&channel("a"));
    assert_eq!(refused, Err(Refusal::Halted));
}

#[test]
fn terms_from_before_the_log_are_told_before_the_floors() {
    let new = || {
        let mut node = Node::new(Settings::default(), [OWN, 1, 2]);
        node.tick(Time(1), 1);
        node.connected(Lane::Publish);
        node.next_command();
        let (now, term, next, nonce) = (1, 300, 7, 0);
        let mut script = Script {
            node,
            now,
            term,
            next,
            nonce,
        };
        script.opened(300, 20, Openness::GoesOn);
        script.message("a", "1");
        script
    };
    let beat = || {
        Body::Beat(Beat {
            applied: id(300, 7),
            is_leaving: false,
            connections: 0,
            digest: 0,
            chain: vec![id(100, 50), id(200, 9), id(300, 7)],
            name: "other",
        })
    };
    let mut floors = crate::log::cluster::floors::Floors::new();
    floors.set_salt(Salt(3, 4), EntryId::ZERO);
    floors.note("b", id(100, 40));
    let checkpoint = || Body::Checkpoint(floors.checkpoint(id(300, 8)).unwrap());
    let told = |effects: &[Effect]| -> Vec<Option<(u64, Option<EntryId>)>> {
        let one = |effect: &Effect| match effect {
            Effect::Term { term, closed } => Some(Some((*term, *closed))),
            Effect::Floors { .. } => Some(None),
            _ => None,
        };
        effects.iter().filter_map(one).collect()
    };
    let mut script = new();
    script.other(beat());
    script.other(checkpoint());
    script.other(beat());
    let expected = [
        Some((300, None)),
        Some((300, Some(id(200, 9)))),
        Some((200, Some(id(100, 50)))),
        None,
    ];
    assert_eq!(told(&script.effects()), expected);
    // Floors that were told by fewer terms would say too little of them.
    let mut script = new();
    script.other(checkpoint());
    script.other(beat());
    assert_eq!(told(&script.effects()), [Some((300, None)), None]);
}

#[test]
fn lag_of_a_node_is_what_it_has_to_apply() {
    let mut script = Script::new(Settings::default());
    let lag = |script: &Script| {
        let nodes = script.node.nodes();
        let other = nodes.iter().find(|node| !node.is_self).unwrap();
        (other.applied, other.lag)
    };
    let first = script.message("a", "1");
    for _ in 0..3 {
        script.serve();
        script.beat(first);
        script.pass(1_000);
    }
    assert_eq!(lag(&script), (first, Some(0)), "beats are none");
    script.message("a", "2");
    script.beat(first);
    script.message("a", "3");
    assert_eq!(lag(&script), (first, Some(1)), "as of its beat");
    script.beat(first);
    assert_eq!(lag(&script), (first, Some(2)));
    // What was missed cannot be counted.
    script.next += 5;
    script.message("a", "4");
    script.beat(first);
    assert_eq!(lag(&script), (first, None));
}

#[test]
fn first_look_that_is_refused_is_tried_again_but_for_another_format() {
    let mut node = Node::new(Settings::default(), [OWN, 1, 2]);
    node.tick(Time(1), 1);
    node.connected(Lane::Publish);
    assert!(node.next_command().is_some());
    node.answered(Reply::Refused(
        "NOREPLICAS Not enough good replicas to write.".into(),
    ));
    assert_eq!(node.halted(), None);
    assert_eq!(node.next_command(), None);
    assert!(node.next_due().is_some());
    node.tick(Time(1 + REFUSED_MS), 1);
    assert!(matches!(node.next_command(), Some(Command::Open { .. })));
    // The format may be mended too: somebody removes a log that is of no use.
    node.answered(Reply::Refused("ENCKEFORMAT the log has format 2".into()));
    assert_eq!(node.halted(), None);
    assert_eq!(node.next_command(), None);
    node.tick(Time(1 + 2 * REFUSED_MS), 1);
    assert!(matches!(node.next_command(), Some(Command::Open { .. })));
}
