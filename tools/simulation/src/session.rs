//! One request to receive, and whether what came of it is what the model says.
//!
//! Owns the rule of delivery: after the cursor that was brought, a client is given every message
//! of its channels once and in order, or is told of a gap where one is missing.

use encke_core::config::Config;
use encke_core::engine::Engine;
use encke_core::hub::Hub;

use crate::decode::{Batch, Message, UNKNOWN};
use crate::model::Model;
use crate::setup::Setup;
use crate::tally::Tally;

/// Where the request asked to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// After this number.
    After(u64),
    /// With the oldest there is.
    Earliest,
    /// With the next.
    Now,
    /// After something that the server cannot know.
    Unknown,
}

/// The moment the request was parked.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    pub(crate) at: u64,
    /// The newest message then.
    pub(crate) head: u64,
    /// The cursor it began with.
    pub(crate) pos: u64,
    /// The newest message lost to each of the channels then.
    pub(crate) lost: Vec<u64>,
    /// Short writes of the connection before.
    pub(crate) blocks: u64,
}

/// One request to receive, as far as it has come.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) channels: Vec<usize>,
    pub(crate) since: Since,
    /// Everything of its channels up to here is received, or said to be gone.
    pub(crate) pos: Option<u64>,
    /// The newest message when the request was sent.
    sent_head: u64,
    pub(crate) parked: Option<Parked>,
    /// The last message received.
    last: u64,
    /// Whether a gap is still to be said at the start.
    owes_gap: bool,
    /// Messages passed over whose gap is still to be said: a gap stands at the newest loss of a
    /// channel, and messages of other channels may come before it.
    debts: Vec<(usize, u64)>,
    /// Channels of which it has received a message.
    seen: Vec<usize>,
    /// One who asked for the earliest has caught up with this.
    fresh_until: u64,
}

/// What a session is judged against.
pub(crate) struct Truth<'a> {
    pub(crate) model: &'a Model,
    pub(crate) hub: &'a Hub,
    pub(crate) names: &'a [String],
    /// Whether some channel was ever forgotten: gaps are then said rather than silence.
    pub(crate) forgotten: bool,
    /// Short writes of the connection so far.
    pub(crate) blocks: u64,
    pub(crate) config: &'a Config,
}

impl<'a> Truth<'a> {
    /// Of parts of a world and not of a whole one, others of whose parts may change meanwhile.
    pub(crate) fn of(
        model: &'a Model,
        engine: &'a Engine,
        setup: &'a Setup,
        forgotten: bool,
        blocks: u64,
    ) -> Truth<'a> {
        Truth {
            model,
            hub: engine.hub(),
            names: &setup.names,
            forgotten,
            blocks,
            config: &setup.config,
        }
    }

    /// The newest message lost to a channel.
    fn lost(&self, channel: usize) -> u64 {
        self.hub.lost(&self.names[channel]).0
    }

    /// Whether a message is not in history any more.
    pub(crate) fn is_gone(&self, channel: usize, seq: u64) -> bool {
        let oldest = self
            .hub
            .find(&self.names[channel])
            .and_then(|channel| self.hub.channel(channel).oldest());
        oldest.is_none_or(|oldest| oldest.0 > seq)
    }
}

impl Session {
    pub(crate) fn new(channels: Vec<usize>, since: Since, head: u64) -> Session {
        Session {
            channels,
            since,
            pos: match since {
                Since::After(seq) => Some(seq),
                Since::Earliest | Since::Unknown => Some(0),
                Since::Now => None,
            },
            sent_head: head,
            parked: None,
            last: 0,
            owes_gap: since == Since::Unknown,
            debts: Vec::new(),
            seen: Vec::new(),
            fresh_until: u64::MAX,
        }
    }

    fn is_fresh(&self) -> bool {
        matches!(self.since, Since::Earliest | Since::Unknown)
    }

    /// Whether its connection took all bytes at once while it was parked.
    fn never_blocked(&self, truth: &Truth<'_>) -> bool {
        self.parked
            .as_ref()
            .is_some_and(|p| p.blocks == truth.blocks)
    }

    /// The request was parked; `held`: as a long poll, which is owed nothing then.
    pub(crate) fn park(&mut self, parked: Parked, held: bool, truth: &Truth<'_>) {
        let head = parked.head;
        if held {
            self.reach(head, false, truth);
            assert!(
                !self.owes_gap && self.debts.is_empty(),
                "a gap was not said"
            );
            for (&channel, &lost) in self.channels.iter().zip(&parked.lost) {
                // What was lost before it began is none of its business now.
                assert!(lost <= head, "channel {channel} lost what was not sent");
            }
        }
        if self.since == Since::Now {
            self.pos = Some(head);
        }
        let is_empty = |&channel: &usize| {
            let known = truth.hub.find(&truth.names[channel]);
            known.is_none_or(|known| truth.hub.channel(known).tip().0 == 0)
        };
        if parked.blocks == truth.blocks && self.channels.iter().all(is_empty) {
            self.catch_up(head);
        }
        self.parked = Some(Parked {
            pos: self.pos.unwrap_or(head),
            ..parked
        });
        if held {
            self.since = Since::After(head);
            self.pos = Some(head);
            // It has all there was, so nothing of that may come again.
            self.last = head;
        }
    }

    /// Everything up to `to` is accounted for, with or without a gap said.
    fn reach(&mut self, to: u64, gap: bool, truth: &Truth<'_>) -> usize {
        let Some(pos) = self.pos else { return 0 };
        let mut missing = 0;
        if gap {
            missing += self.debts.len();
            self.debts.retain(|&(_, seq)| seq > to);
        }
        for place in 0..self.channels.len() {
            let channel = self.channels[place];
            for &seq in truth.model.between(channel, pos, to) {
                missing += 1;
                self.miss(place, channel, seq, gap, truth);
            }
        }
        self.pos = Some(pos.max(to));
        self.check_debts(pos.max(to), truth);
        missing
    }

    /// A gap that is still to be said comes: at the next cursor it would be said anew.
    fn check_debts(&self, pos: u64, truth: &Truth<'_>) {
        for &(channel, seq) in &self.debts {
            let name = &truth.names[channel];
            assert!(
                truth.lost(channel) > pos,
                "message {seq} of {name} is missing and no gap was said up to {pos}"
            );
        }
    }

    /// Nothing is owed to it: from here on it is like one who asked for the next.
    pub(crate) fn catch_up(&mut self, head: u64) {
        self.fresh_until = self.fresh_until.min(head);
    }

    /// Whether a gap is still to be said.
    pub(crate) fn has_debts(&self) -> bool {
        !self.debts.is_empty()
    }

    /// Whether a message may be left out in silence: it was lost to one who asked for the earliest.
    pub(crate) fn may_pass_over(&self, channel: usize, seq: u64, truth: &Truth<'_>) -> bool {
        let has_begun = self.seen.contains(&channel) || seq > self.fresh_until;
        self.is_fresh() && !has_begun && truth.is_gone(channel, seq)
    }

    /// A message was passed over.
    fn miss(&mut self, place: usize, channel: usize, seq: u64, gap: bool, truth: &Truth<'_>) {
        let name = &truth.names[channel];
        assert!(
            truth.is_gone(channel, seq),
            "message {seq} of {name} was passed over (gap: {gap}), and it is there"
        );
        if !gap && !self.may_pass_over(channel, seq, truth) {
            self.debts.push((channel, seq));
        }
        if let Some(parked) = &self.parked
            && self.never_blocked(truth)
        {
            // Nothing after a loss is pinned before that loss is said: the gap may grow till then.
            let is_new = seq <= self.fresh_until && !self.seen.contains(&channel);
            let is_begun = is_new && parked.pos < parked.lost[place];
            assert!(
                seq <= parked.lost[place]
                    || is_begun
                    || truth.model.is_deleted(channel, parked.pos + 1),
                "message {seq} of {name} was lost to a reader that was waiting for it: {self:?}"
            );
        }
    }

    /// The server said that everything up to here was sent.
    pub(crate) fn cursor(&mut self, seq: u64, truth: &Truth<'_>) {
        if self.owes_gap {
            assert_eq!(seq, UNKNOWN, "with it the gap would not be said again");
            return;
        }
        match self.pos {
            None => {
                let sent = self.sent_head..=truth.model.head();
                assert!(sent.contains(&seq), "{seq} is not the present: {sent:?}");
                self.pos = Some(seq);
            }
            Some(pos) if seq >= pos => {
                self.reach(seq, false, truth);
            }
            Some(pos) => {
                for &channel in &self.channels {
                    let again = truth.model.between(channel, seq, pos);
                    let again: Vec<_> = again.iter().filter(|&&seq| seq <= self.last).collect();
                    assert!(again.is_empty(), "{again:?} would be sent again");
                }
                self.pos = Some(seq);
            }
        }
    }

    /// The server said that messages up to here are gone.
    pub(crate) fn gap(&mut self, seq: u64, truth: &Truth<'_>, tally: &mut Tally) {
        tally.gaps += 1;
        if std::mem::take(&mut self.owes_gap) {
            assert_eq!(self.pos, Some(seq), "a gap at the start is at the start");
            return;
        }
        assert!(self.pos.is_none_or(|pos| seq >= pos), "a gap in the past");
        let missing = self.reach(seq, true, truth);
        self.judge_needless(missing, truth, tally);
    }

    fn judge_needless(&self, missing: usize, truth: &Truth<'_>, tally: &mut Tally) {
        if missing == 0 {
            tally.needless_gaps += 1;
            assert!(truth.forgotten, "a gap was said where nothing is missing");
        }
    }

    /// A message was received.
    pub(crate) fn message(&mut self, message: &Message, gap: bool, truth: &Truth<'_>) -> usize {
        let seq = message.seq;
        assert!(!self.owes_gap || gap, "a message before the gap was said");
        assert!(
            (1..=truth.model.head()).contains(&seq),
            "message {seq} was never published"
        );
        let channel = truth.model.message(seq).said.channel;
        let name = &truth.names[channel];
        assert!(
            self.channels.contains(&channel),
            "a message of {name}, which was not asked for"
        );
        let pos = self
            .pos
            .unwrap_or_else(|| panic!("message {seq} of the past"));
        assert!(
            seq > pos && seq > self.last,
            "message {seq} comes after {pos}, or comes again"
        );
        let missing = self.reach(seq - 1, gap, truth);
        truth.model.compare(name, message);
        self.pos = Some(seq);
        self.last = seq;
        self.seen.push(channel);
        self.check_debts(seq, truth);
        missing
    }

    /// The answer to a poll or long poll.
    pub(crate) fn batch(&mut self, batch: &Batch, truth: &Truth<'_>, tally: &mut Tally) {
        let mut missing = 0;
        let count = batch.messages.len();
        let bytes: Vec<usize> = batch
            .messages
            .iter()
            .map(|m| truth.model.bytes(m.seq))
            .collect();
        assert!(
            count <= truth.config.max_batch,
            "{count} messages in a batch"
        );
        // The first always fits; after one that fills the batch, those without bytes still do.
        let most = bytes
            .first()
            .map_or(0, |&first| first.max(truth.config.max_batch_bytes));
        assert!(
            bytes.iter().sum::<usize>() <= most,
            "{bytes:?} bytes in a batch"
        );
        for message in &batch.messages {
            missing += self.message(message, batch.gap, truth);
        }
        assert!(
            batch.cursor >= self.last,
            "the cursor is behind the last message"
        );
        if batch.gap {
            missing += self.reach(batch.cursor, true, truth);
            tally.gaps += 1;
            if !std::mem::take(&mut self.owes_gap) {
                assert!(
                    self.since != Since::Earliest,
                    "the earliest is asked for, and a gap is said"
                );
                self.judge_needless(missing, truth, tally);
            }
        }
        self.cursor(batch.cursor, truth);
        assert!(!self.owes_gap, "a gap was not said");
    }
}
