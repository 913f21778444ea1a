//! What only the hub of a cluster's node has, in its frozen form.

use serde::{Deserialize, Serialize};

use super::super::Hub;
use super::super::losses::Losses;
use crate::frozen::ThawError;
use crate::message::{FrozenTerms, Numbering, Seq};

/// The frozen form of what only the hub of a cluster's node has. No loss of all channels is under
/// way.
#[derive(Serialize, Deserialize)]
pub(super) struct FrozenShared {
    terms: FrozenTerms,
    salt: Option<(u64, u64)>,
    lost_all: Seq,
    awaits_floors: bool,
}

impl Hub {
    pub(super) fn freeze_shared(&self) -> Option<FrozenShared> {
        let (terms, shared) = (self.terms()?, self.shared.as_ref()?);
        debug_assert!(!self.is_losing(), "a loss is under way");
        Some(FrozenShared {
            terms: terms.freeze(),
            salt: self.names.salt(),
            lost_all: shared.lost_all,
            awaits_floors: shared.awaits_floors,
        })
    }

    /// Makes it the hub of a cluster's node, before its floors are read.
    pub(super) fn thaw_shared(&mut self, frozen: FrozenShared) -> Result<(), ThawError> {
        let terms = frozen.terms.thaw()?;
        if terms.entry(self.head).is_none() || frozen.lost_all > self.head {
            return Err(ThawError::Damaged("the hub has applied what is of no term"));
        }
        self.numbering = Numbering::Cluster(Box::new(terms));
        self.shared = Some(Box::new(Losses {
            lost_all: frozen.lost_all,
            awaits_floors: frozen.awaits_floors,
            losing_from: None,
            losing: None,
        }));
        if let Some(salt) = frozen.salt {
            self.names.set_salt(salt);
        }
        Ok(())
    }
}
