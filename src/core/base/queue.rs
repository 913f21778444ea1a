//! A queue in blocks: it grows and shrinks by a block at a time.
//!
//! Owns the order of its items. A single `VecDeque` copies all its items when it grows, which takes
//! tens of milliseconds for a million of them, and never returns its peak memory.
//!
//! Invariant: no block is empty, except a single one that is kept for the next item.

use std::collections::VecDeque;

/// Items of a block.
const BLOCK: usize = 512;

/// A queue: first in, first out.
#[derive(Debug)]
pub struct Queue<T> {
    blocks: VecDeque<VecDeque<T>>,
}

impl<T> Queue<T> {
    /// An empty queue, which takes no memory.
    pub fn new() -> Queue<T> {
        Queue {
            blocks: VecDeque::new(),
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        let inner = self.blocks.len().saturating_sub(2) * BLOCK;
        let first = self.blocks.front().map_or(0, VecDeque::len);
        let last = match self.blocks.len() {
            0 | 1 => 0,
            _ => self.blocks.back().map_or(0, VecDeque::len),
        };
        first + inner + last
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    /// The first item.
    pub fn front(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    /// The items from first to last.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    /// Adds an item as the last.
    pub fn push_back(&mut self, item: T) {
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => block.push_back(item),
            _ => {
                let mut block = VecDeque::with_capacity(BLOCK);
                block.push_back(item);
                self.blocks.push_back(block);
            }
        }
    }

    /// Removes and returns the first item.
    pub fn pop_front(&mut self) -> Option<T> {
        let block = self.blocks.front_mut()?;
        let item = block.pop_front()?;
        if block.is_empty() && self.blocks.len() > 1 {
            self.blocks.pop_front();
        }
        Some(item)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn queue_is_a_deque(turns in proptest::collection::vec((0..2_000usize, 0..2_000usize), 0..20)) {
            let (mut queue, mut model) = (Queue::new(), VecDeque::new());
            let mut next = 0_u32;
            for (pushed, popped) in turns {
                for _ in 0..pushed {
                    queue.push_back(next);
                    model.push_back(next);
                    next += 1;
                }
                for _ in 0..popped {
                    prop_assert_eq!(queue.pop_front(), model.pop_front());
                }
                prop_assert_eq!(queue.front(), model.front());
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert!(queue.iter().eq(&model));
                prop_assert!(queue.blocks.len() <= model.len() / BLOCK + 2);
            }
        }
    }
}
