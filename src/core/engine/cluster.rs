//! What the reactor calls for a node of a cluster.
//!
//! Owns the receipts of producers. All else is passed on: to the machine of the node, what its
//! connections bring; to delivery, what the log says, and the results of publishers.

use std::collections::VecDeque;

use super::connections::Wire;
use super::{Engine, delivery};
use crate::base::time::Time;
use crate::config::Config;
use crate::engine::connections::Connections;
use crate::engine::delivery::Delivery;
use crate::engine::requests::Requests;
use crate::hub::{Hub, Published, Refusal};
use crate::log::cluster::{Node, Settings, State, Ticket};
use crate::log::{Clustered, Done, Log, Placed};
use crate::message::{ChannelName, Draft};

/// The time at which the engine of a node starts. What the log has is older, and none of it is kept
/// for longer than the 30 days that this is at least.
const START: Time = Time(1 << 32);

/// Producers that wait for their receipts.
#[derive(Default)]
pub(super) struct Receipts {
    /// What was handed to the log, in the order of tickets.
    waiting: VecDeque<(Ticket, ChannelName<'static>)>,
    done: VecDeque<(Ticket, Result<Published, Refusal>)>,
}

impl Receipts {
    /// Takes a ticket that is done, if it is a producer's. Returns whether it was.
    fn take(&mut self, hub: &Hub, done: &Done) -> bool {
        let first = self.waiting.front().filter(|first| first.0 == done.ticket);
        let Some((_, channel)) = first else {
            return false;
        };
        let published = done.result.map(|first| Published {
            id: first.id,
            subscribers: hub.subscribers_at(channel, first.id.seq),
        });
        self.done.push_back((done.ticket, published));
        self.waiting.pop_front();
        true
    }
}

impl Engine {
    /// The engine of a cluster's node, for at most `max_connections`. Its clock starts at
    /// [`Engine::now`]. It is not ready, and publishes nothing, until its connections have brought
    /// the log.
    ///
    /// In each tick, after step 3 of [those of every engine](Engine), the caller
    ///
    /// 1. tells [`Engine::cluster`] what its two connections have brought: [`Node::connected`],
    ///    [`Node::broken`], [`Node::answered`], and [`Node::read`] while [`Node::has_room`];
    /// 2. calls [`Engine::apply_log`];
    /// 3. takes the receipts of producers: [`Engine::next_receipt`];
    /// 4. last of all takes what is to be sent: [`Node::next_command`] until there is none, and then
    ///    [`Node::follows_after`] and [`Node::takes_reset`].
    ///
    /// [`Engine::set_now`] and [`Engine::next_due`] count for the node too.
    pub fn with_cluster(
        config: &Config,
        max_connections: usize,
        seed: u64,
        settings: Settings,
    ) -> Engine {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut draw = || (random.u64(..), random.u64(..));
        let (node, of_node) = (draw(), draw().0);
        let log = Clustered::new(settings, [node.0, node.1, of_node]);
        let patience_ms = log.patience_ms();
        let requests = Requests::new(config, Log::Clustered(Box::new(log)), draw());
        let keys = draw();
        let mut hub = Hub::of_cluster(config, max_connections, keys);
        hub.set_now(START);
        let mut connections = Connections::new(config, max_connections, keys);
        connections.set_now(START);
        let mut delivery = Delivery::new(config, connections, hub, random);
        delivery.publishing.hold_for(patience_ms);
        Engine {
            requests,
            delivery,
            checks_before: 0,
            receipts: Receipts::default(),
        }
    }

    /// The machine of the cluster's node, to be told what its connections bring; `None` where the
    /// server is no node of a cluster.
    pub fn cluster(&mut self) -> Option<&mut Node> {
        self.requests.log.as_clustered().map(Clustered::node_mut)
    }

    /// Applies what the log says, at most `budget` messages and other effects of it, and answers
    /// the publishers of what is applied. Where the budget was spent, [`Engine::has_work`].
    pub fn apply_log(&mut self, mut budget: usize, wire: &mut impl Wire) {
        let Engine {
            requests,
            delivery,
            receipts,
            ..
        } = self;
        let Some(log) = requests.log.as_clustered() else {
            return;
        };
        while let Some(done) = log.next_done(&mut delivery.hub, &mut budget) {
            if !receipts.take(&delivery.hub, &done) {
                delivery::finish(delivery, &done, wire);
            }
        }
        delivery::place_passed(delivery, wire);
        self.debug_check();
    }

    /// Hands a message of a producer to the log of the cluster. Its result is that of
    /// [`Engine::next_receipt`], unless it was published before.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; the message is handed back. One that the log does not take now is to be
    /// sent again, and is not counted as refused.
    pub fn send<'n>(&mut self, message: Draft<'n>) -> Result<Placed, (Refusal, Draft<'n>)> {
        let Engine {
            requests,
            delivery,
            receipts,
            ..
        } = self;
        let Some(log) = requests.log.as_clustered() else {
            return Err((Refusal::LogHalted, message));
        };
        let channel = message.channel.clone().into_owned();
        let placed = log.publish(&mut delivery.hub, message);
        match &placed {
            Ok(Placed::Later { ticket, .. }) => receipts.waiting.push_back((*ticket, channel)),
            Ok(Placed::Now(_)) => {}
            Err((refusal, _)) => requests.log.take_back(refusal),
        }
        placed
    }

    /// The result of a message that [`Engine::send`] handed to the log, in the order of tickets.
    pub fn next_receipt(&mut self) -> Option<(Ticket, Result<Published, Refusal>)> {
        self.receipts.done.pop_front()
    }

    /// Whether the server is a node of a cluster.
    pub fn is_node(&self) -> bool {
        matches!(self.requests.log, Log::Clustered(_))
    }

    /// Sets the time of the node, and what it tells the others.
    #[cold]
    pub(super) fn tick_cluster(&mut self) {
        let (now, unix_ms) = (self.delivery.now(), self.delivery.unix_ms);
        let connections = self.delivery.hub.readers().total().into();
        if let Some(log) = self.requests.log.as_clustered() {
            log.node_mut().set_state(State { connections });
            log.tick(now, unix_ms);
        }
    }
}
