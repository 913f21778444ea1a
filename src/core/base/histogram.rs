//! A histogram with fixed bounds: a few counters, cheap enough for the hot path.
//!
//! Owns counts. The unit of the values and bounds is the caller's.

use serde::{Deserialize, Serialize};

/// Counts of values per bucket. A value belongs to the first bucket whose bound is not below it.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than `bounds`: the last counts values above all bounds.
    counts: Box<[u64]>,
    sum: u64,
}

impl Histogram {
    /// An empty histogram with ascending bounds.
    pub fn new(bounds: &'static [u64]) -> Histogram {
        debug_assert!(bounds.is_sorted_by(|a, b| a < b), "bounds rise");
        Histogram {
            bounds,
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_many(&mut self, value: u64, count: u64) {
        let bucket = self.bounds.iter().position(|&bound| value <= bound);
        self.counts[bucket.unwrap_or(self.bounds.len())] += count;
        self.sum = self.sum.saturating_add(value.saturating_mul(count));
    }

    /// Its frozen form.
    pub fn freeze(&self) -> FrozenHistogram {
        FrozenHistogram {
            counts: self.counts.to_vec(),
            sum: self.sum,
        }
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound of each bucket, and the count of values in it. The last bucket, of values above
    /// all bounds, has the bound `None`.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }
}

/// The frozen form of a [`Histogram`]. Its bounds are those of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenHistogram {
    counts: Vec<u64>,
    sum: u64,
}

impl FrozenHistogram {
    /// The histogram with these bounds; `None` where it is none that can count on.
    pub fn thaw(self, bounds: &'static [u64]) -> Option<Histogram> {
        const MAX_COUNT: u64 = 1 << 62;
        let total = self
            .counts
            .iter()
            .try_fold(0_u64, |total, &count| total.checked_add(count));
        let is_valid = self.counts.len() == bounds.len() + 1 && total? <= MAX_COUNT;
        is_valid.then(|| Histogram {
            bounds,
            counts: self.counts.into(),
            sum: self.sum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_their_bounds() {
        let mut histogram = Histogram::new(&[1, 10]);
        for value in [0, 1, 2, 10, 11, u64::MAX] {
            histogram.record(value);
        }
        histogram.record_many(5, 3);
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(Some(1), 2), (Some(10), 5), (None, 2)]);
        assert_eq!((histogram.count(), histogram.sum()), (9, u64::MAX));
    }

    #[test]
    fn frozen_histogram_comes_back_unless_it_is_another() {
        const BOUNDS: &[u64] = &[1, 10];
        let mut histogram = Histogram::new(BOUNDS);
        histogram.record_many(5, 3);
        let frozen = histogram.freeze();
        let thawed = frozen.clone().thaw(BOUNDS).unwrap();
        assert_eq!(
            (thawed.freeze(), thawed.count(), thawed.sum()),
            (frozen.clone(), 3, 15)
        );
        assert!(frozen.thaw(&[1]).is_none());
        for counts in [vec![u64::MAX, 1, 0], vec![0, 1 << 62, 1]] {
            assert!(FrozenHistogram { counts, sum: 0 }.thaw(BOUNDS).is_none());
        }
    }
}
