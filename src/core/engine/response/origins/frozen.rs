//! The allowed origins in a state that is handed over: connections refer to their places.
//!
//! Owns their form.

use serde::{Deserialize, Serialize};

use super::{CommonOrigin, Origins};
use crate::config::Cors;
use crate::frozen::ThawError;

/// The frozen form of the allowed origins.
#[derive(Serialize, Deserialize)]
pub(in crate::engine) struct FrozenOrigins<'o> {
    is_any: bool,
    #[serde(borrow)]
    places: Vec<Option<&'o str>>,
    former_only: Option<&'o str>,
}

impl<'o> From<&'o Origins> for FrozenOrigins<'o> {
    fn from(origins: &'o Origins) -> FrozenOrigins<'o> {
        FrozenOrigins {
            is_any: origins.is_any,
            // fault: origins-change-places
            places: origins.places.iter().map(Option::as_deref).collect(),
            // As the next change finds it.
            former_only: match origins.common() {
                CommonOrigin::Only(only) => Some(only),
                _ => origins.former_only.as_deref(),
            },
        }
    }
}

/// The origins of a frozen form, after which others are allowed.
pub(in crate::engine::response) fn thaw(
    frozen: FrozenOrigins<'_>,
    cors: &Cors,
) -> Result<Origins, ThawError> {
    if frozen.places.len() > 1 << u16::BITS {
        return Err(ThawError::Damaged("there are more origins than places"));
    }
    let places = frozen.places.iter();
    let mut origins = Origins {
        is_any: frozen.is_any,
        places: places.map(|place| place.map(str::to_owned)).collect(),
        former_only: frozen.former_only.map(str::to_owned),
    };
    origins.replace(cors);
    Ok(origins)
}
