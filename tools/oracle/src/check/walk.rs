//! One client's log, from its first entry to its last: what it should have had. When it should have
//! had it is judged in [`time`].
//!
//! Invariant: `place` is where the client stands by what it has been told, and nothing that is
//! known to exist before it is missing unless it was reported.

mod time;

use super::{Counts, Finding, Kind, SHOWN, Verdict};
use crate::log::{Batch, Entry, Event, Id, Logs, Outcome, Receipt, Rules, Since, Transport};
use crate::truth::{Truth, receipts};

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
            Event::Connected => self.alive_at = self.happened(at),
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
                self.must_be_down(at, at, "could not connect");
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

    fn message(&mut self, at: u64, receipt: &Receipt, is_excused: bool) {
        self.counts().messages += 1;
        self.judge_origin(at, receipt);
        let id = receipt.id;
        let base = self.base(id);
        if std::mem::take(&mut self.is_untold) && !is_excused {
            let text = format!("{id} is of a new epoch, and no gap was said");
            self.report(Kind::Concealed, at, text);
        }
        match base {
            Some(base) if id.seq <= base.seq => {
                let before = &self.entries[..self.now];
                let mut had = before.iter().rev().take(10_000);
                let is_again = had.any(|entry| receipts(entry).iter().any(|other| other.id == id));
                let kind = match is_again {
                    true => Kind::Twice,
                    false => Kind::OutOfOrder,
                };
                self.report(kind, at, format!("{id} came after {base}"));
                return;
            }
            Some(base) => drop(self.pass(at, base, id.seq, is_excused)),
            None => self.pass_from_start(at, id, id.seq),
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

    /// Where the client stands in the epoch of what it is told: in a new one, at its beginning,
    /// whatever cursors it is told before it is told of the gap.
    fn base(&mut self, id: Id) -> Option<Id> {
        let place = self.place?;
        if place.epoch != id.epoch {
            self.is_untold = true;
            self.unsaid.clear();
            // Of the new epoch it gets whatever there is.
            self.fresh.fill(true);
        }
        match self.is_untold {
            true => Some(Id { seq: 0, ..id }),
            false => Some(place),
        }
    }

    fn gap(&mut self, at: u64, id: Id) {
        self.counts().gaps += 1;
        let base = self.base(id);
        let is_new = std::mem::take(&mut self.is_untold);
        self.counts().epoch_gaps += u64::from(is_new);
        let was_unsaid = !self.unsaid.is_empty();
        self.say_all();
        if let Some(base) = base {
            let missing = self.pass(at, base, id.seq.saturating_add(1), true);
            self.counts().empty_gaps += u64::from(missing == 0 && !is_new && !was_unsaid);
        }
        self.move_to(at, base, id);
    }

    fn cursor(&mut self, at: u64, id: Id, is_excused: bool) {
        let base = self.base(id);
        if self.is_untold {
            // It may come back with this, and must then be told.
            self.place = Some(id);
            return;
        }
        match base {
            Some(base) => drop(self.pass(at, base, id.seq.saturating_add(1), is_excused)),
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
        self.move_to(at, base, id);
    }

    /// The first thing told to a client: if it asked for whatever there is, that is judged.
    fn pass_from_start(&mut self, at: u64, id: Id, before: u64) {
        if self.fresh.contains(&true) {
            self.pass(at, Id { seq: 0, ..id }, before, true);
        }
    }

    fn move_to(&mut self, at: u64, from: Option<Id>, id: Id) {
        if from.is_some_and(|from| id.seq < from.seq) {
            self.report(Kind::Rewound, at, format!("{id} after {from:?}"));
        }
        self.place = Some(id);
    }

    fn batch(&mut self, at: u64, batch: &Batch) {
        let Some(ask) = self.ask.take() else {
            return self.report(Kind::Instrument, at, "it has not asked".into());
        };
        self.be_alive(ask.at);
        self.place = self.base(batch.cursor);
        let is_new = std::mem::take(&mut self.is_untold);
        if is_new && !batch.gap {
            let text = "the batch is of a new epoch, and says no gap";
            self.report(Kind::Concealed, at, text.into());
        }
        let excused_before = self.verdict.counts.excused;
        if batch.gap {
            self.counts().gaps += 1;
            self.counts().epoch_gaps += u64::from(is_new);
            self.say_all();
        }
        for receipt in &batch.receipts {
            self.message(at, receipt, batch.gap);
        }
        self.cursor(at, batch.cursor, batch.gap);
        let is_empty = batch.gap && !is_new && excused_before == self.verdict.counts.excused;
        self.counts().empty_gaps += u64::from(is_empty);
        self.judge_answer(at, &ask, batch);
    }

    /// After the last entry: publishing has stopped, and everybody had time to catch up.
    fn end(&mut self) {
        let Some(place) = self.place else { return };
        self.now = self.entries.len() - 1;
        let at = self.logs.end;
        self.must_be_said(at, |_, _| true);
        match self.owed(place, at) {
            Some(owed) if owed.acked.is_some_and(|acked| self.is_late(acked, at)) => {
                let text = format!("it stands at {place}, and never had {owed:?}");
                self.report(Kind::Undelivered, at, text);
            }
            Some(_) => {}
            None => self.counts().complete += 1,
        }
    }
}
