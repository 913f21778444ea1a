//! One client's log, from its first entry to its last.
//!
//! Invariant: `place` is where the client stands by what it has been told, and nothing that is
//! known to exist before it is missing unless it was reported.

use super::{Counts, Finding, Kind, SHOWN, Verdict};
use crate::promise::log::{
    Batch, Entry, Event, Id, LINGER_MS, Logs, Outcome, Receipt, Rules, Since, Span, Transport,
};
use crate::promise::truth::{Known, Truth};

/// By how much a hold may end early: it begins with the server's turn in which the request is read,
/// and on a busy machine a turn may have begun long before.
const EARLY_US: u64 = 1_000_000;

/// A request under way.
#[derive(Clone, Copy)]
struct Ask {
    at: u64,
    transport: Transport,
    hold: u64,
    nudged: Option<u64>,
}

struct Walk<'a> {
    logs: &'a Logs,
    truth: &'a Truth<'a>,
    rules: Rules,
    process: usize,
    entries: &'a [Entry],
    /// The number of the entry looked at.
    now: usize,
    channels: &'a [u32],
    /// Channels of which nothing has come since the client asked for whatever there is.
    fresh: Vec<bool>,
    place: Option<Id>,
    /// Messages passed over for which the gap is still to come: with many channels it stands where
    /// the newest of a channel's lost messages stood.
    unsaid: Vec<(Id, u32)>,
    /// It has been told a cursor of a new epoch, and no gap yet.
    is_untold: bool,
    ask: Option<Ask>,
    is_paused: bool,
    /// Since when the client has been reading.
    reads_since: u64,
    /// When a stream last said anything.
    heard_at: u64,
    /// When the connection was last known to be there.
    alive_at: u64,
    verdict: &'a mut Verdict,
}

/// Judges a client.
pub(super) fn walk(
    client: usize,
    logs: &Logs,
    truth: &Truth<'_>,
    rules: Rules,
    verdict: &mut Verdict,
) {
    let mut walk = Walk {
        logs,
        truth,
        rules,
        process: logs.processes.get(client).copied().unwrap_or(0),
        entries: &logs.clients[client],
        now: 0,
        channels: &[],
        fresh: Vec::new(),
        place: None,
        unsaid: Vec::new(),
        is_untold: false,
        ask: None,
        is_paused: false,
        reads_since: 0,
        heard_at: 0,
        alive_at: 0,
        verdict,
    };
    for now in 0..walk.entries.len() {
        walk.now = now;
        walk.step(&walk.entries[now]);
    }
    walk.end();
}

impl<'a> Walk<'a> {
    fn report(&mut self, kind: Kind, at: u64, text: String) {
        let before = &self.entries[..=self.now];
        let asked = |entry: &Entry| matches!(entry.event, Event::Asked { .. });
        let asked = before.iter().rposition(asked).unwrap_or(0);
        let from = before.len().saturating_sub(SHOWN);
        // The request, what came first, and what came last.
        let first = asked.min(from)..(asked + SHOWN / 2).min(from);
        let shown = before[first].iter().chain(&before[from..]);
        let lines: String = shown
            .map(|entry| format!("\n    {} {:?}", entry.at, entry.event))
            .collect();
        let client = self.entries[self.now].client;
        self.verdict.findings.push(Finding {
            kind,
            at,
            text: format!("client {client}: {text}; its log:{lines}"),
        });
    }

    fn counts(&mut self) -> &mut Counts {
        &mut self.verdict.counts
    }

    fn step(&mut self, entry: &'a Entry) {
        let at = entry.at;
        match &entry.event {
            Event::Begin(channels) => self.begin(channels),
            Event::Connected => self.alive_at = at,
            Event::Asked {
                transport,
                since,
                hold_ms,
            } => self.asked(at, *transport, *since, *hold_ms),
            Event::Nudged => {
                if let Some(ask) = &mut self.ask {
                    ask.nudged = Some(at);
                }
            }
            Event::Batch(batch) => self.batch(at, batch),
            Event::Message(receipt) => {
                self.hear(at);
                self.judge_delay(at, receipt);
                self.message(at, receipt, false);
            }
            Event::Gap(id) => {
                self.hear(at);
                self.gap(at, *id);
            }
            Event::Cursor(id) => {
                self.hear(at);
                self.cursor(at, *id, false);
            }
            Event::Beat => self.hear(at),
            Event::Closing(id) => {
                self.hear(at);
                if let Some(id) = id {
                    self.cursor(at, *id, false);
                }
                self.ask = None;
            }
            Event::Paused => self.is_paused = true,
            Event::Resumed => {
                self.is_paused = false;
                self.reads_since = at;
                self.heard_at = at;
            }
            Event::Left => self.close(at),
            Event::Ended => self.ask = None,
            Event::Lost => self.lost(at),
            Event::Unreachable => {
                self.must_be_down(at.saturating_sub(self.rules.slack), at, "could not connect");
            }
            Event::Refused(status) => {
                let from = self.ask.map_or(at, |ask| ask.at);
                self.must_be_down(from, at, &format!("was answered {status}"));
                self.ask = None;
            }
            Event::Nonsense(text) => self.report(Kind::Nonsense, at, text.clone()),
        }
    }

    fn begin(&mut self, channels: &'a [u32]) {
        self.channels = channels;
        self.fresh = vec![false; channels.len()];
        self.place = None;
        self.unsaid.clear();
        self.is_untold = false;
        self.ask = None;
        self.is_paused = false;
    }

    fn asked(&mut self, at: u64, transport: Transport, since: Since, hold_ms: u32) {
        if self.is_untold {
            let text = "it comes back with a cursor of a new epoch, and was never told of a gap";
            self.report(Kind::Concealed, at, text.into());
            self.is_untold = false;
        }
        match since {
            Since::After(id) => {
                if self.place.is_some_and(|place| place != id) {
                    let text = format!("it asks from {id}, and stands at {:?}", self.place);
                    self.report(Kind::Instrument, at, text);
                }
                self.place = Some(id);
            }
            Since::Now => self.place = None,
            Since::Earliest => {
                self.place = None;
                self.fresh.fill(true);
            }
        }
        let hold = match transport.is_held() {
            true => u64::from(hold_ms) * 1_000,
            false => 0,
        };
        self.ask = Some(Ask {
            at,
            transport,
            hold,
            nudged: None,
        });
        self.is_paused = false;
        self.reads_since = at;
        self.heard_at = at;
    }

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

    fn is_late(&self, due: u64, at: u64) -> bool {
        at > due && at - due > self.allowance(due, at)
    }

    fn must_be_down(&mut self, from: u64, to: u64, what: &str) {
        let to_slack = to.saturating_sub(self.rules.slack);
        let mut outages = self.logs.outages.iter();
        if !outages.any(|outage| outage.touches(from.min(to_slack), to)) {
            let text = format!("{what}, and the server was up");
            self.report(Kind::Refused, to, text);
        }
    }

    /// Something came on a stream.
    fn hear(&mut self, at: u64) {
        let is_silent = self.is_late(self.heard_at + self.rules.heartbeat, at);
        if self.ask.is_none() {
            self.report(Kind::Instrument, at, "it has not asked".into());
        } else if is_silent && !self.is_paused {
            let text = format!("nothing came for {} us", at - self.heard_at);
            self.report(Kind::Silence, at, text);
        }
        self.heard_at = at;
        self.be_alive(at);
    }

    /// Something was read; right after a pause, it may have been there since before.
    fn be_alive(&mut self, at: u64) {
        if at > self.reads_since + self.rules.slack {
            self.alive_at = at;
        }
    }

    /// A message on a stream to a client that was waiting for it.
    fn judge_delay(&mut self, at: u64, receipt: &Receipt) {
        let publish = self.truth.publish(receipt.number);
        let Some(publish) = publish.filter(|p| p.outcome == Outcome::Accepted(receipt.id)) else {
            return;
        };
        let due = publish.done.max(self.reads_since);
        if self.is_late(due, at) && !self.is_paused {
            let text = format!("{} came {} us after it was due", receipt.id, at - due);
            self.report(Kind::LateMessage, at, text);
        }
    }

    fn message(&mut self, at: u64, receipt: &Receipt, is_excused: bool) {
        self.counts().messages += 1;
        self.judge_origin(at, receipt);
        let id = receipt.id;
        match self.place {
            Some(place) if place.epoch == id.epoch && id.seq <= place.seq => {
                let before = &self.entries[..self.now];
                let mut had = before.iter().rev().take(10_000);
                let is_again = had.any(|entry| {
                    let receipts = super::super::truth::receipts(entry);
                    receipts.iter().any(|other| other.id == id)
                });
                let kind = match is_again {
                    true => Kind::Twice,
                    false => Kind::OutOfOrder,
                };
                self.report(kind, at, format!("{id} came after {place}"));
                return;
            }
            Some(place) if place.epoch == id.epoch => {
                self.pass(at, place, id.seq, is_excused);
            }
            Some(_) => {
                self.change_epoch(Id { seq: 0, ..id });
                self.pass(at, Id { seq: 0, ..id }, id.seq, is_excused);
            }
            None => self.pass_from_start(at, id, id.seq),
        }
        if self.is_untold && !is_excused {
            let text = format!("{id} is of a new epoch, and no gap was said");
            self.report(Kind::Concealed, at, text);
            self.is_untold = false;
        }
        self.place = Some(id);
        if !is_excused {
            self.must_be_said(at, |_, channel| channel == receipt.channel);
        }
        if let Some(channel) = self.channels.iter().position(|&c| c == receipt.channel) {
            self.fresh[channel] = false;
        }
    }

    /// Whether a message is what was published, where it was published.
    fn judge_origin(&mut self, at: u64, receipt: &Receipt) {
        let Receipt {
            id,
            channel,
            number,
            length,
        } = *receipt;
        if !self.channels.contains(&channel) {
            let text = format!("{id} is of channel {channel}");
            return self.report(Kind::Misrouted, at, text);
        }
        let Some(publish) = self.truth.publish(number) else {
            let text = format!("{id}: nobody published message {number}");
            return self.report(Kind::Invented, at, text);
        };
        if publish.outcome == Outcome::Refused {
            self.report(Kind::Invented, at, format!("{id} was refused: {publish:?}"));
        }
        if publish.channel != channel {
            let text = format!("{id} was published to another channel: {publish:?}");
            self.report(Kind::Misrouted, at, text);
        }
        if publish.length != length {
            let text = format!("{id} has {length} bytes: {publish:?}");
            self.report(Kind::Mangled, at, text);
        }
    }

    /// Judges what is missing after one place and before a number of the same epoch.
    fn pass(&mut self, at: u64, place: Id, before: u64, is_excused: bool) -> u64 {
        let truth = self.truth;
        let mut missing = 0;
        for number in 0..self.channels.len() {
            let channel = self.channels[number];
            for known in truth.between(place.epoch, channel, place.seq, before) {
                missing += 1;
                let is_told = is_excused || self.fresh[number];
                let id = Id {
                    seq: known.seq,
                    ..place
                };
                let may_be_gone = truth.may_be_gone(place.epoch, channel, known, at);
                match (is_told, may_be_gone) {
                    (false, false) => {
                        let text = format!("{id} of channel {channel} never came: {known:?}");
                        self.report(Kind::Lost, at, text);
                    }
                    (false, true) => self.unsaid.push((id, channel)),
                    (true, false) => {
                        let text = format!("{id} of channel {channel} must be there: {known:?}");
                        self.report(Kind::Groundless, at, text);
                    }
                    (true, true) => self.counts().excused += 1,
                }
            }
        }
        missing
    }

    /// For these messages passed over, the gap comes too late.
    fn must_be_said(&mut self, at: u64, is_due: impl Fn(Id, u32) -> bool) {
        let mut unsaid = std::mem::take(&mut self.unsaid);
        unsaid.retain(|&(id, channel)| {
            let is_due = is_due(id, channel);
            if is_due {
                let text = format!("{id} of channel {channel} never came, nor a gap");
                self.report(Kind::Lost, at, text);
            }
            !is_due
        });
        self.unsaid = unsaid;
    }

    /// A gap says all that is missing so far.
    fn say_all(&mut self) {
        self.counts().excused += self.unsaid.len() as u64;
        self.unsaid.clear();
    }

    fn change_epoch(&mut self, to: Id) {
        self.unsaid.clear();
        self.place = Some(to);
        self.is_untold = true;
        // Of the new epoch the client gets whatever there is.
        self.fresh.fill(true);
    }

    fn gap(&mut self, at: u64, id: Id) {
        self.counts().gaps += 1;
        let was_unsaid = !self.unsaid.is_empty();
        self.say_all();
        if self.place.is_some_and(|place| place.epoch != id.epoch) {
            self.change_epoch(Id { seq: 0, ..id });
        }
        let is_new = std::mem::take(&mut self.is_untold);
        self.counts().epoch_gaps += u64::from(is_new);
        if let Some(place) = self.place {
            let missing = self.pass(at, place, id.seq + 1, true);
            self.counts().empty_gaps += u64::from(missing == 0 && !is_new && !was_unsaid);
        }
        self.move_to(at, id);
    }

    fn cursor(&mut self, at: u64, id: Id, is_excused: bool) {
        match self.place {
            Some(place) if place.epoch == id.epoch => {
                self.pass(at, place, id.seq.saturating_add(1), is_excused);
            }
            Some(_) => {
                let start = Id { seq: 0, ..id };
                self.change_epoch(start);
                self.pass(at, start, id.seq.saturating_add(1), is_excused);
            }
            None => self.pass_from_start(at, id, id.seq.saturating_add(1)),
        }
        if !is_excused {
            let truth = self.truth;
            self.must_be_said(at, |missing, channel| {
                let newer = truth.between(missing.epoch, channel, id.seq, u64::MAX);
                let mut newer = newer.iter();
                !newer.any(|known| truth.may_be_gone(missing.epoch, channel, known, at))
            });
        }
        self.move_to(at, id);
    }

    /// The first thing told to a client: if it asked for whatever there is, that is judged.
    fn pass_from_start(&mut self, at: u64, id: Id, before: u64) {
        if self.fresh.contains(&true) {
            self.pass(at, Id { seq: 0, ..id }, before, true);
        }
    }

    fn move_to(&mut self, at: u64, id: Id) {
        if let Some(place) = self.place
            && place.epoch == id.epoch
            && id.seq < place.seq
        {
            self.report(Kind::Rewound, at, format!("{id} after {place}"));
        }
        self.place = Some(id);
    }

    fn batch(&mut self, at: u64, batch: &Batch) {
        let Some(ask) = self.ask.take() else {
            return self.report(Kind::Instrument, at, "it has not asked".into());
        };
        self.be_alive(at);
        let since = self.place;
        if batch.gap {
            self.counts().gaps += 1;
            let is_new = since.is_some_and(|place| place.epoch != batch.cursor.epoch);
            self.counts().epoch_gaps += u64::from(is_new);
        }
        let excused_before = self.verdict.counts.excused;
        if batch.gap {
            self.say_all();
        }
        for receipt in &batch.receipts {
            self.message(at, receipt, batch.gap);
        }
        self.cursor(at, batch.cursor, batch.gap);
        let is_empty_gap = batch.gap
            && !std::mem::take(&mut self.is_untold)
            && excused_before == self.verdict.counts.excused;
        self.counts().empty_gaps += u64::from(is_empty_gap);
        if self.is_untold {
            let text = "the batch is of a new epoch, and says no gap";
            self.report(Kind::Concealed, at, text.into());
            self.is_untold = false;
        }
        self.judge_answer(at, &ask, batch);
    }

    /// Whether an answer came when it should have.
    fn judge_answer(&mut self, at: u64, ask: &Ask, batch: &Batch) {
        let due = ask.nudged.unwrap_or(u64::MAX).min(ask.at + ask.hold);
        let due = due.max(self.reads_since);
        if self.is_late(due, at) {
            let text = format!("the hold was over {} us ago", at - due);
            self.report(Kind::LateHold, at, text);
        }
        if let Some(overdue) = self.owed(batch.cursor).filter(|_| !batch.more) {
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
        let mut outages = self.logs.outages.iter();
        if at + EARLY_US + stopped < ask.at + ask.hold
            && !outages.any(|outage| outage.touches(ask.at, at))
        {
            let text = format!("it was to be held {} us", ask.hold);
            self.report(Kind::EarlyEnd, at, text);
        }
    }

    /// The first message after a place that was acknowledged.
    fn owed(&self, place: Id) -> Option<Known> {
        let lanes = self.channels.iter().map(|&channel| {
            let lane = self
                .truth
                .between(place.epoch, channel, place.seq, u64::MAX);
            lane.iter().find(|known| known.acked.is_some()).copied()
        });
        lanes.flatten().min_by_key(|known| known.acked)
    }

    fn lost(&mut self, at: u64) {
        if self.ask.is_some() {
            // One that was stopped may ask, and read, what has ended long since.
            let from = self.alive_at.saturating_sub(self.rules.slack);
            let mut outages = self.logs.outages.iter();
            if !outages.any(|outage| outage.touches(from, at)) {
                let text = "the server ended the connection without a word";
                self.report(Kind::Dropped, at, text.into());
            }
        }
        self.close(at);
    }

    /// The connection is gone: whether anything was overdue on it.
    fn close(&mut self, at: u64) {
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
        let overdue = self.place.and_then(|place| self.owed(place));
        if let Some(overdue) = overdue {
            let acked = overdue.acked.unwrap_or(u64::MAX);
            if self.is_late(acked.max(self.reads_since), at) {
                let text = format!("it left without {overdue:?}, long acknowledged");
                self.report(Kind::LateMessage, at, text);
            }
        }
    }

    /// After the last entry: publishing has stopped, and everybody had time to catch up.
    fn end(&mut self) {
        let Some(place) = self.place else { return };
        self.now = self.entries.len() - 1;
        let at = self.logs.end;
        self.must_be_said(at, |_, _| true);
        match self.owed(place) {
            Some(owed) if owed.acked.is_some_and(|acked| self.is_late(acked, at)) => {
                let text = format!("it stands at {place}, and never had {owed:?}");
                self.report(Kind::Undelivered, at, text);
            }
            Some(_) => {}
            None => self.counts().complete += 1,
        }
    }
}
