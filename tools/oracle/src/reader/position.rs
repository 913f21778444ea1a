//! What one client should have: every message of its channels after its cursor, once, in order, or
//! a gap.
//!
//! Owns how far the client has been told. Invariant: `place` is where the client stands by what it
//! has been told, and no message that is known to exist before it is missing unless it was
//! reported, or is among `unreported`.

mod anew;
mod inside;

use super::newest;
use super::pinned::Pinned;
use crate::case::Case;
use crate::finding::Kind;
use crate::id::Id;
use crate::log::{Batch, Receipt, Since, Transport};
use crate::truth::Known;

/// A channel that the client follows.
#[derive(Clone, Copy, Debug)]
struct Followed {
    channel: u32,
    /// Whether a message of it has come since the request, or the epoch, began.
    has_begun: bool,
}

/// The first request of a client, or one that begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// After a cursor.
    After,
    /// With the next message; when it was sent, and whether it may be held.
    Now { asked_at: u64, is_held: bool },
    /// With the oldest message, and whether it may be held.
    Earliest { is_held: bool },
    /// With so many of the newest messages; when it was sent, and whether it may be held.
    Newest {
        count: u16,
        asked_at: u64,
        is_held: bool,
    },
}

/// How far a client has been told.
#[derive(Debug)]
pub(super) struct Position {
    channels: Vec<Followed>,
    place: Option<Id>,
    /// When it was first told that, or asked without a cursor.
    told_at: u64,
    start: Start,
    /// Whether it asked for the oldest there is, of which history may drop some in silence until
    /// the first has come.
    is_fresh: bool,
    /// The newest message that may be dropped in silence.
    fresh_until: u64,
    /// Messages passed over for which the gap is still to come: with many channels it stands where
    /// the newest of a channel's lost messages stood.
    unreported: Vec<(Id, u32)>,
    /// Its cursor is of another epoch, or one that the server cannot know, and the gap has not
    /// come.
    is_gap_due: bool,
    /// Whether messages may have come since a gap was met that is told now: the response gathers
    /// messages, or was given up by a request that may publish.
    is_told_late: bool,
    pinned: Option<Pinned>,
    /// The highest number from which a cursor went back: nothing up to it comes again.
    back_from: u64,
}

impl Default for Position {
    fn default() -> Position {
        Position {
            channels: Vec::new(),
            place: None,
            told_at: 0,
            start: Start::After,
            is_fresh: false,
            fresh_until: u64::MAX,
            unreported: Vec::new(),
            is_gap_due: false,
            is_told_late: false,
            pinned: None,
            back_from: 0,
        }
    }
}

/// A batch of which the messages are still to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchBegun {
    /// Where the client stood.
    place: Option<Id>,
    told_at: u64,
    is_new_epoch: bool,
    excused_before: u64,
}

impl Position {
    pub(super) fn begin(&mut self, channels: &[u32]) {
        let followed = channels.iter().map(|&channel| Followed {
            channel,
            has_begun: false,
        });
        *self = Position {
            channels: followed.collect(),
            ..Position::default()
        };
    }

    pub(super) fn place(&self) -> Option<Id> {
        self.place
    }

    pub(super) fn follows(&self, channel: u32) -> bool {
        self.channels.iter().any(|each| each.channel == channel)
    }

    pub(super) fn asked(&mut self, case: &mut Case<'_>, transport: Transport, since: Since) {
        let is_held = transport.is_held();
        self.is_told_late = transport == Transport::Linger;
        if self.place.is_none() {
            self.told_at = case.at;
        }
        match since {
            Since::After(id) => {
                // In a cluster the place stays known while a gap is due.
                if case.conditions.cluster.is_some() && id == Id::UNKNOWN {
                    self.is_gap_due = true;
                    self.start = Start::After;
                    return;
                }
                if self.place.is_some_and(|place| place != id) {
                    let text = format!("it asks from {id}, and stands at {:?}", self.place);
                    case.report(Kind::Instrument, text);
                }
                self.place = Some(id);
                self.start = Start::After;
                // While a gap is due, it is still to be given all that history keeps.
                self.is_fresh &= self.is_gap_due;
            }
            Since::Now => {
                self.leave_place();
                self.is_fresh = false;
                let asked_at = case.at;
                self.start = Start::Now { asked_at, is_held };
            }
            Since::Earliest => {
                self.leave_place();
                self.start = Start::Earliest { is_held };
                self.begin_fresh();
            }
            Since::Newest(count) => {
                self.leave_place();
                let asked_at = case.at;
                self.start = Start::Newest {
                    count,
                    asked_at,
                    is_held,
                };
                self.begin_fresh();
            }
            Since::Unknown => {
                self.leave_place();
                self.start = Start::After;
                self.is_gap_due = true;
                self.begin_fresh();
            }
        }
    }

    /// The client has sent a further request.
    pub(super) fn nudged(&mut self) {
        self.is_told_late = true;
    }

    /// The client asks without a cursor: what it had may come again.
    fn leave_place(&mut self) {
        self.place = None;
        self.back_from = 0;
    }

    /// From here on the client gets all that history keeps.
    fn begin_fresh(&mut self) {
        self.is_fresh = true;
        self.fresh_until = u64::MAX;
        for each in &mut self.channels {
            each.has_begun = false;
        }
    }

    /// Where the client stands in the epoch of an id that it is told: in a new one, at its
    /// beginning, whatever cursors it is told before it is told of the gap.
    ///
    /// The epochs of a cluster are one sequence: none is new.
    fn place_in_epoch(&mut self, case: &Case<'_>, id: Id) -> Option<Id> {
        if case.conditions.cluster.is_some() {
            self.is_gap_due |= id == Id::UNKNOWN;
            return self.place;
        }
        if self.place.is_some_and(|place| place.epoch != id.epoch) {
            self.is_gap_due = true;
            self.unreported.clear();
            self.begin_fresh();
        }
        match self.is_gap_due {
            true => Some(Id { seq: 0, ..id }),
            false => self.place,
        }
    }

    /// Where the client stands before a message or a cursor, if it is the first of a request for
    /// the newest messages: right before the message, or at the cursor.
    fn begin_newest(&mut self, case: &mut Case<'_>, place: Id) {
        if let (
            None,
            Start::Newest {
                count, asked_at, ..
            },
        ) = (self.place, self.start)
        {
            let channels = self.channels.iter().map(|each| each.channel);
            newest::judge(case, channels, count, asked_at, place);
            self.place = Some(place);
        }
    }

    pub(super) fn message(&mut self, case: &mut Case<'_>, receipt: &Receipt, is_excused: bool) {
        let id = receipt.id;
        let seq = id.seq.saturating_sub(1);
        self.begin_newest(case, Id { seq, ..id });
        let place = self.place_in_epoch(case, id);
        if std::mem::take(&mut self.is_gap_due) && !is_excused {
            case.report(Kind::Concealed, format!("{id} came before the gap"));
        }
        match place {
            Some(place) if id.seq <= place.seq.max(self.back_from) => {
                let before = &case.log[..case.log.len() - 1];
                let mut had = before.iter().rev().take(10_000);
                let is_again = had.any(|entry| entry.receipts().iter().any(|other| other.id == id));
                let kind = match is_again {
                    true => Kind::Twice,
                    false => Kind::OutOfOrder,
                };
                case.report(kind, format!("{id} came after {place}"));
                return;
            }
            Some(place) => drop(self.pass(case, place, id.seq, is_excused)),
            None => {
                if let Start::Now { is_held: false, .. } = self.start {
                    let text = format!("{id} came before the cursor at which it began");
                    case.report(Kind::Misplaced, text);
                }
                self.pass_from_start(case, id, id.seq);
            }
        }
        self.place = Some(id);
        self.told_at = case.at;
        if !is_excused {
            self.must_be_told(case, |case, missing, channel| {
                let is_exact = case.truth.exactly().is_some();
                let truth = case.truth;
                channel == receipt.channel
                    && !truth.is_told_later(missing, channel, id.seq, case.at)
                    || is_exact
                        && !case
                            .truth
                            .gap_may_follow(missing, channel, id.seq, case.at, case.node)
            });
        }
        let mut channels = self.channels.iter_mut();
        if let Some(followed) = channels.find(|each| each.channel == receipt.channel) {
            followed.has_begun = true;
        }
    }

    /// The gap comes that was due, if one was. Returns whether it is that of a new epoch.
    fn tell_due_gap(&mut self, case: &Case<'_>) -> bool {
        std::mem::take(&mut self.is_gap_due) && case.conditions.cluster.is_none()
    }

    pub(super) fn gap(&mut self, case: &mut Case<'_>, id: Id) {
        case.counts().gaps += 1;
        let place = self.place_in_epoch(case, id);
        let is_new_epoch = self.tell_due_gap(case);
        case.counts().epoch_gaps += u64::from(is_new_epoch);
        let mut missing = self.unreported.len();
        self.tell_of_all(case);
        if let Some(place) = place {
            missing += self.pass(case, place, id.seq.saturating_add(1), true);
        }
        // In a new epoch it is told whatever is missing: it passes what history has lost.
        if !is_new_epoch {
            self.judge_empty_gap(case, missing, (place, self.told_at), id);
        }
        let place = place.filter(|_| !self.begins_anew(case, place, id));
        self.move_to(case, place, id);
        // Also where it stands already: all that was lost until now is told.
        self.told_at = case.sent_since();
    }

    /// A gap under which no message is missing: a lost end may be, between the place of the client
    /// and the gap. The place has the time at which the client was told it.
    fn judge_empty_gap(
        &self,
        case: &mut Case<'_>,
        missing: usize,
        (place, told_at): (Option<Id>, u64),
        gap: Id,
    ) {
        let from = place.map_or(0, |place| place.seq);
        let before = gap.seq.saturating_add(1);
        let may_lack_an_end = self.channels.iter().any(|followed| {
            let channel = followed.channel;
            case.truth
                .has_ended_between(gap.epoch, channel, from, before)
        });
        if missing > 0 || may_lack_an_end {
            return;
        }
        case.counts().empty_gaps += 1;
        let channels = self.channels.iter().map(|each| each.channel);
        let span = (told_at, case.at);
        if !case.truth.may_tell_empty_gap(channels, case.node, span) {
            let text = format!("a gap at {gap}, and nothing is missing nor can be lost");
            case.report(Kind::Groundless, text);
        }
        let exact = case.truth.exactly();
        if exact.is_some_and(|exact| !exact.has_forgotten()) {
            case.report(Kind::Groundless, "a gap where no message is missing");
        }
    }

    pub(super) fn cursor(&mut self, case: &mut Case<'_>, id: Id, is_excused: bool) {
        self.begin_newest(case, id);
        let place = self.place_in_epoch(case, id);
        if self.is_gap_due {
            // The client may come back with this, and the server must then say the gap.
            if id != Id::UNKNOWN {
                let text = format!("with the cursor {id} the gap would not be said");
                case.report(Kind::Concealed, text);
            }
            if case.conditions.cluster.is_none() {
                self.place = Some(id);
            }
            return;
        }
        match place {
            Some(place) => drop(self.pass(case, place, id.seq.saturating_add(1), is_excused)),
            None => {
                self.judge_present(case, id);
                self.pass_from_start(case, id, id.seq.saturating_add(1));
            }
        }
        if !is_excused {
            self.must_be_told(case, |case, missing, channel| {
                !case
                    .truth
                    .gap_may_follow(missing, channel, id.seq, case.at, case.node)
            });
        }
        self.move_to(case, place, id);
        self.note_start(case, place, id);
    }

    /// A request for the next message begins no earlier than the newest message when it was sent,
    /// and no later than the newest message now.
    fn judge_present(&self, case: &mut Case<'_>, id: Id) {
        let Start::Now { asked_at, .. } = self.start else {
            return;
        };
        let known_at = asked_at.saturating_sub(case.lag(asked_at));
        let oldest = case.truth.head_before(id.epoch, known_at);
        let newest = match case.truth.exactly() {
            Some(_) => case.truth.head_before(id.epoch, u64::MAX),
            None => u64::MAX,
        };
        if !(oldest..=newest).contains(&id.seq) {
            let text = format!("it began at {id}, and the present is {oldest} to {newest}");
            case.report(Kind::Misplaced, text);
        }
    }

    /// The first thing told to a client: if it asked for the earliest, it must have all that
    /// history keeps.
    fn pass_from_start(&mut self, case: &mut Case<'_>, id: Id, before: u64) {
        if self.is_fresh {
            self.pass(case, Id { seq: 0, ..id }, before, true);
        }
    }

    /// The client is told a cursor. It may be one before its place, if no message of its channels
    /// stands between the two that may come again.
    fn move_to(&mut self, case: &mut Case<'_>, from: Option<Id>, id: Id) {
        if let Some(from) = from
            && id.seq < from.seq
        {
            let again = self.channels.iter().find_map(|each| {
                let again =
                    case.truth
                        .between(id.epoch, each.channel, id.seq, from.seq.saturating_add(1));
                again.iter().find(|known| {
                    known.is_owed && !case.truth.may_be_lost(known, case.at, case.node)
                })
            });
            if let Some(again) = again {
                let text = format!("{id} after {from}: it would be sent {again:?} again");
                case.report(Kind::Rewound, text);
            }
            self.goes_back(case, from);
        }
        // A cursor that it had already says nothing new, whenever that is.
        if self.place != Some(id) {
            self.told_at = case.sent_since();
        }
        self.place = Some(id);
    }

    /// Before the messages of a batch.
    pub(super) fn begin_batch(&mut self, case: &mut Case<'_>, batch: &Batch) -> BatchBegun {
        self.place = self.place_in_epoch(case, batch.cursor);
        let (place, told_at) = (self.place, self.told_at);
        if self.is_gap_due && !batch.gap {
            case.report(Kind::Concealed, "a gap is due, and the batch says none");
        }
        let is_new_epoch = self.tell_due_gap(case);
        let excused_before = case.counts().excused;
        if batch.gap {
            case.counts().gaps += 1;
            case.counts().epoch_gaps += u64::from(is_new_epoch);
            self.tell_of_all(case);
            self.judge_first_gap(case);
            let first = batch.receipts.first();
            let seq = first.map_or(batch.cursor.seq, |first| first.id.seq.saturating_sub(1));
            let start = Id {
                seq,
                ..batch.cursor
            };
            if self.begins_anew(case, place, start) {
                self.place = Some(start);
            }
        }
        BatchBegun {
            place,
            told_at,
            is_new_epoch,
            excused_before,
        }
    }

    /// A request for the earliest, or the newest, gets no gap in its first response, unless it was
    /// held before.
    fn judge_first_gap(&self, case: &mut Case<'_>) {
        if let Start::Earliest { is_held } | Start::Newest { is_held, .. } = self.start
            && (!is_held || case.truth.exactly().is_some())
        {
            case.report(Kind::Groundless, "it asked for what there is");
        }
    }

    /// After the messages of a batch.
    pub(super) fn end_batch(&mut self, case: &mut Case<'_>, batch: &Batch, begun: BatchBegun) {
        self.cursor(case, batch.cursor, batch.gap);
        if batch.gap && !begun.is_new_epoch {
            let missing = case.counts().excused - begun.excused_before;
            let from = (begun.place, begun.told_at);
            self.judge_empty_gap(case, missing as usize, from, batch.cursor);
            self.told_at = case.sent_since();
        }
    }

    /// Judges what is missing after one place and before a number of the same epoch, and returns
    /// for how many messages a gap may be told.
    fn pass(&mut self, case: &mut Case<'_>, place: Id, before: u64, is_excused: bool) -> usize {
        let truth = case.truth;
        let mut missing = 0;
        for number in 0..self.channels.len() {
            let Followed { channel, has_begun } = self.channels[number];
            for known in truth.between(place.epoch, channel, place.seq, before) {
                if !known.is_owed {
                    continue;
                }
                if truth.is_replaced(channel, known.seq) {
                    let may_be_told = self.may_be_told_of(case, channel, known.seq);
                    missing += usize::from(may_be_told);
                    case.counts().excused += u64::from(is_excused && may_be_told);
                    continue;
                }
                missing += 1;
                let is_new = !has_begun && known.seq <= self.fresh_until;
                let is_told = is_excused || self.is_fresh && is_new;
                let id = Id {
                    seq: known.seq,
                    ..place
                };
                let may_be_gone =
                    truth.may_be_gone(place.epoch, channel, known, case.at, case.node);
                match (is_told, may_be_gone) {
                    (false, false) => {
                        let text = format!("{id} of channel {channel} never came: {known:?}");
                        case.report(Kind::Lost, text);
                    }
                    (false, true) => self.unreported.push((id, channel)),
                    (true, false) => {
                        let text = format!("{id} of channel {channel} must be there: {known:?}");
                        case.report(Kind::Groundless, text);
                    }
                    (true, true) => case.counts().excused += 1,
                }
                if let Some(pinned) = self.pinned.as_ref().filter(|_| may_be_gone) {
                    pinned.judge(case, number, known.seq, is_new);
                }
            }
        }
        missing
    }

    /// Whether a gap may be told for a message that is replaced: it may have been under way before.
    fn may_be_told_of(&self, case: &Case<'_>, channel: u32, seq: u64) -> bool {
        let is_late = self.pinned.is_none() || self.is_told_late;
        let exact = case.truth.exactly();
        exact.is_some_and(|exact| exact.may_be_told(channel, seq, is_late))
    }

    /// Reports messages passed over for which the gap comes too late.
    fn must_be_told(&mut self, case: &mut Case<'_>, is_due: impl Fn(&Case<'_>, Id, u32) -> bool) {
        if self.unreported.is_empty() {
            return;
        }
        let mut unreported = std::mem::take(&mut self.unreported);
        unreported.retain(|&(id, channel)| {
            if case.truth.is_replaced(channel, id.seq) {
                return false;
            }
            let is_due = is_due(case, id, channel);
            if is_due {
                let text = format!("{id} of channel {channel} never came, nor a gap");
                case.report(Kind::Lost, text);
            }
            !is_due
        });
        self.unreported = unreported;
    }

    /// Reports every message passed over for which no gap came.
    pub(super) fn must_be_told_of_all(&mut self, case: &mut Case<'_>) {
        self.must_be_told(case, |_, _, _| true);
    }

    /// A gap says all that is missing so far.
    fn tell_of_all(&mut self, case: &mut Case<'_>) {
        case.counts().excused += self.unreported.len() as u64;
        self.unreported.clear();
    }

    /// The first message after a place that was acknowledged; where the client asked for the
    /// earliest, only one that history still has.
    pub(super) fn owed(&self, case: &Case<'_>, place: Id) -> Option<Known> {
        let truth = case.truth;
        let firsts = self.channels.iter().filter_map(|followed| {
            let channel = followed.channel;
            let mut later = truth
                .between(place.epoch, channel, place.seq, u64::MAX)
                .iter();
            later.find(|known| {
                let is_new = !followed.has_begun && known.seq <= self.fresh_until;
                let may_be_gone =
                    || truth.may_be_gone(place.epoch, channel, known, case.at, case.node);
                let is_owed = !truth.is_replaced(channel, known.seq);
                known.acked.is_some() && is_owed && !(self.is_fresh && is_new && may_be_gone())
            })
        });
        firsts.min_by_key(|known| known.acked).copied()
    }
}
