//! Which messages exist, under which ids, and which of them history may have dropped.
//!
//! Owns the facts that clients' logs are held against. They come from logs that are complete
//! ([`Truth::gather`]: ids that publishers were not told are learnt from the clients that received
//! them), or one by one from a simulation ([`Truth::exact`]).

mod gather;
mod retention;

use std::collections::HashMap;

use crate::id::Id;
use crate::order;
use crate::run::Publish;
use crate::span::Span;
pub(crate) use retention::Exact;
use retention::Retention;

/// A message that is known to exist.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its number in the sequence.
    pub seq: u64,
    /// When it was first sent.
    pub begun: u64,
    /// When its publisher had the response; none if it never had one.
    pub acked: Option<u64>,
    /// Whether readers must get it: not if it may have gone with a server that was killed before it
    /// was answered for. Such a message may still have been in history, and have displaced others.
    pub is_owed: bool,
    /// The node that answered its publisher; 0 where there is one server.
    pub node: u32,
}

impl Known {
    /// A message that was accepted under this id.
    fn accepted(publish: &Publish, id: Id) -> Known {
        Known {
            seq: id.seq,
            begun: publish.begun,
            acked: Some(publish.done),
            is_owed: true,
            node: publish.node,
        }
    }
}

/// All messages of a run, as far as they are known.
#[derive(Debug)]
pub struct Truth {
    publishes: HashMap<u64, Publish>,
    /// The messages of each epoch and channel, in order.
    channels: HashMap<(u64, u32), Vec<Known>>,
    /// The numbers of the ends of each channel, by epoch, in order.
    ends: HashMap<(u64, u32), Vec<u64>>,
    /// The newest message acknowledged in each epoch, and since when it is.
    heads: HashMap<u64, Vec<(u64, u64)>>,
    retention: Retention,
}

impl Truth {
    /// A truth that is told everything as it happens, of channels `0..channels`.
    pub fn exact(channels: usize) -> Truth {
        Truth {
            publishes: HashMap::new(),
            channels: HashMap::new(),
            ends: HashMap::new(),
            heads: HashMap::new(),
            retention: Retention::exact(channels),
        }
    }

    /// A message was accepted under the id that its outcome says; ids only rise.
    ///
    /// # Panics
    ///
    /// It was not accepted.
    pub fn accept(&mut self, publish: Publish) {
        let id = publish.id().expect("accepted");
        self.publishes.insert(publish.number, publish);
        let channel = self.channels.entry((id.epoch, publish.channel));
        channel.or_default().push(Known::accepted(&publish, id));
        let heads = self.heads.entry(id.epoch).or_default();
        heads.push((publish.done, id.seq));
        self.retention.accept(publish.channel, id.seq);
    }

    /// A message that was accepted turns out to be lost before anybody was answered for it: it
    /// never was.
    pub fn unaccept(&mut self, epoch: u64, seq: u64) {
        for ((of, _), known) in &mut self.channels {
            if *of == epoch {
                known.retain(|known| known.seq != seq);
            }
        }
        self.publishes.remove(&seq);
        if let Some(heads) = self.heads.get_mut(&epoch) {
            heads.retain(|&(_, head)| head != seq);
        }
    }

    /// A message that was taken back by [`Truth::unaccept`] is there again.
    pub fn readmit(&mut self, publish: Publish) {
        let id = publish.id().expect("accepted");
        self.publishes.insert(publish.number, publish);
        let channel = self
            .channels
            .entry((id.epoch, publish.channel))
            .or_default();
        let place = channel.partition_point(|known| known.seq < id.seq);
        channel.insert(place, Known::accepted(&publish, id));
    }

    /// Numbers go on after this one: a server that starts again has skipped some.
    pub fn skip_to(&mut self, epoch: u64, head: u64, at: u64) {
        self.heads.entry(epoch).or_default().push((at, head));
    }

    /// All messages of one epoch are those of another from here on.
    pub fn change_epoch(&mut self, from: u64, to: u64) {
        let moved: Vec<_> = self
            .channels
            .extract_if(|&(epoch, _), _| epoch == from)
            .collect();
        let moved = moved
            .into_iter()
            .map(|((_, channel), known)| ((to, channel), known));
        self.channels.extend(moved);
        if let Some(heads) = self.heads.remove(&from) {
            self.heads.insert(to, heads);
        }
    }

    /// A channel was ended under this number, at a time; numbers only rise.
    pub fn end(&mut self, epoch: u64, channel: u32, seq: u64, at: u64) {
        self.ends.entry((epoch, channel)).or_default().push(seq);
        self.heads.entry(epoch).or_default().push((at, seq));
    }

    /// Whether a channel was ended after one number and before another.
    pub fn has_ended_between(&self, epoch: u64, channel: u32, after: u64, before: u64) -> bool {
        let ends = self
            .ends
            .get(&(epoch, channel))
            .map_or(&[][..], Vec::as_slice);
        let from = ends.partition_point(|&seq| seq <= after);
        ends.get(from).is_some_and(|&seq| seq < before)
    }

    /// Whether the newest that was published to a channel up to a number is its end.
    pub fn ends_at(&self, epoch: u64, channel: u32, seq: u64) -> bool {
        let before = seq.saturating_add(1);
        let newest = self.between(epoch, channel, 0, before).last();
        self.has_ended_between(epoch, channel, newest.map_or(0, |known| known.seq), before)
    }

    /// From here on a channel owes only its newest message (of this epoch), or all again. With the
    /// newest alone, each message replaces all before it, the lost ones too.
    pub fn set_latest(&mut self, epoch: u64, channel: u32, is_latest: bool) {
        let all = self.between(epoch, channel, 0, u64::MAX);
        let newest = all.last().map_or(0, |known| known.seq);
        self.retention.set_latest(channel, is_latest, newest);
    }

    /// Whether a newer message has replaced one, so that it is not owed.
    pub fn is_replaced(&self, channel: u32, seq: u64) -> bool {
        self.exactly()
            .is_some_and(|exact| exact.is_replaced(channel, seq))
    }

    /// What history keeps of a channel changed: the oldest message that is there, and the newest
    /// that is lost (0: none is).
    pub fn observe(&mut self, channel: u32, oldest: Option<u64>, lost: u64) {
        self.retention.observe(channel, oldest, lost);
    }

    /// A channel's history, of messages up to this number, was deleted.
    pub fn delete(&mut self, channel: u32, head: u64) {
        self.retention.delete(channel, head);
    }

    /// Whether a channel's history was deleted after this message was published, where that is
    /// known exactly.
    pub fn is_deleted(&self, channel: u32, seq: u64) -> bool {
        self.exactly()
            .is_some_and(|exact| exact.is_deleted(channel, seq))
    }

    /// A channel was forgotten: from here on gaps may be said where nothing is missing, since
    /// forgotten channels share the numbers of what they lost.
    pub fn forget(&mut self) {
        self.retention.forget();
    }

    /// The message that has this number, as its publisher remembers it.
    pub fn publish(&self, number: u64) -> Option<&Publish> {
        self.publishes.get(&number)
    }

    /// The messages of a channel after one number and before another.
    pub fn between(&self, epoch: u64, channel: u32, after: u64, before: u64) -> &[Known] {
        let Some(all) = self.channels.get(&(epoch, channel)) else {
            return &[];
        };
        let from = all.partition_point(|known| known.seq <= after);
        let to = all.partition_point(|known| known.seq < before);
        &all[from..to.max(from)]
    }

    /// The newest message that was acknowledged before a time; 0 if none was.
    pub(crate) fn head_before(&self, epoch: u64, at: u64) -> u64 {
        let heads = self.heads.get(&epoch).map_or(&[][..], Vec::as_slice);
        let later = heads.partition_point(|&(acked, _)| acked < at);
        later.checked_sub(1).map_or(0, |newest| heads[newest].1)
    }

    /// When the last message before an id was acknowledged; 0 if none was.
    pub(crate) fn last_before(&self, id: Id) -> u64 {
        let heads = self.heads.get(&id.epoch).map_or(&[][..], Vec::as_slice);
        let later = heads.partition_point(|&(_, head)| head < id.seq);
        later.checked_sub(1).map_or(0, |newest| heads[newest].0)
    }

    /// Whether history may have dropped a message by then, on a node.
    pub fn may_be_gone(&self, epoch: u64, channel: u32, known: &Known, at: u64, node: u32) -> bool {
        match &self.retention {
            Retention::Exact(exact) => exact.is_gone(channel, known.seq),
            Retention::Limits(limits) => {
                let newer = self.between(epoch, channel, known.seq, u64::MAX);
                let newer = newer.iter().filter(|other| other.begun <= at).count();
                limits.may_be_gone(channel, known, newer, at, node)
            }
        }
    }

    /// Whether the gap for a missing message may still come after a place: where the newest lost
    /// message of its channel stood.
    pub(crate) fn gap_may_follow(
        &self,
        missing: Id,
        channel: u32,
        place: u64,
        at: u64,
        node: u32,
    ) -> bool {
        match &self.retention {
            Retention::Exact(exact) => exact.lost(channel) > place,
            Retention::Limits(_) if self.is_told_later(missing, channel, place, at) => true,
            Retention::Limits(_) => {
                let mut newer = self.between(missing.epoch, channel, place, u64::MAX).iter();
                newer.any(|known| self.may_be_gone(missing.epoch, channel, known, at, node))
            }
        }
    }

    /// Whether a message is missing that a fault may have lost by then on all nodes of a cluster, and
    /// its gap comes after a place: at the beginning of the next term, as what the nodes tell again in
    /// between has the numbers that it had; or, if the side of a split took it that is given up, when
    /// that is over. What the other side took is not lost.
    pub(crate) fn is_told_later(&self, missing: Id, channel: u32, place: u64, at: u64) -> bool {
        let Retention::Limits(limits) = &self.retention else {
            return false;
        };
        let Some(known) = self.known(missing, channel) else {
            return false;
        };
        let mut given_up_in = limits
            .splits(known)
            .filter(|split| !self.has_begun_in(missing, split))
            .peekable();
        if limits.splits(known).next().is_some() && given_up_in.peek().is_none() {
            return false;
        }
        let term = order::term_of(missing.seq);
        let is_of_term = missing.epoch == Id::ALIGNED && order::term_of(place) == term;
        is_of_term && limits.is_lost(known, at, None)
            || given_up_in.any(|split| {
                let head = self.head_before(missing.epoch, split.to);
                term < order::term_of(head) && place <= head
            })
    }

    /// Whether the term of an id was begun after a split: by the side that is not given up.
    pub(crate) fn has_begun_in(&self, id: Id, split: &Span) -> bool {
        order::term_of(id.seq) > order::term_of(self.head_before(id.epoch, split.from))
    }

    /// Whether a fault may have lost a message by then on a node of a cluster, so that it cannot come
    /// again.
    pub(crate) fn may_be_lost(&self, known: &Known, at: u64, node: u32) -> bool {
        match &self.retention {
            Retention::Exact(_) => false,
            Retention::Limits(limits) => limits.is_lost(known, at, Some(node)),
        }
    }

    fn known(&self, id: Id, channel: u32) -> Option<&Known> {
        let found = self.between(id.epoch, channel, id.seq.saturating_sub(1), id.seq + 1);
        found.first()
    }

    /// Whether a gap under which nothing is missing may be told to a client of a cluster on a node,
    /// which was told its cursor at a time `from`, of channels: they were deleted, or something may
    /// have been lost. Always for a single server, whose forgotten channels share what they lost.
    pub(crate) fn may_tell_empty_gap(
        &self,
        channels: impl Iterator<Item = u32>,
        node: u32,
        (from, to): (u64, u64),
    ) -> bool {
        match &self.retention {
            Retention::Exact(_) => true,
            Retention::Limits(limits) => limits.may_tell_empty_gap(channels, node, (from, to)),
        }
    }

    /// The retention of each channel, where it is known exactly.
    pub(crate) fn exactly(&self) -> Option<&Exact> {
        match &self.retention {
            Retention::Exact(exact) => Some(exact),
            Retention::Limits(_) => None,
        }
    }
}
