//! The state of the endpoints beside delivery.
//!
//! Owns their settings, the log that they publish to, the live page, and the responses that are
//! under way.

use std::collections::VecDeque;

use super::client::Client;
use super::deferred::DeferredResponse;
use super::kick_queue::Kicks;
use super::page::Page;
use crate::base::meter::Meter;
use crate::config::Config;
use crate::engine::routing::Authorizer;
use crate::hub::Refusal;
use crate::log::Log;
use crate::ws::Decoder;

/// The bytes that a response takes beyond what it repeats of its request, while it waits for the
/// log.
const WAITING_BYTES: usize = 1_024;

/// The state of the endpoints beside delivery.
pub(in crate::engine) struct Requests {
    /// Gives published messages their numbers.
    pub(in crate::engine) log: Log,
    pub(in crate::engine) authorizer: Authorizer,
    /// The live page; `None` where it is not served.
    pub(super) page: Option<Page>,
    pub(super) client: Client,
    /// The decoder of frames, while no connection has it.
    pub(super) decoder: Option<Box<Decoder>>,
    pub(super) max_head_bytes: usize,
    pub(super) max_body_bytes: usize,
    /// Responses that take more than one tick, the one that has waited longest first.
    pub(super) deferred: VecDeque<DeferredResponse>,
    /// In a cluster: connections that are to end.
    pub(super) kicks: Kicks,
}

impl Requests {
    pub(in crate::engine) fn new(config: &Config, log: Log, seed: (u64, u64)) -> Requests {
        Requests {
            log,
            authorizer: Authorizer::new(config, seed),
            page: config.page.then(Page::new),
            client: Client::new(),
            decoder: None,
            max_head_bytes: config.max_head_bytes,
            max_body_bytes: config.max_body_bytes,
            deferred: VecDeque::new(),
            kicks: Kicks::default(),
        }
    }

    /// Takes new settings, but for the rights.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        match config.page {
            true => drop(self.page.get_or_insert_with(Page::new)),
            false => self.page = None,
        }
        self.max_head_bytes = config.max_head_bytes;
        self.max_body_bytes = config.max_body_bytes;
    }

    /// Checks that there is room for a response of `bytes` to wait for the log. In memory none
    /// waits.
    #[inline]
    pub(super) fn check_room_to_wait(
        &mut self,
        buffers: &Meter,
        bytes: usize,
    ) -> Result<(), Refusal> {
        match &mut self.log {
            Log::Memory(_) => Ok(()),
            _ if buffers.has_room(bytes + WAITING_BYTES) => Ok(()),
            Log::Saved(saved) => Err(saved.refuse_busy()),
            Log::Clustered(clustered) => Err(clustered.refuse_busy()),
        }
    }

    /// Whether responses or searches are under way that the next tick continues.
    pub(in crate::engine) fn has_work(&self) -> bool {
        !self.deferred.is_empty() || !self.kicks.searches.is_empty()
    }
}
