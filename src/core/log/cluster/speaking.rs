//! The commands of a node to the server, in their order.
//!
//! Owns which of the node's own entries are due, and which command comes next.

use super::command::{Command, OpenMode};
use super::entry::{Answer, Beat, Body, MAX_GROUP_BYTES, Term, begin_retold, write_record};
use super::lane::{Note, Sent};
use super::node::{Mode, Node};
use super::notes::Telling;
use super::replica::Loss;
use crate::message::EntryId;

/// How many entries that tell again have no reply, at most.
const MAX_RETELLING: usize = 8;

/// Into how many parts checkpoints divide the log at least.
const CHECKPOINTS_IN_LOG: u64 = 4;

/// Bytes of the log between two checkpoints at least: a checkpoint has about 28 KiB.
const CHECKPOINT_BYTES: u64 = 1 << 20;

/// By how many entries the next term may be late before any node opens it.
const ROLL_LATE: u64 = 64;

impl Node {
    /// The next command for the publish lane; `None` until something happens, and while that lane
    /// is not connected. At most 64 commands have no reply.
    pub fn next_command(&mut self) -> Option<Command> {
        self.outbox.flush();
        if self.halt.is_some()
            || self.rests
            || !self.lane.has_room()
            || self.now < self.lane.retry_at
        {
            return None;
        }
        // One that has read of a later term may have nothing to append, by which it would learn that.
        let is_current = |opened: &u64| *opened >= self.read_to.term && !self.is_to_doubt();
        let Some(opened) = self.lane.opened.filter(is_current) else {
            return Some(self.open(false));
        };
        if self.is_to_roll() {
            return Some(self.open(true));
        }
        let keep_from = match self.mode {
            Mode::Census(_) | Mode::Fresh => EntryId::ZERO,
            Mode::Live { .. } => self.window.keep_from(self.now),
        };
        if let Some((note, bytes)) = self.next_note(opened) {
            self.lane.sent(Sent::Note(note), self.now, self.read_to);
            return Some(Command::Append {
                term: opened,
                keep_from,
                bytes,
                is_publish: false,
            });
        }
        // fault: published-before-settling
        let term = self.publishes_to()?;
        if self.settings.awaits_replicas && !self.lane.has_room_for_item() {
            return None;
        }
        let outgoing = self.outbox.send(term)?;
        let nonce = outgoing.nonce;
        self.lane
            .sent(Sent::Item { nonce, term }, self.now, self.read_to);
        self.replica.counts.groups += 1;
        self.replica.counts.messages += outgoing.messages;
        // fault: key-is-forgotten
        Some(match outgoing.key {
            Some(key) => Command::Once {
                term,
                keep_from,
                key,
                age_ms: self.settings.log_age_ms.max(1),
                replaces: outgoing.replaces,
                known: outgoing.known,
                bytes: outgoing.bytes,
            },
            None => Command::Append {
                term,
                keep_from,
                bytes: outgoing.bytes,
                is_publish: true,
            },
        })
    }

    /// Whether the numbers of the term come to their end.
    fn is_to_roll(&self) -> bool {
        let late = match self.members.is_first(self.own) {
            true => 0,
            false => ROLL_LATE,
        };
        let from = self.settings.roll_at.saturating_add(late);
        self.publishes_to().is_some() && self.replica.tip().number >= from
    }

    /// The server has an older log in place of the one that was read: a new term is opened, in which
    /// the nodes tell what they have. Nodes that had read further never saw what was appended to the
    /// older log in this term.
    pub(super) fn doubt(&mut self, term: u64) {
        if !self.lane.doubt(term) {
            return;
        }
        log::warn!(
            "engine: its log ends before {}, which this node has read: an older log was put in its \
             place; opening a new term",
            self.read_to
        );
        self.replica.counts.rolled += 1;
    }

    /// Whether a term is to be opened because the server has an older log. Others may have opened one
    /// meanwhile: its beginning is read first, as it may be for another reason.
    fn is_to_doubt(&self) -> bool {
        let has_read = self.lane.newest == self.read_to.term;
        self.lane.doubted.is_some() && has_read && !self.is_newcomer()
    }

    /// The command that looks at the log, and opens a term where one is due.
    fn open(&mut self, is_roll: bool) -> Command {
        let newest = self.lane.newest;
        let mode = if self.is_newcomer() {
            OpenMode::Peek
        } else if self.is_to_doubt() {
            OpenMode::Doubt
        } else if is_roll || self.outbox.has_undecided(newest) {
            OpenMode::Fence
        } else {
            OpenMode::Look
        };
        let is_read = self.read_to.term == newest;
        let number = if is_read { self.read_to.number } else { 0 };
        let (_, bytes) = self.entry(Body::Term(Term {
            members: self.members.ids(),
            chain: self.replica.history.as_slice().to_vec(),
            // The server appends these.
            end: EntryId::ZERO,
            run: "",
            is_same: false,
            is_rolled: false,
        }));
        self.lane.sent(Sent::Open(mode), self.now, self.read_to);
        Command::Open {
            mode,
            // fault: term-is-reused
            knows: EntryId::new(newest, number),
            salt: self.replica.floors.salt().unwrap_or(self.salt),
            bytes,
            not_before: self.lane.term_time(self.now),
        }
    }

    /// The next entry of the node itself.
    fn next_note(&mut self, opened: u64) -> Option<(Note, Vec<u8>)> {
        if let Some(note) = self.next_of_census(opened) {
            return Some(note);
        }
        if self.publishes_to() == Some(opened) {
            if let Some(bytes) = self.next_loss() {
                return Some((Note::Loss, bytes));
            }
            if let Some(bytes) = self.next_checkpoint() {
                return Some((Note::Checkpoint, bytes));
            }
            if let Some(bytes) = self.next_blocks() {
                return Some((Note::Blocks, bytes));
            }
        }
        if let Some(bytes) = self.next_beat() {
            return Some((Note::Beat, bytes));
        }
        let may_tell = self.publishes_to() == Some(opened);
        let readers = may_tell.then(|| self.next_readers()).flatten()?;
        Some((Note::Readers, readers))
    }

    fn next_of_census(&mut self, opened: u64) -> Option<(Note, Vec<u8>)> {
        let Mode::Census(census) = &self.mode else {
            return None;
        };
        if census.term != opened {
            return None;
        }
        if !self.notes.has_answered && census.wants_answer(self.own, self.now) {
            self.notes.has_answered = true;
            let answer = Body::Answer(Answer {
                remembers: self.remembers,
                members: self.members.ids(),
                departed: self.members.departed(),
                chain: self.replica.history.as_slice().to_vec(),
            });
            return Some((Note::Answer, self.entry(answer).1));
        }
        if !census.is_settler(self.own, self.lane.up_ms, self.now) {
            return None;
        }
        let after = census.retells_after();
        let telling = match &mut self.notes.telling {
            // More is to be told than was thought.
            Some(telling) if telling.after <= after => telling,
            telling => telling.insert(Telling {
                after,
                told_to: after,
                has_settled: false,
            }),
        };
        let is_told = self.replica.tip() <= telling.told_to;
        if !is_told && self.lane.retelling < MAX_RETELLING {
            return Some((Note::Retold, self.retell()));
        }
        if is_told && self.lane.retelling == 0 && !telling.has_settled {
            telling.has_settled = true;
            let settled = Body::Settled(census.settling(&self.replica));
            return Some((Note::Settled, self.entry(settled).1));
        }
        None
    }

    /// An entry that tells the next part of the history again.
    fn retell(&mut self) -> Vec<u8> {
        let head = self.take_head();
        let mut bytes = Vec::new();
        begin_retold(&mut bytes, head);
        let Some(telling) = &mut self.notes.telling else {
            return bytes;
        };
        let (piece, is_cut) = self
            .replica
            .ring
            .piece_after(telling.told_to, MAX_GROUP_BYTES);
        for record in &piece {
            write_record(&mut bytes, record);
            telling.told_to = record.last();
        }
        self.replica.counts.retold += piece.len() as u64;
        if !is_cut {
            telling.told_to = self.replica.history.tip();
        }
        bytes
    }

    fn next_loss(&mut self) -> Option<Vec<u8>> {
        if self.notes.loss_sent.is_some() {
            return None;
        }
        let channels = match self.notes.loss.as_ref()? {
            Loss::All => Vec::new(),
            Loss::Channels(channels) => channels.clone(),
        };
        let (nonce, bytes) = self.entry(Body::Lost(channels));
        self.notes.loss_sent = Some(nonce);
        Some(bytes)
    }

    fn next_checkpoint(&mut self) -> Option<Vec<u8>> {
        let notes = &self.notes;
        let most_bytes = (self.settings.log_bytes / CHECKPOINTS_IN_LOG).max(CHECKPOINT_BYTES);
        let is_due = self.now >= notes.checkpoint_due || notes.bytes_since_checkpoint >= most_bytes;
        if !is_due || notes.has_checkpoint || !self.members.is_first(self.own) {
            return None;
        }
        let checkpoint = self.replica.floors.checkpoint(self.replica.tip())?;
        self.notes.has_checkpoint = true;
        Some(self.entry(Body::Checkpoint(checkpoint)).1)
    }

    fn next_beat(&mut self) -> Option<Vec<u8>> {
        let is_goodbye = self.is_leaving;
        let is_due = match is_goodbye {
            true => !self.notes.says_goodbye && self.may_say_goodbye(),
            false => self.now >= self.pulse.due,
        };
        if !is_due {
            return None;
        }
        self.notes.says_goodbye |= is_goodbye;
        let name = self.name().to_owned();
        let (nonce, bytes) = self.entry(Body::Beat(Beat {
            applied: self.replica.tip(),
            is_leaving: is_goodbye,
            connections: self.state.connections,
            digest: self.settings.digest,
            chain: self.replica.history.as_slice().to_vec(),
            name: &name,
        }));
        self.pulse.sent(nonce, self.now);
        Some(bytes)
    }

    fn may_say_goodbye(&self) -> bool {
        let has_told = self.outbox.is_empty() && self.notes.loss.is_none();
        has_told && self.publishes_to().is_some()
    }

    /// Leaves when the others know it: else they would miss this node, should the server forget
    /// its last beat. Without a log, it leaves without a word.
    pub(super) fn leave_at_last(&mut self) {
        let has_told = self.outbox.is_empty() && self.replica.results() == 0;
        if !self.is_leaving || !has_told {
            return;
        }
        let is_late = self.leaves_by.is_some_and(|by| self.now >= by);
        let is_known = self
            .goodbye
            .is_some_and(|goodbye| self.members.have_all_read(goodbye));
        self.has_left |= is_known || is_late;
    }
}
