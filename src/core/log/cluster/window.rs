//! The part of the log that the server is to keep.
//!
//! Owns a sum of the bytes of the entries that this node has read, in blocks, and when it read
//! them. It decides from which entry on the log holds; the server removes those before. Ages are
//! counted from the reading, by the node's own clock that never steps: with the clocks of others,
//! one that is wrong would empty the log.

mod frozen;

use std::collections::VecDeque;

use crate::base::time::Time;
use crate::message::EntryId;

/// How many blocks there are at most, about. A block is removed as a whole.
const BLOCKS: u64 = 256;

/// The approximate memory of an entry in the server beside its bytes.
const OVERHEAD: u64 = 16;

#[derive(Debug)]
struct Block {
    first: EntryId,
    bytes: u64,
    newest: Time,
    oldest: Time,
}

/// The entries of the log that hold.
#[derive(Debug)]
pub(super) struct Window {
    blocks: VecDeque<Block>,
    bytes: u64,
    max_bytes: u64,
    age_ms: u64,
}

impl Window {
    pub(super) fn new(max_bytes: u64, age_ms: u64) -> Window {
        Window {
            blocks: VecDeque::new(),
            bytes: 0,
            max_bytes,
            age_ms,
        }
    }

    /// Notes an entry that was read now.
    pub(super) fn push(&mut self, id: EntryId, bytes: usize, now: Time) {
        let bytes = bytes as u64 + OVERHEAD;
        self.bytes += bytes;
        let (block_bytes, block_ms) = (self.max_bytes / BLOCKS, self.age_ms / BLOCKS);
        match self.blocks.back_mut() {
            Some(block) if block.bytes < block_bytes && now.since_ms(block.oldest) <= block_ms => {
                block.bytes += bytes;
                block.newest = now;
            }
            _ => self.blocks.push_back(Block {
                first: id,
                bytes,
                newest: now,
                oldest: now,
            }),
        }
        // What does not hold is dropped also where nothing is appended.
        self.keep_from(now);
    }

    /// The first entry that holds; zero if all do. The newest block always does.
    pub(super) fn keep_from(&mut self, now: Time) -> EntryId {
        while self.blocks.len() > 1
            && let Some(block) = self.blocks.front()
            && (self.bytes - block.bytes >= self.max_bytes
                || now.since_ms(block.newest) > self.age_ms)
        {
            self.bytes -= block.bytes;
            self.blocks.pop_front();
        }
        self.blocks
            .front()
            .map_or(EntryId::ZERO, |block| block.first)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest entry was read.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.blocks.front().map(|block| block.oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_hold_as_are_asked_for() {
        let mut window = Window::new(25_600, 1_000_000);
        for number in 0..10_000 {
            window.push(EntryId::new(1, number), 84, Time(number));
            let kept = number + 1 - window.keep_from(Time(number)).number;
            let expected = (number + 1).min(256);
            assert!(
                (expected..=expected + 1).contains(&kept),
                "{number}: {kept}"
            );
        }
        assert!((25_600..25_800).contains(&window.bytes()));
    }

    #[test]
    fn old_entries_do_not_hold() {
        let mut window = Window::new(1 << 30, 25_600);
        for number in 0..1_000 {
            window.push(EntryId::new(1, number), 84, Time(1_000 * number));
        }
        assert_eq!(window.keep_from(Time(999_000)).number, 974);
        assert_eq!(window.keep_from(Time(u64::MAX)).number, 999);
        assert_eq!(window.oldest(), Some(Time(999_000)));
    }

    #[test]
    fn blocks_have_a_bound() {
        let mut window = Window::new(1 << 20, 600_000);
        for number in 0..100_000 {
            window.push(
                EntryId::new(1, number),
                number as usize % 50_000,
                Time(number * 97),
            );
            assert!(window.blocks.len() <= 1_024, "{number}");
        }
    }
}
