//! When the oldest segment is to go.
//!
//! Owns the bound of the directory: twice `--history-total-bytes`, as it is in force. A segment goes when more is on disk than can hold. Its records that hold are written
//! again, which is paid for by new ones: so it cannot happen over and over while nothing is
//! published.

/// The bytes of history in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryBytes {
    pub(crate) used: u64,
    /// The limit: `--history-total-bytes`, which may change while encke runs.
    pub(crate) max: u64,
}

/// What is known of the directory and of what was written since.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// `--history-total-bytes`, as of the last hand-over.
    max_history_bytes: u64,
    segment_bytes: u64,
    /// The bytes of history in memory, as of the last hand-over.
    history_bytes: u64,
    /// New bytes that were written since they last paid for a removal; see [`USUAL_PRICE`].
    credit: u64,
}

/// A segment may be removed when new bytes were written, as many as this part of its own: a half, or an
/// eighth where the directory is close to its bound.
const USUAL_PRICE: u64 = 2;
const LOW_PRICE: u64 = 8;

impl Plan {
    pub(super) fn new(max_history_bytes: u64, segment_bytes: u64) -> Plan {
        Plan {
            max_history_bytes,
            segment_bytes,
            history_bytes: max_history_bytes,
            credit: 0,
        }
    }

    /// Notes how much history there is, and may be.
    pub(super) fn follow(&mut self, history: HistoryBytes) {
        self.history_bytes = history.used;
        self.max_history_bytes = history.max;
    }

    /// Notes that so many new bytes are written.
    pub(super) fn saved(&mut self, new_bytes: u64) {
        self.credit = self.credit.saturating_add(new_bytes);
    }

    /// New bytes that have paid for nothing yet.
    pub(super) fn credit(&self) -> u64 {
        self.credit
    }

    /// Goes on with what another process had.
    pub(super) fn set_credit(&mut self, credit: u64) {
        self.credit = credit;
    }

    /// Whether so many bytes on disk are too many: writing waits for a segment that is about to go.
    pub(super) fn is_full(&self, bytes: u64) -> bool {
        bytes > 2 * self.max_history_bytes
    }

    /// Whether the oldest segment, of so many bytes, goes now, as there are `total_bytes` on disk.
    pub(super) fn lets_go(&mut self, segment_bytes: u64, total_bytes: u64) -> bool {
        // History has fewer bytes on disk than in memory. What is beyond them costs time at the
        // start.
        let usual = self.history_bytes + self.history_bytes / 4 + 2 * self.segment_bytes;
        let bound = 2 * self.max_history_bytes;
        let price = match () {
            () if total_bytes + 2 * self.segment_bytes > bound => segment_bytes / LOW_PRICE,
            () if total_bytes > usual => segment_bytes / USUAL_PRICE,
            () => return false,
        };
        if self.credit < price {
            return false;
        }
        // Without a limit, the credit of a long time could remove many segments at once.
        self.credit = (self.credit - price).min(2 * self.segment_bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_is_that_of_the_last_hand_over() {
        let mut plan = Plan::new(1_000, 100);
        plan.saved(10_000);
        assert!(!plan.is_full(2_000) && plan.is_full(2_001));
        for max in [5_000, 500] {
            plan.follow(HistoryBytes { used: max, max });
            assert!(!plan.is_full(2 * max) && plan.is_full(2 * max + 1));
            assert!(plan.lets_go(100, 2 * max - 199));
            assert!(!plan.lets_go(100, max));
        }
    }
}
