//! One sequence over the epochs of a cluster.
//!
//! The ids of a cluster are ordered by their epochs (terms of its log), then by the numbers of
//! entries, then by the parts of an entry, and this order holds over all nodes. A single server has
//! one sequence an epoch, and the judge is written for that. This module gives each id of a run a
//! number in one sequence ([`align`]), so that the same judge holds for both.
//!
//! Owns the form of these numbers: the place of the term among all terms of the run, from 1, then
//! the entry, then the part. The judge relies on two properties: order is that of the ids, and the
//! parts of one entry are consecutive.

use crate::finding::{Finding, Kind};
use crate::id::{Id, epoch_text};
use crate::log::{Batch, Event, Receipt, Since};
use crate::run::{Logs, Outcome};

/// The terms that ids of a run have, in their order.
#[derive(Debug)]
pub(crate) struct Terms(Vec<u64>);

impl Terms {
    fn of(logs: &mut Logs) -> Terms {
        let mut epochs = Vec::new();
        for_each_id(logs, &mut |id| epochs.push(id.epoch));
        epochs.sort_unstable();
        epochs.dedup();
        epochs.retain(|&epoch| epoch != Id::UNKNOWN.epoch);
        Terms(epochs)
    }

    /// The id in one sequence, if its numbers have room in it.
    fn align(&self, id: Id) -> Option<Id> {
        let place = self.0.binary_search(&id.epoch).ok()? as u64 + 1;
        let term_bits = u64::BITS - Id::ENTRY_BITS - Id::PART_BITS;
        let fits = place >> term_bits == 0
            && id.seq >> Id::ENTRY_BITS == 0
            && u64::from(id.part) >> Id::PART_BITS == 0;
        let entry = place << Id::ENTRY_BITS | id.seq;
        fits.then(|| Id::new(Id::ALIGNED, entry << Id::PART_BITS | u64::from(id.part)))
    }
}

/// Puts all ids of a run into one sequence. Returns what the terms are called in reports, and
/// reports ids that no cluster has.
pub(crate) fn align(logs: &mut Logs, findings: &mut Vec<Finding>) -> Vec<String> {
    let terms = Terms::of(logs);
    for_each_id(logs, &mut |id| {
        if *id == Id::UNKNOWN {
            return;
        }
        match terms.align(*id) {
            Some(aligned) => *id = aligned,
            None => {
                let text = format!("{id} is no id of a cluster");
                findings.push(Finding::of_publish(Kind::Nonsense, text));
            }
        }
    });
    terms.0.iter().map(|&epoch| epoch_text(epoch)).collect()
}

/// The term that an aligned number is of.
pub(crate) fn term_of(seq: u64) -> u64 {
    seq >> (Id::ENTRY_BITS + Id::PART_BITS)
}

/// Whether an aligned number is the beginning of a term, before all its messages.
pub(crate) fn is_beginning(seq: u64) -> bool {
    seq.trailing_zeros() >= Id::ENTRY_BITS + Id::PART_BITS
}

/// Calls `on` with every id of a run.
fn for_each_id(logs: &mut Logs, on: &mut impl FnMut(&mut Id)) {
    for publish in &mut logs.publishes {
        if let Outcome::Accepted(id) = &mut publish.outcome {
            on(id);
        }
        if let Some(id) = &mut publish.again {
            on(id);
        }
    }
    for entry in logs.clients.iter_mut().flatten() {
        for_each_of(&mut entry.event, on);
    }
}

fn for_each_of(event: &mut Event, on: &mut impl FnMut(&mut Id)) {
    match event {
        Event::Asked {
            since: Since::After(id),
            ..
        }
        | Event::Message(Receipt { id, .. })
        | Event::Gap(id)
        | Event::Cursor(id)
        | Event::Closing(Some(id))
        | Event::Settled(id) => on(id),
        Event::Batch(Batch {
            receipts, cursor, ..
        }) => {
            receipts.iter_mut().for_each(|receipt| on(&mut receipt.id));
            on(cursor);
        }
        Event::Parked(parked) => on(&mut parked.head),
        Event::Asked { .. }
        | Event::Begin(_)
        | Event::Connected(_)
        | Event::Lapses(_)
        | Event::Nudged
        | Event::Beat
        | Event::Closing(None)
        | Event::Paused
        | Event::Resumed
        | Event::Left
        | Event::Ended
        | Event::Lost
        | Event::Unreachable(_)
        | Event::Refused(_)
        | Event::Unauthorized { .. }
        | Event::Nonsense(_)
        | Event::Blocked => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the packed numbers: the order of the ids themselves.
    #[test]
    fn aligned_ids_have_the_order_of_the_ids() {
        let epochs = [7, 3_000, 4_000, u64::from(u32::MAX)];
        let terms = Terms(epochs.to_vec());
        let mut ids = Vec::new();
        for epoch in epochs {
            for seq in [0, 1, 17, (1 << 34) - 1] {
                for part in [0, 1, 16_383] {
                    ids.push(Id { epoch, seq, part });
                }
            }
        }
        let aligned: Vec<Id> = ids.iter().map(|&id| terms.align(id).unwrap()).collect();
        for one in 0..ids.len() {
            for other in 0..ids.len() {
                let (expected, found) =
                    (ids[one].cmp(&ids[other]), aligned[one].cmp(&aligned[other]));
                assert_eq!(found, expected, "{} {}", ids[one], ids[other]);
            }
        }
        assert_eq!(aligned[4].seq + 1, aligned[5].seq - 16_381);
        assert_eq!(aligned[3].to_string(), "term1-1.0");
        assert_eq!(aligned[13].to_string(), "term2-0.1");
        assert_eq!(term_of(aligned[13].seq), 2);
    }

    #[test]
    fn ids_that_do_not_fit_are_refused() {
        let terms = Terms(vec![7]);
        assert!(terms.align(Id::new(8, 1)).is_none(), "an unknown term");
        assert!(terms.align(Id::new(7, 1 << 34)).is_none());
        let part = 1 << 14;
        assert!(
            terms
                .align(Id {
                    part,
                    ..Id::new(7, 1)
                })
                .is_none()
        );
    }
}
