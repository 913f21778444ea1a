//! A node and a log that is scripted: the tests play the server, and the other nodes.

mod blocks;
mod census;
mod misuse;
mod publishing;
mod readers;

use super::*;
use crate::log::cluster::command::{Command, OpenMode, Opened};
use crate::log::cluster::effect::Outcome;
use crate::log::cluster::entry::{Answer, Beat, Record, Settled, Term};
use crate::log::cluster::messages::Messages;

const OWN: u64 = 7;
const OTHER: u64 = 8;

/// A node, and the log that it reads.
struct Script {
    node: Node,
    now: u64,
    term: u64,
    next: u64,
    nonce: u64,
}

fn channel(name: &str) -> ChannelName<'_> {
    ChannelName::parse(name.as_bytes()).unwrap()
}

fn id(term: u64, number: u64) -> EntryId {
    EntryId::new(term, number)
}

impl Script {
    /// A node that is alone and ready, in term 100.
    fn new(settings: Settings) -> Script {
        let mut script = Script {
            node: Node::new(settings, [OWN, 1, 2]),
            now: 0,
            term: 0,
            next: 0,
            nonce: 0,
        };
        script.pass(1);
        script.node.connected(Lane::Publish);
        script.node.connected(Lane::Follow);
        assert!(matches!(
            script.command(),
            Some(Command::Open {
                mode: OpenMode::Peek,
                ..
            })
        ));
        script.opened(0, 0, Openness::IsDue);
        script.pass(2_000);
        let Some(Command::Open {
            mode: OpenMode::Look,
            ..
        }) = script.command()
        else {
            panic!("it opens a term");
        };
        script.opened(100, 0, Openness::New);
        script.begins(100, EntryId::ZERO, &[], false);
        script.serve();
        // Its opener does not answer.
        script.pass(4_500);
        script.serve();
        // The opener of the term is a member, and knows this node by its beat.
        script.beat(id(100, script.next - 1));
        assert!(script.node.is_ready());
        script.effects();
        script
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.node.tick(Time(self.now), 1_000_000 + self.now);
    }

    fn command(&mut self) -> Option<Command> {
        self.node.next_command()
    }

    fn opened(&mut self, term: u64, last: u64, how: Openness) {
        let (last, salt) = (id(term, last), Some(Salt(3, 4)));
        self.node.answered(Reply::Opened(Opened {
            term,
            last,
            how,
            salt,
            time_ms: 1_000_000 + self.now,
        }));
    }

    /// A term begins in the log.
    fn begins(&mut self, term: u64, end: EntryId, members: &[u64], is_same: bool) {
        self.term_begins(
            term,
            Term {
                members: members.to_vec(),
                chain: Vec::new(),
                end,
                run: "f",
                is_same,
                is_rolled: false,
            },
        );
    }

    fn term_begins(&mut self, number: u64, term: Term<'_>) {
        (self.term, self.next) = (number, 0);
        self.other(Body::Term(term));
    }

    /// An entry of the other node is read.
    fn other(&mut self, body: Body<'_>) -> EntryId {
        self.entry_of(OTHER, body)
    }

    fn entry_of(&mut self, node: u64, body: Body<'_>) -> EntryId {
        self.nonce += 1;
        let head = Head {
            node,
            nonce: self.nonce,
            at_ms: 0,
        };
        let mut bytes = Vec::new();
        Entry { head, body }.write(&mut bytes);
        self.read(&bytes)
    }

    fn read(&mut self, bytes: &[u8]) -> EntryId {
        let id = id(self.term, self.next);
        self.next += 1;
        self.node.read(id, bytes);
        id
    }

    fn message(&mut self, name: &str, text: &str) -> EntryId {
        let draft = Draft::new(channel(name), text.into());
        self.other(Body::Messages(Messages::of(&[draft])))
    }

    fn beat(&mut self, applied: EntryId) {
        self.beat_of(OTHER, applied);
    }

    fn beat_of(&mut self, node: u64, applied: EntryId) {
        let beat = Body::Beat(Beat {
            applied,
            is_leaving: false,
            connections: 0,
            digest: 0,
            chain: vec![],
            name: "other",
        });
        self.entry_of(node, beat);
    }

    /// Does what the node asks for, and reads it back. Returns the entries.
    fn serve(&mut self) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        while let Some(command) = self.command() {
            let (Command::Append { bytes, .. } | Command::Once { bytes, .. }) = command else {
                panic!("{command:?}");
            };
            self.node
                .answered(Reply::Appended(id(self.term, self.next)));
            self.read(&bytes);
            entries.push(bytes);
        }
        entries
    }

    /// The effects, but those that only advance.
    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(effect) = self.node.next_effect() {
            if !matches!(effect, Effect::Advance { .. }) {
                effects.push(effect);
            }
        }
        effects
    }
}

/// The ids that were applied, with the first text.
fn applied(effects: &[Effect]) -> Vec<(EntryId, String)> {
    let one = |effect: &Effect| match effect {
        Effect::Apply { id, drafts, .. } => match &drafts.to_vec()[0].data {
            crate::message::Data::Text(text) => Some((*id, text.to_string())),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter_map(one).collect()
}

/// A settling by another node.
fn settled(chain: &[EntryId]) -> Body<'static> {
    Body::Settled(Settled {
        loses_all: false,
        chain: chain.to_vec(),
    })
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
fn undecided_publish_is_sent_again_only_after_a_fence() {
    let mut script = Script::new(Settings::default());
    let ticket = script
        .node
        .publish(&[Draft::new(channel("a"), "1".into())])
        .unwrap();
    let Some(Command::Append { bytes, .. }) = script.command() else {
        panic!("it publishes");
    };
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    let Some(Command::Open {
        mode: OpenMode::Fence,
        ..
    }) = script.command()
    else {
        panic!("it fences");
    };
    assert_eq!(script.command(), None);
    let end = id(100, script.next - 1);
    script.begins(200, end, &[OWN], true);
    script.other(settled(&[end]));
    script.opened(200, end.number, Openness::New);
    let again = script.serve();
    assert!(again.contains(&bytes), "the same entry");
    assert_eq!(script.node.counts().resent, 1);
    script.beat(id(200, script.next - 1));
    let done = |effect: &Effect| matches!(effect, Effect::Done { ticket: done, outcome: Outcome::Published { .. } } if *done == ticket);
    let effects = script.effects();
    assert_eq!(
        effects.iter().filter(|effect| done(effect)).count(),
        1,
        "{effects:?}"
    );
}

#[test]
fn shorter_patience_holds_for_those_that_wait() {
    let mut script = Script::new(Settings {
        patience_ms: 30_000,
        ..Settings::default()
    });
    let draft = || Draft::new(channel("a"), "1".into());
    script.node.broken(Lane::Publish);
    script.node.publish(&[draft()]).unwrap();
    script.node.set_times(1_000, 10_000);
    script.node.publish(&[draft()]).unwrap();
    script.pass(999);
    assert_eq!(script.effects(), []);
    script.pass(1);
    assert_eq!(script.effects().len(), 2);
}

#[test]
fn publisher_has_its_result_after_the_patience() {
    let mut script = Script::new(Settings::default());
    let draft = || Draft::new(channel("a"), "1".into());
    let sent = script.node.publish(&[draft()]).unwrap();
    assert!(script.command().is_some());
    script.node.broken(Lane::Publish);
    let kept = script.node.publish(&[draft()]).unwrap();
    script.pass(4_999);
    assert_eq!(script.effects(), []);
    script.pass(1);
    let effects = script.effects();
    let [
        Effect::Done {
            ticket: first,
            outcome: Outcome::Unknown { .. },
        },
        Effect::Done {
            ticket: second,
            outcome: Outcome::NotPublished(Reason::Silent { .. }),
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*first, *second), (sent, kept));
    script.pass(1);
    let refused = script.node.publish(&[draft()]);
    assert!(
        matches!(refused, Err(Refusal::Silent { silent_ms: 5_000.. })),
        "{refused:?}"
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

#[test]
fn publishes_of_a_tick_are_one_entry_and_batches_stay_whole() {
    let mut script = Script::new(Settings::default());
    let draft = |text: &str| Draft::new(channel("a"), text.into());
    let last = Draft {
        kind: crate::message::DraftKind::Last,
        ..draft("2")
    };
    let first = script.node.publish(&[draft("1"), last]).unwrap();
    let second = script.node.publish(&[draft("3")]).unwrap();
    assert_eq!(script.serve().len(), 1);
    let effects = script.effects();
    let [Effect::Apply { id, drafts, .. }, one, two] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(drafts.to_vec().len(), 3);
    let done = |ticket, part| Effect::Done {
        ticket,
        outcome: Outcome::Published { id: *id, part },
    };
    assert_eq!((one, two), (&done(first, 0), &done(second, 3)));
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

#[test]
fn results_are_among_the_effects_in_their_place() {
    let mut script = Script::new(Settings::default());
    let draft = Draft::new(channel("a"), "1".into());
    let ticket = script.node.publish(&[draft]).unwrap();
    script.serve();
    script.message("b", "2");
    script.node.leave();
    script.pass(5_000);
    assert!(!script.node.has_left(), "a result waits");
    let effects = script.effects();
    let [Effect::Apply { .. }, done, Effect::Apply { .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert!(matches!(done, Effect::Done { ticket: done, .. } if *done == ticket));
    script.pass(1);
    assert!(script.node.has_left());
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
fn publish_that_replicas_may_lack_is_not_done_by_being_read() {
    let mut script = Script::new(Settings {
        awaits_replicas: true,
        ..Settings::default()
    });
    let draft = || Draft::new(channel("a"), "1".into());
    let results = |effects: &[Effect]| -> Vec<(Ticket, bool)> {
        let one = |effect: &Effect| match effect {
            Effect::Done { ticket, outcome } => {
                Some((*ticket, matches!(outcome, Outcome::Published { .. })))
            }
            _ => None,
        };
        effects.iter().filter_map(one).collect()
    };
    let publish = |script: &mut Script| {
        let ticket = script.node.publish(&[draft()]).unwrap();
        loop {
            match script.command() {
                Some(Command::Append {
                    bytes,
                    is_publish: true,
                    ..
                }) => return (ticket, script.read(&bytes)),
                Some(Command::Append { bytes, .. }) => {
                    let id = script.read(&bytes);
                    script.node.answered_of(false, Reply::Appended(id));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    // The reply is held for long, and others are not.
    let (first, _) = publish(&mut script);
    for _ in 0..4 {
        script.pass(1_100);
        while let Some(Command::Append { bytes, .. }) = script.command() {
            let id = script.read(&bytes);
            script.node.answered_of(false, Reply::Appended(id));
        }
    }
    let (second, _) = publish(&mut script);
    script.pass(600);
    assert!(
        !script.node.takes_reset(),
        "a reply that is held is no silence"
    );
    // The first publisher has waited for long enough, the second one waits.
    assert_eq!(results(&script.effects()), [(first, false)]);
    // A broken connection is no reply.
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    script.command();
    script.opened(100, script.next - 1, Openness::GoesOn);
    assert_eq!(results(&script.effects()), []);
    // What has replicas now has them for all that was before.
    let (third, id) = publish(&mut script);
    assert_eq!(results(&script.effects()), []);
    script.node.answered_of(true, Reply::Appended(id));
    assert_eq!(results(&script.effects()), [(second, true), (third, true)]);
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
