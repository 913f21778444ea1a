//! Stretches of time.

/// A stretch of time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub to: u64,
}

impl Span {
    /// How much of a stretch lies in another, in microseconds.
    pub fn overlap(&self, from: u64, to: u64) -> u64 {
        self.to.min(to).saturating_sub(self.from.max(from))
    }

    /// Whether the two have a moment in common.
    pub fn touches(&self, from: u64, to: u64) -> bool {
        self.from <= to && from <= self.to
    }
}
