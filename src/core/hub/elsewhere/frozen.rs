//! What is known of readers on other nodes, in a state that is handed over.
//!
//! Owns its form. A sweep that is under way is over in what is written: what it would still remove
//! is left out. Slots whose channel was forgotten are left out too, as the process that goes on
//! tells all its channels again.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Elsewhere, Entry, MAX_NODES, Told, table};
use crate::frozen::{self, Freezer, ThawError, Thawer};

const ELSEWHERE: ThawError = ThawError::Damaged("the readers on other nodes are not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    nodes: Vec<u64>,
    #[serde(deserialize_with = "frozen::count")]
    uncounted: u64,
}

/// The frozen form of an [`Entry`].
#[derive(Serialize, Deserialize)]
struct FrozenEntry {
    key: u64,
    readers: u32,
    round: u8,
}

impl Elsewhere {
    /// Writes its state.
    ///
    /// # Errors
    ///
    /// It could not be written.
    pub(in crate::hub) fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put(&Head {
            nodes: self.nodes.keys().copied().collect(),
            uncounted: self.uncounted,
        })?;
        for (node, told) in &self.nodes {
            let sweep = self.sweep.filter(|sweep| sweep.node == *node);
            let holds = |entry: &&Entry| sweep.is_none_or(|sweep| sweep.round == entry.round);
            state.put_all(told.tables.iter().flat_map(|table| {
                // The order in a table depends on its past.
                let mut entries: Vec<&Entry> = table.iter().filter(holds).collect();
                entries.sort_unstable_by_key(|entry| entry.key);
                entries.into_iter().map(|entry| FrozenEntry {
                    key: entry.key,
                    readers: entry.readers,
                    round: entry.round,
                })
            }))?;
        }
        Ok(())
    }

    /// Reads what [`Elsewhere::freeze`] wrote, with room for so many channels. Those beyond are not
    /// counted.
    ///
    /// # Errors
    ///
    /// See [`ThawError`].
    pub(in crate::hub) fn thaw<R: Read>(
        max_channels: usize,
        state: &mut Thawer<R>,
    ) -> Result<Elsewhere, ThawError> {
        let Head { nodes, uncounted } = state.take()?;
        if nodes.len() > MAX_NODES || !nodes.is_sorted_by(|one, next| one < next) {
            return Err(ELSEWHERE);
        }
        let mut elsewhere = Elsewhere {
            uncounted,
            ..Elsewhere::new(max_channels)
        };
        for node in nodes {
            let mut told = Told::default();
            let mut last = None;
            let mut values = state.take_all();
            while let Some(FrozenEntry {
                key,
                readers,
                round,
            }) = values.take()?
            {
                let place = Some((table(key), key));
                if readers == 0 || place <= last {
                    return Err(ELSEWHERE);
                }
                last = place;
                let entry = Entry {
                    key,
                    readers,
                    round,
                };
                let has_room = elsewhere.channels + told.channels < max_channels;
                elsewhere.uncounted += u64::from(!told.set(entry, has_room));
            }
            elsewhere.channels += told.channels;
            elsewhere.nodes.insert(node, told);
        }
        Ok(elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::TABLES;
    use super::*;
    use crate::frozen::damage::{damage, damaged};

    fn frozen(elsewhere: &Elsewhere) -> Vec<u8> {
        let mut freezer = Freezer::new(Vec::new());
        elsewhere.freeze(&mut freezer).unwrap();
        freezer.into_inner()
    }

    fn thawed(state: &[u8], max_channels: usize) -> Result<Elsewhere, ThawError> {
        let mut thawer = Thawer::new(state);
        let elsewhere = Elsewhere::thaw(max_channels, &mut thawer)?;
        thawer.finish()?;
        let counted = elsewhere.nodes.values().map(|told| told.channels);
        assert_eq!(counted.sum::<usize>(), elsewhere.channels);
        Ok(elsewhere)
    }

    /// Keys of several tables, in no order.
    fn keys(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn told() -> Elsewhere {
        let mut elsewhere = Elsewhere::new(700);
        let counts = |readers| keys(300).map(move |key| (key, readers)).collect::<Vec<_>>();
        elsewhere.set(4, 255, true, &counts(2));
        elsewhere.set(u64::MAX, 7, false, &counts(5));
        elsewhere.set(0, 1, false, &counts(1));
        elsewhere
    }

    #[test]
    fn all_that_was_told_goes_along_and_is_the_same_when_frozen_again() {
        let elsewhere = told();
        assert_eq!((elsewhere.channels, elsewhere.uncounted), (700, 200));
        let state = frozen(&elsewhere);
        let again = thawed(&state, 700).unwrap();
        assert_eq!((again.channels, again.uncounted), (700, 200));
        for key in keys(301) {
            assert_eq!(again.readers(key), elsewhere.readers(key));
        }
        assert!(frozen(&again) == state);
        // With less room, the rest is not counted.
        let less = thawed(&state, 350).unwrap();
        assert_eq!((less.channels, less.uncounted), (350, 550));
    }

    #[test]
    fn sweep_under_way_is_over_in_what_goes_along() {
        let mut elsewhere = told();
        let again: Vec<_> = keys(10).map(|key| (key, 3)).collect();
        elsewhere.set(4, 0, true, &again);
        (0..3).for_each(|_| elsewhere.continue_sweeping());
        assert!(elsewhere.is_sweeping() && elsewhere.channels > 410);
        let state = frozen(&elsewhere);
        let thawed = thawed(&state, 700).unwrap();
        assert!(!thawed.is_sweeping());
        while elsewhere.is_sweeping() {
            elsewhere.continue_sweeping();
        }
        assert_eq!(thawed.channels, 410);
        assert_eq!(elsewhere.channels, 410);
        assert!(frozen(&thawed) == state && frozen(&elsewhere) == state);
    }

    #[test]
    fn too_many_nodes_and_what_cannot_be_are_refused() {
        let state_of = |nodes: Vec<u64>, entries: &[(u64, u32, u8)]| {
            let mut freezer = Freezer::new(Vec::new());
            let head = Head {
                nodes: nodes.clone(),
                uncounted: 0,
            };
            freezer.put(&head).unwrap();
            nodes.iter().for_each(|_| freezer.put_all(entries).unwrap());
            freezer.into_inner()
        };
        let is_valid = |nodes: Vec<u64>, entries: &[(u64, u32, u8)]| {
            thawed(&state_of(nodes, entries), 1_000).is_ok()
        };
        let most = MAX_NODES as u64;
        assert!(is_valid((0..most).collect(), &[(1, 1, 0)]));
        assert!(!is_valid((0..=most).collect(), &[]));
        assert!(!is_valid(vec![2, 2], &[]));
        assert!(!is_valid(vec![1], &[(1, 0, 0)]));
        assert!(!is_valid(vec![1], &[(1, 1, 0), (1, 2, 0)]));
        assert!(!is_valid(vec![1], &[(1 << 32, 1, 0), (0, 1, 0)]));
        assert!(is_valid(vec![1], &[(0, 1, 0), (1 << 32, 1, 0)]));
    }

    proptest! {
        #[test]
        fn damaged_state_is_refused_or_holds_together(
            damages in proptest::collection::vec(damage(), 1..4),
        ) {
            let state = frozen(&told());
            if let Ok(mut elsewhere) = thawed(&damaged(&state, 0, damages.clone()), 700) {
                prop_assert!(elsewhere.channels <= 700);
                elsewhere.set(4, 9, true, &[(1, 1)]);
                (0..TABLES).for_each(|_| elsewhere.continue_sweeping());
                for node in elsewhere.nodes.keys().copied().collect::<Vec<_>>() {
                    elsewhere.forget(node);
                }
                prop_assert_eq!(elsewhere.channels, 0);
            }
            let _ = thawed(&damaged(&state, 1, damages), 700);
        }
    }
}
