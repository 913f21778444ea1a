//! The promise to one client, held against its log entry by entry.
//!
//! Owns the order of the rules: `position` says what the client should have, `origin` whether a
//! message is what was published, `timing` when it should have come, and for `position` `newest`
//! says where a request for the newest messages begins, and `pinned` which messages history must
//! keep. There is no other use between them.

mod newest;
mod origin;
mod pinned;
mod position;
mod timing;

use crate::case::Case;
use crate::finding::{Kind, Verdict};
use crate::id::Id;
use crate::log::{Batch, Entry, Event, Receipt};
use crate::run::Conditions;
use crate::truth::Truth;
use position::Position;
use timing::Timing;

/// The responses to one client so far, and the messages that it must still get.
#[derive(Debug, Default)]
pub struct Reader {
    position: Position,
    timing: Timing,
    /// The node that the client connected to last.
    node: u32,
}

impl Reader {
    /// Judges the last entry of the client's log; those before it have been judged.
    pub fn judge(
        &mut self,
        log: &[Entry],
        truth: &Truth,
        conditions: &Conditions<'_>,
        verdict: &mut Verdict,
    ) {
        let Some(entry) = log.last() else { return };
        if let Event::Connected(node) | Event::Unreachable(node) = entry.event {
            self.node = node;
        }
        let mut case = Case {
            log,
            at: entry.at,
            node: self.node,
            truth,
            conditions,
            verdict,
        };
        self.entry(&mut case, &entry.event);
    }

    /// Judges what is missing after the last entry: publishing has stopped, and all clients had
    /// time to catch up.
    pub fn finish(
        &mut self,
        log: &[Entry],
        truth: &Truth,
        conditions: &Conditions<'_>,
        verdict: &mut Verdict,
    ) {
        let mut case = Case {
            log,
            at: conditions.end,
            node: self.node,
            truth,
            conditions,
            verdict,
        };
        let Some(place) = self.position.place() else {
            return;
        };
        self.position.must_be_told_of_all(&mut case);
        match self.position.owed(&case, place) {
            Some(owed)
                if owed
                    .acked
                    .is_some_and(|acked| timing::is_late(&case, acked)) =>
            {
                let text = format!("it stands at {place}, and never had {owed:?}");
                case.report(Kind::Undelivered, text);
            }
            Some(_) => {}
            None => case.counts().complete += 1,
        }
    }

    /// The cursor up to which the client has everything, or has been told of a gap.
    pub fn place(&self) -> Option<Id> {
        self.position.place()
    }

    fn entry(&mut self, case: &mut Case<'_>, event: &Event) {
        match event {
            Event::Begin(channels) => {
                self.position.begin(channels);
                self.timing.begin();
            }
            Event::Connected(_) => self.timing.connected(case),
            Event::Asked {
                transport,
                since,
                hold_ms,
            } => {
                self.position.asked(case, *transport, *since);
                self.timing.asked(case.at, *transport, *hold_ms);
            }
            Event::Lapses(at) => self.timing.lapses(*at),
            Event::Nudged => {
                self.position.nudged();
                self.timing.nudged(case.at);
            }
            Event::Batch(batch) => self.batch(case, batch),
            Event::Message(receipt) => {
                self.timing.heard(case);
                self.timing.judge_delay(case, receipt);
                self.message(case, receipt, false);
            }
            Event::Gap(id) => {
                self.timing.heard(case);
                self.position.gap(case, *id);
            }
            Event::Cursor(id) => {
                self.timing.heard(case);
                self.position.cursor(case, *id, false);
            }
            Event::Beat => self.timing.heard(case),
            Event::Closing(id) => {
                self.timing.heard(case);
                if let Some(id) = id {
                    self.position.cursor(case, *id, false);
                }
                self.timing.answered();
            }
            Event::Paused => self.timing.paused(),
            Event::Resumed => self.timing.resumed(case.at),
            Event::Ended => drop(self.timing.answered()),
            Event::Left => self.close(case),
            Event::Lost => {
                self.timing.lost(case);
                self.close(case);
            }
            Event::Unreachable(_) => timing::must_be_down(case, case.at, "could not connect"),
            Event::Unauthorized { is_due } => self.timing.unauthorized(case, *is_due),
            Event::Refused(status) => self.timing.refused(case, *status),
            Event::Nonsense(text) => case.report(Kind::Nonsense, text),
            Event::Parked(parked) => self.position.parked(case, parked),
            Event::Blocked => self.position.blocked(),
            Event::Settled(head) => self.position.settled(case, *head),
        }
    }

    fn message(&mut self, case: &mut Case<'_>, receipt: &Receipt, is_excused: bool) {
        case.counts().messages += 1;
        origin::judge(case, receipt, self.position.follows(receipt.channel));
        self.position.message(case, receipt, is_excused);
    }

    fn batch(&mut self, case: &mut Case<'_>, batch: &Batch) {
        let Some(request) = self.timing.answered() else {
            return case.report(Kind::Instrument, "it has not asked");
        };
        let begun = self.position.begin_batch(case, batch);
        for receipt in &batch.receipts {
            self.message(case, receipt, batch.gap);
        }
        self.position.end_batch(case, batch, begun);
        let owed = self.position.owed(case, batch.cursor);
        self.timing.judge_answer(case, &request, batch, owed);
    }

    /// The connection is gone.
    fn close(&mut self, case: &mut Case<'_>) {
        if self.timing.is_waiting() {
            let place = self.position.place();
            let owed = place.and_then(|place| self.position.owed(case, place));
            self.timing.close(case, owed);
        }
    }
}
