//! How much a node may write into the log that no publisher asked for.
//!
//! Owns the arithmetic. `readers` has the rates.

use crate::base::time::Time;

/// How many bytes of one kind a node may write: counts of readers, or blocked subjects. The size of
/// the log is limited, so such entries take the place of messages. While the log is less than half
/// full they take none. Beyond, all nodes together may write a quarter of what the log can take in
/// its age.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// Bytes that may be told at once; below 0 where more were.
    left: i64,
    /// When that was so.
    at: Time,
}

impl Allowance {
    /// Allows so many bytes more.
    pub(super) fn earn(&mut self, bytes: u64) {
        self.left = self.left.saturating_add_unsigned(bytes);
    }

    /// Spends bytes, and returns when more may be told.
    pub(super) fn spend(&mut self, bytes: u64, bytes_per_s: u64, burst: u64, now: Time) -> Time {
        let earned = now.since_ms(self.at).saturating_mul(bytes_per_s) / 1_000;
        let burst = i64::try_from(burst).unwrap_or(i64::MAX);
        let left = self.left.saturating_add_unsigned(earned).min(burst);
        self.left = left.saturating_sub_unsigned(bytes);
        self.at = now;
        self.due(bytes_per_s)
    }

    /// When more may be told.
    pub(super) fn due(&self, bytes_per_s: u64) -> Time {
        let owed = self.left.min(0).unsigned_abs();
        self.at.after_ms(owed.saturating_mul(1_000) / bytes_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowance_is_a_burst_and_a_rate() {
        let mut allowance = Allowance::default();
        let mut spend = |bytes, at| allowance.spend(bytes, 100, 1_000, Time(at)).0;
        // It begins with nothing, and has its burst after a while.
        assert_eq!(spend(100, 0), 1_000);
        assert_eq!(spend(0, 1_000), 1_000);
        assert_eq!(spend(1_000, 60_000), 60_000);
        assert_eq!(spend(50, 60_000), 60_500);
        assert_eq!(spend(50, 60_500), 61_000);
        allowance.earn(100);
        assert_eq!(allowance.due(100), Time(60_500));
        assert!(allowance.spend(u64::MAX, 100, 1_000, Time(61_000)).0 > 1 << 40);
    }
}
