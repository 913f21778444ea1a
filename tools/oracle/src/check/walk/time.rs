//! When a client should have had something: holds, heartbeats, messages that it waited for, and
//! connections that end.
//!
//! Owns what may be late, and by how much: the stated slack, and all the time for which either end
//! was stopped or the server was away.

use super::{Ask, Walk};
use crate::check::Kind;
use crate::log::{Batch, Id, LINGER_MS, Outcome, Receipt, Span};
use crate::truth::Known;

/// By how much a hold may end early: it begins with the server's turn in which the request is read,
/// and on a busy machine a turn may have begun long before.
const EARLY_US: u64 = 1_000_000;

/// What a client sees may have happened this part of the slack ago.
const AFTERMATH: u64 = 5;

impl Walk<'_> {
    /// By how much something between these times may have been late without the server's fault:
    /// either end was stopped, or the server away.
    fn allowance(&self, from: u64, to: u64) -> u64 {
        let sum = |spans: &[Span]| -> u64 { spans.iter().map(|s| s.overlap(from, to)).sum() };
        let client = self.logs.client_stops.get(self.process);
        self.rules.slack
            + sum(&self.logs.server_stops)
            + sum(&self.logs.outages)
            + client.map_or(0, |spans| sum(spans))
    }

    pub(super) fn is_late(&self, due: u64, at: u64) -> bool {
        at > due && at - due > self.allowance(due, at)
    }

    /// The time at which something that is seen now may have happened: the client was stopped, or
    /// busy.
    pub(super) fn happened(&self, at: u64) -> u64 {
        let spans = self.logs.client_stops.get(self.process);
        let spans = spans.map_or(&[][..], |spans| spans);
        // A stop that ended just now counts from its beginning.
        let from = at.saturating_sub(self.rules.slack / AFTERMATH);
        let stops = spans.iter().filter(|stop| stop.touches(from, at));
        let begun = stops.map(|stop| stop.from).min().unwrap_or(at);
        begun.saturating_sub(self.rules.slack / AFTERMATH)
    }

    fn was_down(&self, from: u64, to: u64) -> bool {
        let mut outages = self.logs.outages.iter();
        outages.any(|outage| outage.touches(from, to))
    }

    pub(super) fn must_be_down(&mut self, from: u64, at: u64, what: &str) {
        if !self.was_down(from.min(self.happened(at)), at) {
            let text = format!("{what}, and the server was up");
            self.report(Kind::Refused, at, text);
        }
    }

    /// Something came on a stream.
    pub(super) fn hear(&mut self, at: u64) {
        let is_silent = self.is_late(self.heard_at + self.rules.heartbeat, at);
        if self.ask.is_none() {
            self.report(Kind::Instrument, at, "it has not asked".into());
        } else if is_silent && !self.is_paused {
            let text = format!("nothing came for {} us", at - self.heard_at);
            self.report(Kind::Silence, at, text);
        }
        self.heard_at = at;
        self.be_alive(self.ask.map_or(0, |ask| ask.at));
    }

    /// The server sent something after this time, whenever it was read: the kernels of both ends may
    /// have kept it for long, even beyond the server's own end.
    pub(super) fn be_alive(&mut self, since: u64) {
        self.alive_at = self.alive_at.max(since);
    }

    /// A message on a stream to a client that was waiting for it.
    pub(super) fn judge_delay(&mut self, at: u64, receipt: &Receipt) {
        let publish = self.truth.publish(receipt.number);
        let Some(publish) = publish.filter(|p| p.outcome == Outcome::Accepted(receipt.id)) else {
            return;
        };
        self.be_alive(publish.begun);
        let due = publish.done.max(self.reads_since);
        if self.is_late(due, at) && !self.is_paused {
            let text = format!("{} came {} us after it was due", receipt.id, at - due);
            self.report(Kind::LateMessage, at, text);
        }
    }

    /// Whether an answer came when it should have.
    pub(super) fn judge_answer(&mut self, at: u64, ask: &Ask, batch: &Batch) {
        let due = ask.nudged.unwrap_or(u64::MAX).min(ask.at + ask.hold);
        let due = due.max(self.reads_since);
        if self.is_late(due, at) {
            let text = format!("the hold was over {} us ago", at - due);
            self.report(Kind::LateHold, at, text);
        }
        if let Some(overdue) = self.owed(batch.cursor, at).filter(|_| !batch.more) {
            let acked = overdue.acked.unwrap_or(u64::MAX);
            if acked < ask.at {
                let text = format!("the answer is without {overdue:?}, acknowledged before");
                self.report(Kind::Overlooked, at, text);
            } else if self.is_late(acked.max(self.reads_since), at) {
                let text = format!("the answer is without {overdue:?}, acknowledged long before");
                self.report(Kind::LateMessage, at, text);
            }
        }
        if let Some(first) = batch.receipts.first() {
            let publish = self.truth.publish(first.number);
            let acked = publish.map_or(at, |publish| publish.done);
            let due = acked.max(self.reads_since) + LINGER_MS * 1_000;
            let is_answered = publish.is_some_and(|p| p.outcome == Outcome::Accepted(first.id));
            if is_answered && self.is_late(due, at) {
                let text = format!("{} came {} us after it was due", first.id, at - due);
                self.report(Kind::LateMessage, at, text);
            }
        } else if !batch.gap && ask.nudged.is_none() {
            self.judge_end(at, ask);
        }
    }

    /// Whether a hold that brought nothing lasted as long as it should have.
    fn judge_end(&mut self, at: u64, ask: &Ask) {
        let from = ask.at.saturating_sub(EARLY_US);
        let stops = self.logs.server_stops.iter();
        let stopped: u64 = stops.map(|stop| stop.overlap(from, at)).sum();
        let lasted = at - ask.at + EARLY_US + stopped;
        if lasted < ask.hold && !self.was_down(ask.at, at) {
            let text = format!("it was to be held {} us", ask.hold);
            self.report(Kind::EarlyEnd, at, text);
        }
    }

    /// The first message after a place that was acknowledged; where the client asked for whatever
    /// there is, only one that is there.
    pub(super) fn owed(&self, place: Id, at: u64) -> Option<Known> {
        let truth = self.truth;
        let lanes = self.channels.iter().zip(&self.fresh);
        let lanes = lanes.filter_map(|(&channel, &is_fresh)| {
            let mut lane = truth
                .between(place.epoch, channel, place.seq, u64::MAX)
                .iter();
            lane.find(|known| {
                let may_be_gone = || truth.may_be_gone(place.epoch, channel, known, at);
                known.acked.is_some() && !(is_fresh && may_be_gone())
            })
        });
        lanes.min_by_key(|known| known.acked).copied()
    }

    pub(super) fn lost(&mut self, at: u64) {
        if self.ask.is_some() && !self.was_down(self.alive_at, at) {
            let text = "the server ended the connection without a word";
            self.report(Kind::Dropped, at, text.into());
        }
        self.close(at);
    }

    /// The connection is gone: whether anything was overdue on it.
    pub(super) fn close(&mut self, at: u64) {
        let Some(ask) = self.ask.take() else { return };
        if std::mem::take(&mut self.is_paused) {
            return;
        }
        if ask.transport.is_stream() {
            if self.is_late(self.heard_at + self.rules.heartbeat, at) {
                let text = format!("nothing came for {} us", at - self.heard_at);
                self.report(Kind::Silence, at, text);
            }
        } else if self.is_late((ask.at + ask.hold).max(self.reads_since), at) {
            self.report(Kind::LateHold, at, "it was never answered".into());
        }
        let overdue = self.place.and_then(|place| self.owed(place, at));
        if let Some(overdue) = overdue {
            let acked = overdue.acked.unwrap_or(u64::MAX);
            if self.is_late(acked.max(self.reads_since), at) {
                let text = format!("it left without {overdue:?}, long acknowledged");
                self.report(Kind::LateMessage, at, text);
            }
        }
    }
}
