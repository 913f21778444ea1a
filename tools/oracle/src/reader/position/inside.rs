//! Rules that only a simulation can check, which sees when a request is parked, when a connection
//! blocks, and what history has dropped.

use super::{Pinned, Position, Start};
use crate::case::Case;
use crate::finding::Kind;
use crate::id::Id;
use crate::log::Parked;

impl Position {
    /// The server has parked the request.
    pub(in crate::reader) fn parked(&mut self, case: &mut Case<'_>, parked: &Parked) {
        let head = parked.head;
        if parked.is_held {
            // A hold is owed nothing, and so has everything.
            if std::mem::take(&mut self.is_gap_due) {
                case.report(Kind::Concealed, "a gap is due, and it is held");
            }
            match self.place {
                Some(place) => drop(self.pass(case, place, head.seq.saturating_add(1), false)),
                None if self.is_fresh => {
                    let start = Id { seq: 0, ..head };
                    self.pass(case, start, head.seq.saturating_add(1), false);
                }
                None => {}
            }
            self.must_be_told_of_all(case);
            self.place = Some(head);
            self.start = Start::After;
            self.is_fresh = false;
        } else if matches!(self.start, Start::Now { .. }) {
            self.place = self.place.or(Some(head));
        }
        if parked.is_writable && parked.is_empty {
            self.fresh_until = self.fresh_until.min(head.seq);
        }
        self.pinned = None;
        if parked.is_writable {
            let from = self.place.map_or(0, |place| place.seq);
            let channels = self.channels.iter().map(|each| each.channel);
            self.pinned = Pinned::new(case, from, channels);
        }
    }

    /// The connection did not take everything: history may drop what it is owed.
    pub(in crate::reader) fn blocked(&mut self) {
        self.pinned = None;
    }

    /// The server has done all it can do, so the client has everything up to the head.
    pub(in crate::reader) fn settled(&mut self, case: &mut Case<'_>, head: Id) {
        self.fresh_until = self.fresh_until.min(head.seq);
        self.must_be_told_of_all(case);
        let Some(place) = self.place else {
            return case.report(Kind::Undelivered, "a stream has not said its cursor");
        };
        if let Some(owed) = self.owed(case, place) {
            let text = format!("it stands at {place}, and is still owed {owed:?}");
            case.report(Kind::Undelivered, text);
        }
    }
}
