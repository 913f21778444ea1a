//! A node and its two connections, with the delays and breaks of a network.
//!
//! Owns what is on its way between a node and a server. It decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use encke_core::base::time::Time;
use encke_core::frozen::{Freezer, Thawer};
use encke_core::log::cluster::{Command, Lane, Node, Reply, Settings};
use encke_core::message::EntryId;

use super::audience::Audience;
use super::replica::Replica;
use super::server::Server;
use crate::chance::Chance;

/// A connection of a node to a server, by its place.
#[derive(Debug, Default)]
struct Connection {
    server: Option<usize>,
    /// It is made then.
    connects_at: u64,
}

/// A node and what is on its way to and from it.
pub(super) struct Peer {
    pub(super) node: Node,
    pub(super) replica: Replica,
    pub(super) audience: Audience,
    publish: Connection,
    follow: Connection,
    commands: VecDeque<(u64, Command)>,
    replies: VecDeque<(u64, Reply)>,
    entries: VecDeque<(u64, EntryId, Arc<[u8]>)>,
    sent_to: EntryId,
    pub(super) stalled_until: u64,
    pub(super) skew_ms: u64,
    /// It connects to this server and no other.
    pub(super) sits_with: Option<usize>,
    /// It was told to leave.
    pub(super) is_leaving: bool,
    settings: Settings,
    /// It is to be handed over to another process, by then or not at all.
    pub(super) hands_over_until: Option<u64>,
    /// How often it was.
    pub(super) handed_over: u64,
}

/// Takes the first if it is due.
fn pop_due<T>(queue: &mut VecDeque<T>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    queue
        .front()
        .is_some_and(is_due)
        .then(|| queue.pop_front())?
}

/// The state of a node that rests.
fn frozen(node: &Node) -> Vec<u8> {
    let mut freezer = Freezer::new(Vec::new());
    node.freeze(&mut freezer).expect("memory takes all");
    freezer.into_inner()
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Break {
    /// What was sent is lost.
    Before,
    /// What was sent is done, and the replies are lost.
    After,
    /// What was sent is done some time later.
    Later,
}

impl Break {
    pub(super) fn by_chance(chance: &mut Chance) -> Break {
        chance.pick(&[Break::Before, Break::After, Break::Later])
    }
}

impl Peer {
    pub(super) fn new(settings: Settings, seed: [u64; 3], now: u64) -> Peer {
        Peer {
            node: Node::new(settings.clone(), seed),
            settings,
            hands_over_until: None,
            handed_over: 0,
            replica: Replica::default(),
            audience: Audience::default(),
            publish: Connection {
                server: None,
                connects_at: now,
            },
            follow: Connection {
                server: None,
                connects_at: now,
            },
            commands: VecDeque::new(),
            replies: VecDeque::new(),
            entries: VecDeque::new(),
            sent_to: EntryId::ZERO,
            stalled_until: 0,
            skew_ms: 0,
            sits_with: None,
            is_leaving: false,
        }
    }

    /// Breaks a lane. Commands that take effect later are returned with their server.
    pub(super) fn cut(
        &mut self,
        lane: Lane,
        how: Break,
        servers: &mut [Server],
        now: u64,
        reconnect_ms: u64,
        unix_ms: u64,
    ) -> Vec<(usize, Command)> {
        let mut later = Vec::new();
        match lane {
            Lane::Publish => {
                let server = self.publish.server.take();
                self.publish.connects_at = now + reconnect_ms;
                self.replies.clear();
                let commands = self.commands.drain(..).map(|(_, command)| command);
                if let Some(server) = server {
                    for command in commands {
                        match how {
                            Break::Before => {}
                            Break::After => drop(servers[server].execute(command, unix_ms)),
                            Break::Later => later.push((server, command)),
                        }
                    }
                }
            }
            Lane::Follow => {
                self.follow.server = None;
                self.follow.connects_at = now + reconnect_ms;
                self.entries.clear();
            }
        }
        self.node.broken(lane);
        later
    }

    pub(super) fn is_with(&self, server: usize) -> bool {
        self.publish.server == Some(server) || self.follow.server == Some(server)
    }

    /// Lets time pass for the node and its connections.
    pub(super) fn run(
        &mut self,
        servers: &mut [Server],
        current: usize,
        now: u64,
        unix_ms: u64,
        chance: &mut Chance,
    ) {
        if now < self.stalled_until {
            return;
        }
        self.node.tick(Time(now), unix_ms + self.skew_ms);
        self.audience.tell(&mut self.node, now);
        if self.node.takes_reset() {
            for lane in [Lane::Publish, Lane::Follow] {
                let wait_ms = chance.u64(0..300);
                self.cut(lane, Break::Before, servers, now, wait_ms, unix_ms);
            }
        }
        self.connect(servers, current, now);
        self.publish_lane(servers, now, unix_ms, chance);
        self.follow_lane(servers, now, chance);
        while let Some(effect) = self.node.next_effect() {
            self.replica.apply(effect);
        }
        if let Some(until) = self.hands_over_until {
            self.hand_over(until, now, chance);
        }
    }

    /// Hands the node over to another process as soon as it rests, and lets it go on here if that
    /// takes too long.
    fn hand_over(&mut self, until: u64, now: u64, chance: &mut Chance) {
        let is_late = now >= until;
        self.node.rest(!is_late);
        if self.node.unrest().is_some() {
            self.hands_over_until = self.hands_over_until.filter(|_| !is_late);
            return;
        }
        self.hands_over_until = None;
        self.handed_over += 1;
        let state = frozen(&self.node);
        let mut thawer = Thawer::new(&state[..]);
        let thawed = Node::thaw(self.settings.clone(), Time(now), &mut thawer);
        self.node = thawed.expect("the state of a node");
        thawer.finish().expect("no more than a node");
        self.node.rest(true);
        assert!(
            frozen(&self.node) == state,
            "not the same when frozen again"
        );
        self.node.rest(false);
        // What was told of readers is not in the state.
        self.node.begin_readers_round();
        // The other process connects; what the connections of this one have brought is lost.
        assert!(
            self.commands.is_empty() && self.replies.is_empty(),
            "it rested"
        );
        self.entries.clear();
        self.sent_to = EntryId::ZERO;
        for connection in [&mut self.publish, &mut self.follow] {
            *connection = Connection {
                server: None,
                connects_at: now + chance.u64(0..400),
            };
        }
    }

    fn connect(&mut self, servers: &[Server], current: usize, now: u64) {
        let server = self.sits_with.unwrap_or(current);
        if now < servers[server].stopped_until {
            return;
        }
        for (connection, lane) in [
            (&mut self.publish, Lane::Publish),
            (&mut self.follow, Lane::Follow),
        ] {
            if connection.server.is_none() && now >= connection.connects_at {
                connection.server = Some(server);
                self.node.connected(lane);
                if lane == Lane::Publish {
                    self.node.note_uptime(now - servers[server].started_at);
                }
                self.sent_to = EntryId::ZERO;
            }
        }
    }

    fn publish_lane(
        &mut self,
        servers: &mut [Server],
        now: u64,
        unix_ms: u64,
        chance: &mut Chance,
    ) {
        let Some(server) = self.publish.server else {
            return;
        };
        let server = &mut servers[server];
        loop {
            let mut is_idle = true;
            while let Some((_, reply)) = pop_due(&mut self.replies, |(at, _)| *at <= now) {
                self.node.answered(reply);
                is_idle = false;
            }
            while let Some(command) = self.node.next_command() {
                let at = self.commands.back().map_or(now, |(at, _)| *at);
                self.commands
                    .push_back((at.max(now + chance.u64(0..20)), command));
                is_idle = false;
            }
            while now >= server.stopped_until
                && let Some((_, command)) = pop_due(&mut self.commands, |(at, _)| *at <= now)
            {
                let reply = server.execute(command, unix_ms);
                let at = self.replies.back().map_or(now, |(at, _)| *at);
                self.replies
                    .push_back((at.max(now + chance.u64(0..20)), reply));
                is_idle = false;
            }
            if is_idle {
                return;
            }
        }
    }

    fn follow_lane(&mut self, servers: &[Server], now: u64, chance: &mut Chance) {
        let Some(server) = self.follow.server.map(|place| &servers[place]) else {
            return;
        };
        if let Some(after) = self.node.follows_after()
            && now >= server.stopped_until
        {
            let after = after.max(self.sent_to);
            for (id, bytes) in server.read(after, chance.usize(1..64)) {
                let at = self.entries.back().map_or(now, |(at, ..)| *at);
                self.entries
                    .push_back((at.max(now + chance.u64(0..30)), id, bytes));
                self.sent_to = id;
            }
        }
        while self.node.has_room()
            && !self.node.has_all_replies()
            && let Some((_, id, bytes)) = pop_due(&mut self.entries, |(at, ..)| *at <= now)
        {
            self.node.read(id, bytes);
            while let Some(effect) = self.node.next_effect() {
                self.replica.apply(effect);
            }
        }
    }
}
