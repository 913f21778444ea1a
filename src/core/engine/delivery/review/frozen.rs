//! The review of parked connections in a state that is handed over.
//!
//! Owns its form.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Change, MAX_CHANGES, Review};
use crate::engine::routing::{FrozenRights, Rights};
use crate::frozen::{Freezer, ThawError, Thawer};

#[derive(Serialize, Deserialize)]
struct FrozenChange<'r> {
    #[serde(borrow)]
    earlier: Option<FrozenRights<'r>>,
    next: u32,
}

/// Writes the changes whose review is not over.
pub(in crate::engine::delivery) fn freeze<W: Write>(
    review: &Review,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    state.put(&(review.changes.len() as u8))?;
    for change in &review.changes {
        state.put(&FrozenChange {
            earlier: change.earlier.as_ref().map(FrozenRights::from),
            next: change.next,
        })?;
        let mut parked: Vec<u32> = change.parked.iter().copied().collect();
        parked.sort_unstable();
        state.put_all(parked)?;
    }
    Ok(())
}

/// Reads what [`freeze`] wrote, where there are places for so many connections.
pub(in crate::engine::delivery) fn thaw<R: Read>(
    capacity: u32,
    state: &mut Thawer<R>,
) -> Result<Review, ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("a review is of connections that there are not");
    let count: u8 = state.take()?;
    if usize::from(count) > MAX_CHANGES {
        return Err(DAMAGED);
    }
    let mut changes = VecDeque::new();
    for _ in 0..count {
        let FrozenChange { earlier, next } = state.take()?;
        let earlier = earlier.map(Rights::try_from).transpose()?;
        let mut parked = HashSet::new();
        let mut least = u64::from(next);
        let mut values = state.take_all();
        while let Some(index) = values.take::<u32>()? {
            if u64::from(index) < least {
                return Err(DAMAGED);
            }
            least = u64::from(index) + 1;
            parked.insert(index);
        }
        changes.push_back(Change {
            earlier,
            // There may be fewer places than there were.
            next: next.min(capacity),
            parked,
        });
    }
    Ok(Review { changes })
}
