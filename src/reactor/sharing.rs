//! The reactor's part in a cluster: it passes the events of the lanes to the node, and the commands
//! of the node to the lanes.
//!
//! Owns the exchange between the node, which decides everything, and the two lanes, which move
//! bytes. Entries for which the node has no room wait here. Until they are taken the follow lane
//! reads no further.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::gathering::Gathering;
use super::readiness::Readiness;
use crate::cluster::{Event, ReadEntry, Redis};
use encke_core::base::time::Time;
use encke_core::engine::Reconnects;
use encke_core::log::cluster::{Command, Halt, Lane, Node};

/// Events of the publish lane that are taken in one tick.
const EVENT_BUDGET: usize = 64;

/// Entries that are given to the node in one tick.
const ENTRY_BUDGET: usize = 64;

/// Bytes of entries after which no more are given to the node in one tick.
const ENTRY_BYTES: usize = 1 << 20;

/// Commands that are taken from the node in one tick: as many as it has without a reply.
const COMMAND_BUDGET: usize = 64;

/// The longest time for which the end of the process waits to tell the other nodes that this one
/// leaves. Without being told they notice it a little later.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The exchange between a node and its lanes.
pub(super) struct Sharing {
    redis: Redis,
    /// A command for which the lane had no room.
    pending: Option<Command>,
    /// Commands that were sent on this connection and have no reply.
    unanswered: usize,
    /// Whether publishes wait for others.
    gathering: Gathering,
    /// Entries that were read, for which the node had no room.
    unread: VecDeque<ReadEntry>,
    /// Whether the follow lane knows from which id to read.
    is_following: bool,
    /// Whether each lane has a connection that was reported to the node.
    has_publish: bool,
    has_follow: bool,
    is_halt_logged: bool,
    pub(super) readiness: Readiness,
    /// Until when the end of the process waits.
    leaves_at: Option<Instant>,
}

impl Sharing {
    pub(super) fn new(redis: Redis) -> Sharing {
        Sharing {
            redis,
            pending: None,
            unanswered: 0,
            gathering: Gathering::new(),
            unread: VecDeque::new(),
            is_following: false,
            has_publish: false,
            has_follow: false,
            is_halt_logged: false,
            readiness: Readiness::default(),
            leaves_at: None,
        }
    }

    /// Passes the events of the lanes to the node.
    pub(super) fn take(&mut self, node: &mut Node) {
        for _ in 0..EVENT_BUDGET {
            match self.redis.next_event(Lane::Publish) {
                Some(Event::Connected { up_ms }) => {
                    self.has_publish = true;
                    self.unanswered = 0;
                    self.gathering.forget();
                    node.connected(Lane::Publish);
                    node.note_uptime(up_ms);
                }
                Some(Event::Broken(_)) => {
                    self.pending = None;
                    self.unanswered = 0;
                    if std::mem::take(&mut self.has_publish) {
                        node.broken(Lane::Publish);
                    }
                }
                Some(Event::Answered(replies)) => {
                    self.unanswered = self.unanswered.saturating_sub(replies.len());
                    for (is_publish, reply) in replies {
                        node.answered_of(is_publish, reply);
                    }
                }
                Some(Event::Read(_)) => debug_assert!(false, "the publish lane reads nothing"),
                None => break,
            }
        }
        self.read(node);
    }

    fn read(&mut self, node: &mut Node) {
        let mut bytes = 0;
        for _ in 0..ENTRY_BUDGET {
            if bytes >= ENTRY_BYTES || !reads(node) {
                return;
            }
            let Some((id, entry)) = self.next_entry(node) else {
                return;
            };
            bytes += entry.len();
            node.read(id, entry);
        }
    }

    /// The next entry. Events of the connection are passed to the node in their order among
    /// entries.
    fn next_entry(&mut self, node: &mut Node) -> Option<ReadEntry> {
        loop {
            if let Some(entry) = self.unread.pop_front() {
                return Some(entry);
            }
            match self.redis.next_event(Lane::Follow)? {
                Event::Connected { .. } => {
                    self.is_following = false;
                    self.has_follow = true;
                    node.connected(Lane::Follow);
                }
                Event::Broken(_) => {
                    self.is_following = false;
                    if std::mem::take(&mut self.has_follow) {
                        node.broken(Lane::Follow);
                    }
                }
                Event::Read(entries) => self.unread = entries.into(),
                Event::Answered(_) => debug_assert!(false, "the follow lane has no replies"),
            }
        }
    }

    /// Passes the commands of the node to the lanes.
    pub(super) fn give(&mut self, node: &mut Node, now: Time) {
        if node.takes_reset() {
            self.reset(node);
        }
        if !self.is_following
            && self.unread.is_empty()
            && let Some(after) = node.follows_after()
        {
            self.is_following = self.redis.follow(after);
        }
        self.send(node, now);
        self.log_halt(node);
    }

    /// Sends the commands of the node. While commands have no reply the next ones wait, so that the
    /// publishes of that time share an entry; then they may wait for more ([`Gathering`]). Beats and
    /// other commands that are due at a time do not wait, because the reply may never come.
    fn send(&mut self, node: &mut Node, now: Time) {
        let is_due = node.next_due().is_some_and(|due| due <= now);
        if self.unanswered > 0 && !is_due {
            return;
        }
        let gathered = node.gathered();
        let waits = self.gathering.waits(Instant::now(), gathered);
        if waits && !is_due {
            return;
        }
        let sent = self.unanswered;
        for _ in 0..COMMAND_BUDGET {
            let Some(command) = self.pending.take().or_else(|| node.next_command()) else {
                break;
            };
            if let Err(command) = self.redis.send(command) {
                // There is room again once the lane reports replies.
                self.pending = Some(command);
                break;
            }
            self.unanswered += 1;
        }
        if gathered > 0 && self.unanswered > sent {
            self.gathering.sent(Instant::now(), gathered);
        }
    }

    /// Until when publishes wait for others, if they do.
    pub(super) fn gathers_until(&self) -> Option<Instant> {
        self.gathering.until()
    }

    fn log_halt(&mut self, node: &Node) {
        if let Some(halt) = node.halted()
            && !self.is_halt_logged
        {
            self.is_halt_logged = true;
            let Halt::Unreadable { id } = halt;
            log::error!(
                "engine: this version cannot read entry {id}, which it must not skip: run a newer \
                 encke; this node serves what it has, and is not ready"
            );
        }
    }

    fn reset(&mut self, node: &mut Node) {
        self.redis.reset();
        self.pending = None;
        self.unanswered = 0;
        self.unread.clear();
        self.is_following = false;
        self.has_publish = false;
        self.has_follow = false;
        for lane in [Lane::Publish, Lane::Follow] {
            node.broken(lane);
        }
    }

    /// Whether there is something that [`Sharing::take`] would give to the node.
    pub(super) fn has_work(&self, node: &Node) -> bool {
        let has_entries = !self.unread.is_empty() || self.redis.has_event(Lane::Follow);
        self.redis.has_event(Lane::Publish) || has_entries && reads(node)
    }

    /// Connections that broke or were not established, by cause.
    pub(super) fn reconnects(&self) -> &Reconnects {
        self.redis.broken()
    }

    /// Tells the node to leave, unless it does already. Returns whether the end of the process is
    /// to wait for that.
    pub(super) fn leave(&mut self, node: &mut Node, now: Instant) -> bool {
        let until = *self.leaves_at.get_or_insert_with(|| {
            node.leave();
            now + LEAVE_TIMEOUT
        });
        now < until && !node.has_left()
    }

    /// Until when the end of the process waits for the node to have left; `None` if it does not
    /// wait.
    pub(super) fn leaves_at(&self) -> Option<Instant> {
        self.leaves_at
    }
}

/// Whether entries are given to a node: it has room for them, and is not about to be handed over.
fn reads(node: &Node) -> bool {
    node.has_room() && !node.has_all_replies()
}
