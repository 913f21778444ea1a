//! When a client should have had something: holds, heartbeats, messages that it waited for, and
//! connections that end.
//!
//! Owns what may be late, and by how much: the stated slack, and all the time for which either end
//! was stopped or the server was away.

use crate::case::Case;
use crate::finding::Kind;
use crate::log::{Batch, Event, Receipt, Since, Transport};
use crate::run::Outcome;
use crate::span::Span;
use crate::truth::Known;

/// By how much a hold may end early, in microseconds: it begins with the server's turn in which the
/// request is read, and on a busy machine a turn may have begun long before.
const EARLY_US: u64 = 1_000_000;

/// A client may see an event late by the slack divided by this.
const AFTERMATH: u64 = 5;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    at: u64,
    transport: Transport,
    hold: u64,
    nudged: Option<u64>,
    /// When its right to receive ends at the latest.
    lapses: Option<u64>,
}

/// When things happened last to one client.
#[derive(Debug, Default)]
pub(super) struct Timing {
    request: Option<Request>,
    is_paused: bool,
    /// Since when the client has been reading.
    reads_since: u64,
    /// When a stream last said anything.
    heard_at: u64,
    /// When the connection was last known to be there.
    alive_at: u64,
}

/// By how much something between these times may have been late without the server's fault: either
/// end was stopped, or the server away.
fn allowance(case: &Case<'_>, from: u64, to: u64) -> u64 {
    let sum = |spans: &[Span]| -> u64 { spans.iter().map(|span| span.overlap(from, to)).sum() };
    let conditions = case.conditions;
    let of_cluster = conditions.cluster.map_or(0, |cluster| {
        sum(&cluster.delays) + sum(cluster.node(case.node))
    });
    conditions.rules.slack
        + sum(conditions.server_stops)
        + sum(conditions.outages)
        + sum(conditions.client_stops)
        + of_cluster
}

/// Whether something that was due then is late now.
pub(super) fn is_late(case: &Case<'_>, due: u64) -> bool {
    let at = case.at;
    at > due && at - due > allowance(case, due, at)
}

/// The time at which something that is seen now may have happened: the client was stopped, or busy.
fn happened(case: &Case<'_>) -> u64 {
    let (at, slack) = (case.at, case.conditions.rules.slack);
    // A stop that ended just now counts from its beginning.
    let from = at.saturating_sub(slack / AFTERMATH);
    let stops = case.conditions.client_stops.iter();
    let stops = stops.filter(|stop| stop.touches(from, at));
    let begun = stops.map(|stop| stop.from).min().unwrap_or(at);
    begun.saturating_sub(slack / AFTERMATH)
}

fn was_down(case: &Case<'_>, from: u64) -> bool {
    let of_node = case
        .conditions
        .cluster
        .map(|cluster| cluster.node(case.node));
    let mut outages = case.conditions.outages.iter().chain(of_node.unwrap_or(&[]));
    outages.any(|outage| outage.touches(from, case.at))
}

/// Only a server that was down since a time may refuse a client.
pub(super) fn must_be_down(case: &mut Case<'_>, from: u64, event: &str) {
    if !was_down(case, from.min(happened(case))) {
        case.report(Kind::Refused, format!("{event}, and the server was up"));
    }
}

/// Whether the client's node may not know the cursor, which is of the other side of a split.
fn may_be_turned_away(case: &Case<'_>, from: u64) -> bool {
    let mut log = case.log.iter().rev();
    let since = log.find_map(|entry| match entry.event {
        Event::Asked { since, .. } => Some(since),
        _ => None,
    });
    matches!(since, Some(Since::After(id)) if case.is_of_other_side(id, from))
}

impl Timing {
    pub(super) fn begin(&mut self) {
        self.request = None;
        self.is_paused = false;
    }

    pub(super) fn connected(&mut self, case: &Case<'_>) {
        self.alive_at = happened(case);
    }

    pub(super) fn asked(&mut self, at: u64, transport: Transport, hold_ms: u32) {
        let hold = match transport.is_held() {
            true => u64::from(hold_ms) * 1_000,
            false => 0,
        };
        self.request = Some(Request {
            at,
            transport,
            hold,
            nudged: None,
            lapses: None,
        });
        self.is_paused = false;
        self.reads_since = at;
        self.heard_at = at;
    }

    pub(super) fn lapses(&mut self, at: u64) {
        if let Some(request) = &mut self.request {
            request.lapses = Some(at);
            request.hold = request.hold.min(at.saturating_sub(request.at));
        }
    }

    pub(super) fn nudged(&mut self, at: u64) {
        if let Some(request) = &mut self.request {
            request.nudged = Some(at);
        }
    }

    pub(super) fn paused(&mut self) {
        self.is_paused = true;
    }

    pub(super) fn resumed(&mut self, at: u64) {
        self.is_paused = false;
        self.reads_since = at;
        self.heard_at = at;
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.request.is_some()
    }

    /// The request under way, which has its response.
    pub(super) fn answered(&mut self) -> Option<Request> {
        self.request.take()
    }

    pub(super) fn unauthorized(&mut self, case: &mut Case<'_>, is_due: bool) {
        self.answered();
        if !is_due {
            case.report(Kind::Refused, "401 to a token that is good");
        }
    }

    pub(super) fn refused(&mut self, case: &mut Case<'_>, status: u16) {
        let from = self.answered().map_or(case.at, |request| request.at);
        if status == 503 && may_be_turned_away(case, from) {
            return;
        }
        must_be_down(case, from, &format!("was answered {status}"));
    }

    /// Something came on a stream.
    pub(super) fn heard(&mut self, case: &mut Case<'_>) {
        if self.request.is_none() {
            case.report(Kind::Instrument, "it has not asked");
        } else if !self.is_paused {
            self.judge_silence(case);
            self.judge_right(case);
        }
        self.heard_at = case.at;
        self.be_alive(self.request.map_or(0, |request| request.at));
    }

    /// Whether the stream should have ended with its right.
    fn judge_right(&self, case: &mut Case<'_>) {
        let lapses = self.request.and_then(|request| request.lapses);
        let due = lapses.map(|lapses| lapses.max(self.reads_since));
        if due.is_some_and(|due| is_late(case, due)) {
            case.report(Kind::Deadline, "its right had ended long before");
        }
    }

    fn judge_silence(&self, case: &mut Case<'_>) {
        if is_late(case, self.heard_at + case.conditions.rules.heartbeat) {
            let text = format!("nothing came for {} us", case.at - self.heard_at);
            case.report(Kind::Silence, text);
        }
    }

    /// The server sent something after this time, whenever it was read: the kernels of both ends
    /// may have kept it for long, even beyond the server's own end.
    fn be_alive(&mut self, since: u64) {
        self.alive_at = self.alive_at.max(since);
    }

    /// A message on a stream to a client that was waiting for it.
    pub(super) fn judge_delay(&mut self, case: &mut Case<'_>, receipt: &Receipt) {
        let publish = case.truth.publish(receipt.number);
        let Some(publish) = publish.filter(|p| p.outcome == Outcome::Accepted(receipt.id)) else {
            return;
        };
        self.be_alive(publish.begun);
        let due = publish.done.max(self.reads_since);
        if is_late(case, due) && !self.is_paused {
            report_late(case, receipt, due);
        }
    }

    /// Whether a response came when it should have. `owed` is the first message after its cursor
    /// that was acknowledged.
    pub(super) fn judge_answer(
        &mut self,
        case: &mut Case<'_>,
        request: &Request,
        batch: &Batch,
        owed: Option<Known>,
    ) {
        self.be_alive(request.at);
        let due = request
            .nudged
            .unwrap_or(u64::MAX)
            .min(request.at + request.hold);
        let due = due.max(self.reads_since);
        if is_late(case, due) {
            let text = format!("the hold was over {} us ago", case.at - due);
            case.report(Kind::LateHold, text);
        }
        if let Some(overdue) = owed.filter(|_| !batch.more) {
            let acked = overdue.acked.unwrap_or(u64::MAX);
            let is_known_there = case.conditions.cluster.is_none_or(|cluster| {
                // One that has started again reads the log first.
                let mut away = cluster.node(case.node).iter();
                overdue.node == case.node && !away.any(|span| span.touches(acked, case.at))
            });
            if acked < request.at && is_known_there {
                let text = format!("the response is without {overdue:?}, acknowledged before");
                case.report(Kind::Overlooked, text);
            } else if is_late(case, acked.max(self.reads_since)) {
                let text = format!("the response is without {overdue:?}, acknowledged long before");
                case.report(Kind::LateMessage, text);
            }
        }
        if let Some(first) = batch.receipts.first() {
            let publish = case.truth.publish(first.number);
            let acked = publish.map_or(case.at, |publish| publish.done);
            let due = acked.max(self.reads_since) + case.conditions.rules.linger;
            let is_answered = publish.is_some_and(|p| p.outcome == Outcome::Accepted(first.id));
            if is_answered && is_late(case, due) {
                report_late(case, first, due);
            }
        } else if !batch.gap
            && !batch.tells_ends
            && request.nudged.is_none()
            && request.lapses.is_none()
        {
            judge_end(case, request);
        }
    }

    pub(super) fn lost(&self, case: &mut Case<'_>) {
        if self.request.is_some() && !was_down(case, self.alive_at) {
            case.report(
                Kind::Dropped,
                "the server ended the connection without a word",
            );
        }
    }

    /// The connection is gone: whether anything was overdue on it.
    pub(super) fn close(&mut self, case: &mut Case<'_>, owed: Option<Known>) {
        let Some(request) = self.request.take() else {
            return;
        };
        if std::mem::take(&mut self.is_paused) {
            return;
        }
        if request.transport.is_stream() {
            self.judge_silence(case);
        } else if is_late(case, (request.at + request.hold).max(self.reads_since)) {
            case.report(Kind::LateHold, "it was never answered");
        }
        if let Some(overdue) = owed {
            let acked = overdue.acked.unwrap_or(u64::MAX);
            if is_late(case, acked.max(self.reads_since)) {
                let text = format!("it left without {overdue:?}, long acknowledged");
                case.report(Kind::LateMessage, text);
            }
        }
    }
}

fn report_late(case: &mut Case<'_>, receipt: &Receipt, due: u64) {
    let text = format!("{} came {} us after it was due", receipt.id, case.at - due);
    case.report(Kind::LateMessage, text);
}

/// Whether a hold that brought nothing lasted as long as it should have.
fn judge_end(case: &mut Case<'_>, request: &Request) {
    let from = request.at.saturating_sub(EARLY_US);
    let of_node = case
        .conditions
        .cluster
        .map(|cluster| cluster.node(case.node));
    let stops = case.conditions.server_stops.iter();
    let stops = stops.chain(of_node.unwrap_or(&[]));
    let stopped: u64 = stops.map(|stop| stop.overlap(from, case.at)).sum();
    let lasted = case.at - request.at + EARLY_US + stopped;
    if lasted < request.hold && !was_down(case, request.at) {
        let text = format!("it was to be held {} us", request.hold);
        case.report(Kind::EarlyEnd, text);
    }
}
