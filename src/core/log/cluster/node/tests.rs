//! A node and a log that is scripted: the tests play the server, and the other nodes.

mod blocks;
mod census;
mod misuse;
mod publishing;
mod readers;
mod reading;

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
