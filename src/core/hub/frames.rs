//! Frames of messages that are kept while they may be needed again.
//!
//! Owns a bounded cache: the oldest frames go first, and no message ever goes for a frame, since a
//! frame can be made again. A frame that a blocked reader holds stays counted until it is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::stored::Stored;
use crate::base::meter::Meter;
use crate::message::Seq;

/// The cache.
pub(super) struct FrameCache {
    meter: Arc<Meter>,
    /// Messages that were given a frame, oldest first; some of them are gone since.
    kept: VecDeque<(u32, Seq)>,
}

impl FrameCache {
    pub(super) fn new(max_bytes: usize) -> FrameCache {
        FrameCache {
            meter: Meter::new(max_bytes),
            kept: VecDeque::new(),
        }
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Notes that a message was given a frame, and keeps to the bounds.
    pub(super) fn remember(&mut self, key: u32, seq: Seq, messages: &mut Slab<Stored>) {
        if self.kept.back() != Some(&(key, seq)) {
            self.kept.push_back((key, seq));
        }
        while let Some(&(oldest, at)) = self.kept.front() {
            let is_gone = messages
                .get(oldest as usize)
                .is_none_or(|stored| stored.seq() != at);
            let is_over = !self.meter.has_room(0) && self.kept.len() > 1;
            let is_long = self.kept.len() > 2 * messages.len() + 64;
            if !is_gone && !is_over && !is_long {
                return;
            }
            self.drop_oldest(messages);
        }
    }

    /// Drops cached frames until the meter is below its limit. Returns whether it is.
    pub(super) fn make_room_for_unsent(&mut self, messages: &mut Slab<Stored>) -> bool {
        while !self.meter.has_room(0) && !self.kept.is_empty() {
            self.drop_oldest(messages);
        }
        self.meter.has_room(0)
    }

    /// Moves the limit to `max_bytes`. To lower it, cached frames are dropped within the budget, of
    /// which each message takes 1; raising it takes effect at once.
    pub(super) fn approach_limit(
        &mut self,
        max_bytes: usize,
        budget: &mut usize,
        messages: &mut Slab<Stored>,
    ) {
        let is_over = |cache: &FrameCache| cache.meter.used() > max_bytes && !cache.kept.is_empty();
        while *budget > 0 && is_over(self) {
            self.drop_oldest(messages);
            *budget -= 1;
        }
        match is_over(self) {
            true => drop(self.meter.approach_limit(max_bytes)),
            // The rest is held by readers: none holds more until it is sent.
            false => self.meter.set_limit(max_bytes),
        }
    }

    fn drop_oldest(&mut self, messages: &mut Slab<Stored>) {
        let Some((key, seq)) = self.kept.pop_front() else {
            return;
        };
        if let Some(stored) = messages
            .get_mut(key as usize)
            .filter(|stored| stored.seq() == seq)
        {
            stored.drop_frames();
        }
    }
}
