//! One server, its sockets, its clients and the model, and the order in which things happen.
//!
//! Owns time and every call of the engine. After each call the model is brought up to date from
//! what the engine answered, and then what arrived at the clients is judged.

use encke_core::base::time::{Time, millis};
use encke_core::engine::{CloseReason, ConnId, Engine, State};
use encke_oracle::id::Id;
use encke_oracle::log::{Event, Parked, Since};

use crate::chance::Chance;
use crate::client::{Answer, Client, Desk, lossy};
use crate::model::{Model, Said};
use crate::request::Kind;
use crate::rule::ensure;
use crate::session::ParkedAt;
use crate::setup::Setup;
use crate::tally::Tally;
use crate::wire::SimWire;

/// A logical client: channels, and the cursor it comes back with.
pub(crate) struct Follower {
    pub(crate) channels: Vec<usize>,
    pub(crate) cursor: Option<Id>,
}

/// One server with everything around it.
pub struct World {
    pub(crate) chance: Chance,
    pub(crate) setup: Setup,
    pub(crate) engine: Engine,
    pub(crate) wire: SimWire,
    pub(crate) model: Model,
    pub(crate) clients: Vec<Option<Client>>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) now: u64,
    /// What the calendar says, in seconds since 1970.
    pub(crate) wall_s: u64,
    pub(crate) epoch: String,
    pub(crate) tally: Tally,
    pub(crate) published: u64,
    /// Channels that were known at the last look.
    known: Vec<bool>,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    /// A world at its beginning; if it is `traced`, it notes what happens.
    pub fn new(mut chance: Chance, traced: bool) -> World {
        let setup = Setup::by_chance(&mut chance);
        let engine = Engine::new(&setup.config, setup.max_connections, chance.u64(..));
        let count = setup.names.len();
        let followers = (0..chance.usize(1..6)).map(|_| {
            let mut channels: Vec<usize> = (0..count).collect();
            chance.shuffle(&mut channels);
            channels.truncate(chance.usize(1..=count));
            Follower {
                channels,
                cursor: None,
            }
        });
        let followers = followers.collect();
        let mut world = World {
            epoch: engine.hub().epoch().as_str().to_owned(),
            known: vec![false; count],
            model: Model::new(&setup.names, engine.hub().epoch().as_str()),
            wire: SimWire::default(),
            clients: Vec::new(),
            now: 0,
            wall_s: 0,
            tally: Tally::default(),
            published: 0,
            trace: traced.then(Vec::new),
            chance,
            followers,
            engine,
            setup,
        };
        if world.setup.config.max_channels < count {
            // Short of channels, one may be forgotten and made again within one call.
            world.model.truth.forget();
        }
        let description = format!("{:?}", world.setup.config);
        world.say(|| description);
        let start = world.chance.u64(..100_000);
        world.advance(start);
        world
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now}: {}", what()));
        }
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now += ms;
        self.wire.now = self.now;
        self.model.set_now(self.now);
        self.wall_s += ms / 1_000;
        self.engine.set_now(Time(self.now), self.wall_s);
        self.engine.gauges().load_permille = (self.now % 1_000) as u32;
    }

    pub(crate) fn client(&mut self, index: u32) -> &mut Client {
        self.clients[index as usize]
            .as_mut()
            .expect("an open connection")
    }

    /// Open connections for which `wanted` holds.
    pub(crate) fn indexes(&self, wanted: impl Fn(&Client) -> bool) -> Vec<u32> {
        let all = self.clients.iter().flatten();
        all.filter(|client| wanted(client))
            .map(|client| client.id.index)
            .collect()
    }

    pub(crate) fn state(&self, index: u32) -> State {
        let client = self.clients[index as usize].as_ref();
        let state = client.and_then(|client| self.engine.state(client.id));
        state.unwrap_or(State::Gone)
    }

    pub(crate) fn is_blocked(&self, index: u32) -> bool {
        !self.wire.sockets[index as usize].rest.is_empty()
    }

    /// What is to be done after every call: the model first, then the clients.
    pub(crate) fn after(&mut self) {
        self.watch_history();
        let dirty: Vec<u32> = std::iter::from_fn(|| self.wire.next_dirty()).collect();
        for &index in &dirty {
            self.tap(index);
        }
        let head = self.engine.hub().head().0;
        ensure!(
            self.model.head() == head,
            Invented,
            "the newest message is {head}, and {} were accepted",
            self.model.head()
        );
        for &index in &dirty {
            self.observe(index);
        }
        for &index in &dirty {
            self.hear(index);
        }
        let hub = self.engine.hub().meter();
        let over = hub.used().saturating_sub(hub.limit()) as u64;
        self.tally.over_history = self.tally.over_history.max(over);
        let over = self.engine.buffered_bytes() as u64;
        let over = over.saturating_sub(self.setup.config.max_buffer_bytes as u64);
        self.tally.over_buffers = self.tally.over_buffers.max(over);
    }

    /// Tells the model what history keeps and has dropped.
    pub(crate) fn watch_history(&mut self) {
        let hub = self.engine.hub();
        for (channel, name) in self.setup.names.iter().enumerate() {
            let found = hub.find(name);
            let (oldest, lost) = match found {
                Some(found) => {
                    let found = hub.channel(found);
                    (found.oldest(), found.lost())
                }
                None => (None, hub.lost(name)),
            };
            let oldest = oldest.map(|oldest| oldest.0);
            self.model.truth.observe(channel as u32, oldest, lost.0);
            if self.known[channel] && found.is_none() {
                self.model.truth.forget();
            }
            self.known[channel] = found.is_some();
        }
    }

    fn tap(&mut self, index: u32) {
        let bytes = std::mem::take(&mut self.wire.socket(index).offered);
        if self.clients[index as usize].is_none() {
            return;
        }
        for answer in self.client(index).tap(&bytes) {
            self.check_empty(index, &answer);
            self.answered(index, &answer);
        }
    }

    /// The engine answered a request, though the client may not know yet.
    fn answered(&mut self, index: u32, answer: &Answer) {
        let kind = &mut self.client(index).requests[answer.place].kind;
        if matches!(kind, Kind::Receive(_)) {
            return;
        }
        let body = || serde_json::from_slice::<serde_json::Value>(&answer.body).expect("JSON");
        match (std::mem::replace(kind, Kind::Other), answer.status) {
            (Kind::Publish(said, key), 200) => self.accepted(&body(), &said, key.as_deref()),
            (Kind::Batch(lines), 200) => {
                let body = body();
                let published = body["published"].as_array().expect("a list");
                ensure!(
                    published.len() == lines.len(),
                    TornBatch,
                    "{} of {} lines were published",
                    published.len(),
                    lines.len()
                );
                for (published, said) in published.iter().zip(&lines) {
                    self.accepted(published, said, None);
                }
            }
            (Kind::Delete(channel), 204) => {
                self.model.delete(channel);
                self.tally.deletes += 1;
            }
            _ => {}
        }
    }

    fn accepted(&mut self, published: &serde_json::Value, said: &Said, key: Option<&str>) {
        let id = published["id"].as_str().expect("an id");
        ensure!(
            published["channel"] == self.setup.names[said.channel],
            Misrouted,
            "{published} is an answer of another channel"
        );
        ensure!(
            published["subscribers"].is_u64(),
            Nonsense,
            "no subscribers in {published}"
        );
        self.accepted_as(self.model.parse(id).seq, said, key);
    }

    /// A publisher was told that its message has this number.
    pub(crate) fn accepted_as(&mut self, seq: u64, said: &Said, key: Option<&str>) {
        let first = key.and_then(|key| self.model.key(said.channel, key));
        if seq <= self.model.head() {
            ensure!(
                first == Some(seq),
                OneIdForTwo,
                "the answer is {seq}, and the key is that of {first:?}"
            );
            self.tally.retries += 1;
            return;
        }
        if let Some(first) = first {
            ensure!(
                self.model.is_gone(said.channel, first),
                PublishedTwice,
                "{first} and {seq} have one key, and the first is in history"
            );
        }
        self.tally.messages += 1;
        self.model.accept(seq, said.clone());
        if let Some(key) = key {
            self.model.set_key(said.channel, key, seq);
        }
    }

    /// Notes that a request was parked.
    pub(crate) fn observe(&mut self, index: u32) {
        let state = self.state(index);
        if !matches!(state, State::Held | State::Streaming) {
            return;
        }
        let blocks = self.wire.sockets[index as usize].blocks;
        let is_writable = !self.is_blocked(index);
        let client = self.clients[index as usize].as_mut();
        let client = client.expect("parked is open");
        let receive = client.parked();
        let receive = receive.expect("only a request to receive is parked");
        if receive.session.parked.is_some() {
            return;
        }
        let hub = self.engine.hub();
        let is_empty = |&channel: &usize| {
            let known = hub.find(&self.setup.names[channel]);
            known.is_none_or(|known| hub.channel(known).tip().0 == 0)
        };
        let (head, is_held) = (self.model.head(), state == State::Held);
        receive.session.parked = Some(ParkedAt {
            at: self.now,
            head,
            // One whose opening is not taken whole is blocked from the start.
            blocks: if is_writable { blocks } else { u64::MAX },
        });
        let parked = Event::Parked(Parked {
            head: self.model.id(head),
            is_held,
            is_writable,
            is_empty: receive.session.channels.iter().all(is_empty),
        });
        let (model, tally) = (&mut self.model, &mut self.tally);
        receive.session.record(parked, model, tally);
        tally.held += u64::from(is_held);
        tally.early += u64::from(is_held && receive.early);
    }

    /// The client reads what arrived.
    fn hear(&mut self, index: u32) {
        let socket = &mut self.wire.sockets[index as usize];
        let bytes = std::mem::take(&mut socket.taken);
        let (blocks, shut, now) = (socket.blocks, socket.shut, self.now);
        let Some(client) = &mut self.clients[index as usize] else {
            return;
        };
        let mut desk = Desk {
            model: &mut self.model,
            tally: &mut self.tally,
            config: &self.setup.config,
            blocks,
        };
        if !bytes.is_empty() {
            client.heard_at = now;
            client.receive(&bytes, &mut desk);
        }
        if shut {
            client.finish(&mut desk);
        }
        for request in &client.requests {
            if let Kind::Receive(receive) = &request.kind {
                // The cursor of the request answered last is the one it comes back with.
                let follower = &mut self.followers[receive.follower];
                follower.cursor = receive.session.cursor().or(follower.cursor);
            }
        }
    }

    /// Closes the sockets that the engine gives up; how many.
    pub(crate) fn close(&mut self, budget: usize) -> usize {
        for done in 0..budget {
            let Some(index) = self.engine.next_close() else {
                return done;
            };
            self.closed(index);
        }
        budget
    }

    fn closed(&mut self, index: u32) {
        let client = self.clients[index as usize].take().expect("closed twice");
        let socket = self.wire.socket(index);
        socket.open = false;
        // Where there is no room for what a client sends, it may be cut off.
        let is_cut = self.engine.stats().ends(CloseReason::NoRoom) > 0;
        let in_trouble =
            socket.blocks > 0 || socket.failed || client.broken || client.fin || is_cut;
        let (shut, was_silent) = (socket.shut, socket.was_silent);
        self.say(|| format!("{index} closed"));
        if in_trouble || shut {
            return;
        }
        let client_is_stray = client.decoder.is_some();
        assert!(
            client.is_between() || client_is_stray,
            "closed in the middle of an answer"
        );
        let owed = client
            .requests
            .get(client.answered)
            .is_some_and(|r| client.read >= r.end);
        assert!(
            !owed || client.said_close || client_is_stray,
            "closed with a request unanswered"
        );
        let asked = client.requests[..client.answered]
            .last()
            .map_or(0, |r| r.end);
        if client.said_close || client_is_stray || client.read > asked || self.engine.is_draining()
        {
            return;
        }
        let config = &self.setup.config;
        let patience = match client.answered {
            0 => config.head_timeout,
            _ => config.idle_timeout,
        };
        assert!(
            self.now >= client.heard_at + millis(patience),
            "closed before its time"
        );
        assert!(
            was_silent,
            "closed for its silence, and what it said was not read"
        );
    }

    /// How many connections are parked on a channel.
    pub(crate) fn audience(&mut self, channel: usize) -> u32 {
        let mut count = 0;
        for index in self.indexes(|_| true) {
            if matches!(self.state(index), State::Held | State::Streaming) {
                let parked = self.client(index).parked().expect("parked");
                count += u32::from(parked.session.channels.contains(&channel));
            }
        }
        count
    }

    /// Gives the engine bytes that arrived, one read's worth.
    pub(crate) fn read(&mut self, index: u32, most: usize) {
        let id = self.client(index).id;
        let wants = self.engine.wants_input(id);
        let client = self.client(index);
        if !wants {
            client.unread = false;
            return;
        }
        let length = client.kernel.len().min(most);
        let bytes: Vec<u8> = client.kernel.drain(..length).collect();
        client.read += length as u64;
        client.unread = !client.kernel.is_empty() || client.fin;
        if !bytes.is_empty() {
            self.say(|| format!("{index} reads {:?}", lossy(&bytes)));
            self.engine.input(id, &bytes, &mut self.wire);
        } else if client.fin && !client.fin_told {
            client.fin_told = true;
            client.unread = false;
            self.say(|| format!("{index} reads the end"));
            self.engine.eof(id, &mut self.wire);
        } else {
            client.unread = false;
        }
        self.after_of(index);
    }

    /// As [`World::after`], with a look at a connection that may have been parked in silence.
    fn after_of(&mut self, index: u32) {
        self.after_tap(index);
        self.after();
    }

    fn after_tap(&mut self, index: u32) {
        self.watch_history();
        self.tap(index);
        // Deliveries cannot have come between.
        if self.model.head() == self.engine.hub().head().0 {
            self.observe(index);
        }
    }

    /// The socket takes more.
    pub(crate) fn writable(&mut self, index: u32) {
        let id = self.client(index).id;
        let wanted = self.engine.wants_input(id);
        self.say(|| format!("{index} is writable"));
        self.engine.writable(id, &mut self.wire);
        let wants = self.engine.wants_input(id);
        self.client(index).unread |= !wanted && wants;
        self.after_of(index);
    }

    /// Goes on with requests left to serve; whether there were.
    pub(crate) fn again(&mut self) -> bool {
        let Some(id) = self.engine.next_deferred() else {
            return false;
        };
        self.say(|| format!("{} goes on", id.index));
        self.engine.resume(id, &mut self.wire);
        self.wants_again(id);
        self.after_of(id.index);
        true
    }

    fn wants_again(&mut self, id: ConnId) {
        if self.engine.wants_input(id) {
            self.client(id.index).unread = true;
        }
    }

    pub(crate) fn list_on(&mut self) {
        if let Some(id) = self.engine.continue_deferred(&mut self.wire) {
            self.wants_again(id);
            self.after_of(id.index);
        }
    }

    pub(crate) fn deliver(&mut self, budget: usize) {
        self.say(|| format!("deliver {budget}"));
        self.engine.deliver(budget, &mut self.wire);
        self.after();
    }

    pub(crate) fn expire(&mut self, budget: usize) {
        self.say(|| format!("expire {budget}"));
        for index in self.indexes(|_| true) {
            let has_unread = !self.client(index).kernel.is_empty();
            self.wire.socket(index).has_unread = has_unread;
        }
        self.engine.expire(budget, &mut self.wire);
        self.after();
    }

    /// Where a follower begins, and what the server makes of it.
    pub(crate) fn since(&mut self, follower: usize) -> (Since, Option<String>) {
        let (head, epoch) = (self.model.head(), self.epoch.clone());
        let cursor = self.followers[follower].cursor;
        if self.setup.polls && self.chance.u8(..4) > 0 {
            return (
                Since::After(self.model.id(head)),
                Some(format!("{epoch}-{head}")),
            );
        }
        if self.setup.earliest && self.chance.bool() {
            return (Since::Earliest, Some("earliest".into()));
        }
        match (self.chance.u8(..20), cursor) {
            (0, _) => (Since::Earliest, Some("earliest".into())),
            (1, _) => (Since::Now, Some("now".into())),
            (2, _) => (
                Since::Unknown,
                Some(match self.chance.bool() {
                    true => Id::UNKNOWN.to_string(),
                    false => format!("other{}-5", self.chance.u8(..9)),
                }),
            ),
            (3, _) => {
                // By the time it arrives, the server may have got there.
                let far = head + 1_000_000;
                (Since::Unknown, Some(format!("{epoch}-{far}")))
            }
            (4, _) if head > 0 => {
                let seq = self.chance.u64(..=head);
                (
                    Since::After(self.model.id(seq)),
                    Some(format!("{epoch}-{seq}")),
                )
            }
            (5..8, _) => (
                Since::After(self.model.id(head)),
                Some(format!("{epoch}-{head}")),
            ),
            (_, Some(Id::UNKNOWN)) => (Since::Unknown, Some(Id::UNKNOWN.to_string())),
            (8, _) | (_, None) => (Since::Now, None),
            (_, Some(id)) => (Since::After(id), Some(id.to_string())),
        }
    }
}
