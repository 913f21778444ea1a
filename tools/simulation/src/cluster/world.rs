//! A world of nodes, servers, publishers and clients.
//!
//! Owns what happens, by chance from a seed, and the rules that hold.
//!
//! | rule | |
//! |---|---|
//! | I1 | an acknowledged message is received, or a gap is told after it was published |
//! | I2 | no message is received twice |
//! | I3 | ids rise, on every node and for every client; tickets of a node are published in order, but for keys that were used before, and for what waited together when an older log was put in place: a lost message is published in a new place |
//! | I4 | an id has the same content on every node |
//! | I5 | a key has one message |
//! | I6 | in a world in which nothing is lost, no gap is told |
//! | – | what was refused is never applied; what is acknowledged is applied on its node, or a loss is told there |
//! | – | when all is well again, all nodes are ready and have the same history, and each knows the readers of all others |

mod judge;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};

use encke_core::base::time::Time;
use encke_core::log::cluster::{Command, KeyHash, Outcome, Settings, Ticket};
use encke_core::message::{ChannelName, Draft, DraftKind, EntryId, IdempotencyKey};

use super::link::Peer;
use super::replica::{Event, Item};
use super::server::Server;
use crate::chance::Chance;
use crate::run::Counts;

/// 2026, in milliseconds since 1970.
pub(super) const START_MS: u64 = 1_780_000_000_000;

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

/// For how long after the death of a node a server must not forget, if nothing is to be lost.
const MOURNING_MS: u64 = 9_000;

const DAY_MS: u64 = 86_400_000;

/// How long nodes have to notice that an older log was put in place of the newer one. A server that
/// is restarted or replaced before that takes the older one along.
const ROLLED_MS: u64 = 15_000;

/// How long a census may take, with connections that break meanwhile.
const CENSUS_MS: u64 = 8_000;

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Connections break, and nodes come and go.
    Calm,
    /// The server also forgets, while nodes live that remember.
    Forgetful,
    /// Anything.
    Wild,
}

/// A publish.
#[derive(Debug)]
struct Publish {
    channel: &'static str,
    texts: Vec<String>,
    key: Option<IdempotencyKey>,
    at: u64,
    /// Its id, if it was acknowledged.
    id: Option<EntryId>,
    /// It was refused, so it must not be applied.
    is_refused: bool,
    /// Its key was used before.
    is_repeated: bool,
    /// The node that has published it at a server which was replaced already.
    taken_by_old: Option<u64>,
}

/// A client that follows one channel.
#[derive(Debug)]
struct Client {
    channel: &'static str,
    node: u64,
    cursor: Option<EntryId>,
    /// Its cursor is one that no node has given, and was not judged yet.
    is_made_up: bool,
    since: u64,
    received: Vec<(EntryId, String)>,
    /// When gaps were told.
    gaps: Vec<u64>,
    /// Since when it is with its node.
    there_since: u64,
    hops_at: u64,
}

/// What happened in a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Worlds.
    pub worlds: u64,
    /// Messages that were acknowledged.
    pub published: u64,
    /// Publishes of which it is not known whether they were published.
    pub unknown: u64,
    /// Messages that clients received.
    pub received: u64,
    /// Gaps that clients were told.
    pub gaps: u64,
    /// Entries that were retold.
    pub retold: u64,
    /// Entries that were sent again.
    pub resent: u64,
    /// Terms that nodes settled.
    pub terms: u64,
    /// Losses of some channels, which late witnesses told.
    pub losses_some: u64,
    /// Losses of all channels.
    pub losses_all: u64,
    /// Times that a node was handed over to another process.
    pub handed_over: u64,
}

impl Counts for Tally {
    fn add(&mut self, other: &Tally) {
        let Tally {
            worlds,
            published,
            unknown,
            received,
            gaps,
            retold,
            resent,
            terms,
            losses_some,
            losses_all,
            handed_over,
        } = other;
        self.worlds += worlds;
        self.published += published;
        self.unknown += unknown;
        self.received += received;
        self.gaps += gaps;
        self.retold += retold;
        self.resent += resent;
        self.terms += terms;
        self.losses_some += losses_some;
        self.losses_all += losses_all;
        self.handed_over += handed_over;
    }
}

/// A world.
pub(super) struct World {
    chance: Chance,
    kind: Kind,
    now: u64,
    skew_ms: u64,
    servers: Vec<Server>,
    current: usize,
    next_run: u64,
    peers: BTreeMap<u64, Peer>,
    next_peer: u64,
    /// Commands of broken connections that are still on their way.
    late: Vec<(u64, usize, Command)>,
    publishes: Vec<Publish>,
    /// Messages with keys.
    keyed: BTreeSet<String>,
    tickets: BTreeMap<(u64, Ticket), usize>,
    /// By node: the id of what was published last, with the part, and when that was acknowledged.
    last_published: BTreeMap<u64, ((EntryId, u16), u64)>,
    clients: Vec<Client>,
    contents: BTreeMap<EntryId, Vec<(String, String)>>,
    /// What nodes that are gone had applied: ids and texts.
    applied_by_gone: BTreeSet<(EntryId, String)>,
    /// The last ids of older logs that were put in place of newer ones. A node that had not read the
    /// newer one may have read others under the ids after them.
    rolled: Vec<EntryId>,
    /// Until then nodes have time to notice it.
    rolled_until: u64,
    mourning_until: u64,
    /// Until then all nodes must be there to say what they have, if nothing is to be lost.
    census_until: u64,
    roll_at: u64,
    log_bytes: u64,
    /// What happened, if somebody asks.
    trace: Option<Vec<String>>,
    tally: Tally,
}

impl World {
    pub(super) fn new(seed: u64, is_traced: bool) -> World {
        let mut chance = Chance::seeded(seed);
        let kind = chance.pick(&[Kind::Calm, Kind::Forgetful, Kind::Wild, Kind::Wild]);
        let is_rolling = chance.u8(0..4) == 0;
        let roll_at = if is_rolling {
            chance.u64(30..400)
        } else {
            1 << 33
        };
        let is_short = kind == Kind::Wild && chance.bool();
        let log_bytes = if is_short {
            chance.u64(2_000..20_000)
        } else {
            1 << 28
        };
        let mut world = World {
            chance,
            kind,
            now: 0,
            skew_ms: 0,
            servers: vec![Server::new(1)],
            current: 0,
            next_run: 2,
            peers: BTreeMap::new(),
            next_peer: 1,
            late: Vec::new(),
            publishes: Vec::new(),
            keyed: BTreeSet::new(),
            tickets: BTreeMap::new(),
            last_published: BTreeMap::new(),
            clients: Vec::new(),
            contents: BTreeMap::new(),
            applied_by_gone: BTreeSet::new(),
            rolled: Vec::new(),
            rolled_until: 0,
            mourning_until: 0,
            census_until: 0,
            roll_at,
            log_bytes,
            trace: is_traced.then(Vec::new),
            tally: Tally {
                worlds: 1,
                ..Tally::default()
            },
        };
        world.note(|world| format!("{:?}", world.kind));
        for _ in 0..world.chance.usize(2..=4) {
            world.add_peer();
        }
        world
    }

    pub(super) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn note(&mut self, what: impl FnOnce(&World) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>6} {}", self.now, what(self));
            self.trace.get_or_insert_default().push(line);
        }
    }

    fn unix_ms(&self) -> u64 {
        START_MS + self.now + self.skew_ms
    }

    fn add_peer(&mut self) {
        let number = self.next_peer;
        self.next_peer += 1;
        let is_small = self.kind == Kind::Wild && self.chance.u8(0..3) == 0;
        let settings = Settings {
            name: format!("node-{number}").into(),
            roll_at: self.roll_at,
            // Where nothing is to be lost, a node leaves only when all know it.
            patience_ms: if self.kind == Kind::Forgetful {
                60_000
            } else {
                5_000
            },
            log_bytes: self.log_bytes,
            ring_bytes: if is_small { 4_000 } else { 16 << 20 },
            ..Settings::default()
        };
        let seed = [number * 1_000_003 % 97, number, number + 1];
        let mut peer = Peer::new(settings, seed, self.now);
        peer.audience.node = seed[0];
        peer.node.tick(Time(self.now), self.unix_ms());
        self.peers.insert(number, peer);
        self.note(|_| format!("node {number} starts, as {}", seed[0]));
    }

    /// Readers of a channel come to a node, or leave it.
    fn change_readers(&mut self) {
        if let Some(number) = self.some_peer() {
            let channel = self.chance.u64(0..9);
            let readers = self.chance.u8(0..4).into();
            self.peer(number).audience.set(channel, readers);
        }
    }

    fn some_peer(&mut self) -> Option<u64> {
        let numbers = self.numbers();
        let place = self.chance.usize(0..numbers.len().max(1));
        numbers.get(place).copied()
    }

    fn numbers(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    fn peer(&mut self, number: u64) -> &mut Peer {
        self.peers.get_mut(&number).expect("it is there")
    }

    /// Lets time pass for all nodes.
    fn run_peers(&mut self) {
        let unix_ms = self.unix_ms();
        for number in self.numbers() {
            let peer = self.peers.get_mut(&number).expect("it is there");
            peer.run(
                &mut self.servers,
                self.current,
                self.now,
                unix_ms,
                &mut self.chance,
            );
            assert_eq!(peer.node.halted(), None, "a node halts");
            self.take_done(number);
            self.check_ready(number);
        }
    }

    /// Lives so many steps, and then until all is well.
    pub(super) fn live(&mut self, steps: u64) -> Tally {
        for _ in 0..steps {
            self.step(true);
        }
        if self.chance.bool() {
            self.lose_furthest_and_tail();
        }
        self.recover();
        self.judge();
        self.tally
    }

    fn step(&mut self, is_troubled: bool) {
        self.now += match self.chance.u8(0..20) {
            0 => self.chance.u64(0..400),
            _ => self.chance.u64(0..40),
        };
        if is_troubled && self.chance.u8(0..16) == 0 {
            self.trouble();
        }
        if is_troubled && self.chance.u8(0..4) == 0 {
            self.change_readers();
        }
        self.land_late();
        if self.chance.u8(0..3) > 0 {
            self.publish();
        }
        self.run_peers();
        for number in self.numbers() {
            if self.peers[&number].node.has_left() {
                self.note(|_| format!("node {number} has left"));
                self.remove_peer(number);
            }
        }
        self.serve_clients();
    }

    /// Commands of broken connections come to their servers.
    fn land_late(&mut self) {
        let unix_ms = self.unix_ms();
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, ..)| *at <= self.now);
        self.late = rest;
        for (_, server, command) in due {
            self.servers[server].execute(command, unix_ms);
        }
    }

    fn publish(&mut self) {
        if self.kind == Kind::Wild && self.chance.u8(0..40) == 0 {
            self.reunite();
        }
        let Some(number) = self.some_peer() else {
            return;
        };
        let peer = self.peers.get_mut(&number).expect("it is there");
        if self.now < peer.stalled_until {
            return;
        }
        let place = self.publishes.len();
        // A publish with a key may be one of before again.
        let again = (self.chance.u8(0..6) == 0).then(|| self.chance.usize(0..place.max(1)));
        let again = again.and_then(|place| self.publishes.get(place));
        let (channel, texts, key) = match again {
            Some(first) if first.key.is_some() => {
                (first.channel, first.texts.clone(), first.key.clone())
            }
            _ => {
                let has_key = self.chance.u8(0..4) == 0;
                let count = if has_key { 1 } else { self.chance.usize(1..4) };
                let texts = (0..count).map(|part| format!("{place}.{part}")).collect();
                let key = format!("key {place}");
                let key = has_key.then(|| IdempotencyKey::parse(key.as_bytes()).expect("a key"));
                (self.chance.pick(&CHANNELS), texts, key)
            }
        };
        if key.is_some() {
            self.keyed.extend(texts.iter().cloned());
        }
        let name = || ChannelName::parse(channel.as_bytes()).expect("a channel");
        let kind = if self.chance.u8(0..9) == 0 {
            DraftKind::Last
        } else {
            DraftKind::Message
        };
        let draft = |text: &String| Draft {
            key: key.clone(),
            kind,
            ..Draft::new(name(), text.as_str().into())
        };
        let drafts: Vec<Draft<'_>> = texts.iter().map(draft).collect();
        let mut publish = Publish {
            channel,
            texts: texts.clone(),
            key: key.clone(),
            at: self.now,
            id: None,
            is_refused: false,
            is_repeated: again.is_some_and(|first| first.key.is_some()),
            taken_by_old: None,
        };
        let known = key.as_ref().map(|key| KeyHash::new(&name(), key).0);
        if let Some(id) = known.and_then(|key| peer.replica.keys.get(&key)) {
            // The hub knows the key.
            publish.id = Some(*id);
            self.publishes.push(publish);
            return;
        }
        match peer.node.publish(&drafts) {
            Ok(ticket) => drop(self.tickets.insert((number, ticket), place)),
            Err(_) => publish.is_refused = true,
        }
        self.publishes.push(publish);
    }

    /// Takes the results of publishes on a node.
    fn take_done(&mut self, number: u64) {
        let peer = self.peers.get_mut(&number).expect("it is there");
        let done = std::mem::take(&mut peer.replica.done);
        for (ticket, outcome) in done {
            let peer = &self.peers[&number];
            let place = self
                .tickets
                .remove(&(number, ticket))
                .expect("a ticket that was given");
            let first = self.tickets.range((number, Ticket(0))..).next();
            let is_next = first.is_none_or(|((peer, next), _)| *peer != number || *next > ticket);
            assert!(is_next, "I3: tickets are done in order");
            let publish = &mut self.publishes[place];
            match outcome {
                Outcome::Published { id, part } => {
                    if !publish.is_repeated {
                        let place = (id, part);
                        let last = self.last_published.insert(number, (place, self.now));
                        let rises = last.is_none_or(|(last, at)| {
                            let waited_too = publish.at <= at;
                            last < place || waited_too && is_after_rolled(&self.rolled, id)
                        });
                        assert!(rises, "I3: {place:?} after {last:?}");
                    }
                    match peer.replica.applied(id) {
                        // Another node has read it in an older log, and this one another entry.
                        _ if is_after_rolled(&self.rolled, id) && peer.replica.has_lost(id) => {}
                        Some(Item::Messages(messages)) => {
                            let has = |text: &String| messages.iter().any(|(_, it)| it == text);
                            assert!(publish.texts.iter().all(has), "{id} is another message");
                        }
                        Some(Item::LostAll) => {}
                        other => panic!("{id} is acknowledged before it is applied: {other:?}"),
                    }
                    publish.id = Some(id);
                    publish.taken_by_old = (!peer.is_with(self.current)).then_some(number);
                    self.tally.published += 1;
                }
                Outcome::Earlier { id } => {
                    assert!(
                        id <= peer.replica.head,
                        "an earlier message is not there yet"
                    );
                    let texts = &self.publishes[place].texts;
                    let may_be_it = self.may_be_earlier(number, id, &texts[0]);
                    assert!(may_be_it, "{id} is another message than {texts:?}");
                    self.publishes[place].id = Some(id);
                }
                Outcome::NotPublished(_) => publish.is_refused = true,
                Outcome::Unknown { .. } => self.tally.unknown += 1,
            }
        }
    }

    /// A node that has not heard itself for long is not ready.
    fn check_ready(&self, number: u64) {
        let node = &self.peers[&number].node;
        assert!(
            !node.is_ready() || node.silent_ms() <= 10_000,
            "I8: deaf and ready"
        );
    }

    fn serve_clients(&mut self) {
        if self.clients.len() < 12 && self.chance.u8(0..8) == 0 {
            let client = Client {
                channel: self.chance.pick(&CHANNELS),
                node: 0,
                cursor: None,
                is_made_up: self.chance.u8(0..8) == 0,
                since: self.now,
                received: Vec::new(),
                gaps: Vec::new(),
                there_since: 0,
                hops_at: 0,
            };
            self.clients.push(client);
        }
        for place in 0..self.clients.len() {
            self.serve_client(place);
        }
    }

    fn serve_client(&mut self, place: usize) {
        let node = self.clients[place].node;
        let is_gone = self
            .peers
            .get(&node)
            .is_none_or(|peer| !peer.node.is_ready());
        if is_gone || self.now >= self.clients[place].hops_at {
            let Some(other) = self.some_peer() else {
                return;
            };
            if !self.peers[&other].node.is_ready() {
                return;
            }
            let stays_ms = self.chance.u64(0..5_000);
            let client = &mut self.clients[place];
            client.node = other;
            client.there_since = self.now;
            client.hops_at = self.now + stays_ms;
        }
        let client = &mut self.clients[place];
        let Some(Peer { node, replica, .. }) = self.peers.get_mut(&client.node) else {
            return;
        };
        let Some(cursor) = client.cursor else {
            client.cursor = Some(replica.head);
            client.since = self.now;
            if client.is_made_up {
                let EntryId { term, number } = replica.head;
                let beyond = self.chance.u64(1..300);
                client.cursor = Some(EntryId::new(term, number + beyond));
            }
            return;
        };
        let place = (cursor, Time(client.there_since));
        let Some((events, cursor)) = replica.receive(node, place, client.channel) else {
            return;
        };
        let was_made_up = std::mem::take(&mut client.is_made_up);
        if was_made_up {
            client.since = self.now;
        }
        client.cursor = Some(cursor);
        for event in events {
            match event {
                Event::Message(id, text) => {
                    let last = client.received.last();
                    let rises = last.is_none_or(|(last, _)| *last <= id);
                    assert!(rises || !client.gaps.is_empty(), "I3: {id} after {last:?}");
                    let is_new = client.received.iter().all(|(_, other)| *other != text);
                    // After a gap a client begins anew. A server that forgets keys forgets that a
                    // message was published.
                    let may_repeat = !client.gaps.is_empty() || self.keyed.contains(&text);
                    let is_new = is_new || self.kind == Kind::Wild && may_repeat;
                    assert!(is_new, "I2: {text} is received twice, at {id}");
                    client.received.push((id, text));
                    self.tally.received += 1;
                }
                Event::Gap(id) => {
                    let counts = self.peers[&client.node].node.counts();
                    assert!(
                        self.kind == Kind::Wild || was_made_up,
                        "I6: a gap at {id} on node {}, {counts:?}, {client:?}",
                        client.node
                    );
                    client.gaps.push(self.now);
                    self.tally.gaps += 1;
                }
            }
        }
    }

    /// All troubles end, and after some time all must be well.
    fn recover(&mut self) {
        self.note(|_| "troubles end".to_owned());
        self.reunite();
        for server in &mut self.servers {
            server.stopped_until = 0;
            server.is_full = false;
        }
        for peer in self.peers.values_mut() {
            peer.stalled_until = 0;
        }
        let end = self.now + 25_000;
        while self.now < end {
            self.step(false);
        }
        // What was published last comes to its end.
        let end = self.now + 6_000;
        while self.now < end {
            self.now += 20;
            self.run_peers();
            self.serve_clients();
        }
        for (number, peer) in &self.peers {
            let node = &peer.node;
            assert!(
                node.is_ready(),
                "node {number} is not ready: {:?}",
                node.gauges()
            );
        }
        assert!(
            self.tickets.is_empty(),
            "publishers wait: {:?}",
            self.tickets
        );
        for place in 0..self.clients.len() {
            // No change of nodes now: all must have come to the end.
            self.clients[place].hops_at = u64::MAX;
            self.serve_client(place);
            let client = &self.clients[place];
            let waits = client.is_made_up && client.cursor.is_some();
            assert!(!waits, "a cursor of no node is never judged: {client:?}");
        }
    }
}

/// Whether an id is one that an older log may have given, which was put in place of a newer one.
fn is_after_rolled(rolled: &[EntryId], id: EntryId) -> bool {
    let may_have_given = |last: &EntryId| last.term == id.term && *last < id;
    rolled.iter().any(may_have_given)
}
