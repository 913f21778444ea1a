//! How many readers follow a channel, by class.
//!
//! Owns the counts. A class is a number that the caller gave a meaning: the engine counts the
//! readers of each transport apart.

/// How many readers follow a channel, by class.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReaderCounts([u32; ReaderCounts::CLASSES]);

impl ReaderCounts {
    /// How many classes there are. Every channel has a count for each.
    pub const CLASSES: usize = 5;

    /// All readers.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The readers of one class, a number below [`ReaderCounts::CLASSES`].
    pub fn of(&self, class: u8) -> u32 {
        self.0[usize::from(class)]
    }

    pub(super) fn add(&mut self, class: u8) {
        self.0[usize::from(class)] += 1;
    }

    pub(super) fn remove(&mut self, class: u8) {
        self.0[usize::from(class)] -= 1;
    }
}
