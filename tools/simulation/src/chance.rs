//! The source of a world's decisions: a seed, or bytes that a fuzzer chose.
//!
//! Owns the one source that everything random in a simulation is drawn from, so that the same
//! source gives the same world. Bytes that were chosen are used up first, one or a few for each
//! draw, low bytes for low results; what they do not decide comes from a generator that they seed.
//! So a fuzzer steers, and an input that ends early still leads to a whole world.

use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use fastrand::Rng;

/// A source of decisions.
#[derive(Clone, Debug)]
pub struct Chance {
    rng: Rng,
    bytes: Vec<u8>,
    /// How many of the bytes are used up.
    used: usize,
}

/// FNV-1a, which tells any two short inputs apart well enough to seed a generator.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Chance {
    /// All from a seed.
    pub fn seeded(seed: u64) -> Chance {
        Chance {
            rng: Rng::with_seed(seed),
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// From these bytes, as far as they go.
    pub fn chosen(bytes: &[u8]) -> Chance {
        Chance {
            rng: Rng::with_seed(hash(bytes)),
            bytes: bytes.to_vec(),
            used: 0,
        }
    }

    /// A number of `0..=most`.
    fn up_to(&mut self, most: u64) -> u64 {
        let needed = (64 - most.leading_zeros()).div_ceil(8) as usize;
        let Some(bytes) = self.bytes.get(self.used..self.used + needed) else {
            return self.rng.u64(..=most);
        };
        self.used += needed;
        let number = bytes
            .iter()
            .fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
        // The bytes as a fraction of one, spread over the numbers there are.
        ((number * (u128::from(most) + 1)) >> (8 * needed)) as u64
    }

    pub(crate) fn u64(&mut self, range: impl RangeBounds<u64>) -> u64 {
        let low = match range.start_bound() {
            Bound::Included(&low) => low,
            Bound::Excluded(&low) => low + 1,
            Bound::Unbounded => 0,
        };
        let high = match range.end_bound() {
            Bound::Included(&high) => high,
            Bound::Excluded(&high) => high.checked_sub(1).expect("a range that is not empty"),
            Bound::Unbounded => u64::MAX,
        };
        assert!(low <= high, "a range that is not empty");
        low + self.up_to(high - low)
    }

    pub(crate) fn usize(&mut self, range: impl RangeBounds<usize>) -> usize {
        let wide = |bound: Bound<&usize>| bound.map(|&number| number as u64);
        self.u64((wide(range.start_bound()), wide(range.end_bound()))) as usize
    }

    pub(crate) fn u8(&mut self, range: impl RangeBounds<u8>) -> u8 {
        let wide = |bound: Bound<&u8>| bound.map(|&number| u64::from(number));
        self.u64((wide(range.start_bound()), wide(range.end_bound()))) as u8
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.up_to(1) == 1
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.usize(..from.len())]
    }

    /// One of these times, in milliseconds.
    pub(crate) fn ms(&mut self, from: &[u64]) -> Duration {
        Duration::from_millis(self.pick(from))
    }

    /// Puts a list into any order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.usize(..=place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_bytes_decide_and_then_their_hash_does() {
        let mut chance = Chance::chosen(&[0, 255, 128, 1, 0, 200]);
        assert_eq!(chance.u8(..100), 0);
        assert_eq!(chance.u64(10..=19), 19);
        assert!(chance.bool());
        assert_eq!(chance.usize(..65_536), 256);
        let mut twin = chance.clone();
        assert_eq!(chance.u64(..), twin.u64(..));
        let mut other = Chance::chosen(&[0, 255, 128, 1, 0, 201]);
        other.used = 6;
        twin.used = 6;
        assert_ne!(twin.u64(..), other.u64(..));
    }

    #[test]
    fn ranges_are_kept_and_filled() {
        for mut chance in [Chance::seeded(1), Chance::chosen(&[])] {
            let mut seen = [0; 5];
            for _ in 0..1_000 {
                seen[chance.usize(..5)] += 1;
                assert!((3..7).contains(&chance.u64(3..7)));
                assert_eq!(chance.u8(9..=9), 9);
            }
            assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
            let mut list = [1, 2, 3, 4, 5];
            chance.shuffle(&mut list);
            list.sort_unstable();
            assert_eq!(list, [1, 2, 3, 4, 5]);
        }
    }
}
