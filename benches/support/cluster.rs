//! The engine of a cluster's node, over a log that grants everything at once.
//!
//! Owns the part of the server that keeps the log, and of the other node that writes into it.

use std::sync::Arc;

use encke_core::engine::Engine;
use encke_core::log::cluster::entry::{Body, Entry, Head};
use encke_core::log::cluster::{Command, Lane, Messages, Opened, Openness, Reply, Salt, Settings};
use encke_core::message::{Draft, EntryId};

use super::{Sink, World, name, text};

/// The term of the log.
const TERM: u64 = 1_800_000_000_000;

/// Channels over which the messages of an entry are spread.
const CHANNELS: usize = 1_000;

/// A node, and its log.
pub(crate) struct Clustered {
    /// The node.
    pub(crate) world: World,
    /// The id that the log gave last.
    last: EntryId,
    /// The entries that the node has not read.
    unread: Vec<Arc<[u8]>>,
    nonce: u64,
}

impl Clustered {
    /// A node that is ready.
    pub(crate) fn new(max_connections: usize) -> Clustered {
        let settings = Settings {
            newcomer_ms: 0,
            ..Settings::default()
        };
        let engine = Engine::with_cluster(&World::config(), max_connections, 1, settings);
        let mut node = Clustered {
            world: World {
                now_ms: engine.now().0,
                engine,
                sink: Sink::default(),
            },
            last: EntryId::ZERO,
            unread: Vec::new(),
            nonce: 0,
        };
        node.world.pass(1);
        let machine = node.world.engine.cluster().expect("a node");
        machine.connected(Lane::Publish);
        machine.connected(Lane::Follow);
        for _ in 0..100 {
            node.world.pass(100);
            node.serve();
        }
        let machine = node.world.engine.cluster().expect("a node");
        assert!(machine.is_ready(), "it has read its beat");
        node
    }

    /// Executes the commands of the node, and lets it read and apply what they have appended.
    pub(crate) fn serve(&mut self) {
        let machine = self.world.engine.cluster().expect("a node");
        while let Some(command) = machine.next_command() {
            let reply = match command {
                Command::Open {
                    salt, mut bytes, ..
                } => {
                    let last = self.last;
                    let how = match self.last.term {
                        0 => Openness::New,
                        _ => Openness::GoesOn,
                    };
                    if how == Openness::New {
                        bytes.extend_from_slice(format!("{last} 0a1b").as_bytes());
                        self.last = EntryId::new(TERM, 0);
                        self.unread.push(bytes.into());
                    }
                    Reply::Opened(Opened {
                        term: TERM,
                        last,
                        how,
                        salt: Some(Salt(salt.0, salt.1)),
                        time_ms: TERM,
                    })
                }
                Command::Append { bytes, .. } | Command::Once { bytes, .. } => {
                    self.last = self.last.next();
                    self.unread.push(bytes.into());
                    Reply::Appended(self.last)
                }
            };
            machine.answered(reply);
        }
        let behind = self.unread.len() as u64;
        let first = self.last.number + 1 - behind.min(self.last.number + 1);
        for (place, bytes) in self.unread.drain(..).enumerate() {
            machine.read(EntryId::new(self.last.term, first + place as u64), bytes);
        }
        self.apply();
    }

    /// An entry of another node, with so many messages of 100 bytes.
    pub(crate) fn entry(&mut self, messages: usize) -> Arc<[u8]> {
        self.nonce += 1;
        let channels = (0..messages).map(|place| place * 7 % CHANNELS);
        let names: Vec<String> = channels.map(|channel| format!("c{channel}")).collect();
        let drafts = names
            .iter()
            .map(|channel| Draft::new(name(channel), text(100)));
        let entry = Entry {
            head: Head {
                node: 2,
                nonce: self.nonce,
                at_ms: 1_800_000_000_000 + self.world.now_ms,
            },
            body: Body::Messages(Messages::of(&drafts.collect::<Vec<_>>())),
        };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        bytes.into()
    }

    /// The node reads an entry and applies it.
    pub(crate) fn read(&mut self, entry: Arc<[u8]>) {
        self.last = self.last.next();
        let machine = self.world.engine.cluster().expect("a node");
        machine.read(self.last, entry);
        self.apply();
    }

    fn apply(&mut self) {
        let World { engine, sink, .. } = &mut self.world;
        engine.apply_log(1 << 20, sink);
    }
}
