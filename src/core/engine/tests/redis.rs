//! A model of the server that keeps the log of a cluster.

use std::collections::BTreeMap;

use super::support::Server;
use crate::log::cluster::{Command, KeyHash, Lane, OpenMode, Opened, Openness, Reply, Salt};
use crate::message::EntryId;

/// The time at which the first term is opened, in milliseconds since 1970.
pub(super) const TERM: u64 = 1_700_000_000_000;

/// The epoch of that term.
pub(super) const EPOCH: &str = "loyw3v28";

/// The server.
#[derive(Clone, Default)]
pub(super) struct Redis {
    pub(super) log: Vec<(EntryId, Vec<u8>)>,
    term: u64,
    salt: Option<Salt>,
    once: BTreeMap<[u8; 16], EntryId>,
}

impl Redis {
    /// Its reply to a command.
    pub(super) fn answer(&mut self, command: Command) -> Reply {
        match command {
            Command::Open {
                mode,
                knows,
                salt,
                mut bytes,
                ..
            } => {
                let last = self.last();
                let is_due = self.term == 0 || mode == OpenMode::Fence && self.term <= knows.term;
                let how = match (is_due, mode) {
                    (false, _) => Openness::GoesOn,
                    (true, OpenMode::Peek) => Openness::IsDue,
                    (true, _) => {
                        self.term = (self.term + 1).max(TERM).max(knows.term + 1);
                        bytes.extend_from_slice(format!("{last} 0a1b").as_bytes());
                        self.log.push((EntryId::new(self.term, 0), bytes));
                        self.salt.get_or_insert(salt);
                        Openness::New
                    }
                };
                Reply::Opened(Opened {
                    term: self.term,
                    last,
                    how,
                    salt: self.salt,
                    time_ms: TERM,
                })
            }
            Command::Append { term, bytes, .. } => self.append(term, bytes),
            Command::Once {
                term,
                key: KeyHash(key),
                bytes,
                ..
            } => match self.once.get(&key) {
                Some(&id) => Reply::Earlier {
                    id,
                    last: self.last(),
                },
                None => {
                    let reply = self.append(term, bytes);
                    if let Reply::Appended(id) = reply {
                        self.once.insert(key, id);
                    }
                    reply
                }
            },
        }
    }

    fn last(&self) -> EntryId {
        self.log.last().map_or(EntryId::ZERO, |entry| entry.0)
    }

    fn append(&mut self, term: u64, bytes: Vec<u8>) -> Reply {
        if term != self.term {
            return Reply::Stale;
        }
        let id = self.last().next();
        self.log.push((id, bytes));
        Reply::Appended(id)
    }

    /// Connects a node.
    pub(super) fn connect(&self, server: &mut Server) {
        let node = server.engine.cluster().expect("a node");
        node.connected(Lane::Publish);
        node.connected(Lane::Follow);
    }

    /// Executes the commands of a node, until it has none.
    pub(super) fn execute(&mut self, server: &mut Server) {
        let node = server.engine.cluster().expect("a node");
        while let Some(command) = node.next_command() {
            let reply = self.answer(command);
            node.answered(reply);
        }
    }

    /// Lets a node read what it has not read yet, and applies it.
    pub(super) fn tell(&self, server: &mut Server) {
        let node = server.engine.cluster().expect("a node");
        let Some(after) = node.follows_after() else {
            return;
        };
        for (id, bytes) in self.log.iter().filter(|entry| entry.0 > after) {
            node.read(*id, &bytes[..]);
        }
        server.apply_log(10_000);
    }

    /// Both, until nothing is left to do.
    pub(super) fn serve(&mut self, server: &mut Server) {
        for _ in 0..10 {
            self.execute(server);
            self.tell(server);
        }
        server.pass(0);
    }

    /// Lets time pass for a node, in steps, with all that it makes due.
    pub(super) fn pass(&mut self, server: &mut Server, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            server.pass(100);
            self.serve(server);
        }
    }
}
