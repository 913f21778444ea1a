//! How much of the log the server is to keep.
//!
//! Owns a sum of the bytes and ages of the entries that this node has read, in blocks. It decides
//! from which entry on the log holds; the server removes those before.

use std::collections::VecDeque;

use crate::message::EntryId;

/// How many blocks there are at most, about. A block is removed as a whole.
const BLOCKS: u64 = 256;

/// What an entry takes in the server beside its bytes, about.
const OVERHEAD: u64 = 16;

#[derive(Debug)]
struct Block {
    first: EntryId,
    bytes: u64,
    newest_ms: u64,
    oldest_ms: u64,
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

    /// Notes an entry, and what it says about its time.
    pub(super) fn push(&mut self, id: EntryId, bytes: usize, at_ms: u64) {
        let bytes = bytes as u64 + OVERHEAD;
        self.bytes += bytes;
        let (block_bytes, block_ms) = (self.max_bytes / BLOCKS, self.age_ms / BLOCKS);
        match self.blocks.back_mut() {
            Some(block)
                if block.bytes < block_bytes
                    && at_ms.saturating_sub(block.oldest_ms) <= block_ms =>
            {
                block.bytes += bytes;
                block.newest_ms = block.newest_ms.max(at_ms);
            }
            _ => self.blocks.push_back(Block {
                first: id,
                bytes,
                newest_ms: at_ms,
                oldest_ms: at_ms,
            }),
        }
        // Clocks that differ could make a block of each entry.
        while self.blocks.len() as u64 > 4 * BLOCKS {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.bytes;
        }
    }

    /// The first entry that holds; zero if all do. The newest block always does.
    pub(super) fn keep_from(&mut self, unix_ms: u64) -> EntryId {
        let oldest_ms = unix_ms.saturating_sub(self.age_ms);
        while self.blocks.len() > 1
            && let Some(block) = self.blocks.front()
            && (self.bytes - block.bytes >= self.max_bytes || block.newest_ms < oldest_ms)
        {
            self.drop_oldest();
        }
        self.blocks
            .front()
            .map_or(EntryId::ZERO, |block| block.first)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest entry was written.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.blocks.front().map(|block| block.oldest_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_hold_as_are_asked_for() {
        let mut window = Window::new(25_600, 1_000_000);
        for number in 0..10_000 {
            window.push(EntryId::new(1, number), 84, number);
            let kept = number + 1 - window.keep_from(number).number;
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
            window.push(EntryId::new(1, number), 84, 1_000 * number);
        }
        assert_eq!(window.keep_from(999_000).number, 974);
        assert_eq!(window.keep_from(u64::MAX).number, 999);
        assert_eq!(window.oldest_ms(), Some(999_000));
        // Clocks that jump do not make it grow.
        for number in 1_000..100_000 {
            window.push(EntryId::new(1, number), 84, number * 7_919 % 1_000_003);
        }
        assert!(window.blocks.len() <= 1_024);
    }
}
