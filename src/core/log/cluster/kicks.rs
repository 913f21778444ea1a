//! The ends of connections of a subject, and the refusal of its tokens, on all nodes.
//!
//! Owns the entries by which nodes are told, and when those are told again that hold for longer than
//! the log does: a node that starts reads in the log which subjects are blocked. It keeps no table of
//! them: the caller has one, and is asked for some at a time.
//!
//! The first member tells them again: a quarter of the log after it did so last, by age or by bytes,
//! and soon after a term was settled, as the server may have forgotten them, or a connection broke.
//! They have an allowance of their own: more at once than its burst take their time.

use super::blocks::BlockPlace;
use super::effect::Ticket;
use super::entry::{Body, Kick};
use super::node::Node;
use super::settings::Refusal;

/// Into how many parts the times at which blocks are told again divide the log.
const TIMES_IN_LOG: u64 = 4;

/// Blocked subjects that an entry tells again at most, about 32 KiB.
pub const MAX_BLOCKS: usize = 128;

impl Node {
    /// Ends connections of a subject on all other nodes, or has its tokens refused on all nodes.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn kick(&mut self, kick: &Kick<'_>) -> Result<Ticket, Refusal> {
        self.admit()?;
        let deadline = self.now.after_ms(self.settings.patience_ms);
        let (nonce, bytes) = self.entry(Body::Kick(vec![kick.clone()]));
        Ok(self.outbox.add(bytes, nonce, None, deadline))
    }

    /// After which blocked subject the next ones are to be given to [`Node::tell_blocks`], in the
    /// order of their places; `None` while none are wanted.
    pub fn wants_blocks(&self) -> Option<Option<&BlockPlace>> {
        let is_due = self.now >= self.blocks.due
            || self.blocks.bytes >= self.settings.log_bytes / TIMES_IN_LOG
            || self.blocks.told_to.is_some();
        let is_told = self.blocks.entry.is_some() || !is_due || self.publishes_to().is_none();
        let is_allowed = self.now >= self.blocks.allowance.due(self.own_bytes_per_s(1));
        let is_teller = self.members.is_first(self.own) && !self.is_leaving;
        (is_teller && is_allowed && !is_told).then_some(self.blocks.told_to.as_ref())
    }

    /// Takes the next blocked subjects, at most [`MAX_BLOCKS`], to tell them again. Fewer than that
    /// are the last ones.
    pub fn tell_blocks(&mut self, blocks: &[BlockPlace]) {
        self.blocks.told(blocks.last().cloned(), self.now);
        if blocks.len() < MAX_BLOCKS {
            self.told_blocks();
        }
        let kick = |(until_ms, subject): &BlockPlace| Kick {
            subject: subject.to_string().into(),
            ends: false,
            channel: None,
            until_ms: *until_ms,
        };
        let kicks: Vec<_> = blocks.iter().map(kick).collect();
        self.blocks.entry = Some(kicks).filter(|kicks| !kicks.is_empty());
    }

    /// They have all been told, by this node or another.
    fn told_blocks(&mut self) {
        let age_ms = self.settings.log_age_ms / TIMES_IN_LOG;
        self.blocks.finish(age_ms.max(1_000), self.now);
    }

    /// The next entry that tells blocked subjects again.
    pub(super) fn next_blocks(&mut self) -> Option<Vec<u8>> {
        let kicks = self.blocks.entry.take()?;
        let bytes = self.entry(Body::Kick(kicks)).1;
        let (bytes_per_s, burst) = (self.own_bytes_per_s(1), self.own_burst());
        let length = bytes.len() as u64;
        let allowance = &mut self.blocks.allowance;
        allowance.spend(length, bytes_per_s, burst, self.now);
        Some(bytes)
    }

    /// Takes an entry that was read.
    pub(super) fn note_kicks(&mut self, node: u64, kicks: &[Kick<'_>]) {
        let is_again = kicks.iter().all(|kick| !kick.ends);
        if is_again && node != self.own {
            self.told_blocks();
        }
    }
}
