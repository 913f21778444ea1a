//! One request to receive, its log, and the judge's reading of it.
//!
//! Owns the log. Each request has one of its own, which begins where the request does: requests of
//! one client may overlap in a pipeline or on several connections.

use encke_oracle::finding::Verdict;
use encke_oracle::id::Id;
use encke_oracle::log::{Entry, Event, Since, Transport};
use encke_oracle::reader::Reader;
use encke_oracle::run::Conditions;

use crate::model::Model;
use crate::rule::{broken, ensure};
use crate::tally::Tally;
use crate::term::Term;

/// The moment at which the request was parked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParkedAt {
    /// In milliseconds.
    pub(crate) at: u64,
    /// The newest message then.
    pub(crate) head: u64,
    /// Short writes of the connection before.
    pub(crate) blocks: u64,
}

/// One request to receive, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) channels: Vec<usize>,
    pub(crate) parked: Option<ParkedAt>,
    /// Its right, once it is parked.
    pub(crate) term: Option<Term>,
    /// A stream has ended, and said that its right had, or not.
    pub(crate) last_words: Option<bool>,
    /// It began after a message, so that whatever history drops is a gap.
    pub(crate) is_exact: bool,
    log: Vec<Entry>,
    reader: Reader,
    has_blocked: bool,
}

impl Session {
    /// A request is sent, at a time of the model.
    pub(crate) fn asked_at(
        at: u64,
        channels: Vec<usize>,
        transport: Transport,
        since: Since,
        model: &mut Model,
        tally: &mut Tally,
    ) -> Session {
        let numbers = channels.iter().map(|&channel| channel as u32).collect();
        let mut session = Session {
            channels,
            is_exact: matches!(since, Since::After(_) | Since::Now),
            ..Session::default()
        };
        session.record_at(at, Event::Begin(numbers), model, tally);
        let asked = Event::Asked {
            transport,
            since,
            hold_ms: 0,
        };
        session.record_at(at, asked, model, tally);
        session
    }

    /// The server follows other channels for it, from a cursor, as was asked at `at`.
    pub(crate) fn follow(
        &mut self,
        at: u64,
        channels: Vec<usize>,
        since: Since,
        cursor: Id,
        model: &mut Model,
        tally: &mut Tally,
    ) {
        let transport = Transport::WebSocket;
        *self = Session {
            parked: self.parked,
            term: self.term.take(),
            ..Session::asked_at(at, channels, transport, since, model, tally)
        };
        self.record(Event::Cursor(cursor), model, tally);
    }

    /// Writes down what happened, and judges it.
    pub(crate) fn record(&mut self, event: Event, model: &mut Model, tally: &mut Tally) {
        let at = model.tick();
        self.record_at(at, event, model, tally);
    }

    fn record_at(&mut self, at: u64, event: Event, model: &mut Model, tally: &mut Tally) {
        let client = 0;
        self.log.push(Entry { client, at, event });
        self.check_right();
        // Simulated time passes in leaps while the server stands still, so nothing is late here;
        // what must have been done by a time is checked when the world settles.
        let conditions = Conditions::TIMELESS;
        let mut verdict = Verdict::default();
        self.reader
            .judge(&self.log, &model.truth, &conditions, &mut verdict);
        if let Some(finding) = verdict.findings.first() {
            broken(finding.kind, &finding.text);
        }
        tally.gaps += verdict.counts.gaps;
        tally.needless_gaps += verdict.counts.empty_gaps;
    }

    /// Nothing comes that was published when the right had ended.
    fn check_right(&self) {
        let Some(void_after) = self.term.as_ref().and_then(|term| term.void_after) else {
            return;
        };
        let receipts = self.log.last().map_or(&[][..], Entry::receipts);
        if let Some(receipt) = receipts.iter().find(|receipt| receipt.id.seq > void_after) {
            ensure!(
                receipt.id.seq <= void_after,
                Misrouted,
                "{receipt:?} comes without right, which ended at {void_after}: {:?}",
                self.term
            );
        }
    }

    /// The connection has so many short writes behind it.
    pub(crate) fn note_blocks(&mut self, blocks: u64, model: &mut Model, tally: &mut Tally) {
        let has_blocked = self.parked.is_some_and(|parked| parked.blocks != blocks);
        if has_blocked && !std::mem::replace(&mut self.has_blocked, true) {
            self.record(Event::Blocked, model, tally);
        }
    }

    /// The server has nothing more to send, and the connection takes everything.
    pub(crate) fn settle(&mut self, model: &mut Model, tally: &mut Tally) {
        let settled = Event::Settled(model.id(model.head()));
        if self.log.last().is_none_or(|last| last.event != settled) {
            self.record(settled, model, tally);
        }
    }

    /// The cursor to come back with.
    pub(crate) fn cursor(&self) -> Option<Id> {
        self.reader.place()
    }
}
