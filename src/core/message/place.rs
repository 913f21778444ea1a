//! Places: where a message stands in the log of a cluster, in the eight bytes of a [`Seq`].
//!
//! Owns the packing. The entries of such a log have ids of two numbers, the *term* and the number
//! of the entry, and an entry has several messages. A node gives each term an ordinal, in the order
//! of the log; see [`Terms`](super::Terms). A number that is a place is thus greater than that of
//! every message before it, and one comparison of integers decides, as it does for the numbers of a
//! single server. It never knows which term an ordinal is.
//!
//! ```text
//! 1 | ordinal of the term: 15 bits | entry: 34 bits | part: 14 bits
//! ```
//!
//! Invariant: *a sign test tells.* The highest bit is set in every place, and in no number of a
//! single server, which are below 2^62.

use super::Seq;

const ORDINAL_BITS: u32 = 15;
const ENTRY_BITS: u32 = 34;
const PART_BITS: u32 = 14;
const MARK: u64 = 1 << 63;
const _: () = assert!(1 + ORDINAL_BITS + ENTRY_BITS + PART_BITS == u64::BITS);

/// Where a message stands in the log of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The ordinal of its term, at most [`Place::MAX_ORDINAL`].
    pub ordinal: u16,
    /// The number of its entry in that term, at most [`Place::MAX_ENTRY`].
    pub entry: u64,
    /// Its place within its entry, from 0, at most [`Place::MAX_PART`]. A message that ends its
    /// channel takes two places.
    pub part: u16,
}

impl Place {
    /// The highest ordinal of a term.
    pub const MAX_ORDINAL: u16 = (1 << ORDINAL_BITS) - 1;
    /// The highest number of an entry.
    pub const MAX_ENTRY: u64 = (1 << ENTRY_BITS) - 1;
    /// The highest place within an entry.
    pub const MAX_PART: u16 = (1 << PART_BITS) - 1;

    /// Its number. It is that of another place if one of the three is above its maximum.
    pub fn seq(self) -> Seq {
        debug_assert!(self.ordinal <= Place::MAX_ORDINAL);
        debug_assert!(self.entry <= Place::MAX_ENTRY);
        debug_assert!(self.part <= Place::MAX_PART);
        let ordinal = u64::from(self.ordinal & Place::MAX_ORDINAL) << (ENTRY_BITS + PART_BITS);
        let entry = (self.entry & Place::MAX_ENTRY) << PART_BITS;
        Seq(MARK | ordinal | entry | u64::from(self.part & Place::MAX_PART))
    }
}

impl Seq {
    /// Whether it is a place in the log of a cluster, and not a number of a single server.
    #[inline(always)]
    pub fn is_place(self) -> bool {
        self.0 & MARK != 0
    }

    /// The place that it is; `None` if it is a number of a single server.
    pub fn place(self) -> Option<Place> {
        self.is_place().then_some(Place {
            ordinal: (self.0 >> (ENTRY_BITS + PART_BITS)) as u16 & Place::MAX_ORDINAL,
            entry: self.0 >> PART_BITS & Place::MAX_ENTRY,
            part: self.0 as u16 & Place::MAX_PART,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_place()(
            ordinal in prop_oneof![0..=Place::MAX_ORDINAL, Just(0), Just(Place::MAX_ORDINAL)],
            entry in prop_oneof![0..=Place::MAX_ENTRY, Just(0), Just(Place::MAX_ENTRY)],
            part in prop_oneof![0..=Place::MAX_PART, Just(0), Just(Place::MAX_PART)],
        ) -> Place {
            Place { ordinal, entry, part }
        }
    }

    proptest! {
        #[test]
        fn numbers_of_places_are_ordered_as_the_places(one in any_place(), other in any_place()) {
            prop_assert_eq!(one.seq().place(), Some(one));
            prop_assert_eq!(one.seq().cmp(&other.seq()), one.cmp(&other));
        }

        #[test]
        fn numbers_of_a_single_server_are_below_every_place(
            number in 0..=1_u64 << 62,
            place in any_place(),
        ) {
            prop_assert_eq!(Seq(number).place(), None);
            prop_assert!(Seq(number) < place.seq());
        }
    }
}
