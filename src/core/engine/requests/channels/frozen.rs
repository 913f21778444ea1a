//! A listing of channels that is under way, in a state that is handed over.
//!
//! Owns its form.

use serde::{Deserialize, Serialize};

use super::{Listing, MAX_LIMIT};
use crate::frozen::ThawError;

/// The frozen form of a [`Listing`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine::requests) struct FrozenListing<'l> {
    prefix: &'l str,
    after: Option<&'l str>,
    limit: u16,
    slot: u32,
    #[serde(borrow)]
    found: Vec<&'l str>,
}

impl<'l> From<&'l Listing> for FrozenListing<'l> {
    fn from(listing: &'l Listing) -> FrozenListing<'l> {
        FrozenListing {
            prefix: &listing.prefix,
            after: listing.after.as_deref(),
            limit: listing.limit as u16,
            slot: listing.slot as u32,
            found: listing.found.iter().map(|name| &**name).collect(),
        }
    }
}

impl TryFrom<FrozenListing<'_>> for Listing {
    type Error = ThawError;

    fn try_from(frozen: FrozenListing<'_>) -> Result<Listing, ThawError> {
        let limit = usize::from(frozen.limit);
        let is_sorted = frozen.found.is_sorted_by(|before, name| before < name);
        if !(1..=MAX_LIMIT).contains(&limit) || frozen.found.len() > limit + 1 || !is_sorted {
            return Err(ThawError::Damaged(
                "a listing has found what it cannot have",
            ));
        }
        Ok(Listing {
            prefix: frozen.prefix.to_owned(),
            after: frozen.after.map(str::to_owned),
            limit,
            slot: frozen.slot as usize,
            found: frozen.found.into_iter().map(Box::from).collect(),
        })
    }
}

const _: () = assert!(MAX_LIMIT <= u16::MAX as usize);
