//! One server, its sockets, its clients and the model, and the order in which things happen.
//!
//! Owns time and every call of the engine. What is looked at after each call is in `observe`.

use std::collections::VecDeque;
use std::rc::Rc;

use encke_core::base::time::Time;
use encke_core::engine::{ConnId, Engine, State};
use encke_oracle::id::Id;
use encke_oracle::log::Since;

use crate::chance::Chance;
use crate::client::{Client, lossy};
use crate::disk::Disk;
use crate::model::Model;
use crate::rights::{Block, Rights};
use crate::setup::Setup;
use crate::tally::Tally;
use crate::token::Token;
use crate::twins::Twins;
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
    pub(crate) engine: Twins,
    pub(crate) wire: SimWire,
    pub(crate) model: Model,
    pub(crate) clients: Vec<Option<Client>>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) now: u64,
    /// The wall clock, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
    pub(crate) epoch: String,
    pub(crate) tally: Tally,
    pub(crate) published: u64,
    /// Channels that were known at the last look.
    pub(crate) known: Vec<bool>,
    /// The same before the last call that read requests.
    pub(crate) known_before: Vec<bool>,
    /// The rights in force, as a naive reader of the settings sees them.
    pub(crate) rights: Rights,
    /// Changes of rights so far.
    pub(crate) changes: usize,
    /// The changes for which parked connections are to be reviewed, with the rights before each.
    pub(crate) reviews: VecDeque<(usize, Rights)>,
    /// Tokens that are used again.
    pub(crate) tokens: VecDeque<Rc<Token>>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) trace: Option<Vec<String>>,
    /// Where the log is saved; `None`: it is in memory.
    pub(crate) disk: Option<Disk>,
    /// The engine's clock, less that of the world.
    pub(crate) engine_offset: u64,
}

/// When worlds begin, in milliseconds since 1970.
const BEGINNING_MS: u64 = 1_800_000_000_000;

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
            known_before: vec![false; count],
            model: Model::new(&setup.names, engine.hub().epoch().as_str()),
            wire: SimWire::default(),
            clients: Vec::new(),
            now: 0,
            wall_ms: BEGINNING_MS,
            tally: Tally::default(),
            published: 0,
            trace: traced.then(Vec::new),
            rights: Rights::of(&setup.config, setup.keys.clone()),
            changes: 0,
            reviews: VecDeque::new(),
            tokens: VecDeque::new(),
            blocks: Vec::new(),
            chance,
            followers,
            engine: Twins::new(engine),
            setup,
            disk: None,
            engine_offset: 0,
        };
        if world.setup.is_saved {
            world.begin_disk();
        }
        if world.setup.config.max_channels < count {
            // Short of channels, one may be forgotten and made again within one call.
            world.model.truth.forget();
            world.model.is_short_of_channels = true;
        }
        world.begin_policies();
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
        self.wall_ms += ms;
        self.note_wall();
        let now = self.now.wrapping_add(self.engine_offset);
        self.engine.set_now(Time(now), self.wall_ms);
        self.engine.set_load((self.now % 1_000) as u32);
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

    pub(crate) fn is_parked(&self, index: u32) -> bool {
        matches!(self.state(index), State::Held | State::Streaming)
    }

    /// Connections that are parked.
    pub(crate) fn all_parked(&self) -> Vec<u32> {
        self.indexes(|client| self.is_parked(client.id.index))
    }

    pub(crate) fn is_blocked(&self, index: u32) -> bool {
        !self.wire.sockets[index as usize].rest.is_empty()
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

    /// The server is handed over: what is thawed goes on where the engine was frozen.
    pub(crate) fn hand_over(&mut self, is_reload: bool) {
        self.close(usize::MAX);
        self.tally.handed_over += 1;
        let seed = self.chance.u64(..);
        let setup = &self.setup;
        // What is encoded again, and buffers without what they had to spare, count for less.
        let is_wide = setup.config.max_buffer_bytes >= 64 << 20
            && setup.config.history.max_total_bytes >= 256 << 20;
        let beside = is_wide && self.chance.u8(..4) > 0;
        self.engine.hand_over(
            &setup.config,
            setup.max_connections,
            seed,
            is_reload,
            beside,
        );
        self.tally.beside += u64::from(self.engine.are_two());
        self.say(|| format!("handed over, beside: {beside}, anew: {is_reload}"));
        if !is_reload {
            self.after();
        }
    }

    /// Gives the engine bytes that arrived, one read's worth.
    pub(crate) fn read(&mut self, index: u32, most: usize) {
        self.known_before.clone_from(&self.known);
        let id = self.client(index).id;
        let wants = self.engine.wants_input(id);
        let now = self.now;
        let client = self.client(index);
        if !wants {
            client.unread = false;
            return;
        }
        let length = client.kernel.len().min(most);
        let bytes: Vec<u8> = client.kernel.drain(..length).collect();
        client.read += length as u64;
        client.read_at = now;
        client.unread = !client.kernel.is_empty() || client.fin;
        let has_input = !bytes.is_empty();
        // The rest of what a client writes is still on its way: often the rest of a body.
        let is_part = !client.unsent.is_empty() || !client.kernel.is_empty();
        if has_input {
            self.say(|| format!("{index} reads {:?}", lossy(&bytes)));
            self.review_socket(index);
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
        if has_input && is_part && self.chance.u8(..3) == 0 {
            self.hand_over(false);
        }
    }

    /// As [`World::after`], with a look at a connection that may have been parked in silence.
    fn after_of(&mut self, index: u32) {
        self.after_tap(index);
        self.after();
    }

    fn after_tap(&mut self, index: u32) {
        self.learn();
        self.watch_history();
        self.tap(index);
        self.watch_lines(index);
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
        self.known_before.clone_from(&self.known);
        self.review_socket(id.index);
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
        self.review();
        self.engine.serve_deadlines(budget, &mut self.wire);
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
            (9 | 10, _) => {
                let count = self.chance.pick(&[1, 2, 3, 10, 1_000]);
                (Since::Newest(count), Some(format!("-{count}")))
            }
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
            (_, Some(id)) if id.epoch != self.model.id(0).epoch => {
                (Since::Unknown, Some(id.to_string()))
            }
            (_, Some(Id::UNKNOWN)) => (Since::Unknown, Some(Id::UNKNOWN.to_string())),
            (8, _) | (_, None) => (Since::Now, None),
            (_, Some(id)) => (Since::After(id), Some(id.to_string())),
        }
    }
}
