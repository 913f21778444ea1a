//! The survey of a node's channels: how many readers each has, for the other nodes.
//!
//! Owns what was told of each slot of the hub's table. It looks at all channels, some in each tick,
//! at most twice a second, and tells where the number has changed. That is dearer than to note each
//! change where it happens, some hundredths of a processor for a million channels; but a
//! server that is no node pays nothing on the way of any reader, a channel whose readers come and go
//! between two looks is told once, and the next pass repairs whatever was told wrongly.

use super::cluster::Node;
use crate::base::time::Time;
use crate::hub::Hub;

/// Milliseconds from the beginning of a pass over all channels to that of the next.
const PASS_MS: u64 = 500;

/// Slots that are looked at in one tick.
const STEP: usize = 8_192;

/// Milliseconds between two steps of a pass.
const STEP_MS: u64 = 2;

/// What was told of the readers here.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The round of what was told; 0: none.
    round: u64,
    /// By slot: how many readers were told, and the key of the channel that had them.
    told: Vec<u32>,
    keys: Vec<u64>,
    /// The next slot of the pass under way.
    next: Option<usize>,
    /// When that began, or the next one begins.
    began: Time,
    due: Time,
}

impl Survey {
    /// Looks at the next channels, if that is due, and tells the node what has changed.
    pub(super) fn advance(&mut self, hub: &mut Hub, node: &mut Node, now: Time) {
        if self.round == 0 && node.readers_round().is_some() {
            // A process before this one may have told something in the present round.
            node.begin_readers_round();
        }
        let Some(round) = node.readers_round() else {
            return;
        };
        if round != self.round {
            *self = Survey {
                round,
                due: now,
                ..Survey::default()
            };
            // What was forgotten before was not told in this round.
            hub.take_vacated();
        }
        if now < self.due || node.room_for_readers() == 0 {
            return;
        }
        let Some(vacated) = hub.take_vacated() else {
            return node.begin_readers_round();
        };
        for slot in vacated {
            // The slot may have another channel now, with as many readers.
            self.tell(slot as usize, 0, hub, node);
        }
        let first = self.next.unwrap_or_else(|| {
            self.began = now;
            0
        });
        let end = hub.slots().min(first + STEP);
        let mut slot = first;
        while slot < end && node.room_for_readers() > 0 {
            self.tell(slot, hub.readers_in(slot), hub, node);
            slot += 1;
        }
        if slot < hub.slots() {
            self.next = Some(slot);
            self.due = now.after_ms(STEP_MS);
        } else {
            self.next = None;
            self.due = self.began.after_ms(PASS_MS).max(now.after_ms(STEP_MS));
            node.end_readers_pass();
        }
    }

    /// Tells how many readers the channel in a slot has, unless that is what was told.
    #[inline]
    fn tell(&mut self, slot: usize, readers: u32, hub: &Hub, node: &mut Node) {
        let told = self.told.get(slot).copied().unwrap_or(0);
        if told == readers {
            return;
        }
        if slot >= self.told.len() {
            self.told.resize(slot + 1, 0);
            self.keys.resize(slot + 1, 0);
        }
        let key = match told {
            0 => hub.reader_key_in(slot).unwrap_or_default(),
            _ => self.keys[slot],
        };
        self.told[slot] = readers;
        self.keys[slot] = key;
        node.tell_readers(key, readers);
    }

    /// When the next channels are looked at.
    pub(super) fn next_due(&self, node: &Node) -> Option<Time> {
        let is_heard = node.readers_round().is_some() && node.room_for_readers() > 0;
        is_heard.then_some(self.due)
    }
}
