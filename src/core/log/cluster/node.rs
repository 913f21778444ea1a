//! A node: a state machine that reads the log, and decides what to append and what to apply.
//!
//! Owns the state of the node and its public calls. `reading` judges entries, `speaking` makes
//! commands, `report` says how the node is.

use std::sync::Arc;

use super::audience::Audience;
use super::blocks::Blocks;
use super::census::Census;
use super::chain::Chain;
use super::claims::Claims;
use super::command::{KeyHash, Lane, Openness, Reply, Salt};
use super::effect::{Effect, Reason, Ticket};
use super::entry::{Body, Entry, Head, MAX_NAME_BYTES, begin_messages};
use super::foreign::Foreign;
use super::lane::{Awaited, Note, PublishLane, Sent};
use super::members::Members;
use super::messages::{MAX_PARTS, count_parts, write_message};
use super::notes::Notes;
use super::outbox::{Outbox, Said};
use super::pulse::Pulse;
use super::replica::Replica;
use super::settings::{Halt, Refusal, Settings, State};
use super::window::Window;
use crate::base::time::Time;
use crate::message::{ChannelName, Draft, EntryId};

/// After how long without an answer a command is tried again, in milliseconds.
pub(super) const RETRY_MS: u64 = 300;

/// After how long the server is asked again that had no memory, or refused, in milliseconds.
const REFUSED_MS: u64 = 1_000;

/// For how long more a node that has just started waits for what the log has before it opens a
/// term, in milliseconds.
const UNREAD_MS: u64 = 10_000;

/// How often a node checks whether it may open a term or leave, in milliseconds: no event tells it.
const SOON_MS: u64 = 100;

/// How far a node has come in the log.
#[derive(Debug)]
pub(super) enum Mode {
    /// It has read nothing.
    Fresh,
    /// Entries are applied as they are read.
    Live {
        /// Whether the term is known to be settled: the node may have begun in the middle.
        is_settled: bool,
    },
    /// A term has begun and is not settled.
    Census(Box<Census>),
}

/// A node of a cluster.
#[derive(Debug)]
pub struct Node {
    pub(super) settings: Settings,
    /// The number by which others know it.
    pub(super) own: u64,
    pub(super) salt: Salt,
    pub(super) nonce: u64,
    pub(super) now: Time,
    pub(super) mode: Mode,
    /// The newest id that was read.
    pub(super) read_to: EntryId,
    pub(super) replica: Replica,
    pub(super) members: Members,
    pub(super) window: Window,
    pub(super) outbox: Outbox,
    pub(super) lane: PublishLane,
    pub(super) pulse: Pulse,
    pub(super) notes: Notes,
    pub(super) audience: Audience,
    pub(super) blocks: Blocks,
    pub(super) foreign: Foreign,
    pub(super) state: State,
    pub(super) is_following: bool,
    wants_reset: bool,
    pub(super) is_joined: bool,
    /// It was a full member once, so it can say what is lost.
    pub(super) remembers: bool,
    pub(super) is_leaving: bool,
    /// When it goes whether others know or not.
    pub(super) leaves_by: Option<Time>,
    pub(super) has_left: bool,
    /// The id of the own farewell beat, once read back.
    pub(super) goodbye: Option<EntryId>,
    /// Its history before it missed entries over the end of a term: it may have what others have
    /// not.
    pub(super) suspect: Option<Chain>,
    pub(super) claims: Claims,
    /// It sends nothing new, as it is to be handed over.
    pub(super) rests: bool,
    /// Since when nothing can be published.
    pub(super) blocked: Option<Time>,
    /// When it may open a term, if it has just started.
    newcomer_until: Option<Time>,
    pub(super) halt: Option<Halt>,
}

impl Node {
    /// A node that has read nothing. `seed` is a random number of this process alone: the node's
    /// identity follows from it.
    pub fn new(settings: Settings, seed: [u64; 3]) -> Node {
        let Settings {
            ring_bytes,
            log_bytes,
            log_age_ms,
            ..
        } = settings;
        Node {
            own: seed[0],
            salt: Salt(seed[1], seed[2]),
            nonce: 0,
            now: Time(0),
            mode: Mode::Fresh,
            read_to: EntryId::ZERO,
            replica: Replica::new(seed[0], ring_bytes),
            members: Members::default(),
            window: Window::new(log_bytes, log_age_ms),
            outbox: Outbox::new(settings.awaits_replicas),
            lane: PublishLane::default(),
            pulse: Pulse::new(Time(0)),
            notes: Notes::default(),
            audience: Audience::default(),
            blocks: Blocks::default(),
            foreign: Foreign::default(),
            state: State::default(),
            is_following: false,
            wants_reset: false,
            is_joined: false,
            remembers: false,
            is_leaving: false,
            leaves_by: None,
            has_left: false,
            goodbye: None,
            suspect: None,
            claims: Claims::default(),
            rests: false,
            blocked: None,
            newcomer_until: None,
            halt: None,
            settings,
        }
    }

    /// Sets the time. Beats, deadlines and the next step of a census follow from it. `unix_ms` is
    /// the wall clock, in milliseconds since 1970. Called at least at [`Node::next_due`].
    pub fn tick(&mut self, now: Time, unix_ms: u64) {
        debug_assert!(now >= self.now);
        self.now = now;
        self.replica.clock.tick(now, unix_ms);
        let deaf_ms = self.pulse.deaf_ms();
        let awaits = self.settings.awaits_replicas;
        let is_silent = |at: Time| now.since_ms(at) >= deaf_ms;
        if self.pulse.is_deaf(now) || self.lane.oldest(awaits).is_some_and(is_silent) {
            self.replica.counts.deaf += 1;
            self.wants_reset = true;
            self.pulse.resets();
            // Until the connections are there again there is nothing to wait for.
            self.broken(Lane::Publish);
        }
        let silent_ms = self.blocked_ms().max(self.settings.patience_ms);
        self.replica.counts.unknown += self.outbox.expire(now, silent_ms);
        self.complete();
        self.leave_at_last();
    }

    /// A connection is there. Commands given out before on its lane are forgotten by the thread.
    pub fn connected(&mut self, lane: Lane) {
        match lane {
            Lane::Publish => {
                self.lost_publish_lane();
                self.lane.connected();
                let newcomer_ms = self.settings.newcomer_ms;
                self.newcomer_until
                    .get_or_insert(self.now.after_ms(newcomer_ms));
            }
            Lane::Follow => self.is_following = true,
        }
    }

    /// For how long the server of the publish lane has been running, in milliseconds. After
    /// [`Node::connected`]; as long as it is not known, 0.
    pub fn note_uptime(&mut self, up_ms: u64) {
        self.lane.up_ms = up_ms;
    }

    /// A connection is broken: commands that have no reply will get none.
    pub fn broken(&mut self, lane: Lane) {
        match lane {
            Lane::Publish => self.lost_publish_lane(),
            Lane::Follow => self.is_following = false,
        }
        self.complete();
    }

    /// The server has replied to the oldest command that has no reply yet.
    pub fn answered(&mut self, reply: Reply) {
        let sent = self.lane.answered(None);
        self.take_reply(sent, reply);
    }

    /// The server has replied to the oldest command that has no reply yet and of which
    /// [`Command::is_publish`](super::Command::is_publish) is this: a reply to a publish may be
    /// held while others are not.
    pub fn answered_of(&mut self, is_publish: bool, reply: Reply) {
        let sent = self.lane.answered(Some(is_publish));
        self.take_reply(sent, reply);
    }

    fn take_reply(&mut self, awaited: Option<Awaited>, reply: Reply) {
        // The reply is of a connection that is given up, if none is awaited.
        if let Some(Awaited { sent, read_to, .. }) = awaited {
            let is_rolled = reply.is_of_less_than(read_to);
            match sent {
                Sent::Open(_) => self.answered_open(reply),
                Sent::Item { nonce, term } => self.answered_item(nonce, term, reply, is_rolled),
                Sent::Note(note) => {
                    self.answered_note(note, reply);
                    if is_rolled {
                        self.failed(note);
                    }
                }
            }
            if is_rolled {
                self.doubt(read_to.term);
            }
        }
        self.complete();
    }

    /// The follow lane has read an entry. Ids that were read before are ignored, so that what was
    /// underway of an earlier connection does no harm.
    pub fn read(&mut self, id: EntryId, bytes: impl Into<Arc<[u8]>>) {
        if self.halt.is_some() || id <= self.read_to {
            return;
        }
        self.replica.watches_keys = self.outbox.has_keys();
        self.replica.clock.heard(self.pulse.heard);
        self.take_entry(id, &bytes.into());
        self.pulse.progressed(id < self.lane.tip, self.now);
        self.note_own_read();
        self.complete();
    }

    /// Publishes these messages, all or none, in one entry. Several messages must have no keys; a
    /// single one may. Published with the rest of the tick: when [`Node::next_command`] is called next.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; nothing is published then.
    pub fn publish(&mut self, drafts: &[Draft<'_>]) -> Result<Ticket, Refusal> {
        self.admit()?;
        if count_parts(drafts) > MAX_PARTS {
            return Err(Refusal::TooMany);
        }
        let deadline = self.now.after_ms(self.settings.patience_ms);
        let head = self.head();
        if let [draft] = drafts
            && let Some(key) = &draft.key
        {
            let key = KeyHash::new(&draft.channel, key);
            let mut bytes = Vec::new();
            begin_messages(&mut bytes, head);
            write_message(&mut bytes, draft);
            self.nonce = head.nonce;
            return Ok(self.outbox.add(bytes, head.nonce, Some(key), deadline));
        }
        let (ticket, is_new) = self.outbox.publish(drafts, head, deadline);
        if is_new {
            self.nonce = head.nonce;
        }
        Ok(ticket)
    }

    /// Whether a publish with this id, which was applied, is as safe as it is to be: it is on as many
    /// replicas as are awaited.
    pub fn is_confirmed(&self, id: EntryId) -> bool {
        self.outbox.is_confirmed(id)
    }

    /// Has the server say that replicas have a message with a key that was applied with this id.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn publish_again(&mut self, draft: &Draft<'_>, id: EntryId) -> Result<Ticket, Refusal> {
        let ticket = self.publish(std::slice::from_ref(draft))?;
        if let Some(key) = &draft.key {
            self.outbox.read_key(KeyHash::new(&draft.channel, key), id);
        }
        Ok(ticket)
    }

    /// Sets for how long publishers are held, and after how long without its own beat the node is
    /// not ready, in milliseconds.
    pub fn set_times(&mut self, patience_ms: u64, ready_ms: u64) {
        self.settings.patience_ms = patience_ms;
        self.outbox.hold_until(self.now.after_ms(patience_ms));
        self.settings.ready_ms = ready_ms;
    }

    /// Deletes the history of a channel.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn delete(&mut self, channel: &ChannelName<'_>) -> Result<Ticket, Refusal> {
        self.admit()?;
        let deadline = self.now.after_ms(self.settings.patience_ms);
        let (nonce, bytes) = self.entry(Body::Delete(channel.borrowed()));
        Ok(self.outbox.add(bytes, nonce, None, deadline))
    }

    /// The newest ticket that is done; 0 before the first.
    pub(in crate::log) fn newest_done(&self) -> Ticket {
        self.outbox.newest_done()
    }

    /// Sets the state that other nodes are told about this one.
    pub fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// Publishes nothing more from now on, and says in a last beat that the node leaves. Publishes
    /// that wait have their results first. Gone when [`Node::has_left`].
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.leaves_by
            .get_or_insert(self.now.after_ms(self.settings.patience_ms));
        self.leave_at_last();
    }

    /// Whether the last beat was read by all members, or cannot be.
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// The id after which the follow lane reads; `None` while it should not read. It changes
    /// when entries are read, and when [`Node::takes_reset`] was true.
    pub fn follows_after(&self) -> Option<EntryId> {
        let is_following = self.halt.is_none() && self.replica.floors.salt().is_some();
        is_following.then_some(self.read_to)
    }

    /// Whether entries may be read: less waits in effects than a bound. While it is false the
    /// caller keeps what was read.
    pub fn has_room(&self) -> bool {
        self.replica.has_room()
    }

    /// Whether both connections are to be closed and made anew, from the resolution of the
    /// address on. True once each time; [`Node::broken`] is called for both lanes in answer.
    pub fn takes_reset(&mut self) -> bool {
        std::mem::take(&mut self.wants_reset)
    }

    /// How many messages would share the next entry; 0 if something else is to be sent before it.
    pub fn gathered(&self) -> u64 {
        self.outbox.gathered()
    }

    /// The next effect.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.replica.next_effect()
    }

    /// When [`Node::tick`] is to be called at the latest.
    pub fn next_due(&self) -> Option<Time> {
        if self.halt.is_some() {
            return None;
        }
        let soon = self.now.after_ms(SOON_MS);
        let due = match (self.publishes_to(), self.is_leaving || self.rests) {
            (Some(_), false) => self.pulse.due.max(self.now),
            _ => soon,
        };
        let due = [Some(due), self.outbox.next_deadline(), self.readers_due()];
        due.into_iter().flatten().min()
    }

    /// The term that is served.
    pub(super) fn term(&self) -> Option<u64> {
        match &self.mode {
            Mode::Fresh => None,
            Mode::Live { .. } | Mode::Census(_) => Some(self.replica.tip().term),
        }
    }

    /// The term to which messages may be appended now.
    pub(super) fn publishes_to(&self) -> Option<u64> {
        let Mode::Live { is_settled: true } = self.mode else {
            return None;
        };
        let term = self.replica.tip().term;
        self.lane.opened.filter(|&opened| opened == term)
    }

    pub(super) fn blocked_ms(&self) -> u64 {
        self.blocked.map_or(0, |since| self.now.since_ms(since))
    }

    /// Whether something may be published.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        if self.halt.is_some() || self.is_leaving {
            return Err(Refusal::Halted);
        }
        if !self.remembers {
            return Err(Refusal::Warming);
        }
        let silent_ms = self.blocked_ms();
        if silent_ms >= self.settings.patience_ms {
            return Err(Refusal::Silent { silent_ms });
        }
        match self.outbox.bytes() < self.settings.outbox_bytes {
            true => Ok(()),
            false => Err(Refusal::Busy),
        }
    }

    /// The head of the next entry.
    fn head(&self) -> Head {
        Head {
            node: self.own,
            nonce: self.nonce + 1,
            at_ms: self.replica.clock.stamp_ms(),
        }
    }

    /// A new entry: its nonce and bytes.
    pub(super) fn entry(&mut self, body: Body<'_>) -> (u64, Vec<u8>) {
        let head = self.head();
        self.nonce = head.nonce;
        let mut bytes = Vec::new();
        Entry { head, body }.write(&mut bytes);
        (head.nonce, bytes)
    }

    /// The head of a new entry that is written by the caller.
    pub(super) fn take_head(&mut self) -> Head {
        let head = self.head();
        self.nonce = head.nonce;
        head
    }

    /// Its name, as the others know it.
    pub fn name(&self) -> &str {
        let name = &self.settings.name;
        let fits = |end: &usize| *end <= MAX_NAME_BYTES;
        let ends = name.char_indices().map(|(at, char)| at + char.len_utf8());
        &name[..ends.take_while(fits).last().unwrap_or(0)]
    }

    /// Whether it has just started, and leaves it to others to open a term.
    pub(super) fn is_newcomer(&self) -> bool {
        if self.remembers {
            return false;
        }
        let Some(until) = self.newcomer_until else {
            return true;
        };
        let has_read = self.read_to.max(self.foreign.newest()) >= self.lane.tip;
        self.now < until || (!has_read && self.now < until.after_ms(UNREAD_MS))
    }

    fn lost_publish_lane(&mut self) {
        self.lane.broken();
        self.pulse.broken(self.now);
        self.notes.broken();
        self.audience.lost();
        self.blocks.restart();
        self.outbox.broken();
    }

    fn answered_open(&mut self, reply: Reply) {
        let opened = match reply {
            Reply::Opened(opened) => opened,
            // It is asked again, as somebody may change what it refuses: missing replicas, a full
            // disk, a key of another type, a log of another format.
            Reply::Refused(why) => return self.lane.refused(why, self.now.after_ms(REFUSED_MS)),
            _ => return self.lane.retry_at = self.now.after_ms(REFUSED_MS),
        };
        self.lane.refusal = None;
        self.lane.tip = self.lane.tip.max(opened.last);
        self.replica.clock.set(opened.time_ms);
        if let Some(salt) = opened.salt {
            self.replica.set_salt(salt);
        }
        match opened.how {
            Openness::IsDue => {
                let retry_at = self.now.after_ms(RETRY_MS);
                let until = self.newcomer_until.filter(|&until| until > self.now);
                self.lane.retry_at = until.map_or(retry_at, |until| retry_at.min(until));
            }
            Openness::GoesOn | Openness::New => {
                self.lane.note_term(opened.term, self.now);
                self.lane.opened = Some(opened.term);
            }
        }
        if opened.how == Openness::New {
            self.replica.counts.opened += 1;
        }
    }

    fn answered_item(&mut self, nonce: u64, term: u64, reply: Reply, is_rolled: bool) {
        let said = match reply {
            Reply::Appended(id) if is_rolled => Said::Misplaced(id),
            Reply::Appended(id) => {
                self.lane.tip = self.lane.tip.max(id);
                Said::Appended(id)
            }
            // The id may be one that another message has in the history.
            Reply::Earlier { .. } if is_rolled => Said::NotTaken,
            Reply::Earlier { id, .. } => Said::Earlier(id),
            Reply::Stale | Reply::Gone => {
                // The reply may have been held, and another term be open meanwhile.
                self.lane.opened = self.lane.opened.filter(|&opened| opened != term);
                Said::NotTaken
            }
            Reply::Full => Said::Refused(Reason::Full),
            Reply::Refused(why) => Said::Refused(Reason::Refused(why)),
            Reply::Opened(_) => return self.wants_reset = true,
        };
        self.outbox.answered(nonce, term, said);
    }

    fn answered_note(&mut self, note: Note, reply: Reply) {
        match reply {
            Reply::Appended(id) => self.lane.tip = self.lane.tip.max(id),
            Reply::Stale | Reply::Gone => {
                self.lane.opened = None;
                self.failed(note);
            }
            Reply::Full | Reply::Refused(_) => {
                self.failed(note);
                self.lane.retry_at = self.now.after_ms(REFUSED_MS);
            }
            Reply::Earlier { .. } | Reply::Opened(_) => self.wants_reset = true,
        }
    }

    fn failed(&mut self, note: Note) {
        self.notes.failed(note);
        match note {
            Note::Readers => self.audience.lost(),
            Note::Blocks => self.blocks.restart(),
            _ => {}
        }
    }

    /// Notes the node's own entries that were applied or may be missed, and keys that wait.
    pub(super) fn note_own_read(&mut self) {
        if let Some(to) = self.replica.take_missed() {
            self.outbox.missed(to);
        }
        for (nonce, id) in self.replica.take_own_read() {
            self.outbox.read(nonce, id);
        }
        for (key, id) in self.replica.take_keys_read() {
            self.outbox.read_key(key, id);
        }
    }

    /// Gives results to publishers whose entries were read.
    fn complete(&mut self) {
        match self.publishes_to().is_some() {
            true => self.blocked = None,
            false => drop(self.blocked.get_or_insert(self.now)),
        }
        // A node that has not read its own beat has not read what the log had before.
        let has_begun = self.remembers
            || (self.pulse.heard.is_some() && matches!(self.mode, Mode::Live { is_settled: true }));
        self.is_joined = has_begun && self.members.is_joined(self.own);
        self.remembers |= self.is_joined;
        let lane = &self.lane;
        let awaits = |nonce| lane.awaits(nonce);
        let is_joined = self.is_joined;
        let contradicted = self.outbox.complete(&self.replica, is_joined, awaits);
        if let Some(id) = contradicted {
            self.doubt(id.term);
        }
        // Behind what they were done by, and before what is read next.
        while let Some(done) = self.outbox.next_done() {
            self.replica.push(done);
        }
    }
}

#[cfg(test)]
mod tests;
