//! Clients of a cluster that are sent back: to before what was lost, or to the beginning of what the
//! other side of a split has.
//!
//! Owns what may come again: after a gap in a split anything, to a client that comes from the other
//! side, and else nothing.

use super::{Position, Start};
use crate::case::Case;
use crate::id::Id;
use crate::order;

impl Position {
    /// A gap comes to a client at a place, and leads to another one. Whether it begins anew there: it is
    /// sent back, as it comes from the other side of a split.
    pub(super) fn begins_anew(&mut self, case: &Case<'_>, place: Option<Id>, to: Id) -> bool {
        let is_anew =
            place.is_some_and(|place| to.seq < place.seq && case.is_of_other_side(place, case.at));
        if is_anew {
            self.back_from = 0;
            self.begin_fresh();
        }
        is_anew
    }

    /// A client that asked for the earliest is told that it begins with a term, and so before all that
    /// was lost since that began: with this cursor it may be told a gap of that, once.
    pub(super) fn note_start(&mut self, case: &Case<'_>, from: Option<Id>, id: Id) {
        let is_earliest = from.is_none() && matches!(self.start, Start::Earliest { .. });
        if is_earliest && order::is_beginning(id.seq) {
            self.told_at = case.truth.last_before(id);
        }
    }

    /// The client is told a cursor before its place.
    pub(super) fn goes_back(&mut self, case: &Case<'_>, from: Id) {
        if case.conditions.cluster.is_some() {
            self.back_from = self.back_from.max(from.seq);
        }
    }
}
