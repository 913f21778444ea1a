//! Places that clients claim to have come from, of which this node has read nothing yet.
//!
//! Owns since when each was claimed, for clients that this node does not keep waiting: they come
//! back and claim the same. If a beat sent after a claim has come back and the claimed place is still
//! unread, the log did not have it at the claim.

use std::collections::BTreeMap;

use crate::base::time::Time;
use crate::message::EntryId;

/// The most claims that are remembered.
const MAX_CLAIMS: usize = 1_024;

/// For how long, in milliseconds. Beats come back sooner; later the log may have come to the place.
const CLAIM_MS: u64 = 15_000;

/// The places, and since when they are claimed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    since: BTreeMap<EntryId, Time>,
}

impl Claims {
    /// Since when a place is claimed: from now on, if it was not before. Where too many are, a new
    /// one is not remembered, so it will never be older.
    pub(super) fn since(&mut self, place: EntryId, now: Time) -> Time {
        let holds = |since: Time| now.since_ms(since) < CLAIM_MS;
        if let Some(&since) = self.since.get(&place)
            && holds(since)
        {
            return since;
        }
        if self.since.len() >= MAX_CLAIMS {
            self.since.retain(|_, since| holds(*since));
        }
        if self.since.len() < MAX_CLAIMS {
            self.since.insert(place, now);
        }
        now
    }

    /// Forgets a claim.
    pub(super) fn drop(&mut self, place: EntryId) {
        self.since.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_remembered_for_some_time_and_have_a_bound() {
        let mut claims = Claims::default();
        let place = |number| EntryId::new(1, number);
        assert_eq!(claims.since(place(0), Time(5)), Time(5));
        assert_eq!(claims.since(place(0), Time(15_004)), Time(5));
        assert_eq!(claims.since(place(0), Time(15_005)), Time(15_005));
        for number in 1..10_000 {
            assert_eq!(claims.since(place(number), Time(15_006)), Time(15_006));
        }
        assert_eq!(claims.since.len(), MAX_CLAIMS);
        assert_eq!(claims.since(place(9_999), Time(15_007)), Time(15_007));
        assert_eq!(claims.since(place(0), Time(15_007)), Time(15_005));
        // There is room again when they are old.
        claims.since(place(9_999), Time(30_006));
        assert_eq!(claims.since(place(9_999), Time(30_007)), Time(30_006));
    }
}
