//! A log that the nodes of a cluster share: a message is handed to the [`Node`], and applied when
//! the node has read it back.
//!
//! Owns the way between the node and the hub: the checks of a publish before it goes to the log,
//! and the application of the log's effects in their order. It never decides an order, and knows no
//! connection: a publisher waits for its [`Ticket`].
//!
//! Invariants:
//! - *In the order of the log.* Effects are applied one after another. An effect that has to wait,
//!   because all memory is used by pending messages or because it takes more than a tick, holds
//!   back all behind it.
//! - *Applied before answered.* When a ticket is done, its publish is applied, was refused, or is
//!   undecided; unless this node has missed its entry or stopped applying the log.

mod frozen;

use std::collections::VecDeque;

use crate::base::histogram::Histogram;
use crate::base::time::Time;
use crate::hub::{DURATIONS_MS, Hub, Owed, Published, Refusal};
use crate::message::{ChannelName, Draft, DraftKind, EntryId, Epoch, MessageId, Place, Seq};

use super::cluster::{self, Drafts, Effect, Kick, Node, Outcome, Reason, Settings, Ticket};
use super::survey::Survey;
use super::{Mark, Refused};

/// Channels whose readers elsewhere are noted in about the time of one message.
const COUNTS_PER_MESSAGE: usize = 16;

/// Channels, or messages in them, that are told a loss in one step.
const LOSING_STEP: usize = 1_024;

/// The time after which a message for which there was no memory is tried again, because no event
/// tells when readers have received pending messages.
const OWED_RETRY_MS: u64 = 10;

/// Time between two lines on refusals of the log server.
const WARN_MS: u64 = 1_000;

/// A log that the nodes of a cluster share.
pub struct Clustered {
    node: Node,
    /// The messages of an entry that are not applied yet.
    applying: Option<Applying>,
    /// The number that was applied last.
    applied: Seq,
    /// Tickets up to here are done.
    done: Mark,
    now: Time,
    patience_ms: u64,
    /// The place up to which the node had read when it was ready first.
    warms_at: Option<EntryId>,
    /// Whether the hub has come to that place. It is judged by place: under load there is always more
    /// to apply.
    is_warm: bool,
    /// Tickets that are not done, with the times at which they were given.
    given: VecDeque<(Ticket, Time)>,
    publish_ms: Histogram,
    /// Whether effects may be left for which there was no budget.
    is_cut_short: bool,
    /// When a message for which memory is owed to readers is tried again.
    owed_until: Option<Time>,
    refused: Refused,
    /// When it was logged last that the log server refuses what is published.
    warned: Option<Time>,
    /// Refusals that were not logged.
    unwarned: u64,
    /// Whether an entry could not be numbered. Then nothing more is applied.
    is_broken: bool,
    survey: Survey,
}

/// An entry under way.
struct Applying {
    at: Time,
    /// The number of the next message.
    next: Seq,
    rest: Drafts,
}

/// The result of handing a publish to the log of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is published, or was before, with this result: nothing was handed over.
    Now(Published),
    /// It is done when this ticket is.
    Later {
        /// The ticket.
        ticket: Ticket,
        /// The result of its message, if that was published before and only its end is new.
        message: Option<Published>,
    },
}

/// The result of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The ticket.
    pub ticket: Ticket,
    /// The id of its first message, or the reason for which nothing was published.
    pub result: Result<First, Refusal>,
}

/// What comes next in the log that is not of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A ticket is done.
    Done(Done),
    /// Connections of a subject end, or its tokens are refused.
    Kick {
        /// Whether it was asked of this node.
        is_own: bool,
        /// What is to be done.
        kick: Kick<'static>,
    },
}

/// The first of the messages that a ticket is for. The others have the places after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Its id.
    pub id: MessageId,
    /// Whether it was published now, and not before with the same key.
    pub is_new: bool,
}

impl First {
    /// The id of the message this many places behind the first.
    pub fn after(&self, places: u16) -> MessageId {
        MessageId {
            seq: Seq(self.id.seq.0 + u64::from(places)),
            ..self.id
        }
    }
}

impl From<Ticket> for Mark {
    /// Tickets are done in their order, so each is a place in the log, after [`Mark::default`].
    fn from(ticket: Ticket) -> Mark {
        Mark(ticket.0.saturating_add(1))
    }
}

impl Clustered {
    /// The log of a node that has read nothing.
    pub fn new(settings: Settings, seed: [u64; 3]) -> Clustered {
        Clustered {
            patience_ms: settings.patience_ms,
            node: Node::new(settings, seed),
            applying: None,
            applied: Seq::ZERO,
            done: Mark::default(),
            now: Time::default(),
            warms_at: None,
            is_warm: false,
            given: VecDeque::new(),
            publish_ms: Histogram::new(DURATIONS_MS),
            is_cut_short: false,
            owed_until: None,
            refused: Refused::default(),
            warned: None,
            unwarned: 0,
            is_broken: false,
            survey: Survey::default(),
        }
    }

    /// The machine of the node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The node, to be told the events of its connections.
    pub fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Sets the time, since the start and since 1970, in milliseconds.
    pub fn tick(&mut self, now: Time, unix_ms: u64) {
        self.now = now;
        self.node.tick(now, unix_ms);
    }

    /// Tells the other nodes how many readers channels have here: some channels in each call.
    pub fn survey(&mut self, hub: &mut Hub) {
        self.survey.advance(hub, &mut self.node, self.now);
    }

    /// For how long a publisher is held while the log does not answer, in milliseconds.
    pub fn patience_ms(&self) -> u64 {
        self.patience_ms
    }

    /// Sets for how long a publisher is held, and after how long without its own beat the node is
    /// not ready, in milliseconds.
    pub fn set_times(&mut self, patience_ms: u64, ready_ms: u64) {
        self.patience_ms = patience_ms;
        self.node.set_times(patience_ms, ready_ms);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch::from_seed(self.node.gauges().term)
    }

    pub(super) fn applied(&self) -> Seq {
        self.applied
    }

    pub(super) fn is_done(&self, mark: Mark) -> bool {
        mark <= self.done
    }

    /// Publishes that were refused since the start.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// Refuses a publish because too much waits for the log.
    pub(crate) fn refuse_busy(&mut self) -> Refusal {
        self.refuse(Refusal::LogBusy)
    }

    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::LogBusy => self.refused.busy += 1,
            _ => self.refused.failing += 1,
        }
        refusal
    }

    /// Takes the last refusal out of the counters.
    pub(crate) fn take_back(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::LogBusy => self.refused.busy -= 1,
            refusal if refusal.is_of_log() => self.refused.failing -= 1,
            _ => {}
        }
    }

    /// The reason for which the node should not be sent clients; `None` if it is ready.
    pub fn unready(&self) -> Option<Refusal> {
        if self.is_broken || self.node.halted().is_some() {
            return Some(Refusal::LogHalted);
        }
        match self.node.is_ready() {
            _ if !self.is_warm => Some(Refusal::LogWarming),
            true => None,
            false => Some(silent(self.node.silent_ms())),
        }
    }

    /// Whether the node has not yet applied everything that the log had when the node started.
    /// Until then it cannot judge a cursor, and gives none.
    pub fn is_warming(&self) -> bool {
        !self.is_warm
    }

    /// Whether a term that is not known may be one that other nodes serve already; see
    /// [`Node::may_come`].
    pub fn may_come(&mut self, term: u64) -> bool {
        self.node.may_come(term)
    }

    /// Whether the log may have had this number, which is beyond the head and of a known term, when a
    /// client claimed it at `since`. The log did not have it if a beat sent after the claim has come
    /// back and the number is still unread; see [`Node::may_exist`].
    pub fn may_exist(&self, hub: &Hub, seq: Seq, since: Time) -> bool {
        let entry = hub.terms().and_then(|terms| terms.entry(seq));
        entry.is_none_or(|entry| self.node.may_exist(entry, since))
    }

    /// As [`Clustered::may_exist`], for a client that does not wait; see [`Node::may_exist_now`].
    pub fn may_exist_now(&mut self, hub: &Hub, seq: Seq) -> bool {
        let entry = hub.terms().and_then(|terms| terms.entry(seq));
        entry.is_none_or(|entry| self.node.may_exist_now(entry))
    }

    /// The number of the newest own beat that was read back; see [`Clustered::may_exist`].
    pub fn heard_at(&self, hub: &Hub) -> Option<Seq> {
        hub.seq_of(self.node.heard_at(), 0)
    }

    /// Hands a message, the end of a channel, or both to the log.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn publish(&mut self, hub: &mut Hub, draft: &Draft<'_>) -> Result<Placed, Refusal> {
        if let Some(first) = hub.published_before(draft) {
            let elsewhere = hub.readers_elsewhere(&draft.channel);
            let first = Published {
                subscribers: first.subscribers.saturating_add(elsewhere),
                ..first
            };
            let channel = hub.find(&draft.channel).map(|index| hub.channel(index));
            let is_newest = channel.is_some_and(|channel| channel.newest_item() == first.id.seq);
            if draft.kind != DraftKind::Last || !is_newest {
                return self.place_again(hub, draft, first);
            }
            // The node that published it may have stopped between the message and the end.
            let end = Draft::end(draft.channel.clone());
            let ticket = self.hand_over(hub, &[end])?;
            return Ok(Placed::Later {
                ticket,
                message: Some(first),
            });
        }
        // Whether its channel has ended already is not judged here: another node may have opened it
        // again since. An end of one that has ended is ignored where it is applied.
        let ticket = self.hand_over(hub, std::slice::from_ref(draft))?;
        Ok(Placed::Later {
            ticket,
            message: None,
        })
    }

    /// The result of a message that was published before. If replicas are awaited and are not known
    /// to have it, the log is asked for them.
    fn place_again(
        &mut self,
        hub: &mut Hub,
        draft: &Draft<'_>,
        first: Published,
    ) -> Result<Placed, Refusal> {
        let entry = hub.terms().and_then(|terms| terms.entry(first.id.seq));
        let Some(entry) = entry.filter(|&entry| !self.node.is_confirmed(entry)) else {
            return Ok(Placed::Now(first));
        };
        let handed = self.node.publish_again(draft, entry);
        Ok(Placed::Later {
            ticket: self.note_given(handed)?,
            message: Some(first),
        })
    }

    /// Hands several messages without keys to the log, all or none.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn publish_all(&mut self, hub: &mut Hub, drafts: &[Draft<'_>]) -> Result<Ticket, Refusal> {
        self.hand_over(hub, drafts)
    }

    fn hand_over(&mut self, hub: &mut Hub, drafts: &[Draft<'_>]) -> Result<Ticket, Refusal> {
        if self.is_broken {
            return Err(self.refuse(Refusal::LogHalted));
        }
        hub.admit(drafts)?;
        let handed = self.node.publish(drafts);
        self.note_given(handed)
    }

    /// Deletes the history of a channel on all nodes.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn delete(&mut self, channel: &ChannelName<'_>) -> Result<Ticket, Refusal> {
        let handed = self.node.delete(channel);
        self.note_given(handed)
    }

    /// Tells all nodes to end connections of a subject, or to refuse its tokens. This node gets
    /// it too, marked as its own, and ends no connections by it.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn kick(&mut self, kick: &Kick<'_>) -> Result<Ticket, Refusal> {
        let handed = self.node.kick(kick);
        self.note_given(handed)
    }

    fn note_given(&mut self, handed: Result<Ticket, cluster::Refusal>) -> Result<Ticket, Refusal> {
        match handed {
            Ok(ticket) => {
                self.given.push_back((ticket, self.now));
                Ok(ticket)
            }
            Err(refusal) => Err(self.refuse(refusal.into())),
        }
    }

    /// Time from a publish until its ticket was done, in milliseconds.
    pub fn publish_ms(&self) -> &Histogram {
        &self.publish_ms
    }

    /// Applies what the log says, up to the next step that it returns. Each message takes 1 of the
    /// budget, and each other effect. `None` where nothing is left, the budget is spent, or what
    /// comes next has to wait.
    pub fn next_step(&mut self, hub: &mut Hub, budget: &mut usize) -> Option<Step> {
        loop {
            let may_go_on = self.continue_effect(hub, budget);
            self.applied = hub.head();
            if !self.is_warm {
                self.judge_warmth(hub);
            }
            self.is_cut_short = *budget == 0;
            if !may_go_on || self.is_cut_short {
                return None;
            }
            *budget -= 1;
            match self.node.next_effect()? {
                Effect::Done { ticket, outcome } => {
                    debug_assert!(Mark::from(ticket) > self.done, "tickets are done in order");
                    self.note_done(ticket);
                    let result = self.result(hub, outcome);
                    return Some(Step::Done(Done { ticket, result }));
                }
                Effect::Kick { is_own, kick } => return Some(Step::Kick { is_own, kick }),
                // The log has the messages, so their publishers are still answered.
                _ if self.is_broken => {}
                effect => self.begin_effect(hub, effect, budget),
            }
        }
    }

    #[cold]
    fn judge_warmth(&mut self, hub: &Hub) {
        if self.warms_at.is_none() && self.node.is_ready() {
            self.warms_at = Some(self.node.gauges().applied);
        }
        let warms_at = self.warms_at.and_then(|id| hub.seq_of(id, 0));
        self.is_warm = warms_at.is_some_and(|seq| hub.head() >= seq);
    }

    fn note_done(&mut self, ticket: Ticket) {
        self.done = ticket.into();
        while let Some((given, at)) = self.given.front().filter(|given| given.0 <= ticket) {
            if *given == ticket {
                self.publish_ms.record(self.now.since_ms(*at));
            }
            self.given.pop_front();
        }
    }

    /// Whether the budget of the last call of [`Clustered::next_step`] was spent.
    pub fn has_work(&self) -> bool {
        self.is_cut_short
    }

    /// When its time is to be set at the latest, and a message that waits for memory to be tried
    /// again.
    pub fn next_due(&self) -> Option<Time> {
        let survey = self.survey.next_due(&self.node);
        [self.node.next_due(), self.owed_until, survey]
            .into_iter()
            .flatten()
            .min()
    }

    /// Continues the effect under way. Returns whether it is complete.
    fn continue_effect(&mut self, hub: &mut Hub, budget: &mut usize) -> bool {
        while hub.is_losing() {
            if *budget == 0 {
                return false;
            }
            let step = LOSING_STEP.min(*budget);
            *budget -= step;
            hub.continue_losing(step);
        }
        while hub.is_sweeping() {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            hub.continue_sweeping();
        }
        self.owed_until = None;
        let Some(Applying { at, next, rest }) = &mut self.applying else {
            return true;
        };
        while *budget > 0
            && let Some((draft, behind)) = rest.peek()
        {
            *budget -= 1;
            let places = 1 + u64::from(draft.kind == DraftKind::Last);
            if let Err(Owed) = hub.apply_entry(*next, *at, draft) {
                self.owed_until = Some(self.now.after_ms(OWED_RETRY_MS));
                return false;
            }
            rest.skip_to(behind);
            *next = Seq(next.0 + places);
        }
        if !rest.is_empty() {
            return false;
        }
        self.applying = None;
        true
    }

    fn begin_effect(&mut self, hub: &mut Hub, effect: Effect, budget: &mut usize) {
        match effect {
            Effect::Salt(salt) => hub.set_salt((salt.0, salt.1)),
            Effect::Term { term, closed } => self.add_term(hub, term, closed),
            Effect::Apply { id, age_ms, drafts } => self.apply(hub, id, age_ms, drafts),
            Effect::Delete { channel, id } => {
                if let Some(seq) = self.later(hub, id, 0) {
                    hub.delete(&channel, seq);
                }
            }
            Effect::Lose { channels, id } => {
                if let Some(seq) = self.later(hub, id, Place::MAX_PART) {
                    hub.begin_losing_in(channels, seq);
                }
            }
            Effect::LoseAll { id } => {
                if let Some(seq) = self.later(hub, id, Place::MAX_PART) {
                    hub.begin_losing(seq);
                }
            }
            Effect::Floors { floors } => {
                let of_bucket = |bucket: usize| {
                    let floor = floors.get(bucket).copied();
                    // An id of an unknown term is before those of all known terms.
                    floor.map_or(Seq(u64::MAX), |floor| {
                        hub.seq_of(floor, Place::MAX_PART).unwrap_or(Seq::ZERO)
                    })
                };
                let newest: Vec<Seq> = (0..cluster::BUCKETS).map(of_bucket).collect();
                hub.set_floors(|bucket| newest.get(bucket).copied().unwrap_or(Seq(u64::MAX)));
            }
            Effect::Advance { id } => {
                if let Some(seq) = hub.seq_of(id, 0) {
                    hub.advance(seq);
                }
            }
            Effect::Readers {
                node,
                round,
                ends_round,
                counts,
            } => {
                *budget = budget.saturating_sub(counts.len() / COUNTS_PER_MESSAGE);
                hub.set_elsewhere(node, round, ends_round, &counts);
            }
            Effect::Gone { node } => hub.forget_elsewhere(node),
            Effect::Done { .. } | Effect::Kick { .. } => unreachable!("it is returned"),
        }
    }

    fn add_term(&mut self, hub: &mut Hub, term: u64, closed: Option<EntryId>) {
        let Some(terms) = hub.terms_mut() else {
            return;
        };
        let mut added = Ok(());
        if let Some(closed) = closed {
            added = terms.add(closed.term);
            terms.close(closed.term, closed.number);
        }
        if let Err(error) = added.and_then(|()| terms.add(term)) {
            self.stop_applying(&format!("term {term}: {error}"));
        }
    }

    /// Stops at an entry that cannot be numbered. To continue without it would be a loss of which
    /// no reader is told.
    #[cold]
    fn stop_applying(&mut self, reason: &str) {
        log::error!("the log of the cluster cannot be followed any more: {reason}");
        self.is_broken = true;
    }

    /// The number of a part of an entry, which is after all that is applied; `None` if there is
    /// none.
    fn later(&mut self, hub: &Hub, id: EntryId, part: u16) -> Option<Seq> {
        let Some(seq) = hub.seq_of(id, part) else {
            self.stop_applying(&format!("entry {id} cannot be numbered"));
            return None;
        };
        let is_later = seq > hub.head();
        debug_assert!(is_later, "{id} is not in its order");
        is_later.then_some(seq)
    }

    fn apply(&mut self, hub: &Hub, id: EntryId, age_ms: u64, drafts: Drafts) {
        let Some(next) = self.later(hub, id, 0) else {
            return;
        };
        self.applying = Some(Applying {
            at: Time(self.now.0.saturating_sub(age_ms)),
            next,
            rest: drafts,
        });
    }

    fn result(&mut self, hub: &Hub, outcome: Outcome) -> Result<First, Refusal> {
        let first = |id, part, is_new| First {
            id: id_of(hub, id, part),
            is_new,
        };
        let refusal = match outcome {
            Outcome::Published { id, part } => return Ok(first(id, part, true)),
            Outcome::Earlier { id } => return Ok(first(id, 0, false)),
            Outcome::NotPublished(Reason::Silent { silent_ms }) => silent(silent_ms),
            Outcome::NotPublished(Reason::Full) => Refusal::LogFull,
            Outcome::NotPublished(Reason::Refused(text)) => {
                self.warn_refused(&text);
                Refusal::LogRefused
            }
            Outcome::Unknown { silent_ms } => Refusal::LogUndecided {
                silent_s: seconds(silent_ms),
            },
        };
        Err(self.refuse(refusal))
    }

    /// Logs that the log server refuses what is published: at most one line a second.
    #[cold]
    fn warn_refused(&mut self, text: &str) {
        self.unwarned += 1;
        if self
            .warned
            .is_none_or(|at| self.now.since_ms(at) >= WARN_MS)
        {
            let count = std::mem::take(&mut self.unwarned);
            log::warn!("the engine refused {count} messages; the last with: {text}");
            self.warned = Some(self.now);
        }
    }
}

fn silent(silent_ms: u64) -> Refusal {
    Refusal::LogSilent {
        silent_s: seconds(silent_ms),
    }
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1_000).unwrap_or(u32::MAX)
}

/// The id of a message, whose term need not be known.
fn id_of(hub: &Hub, id: EntryId, part: u16) -> MessageId {
    match hub.seq_of(id, part) {
        Some(seq) => hub.id(seq),
        None => MessageId {
            epoch: Epoch::from_seed(id.term),
            seq: Place {
                ordinal: 0,
                entry: id.number.min(Place::MAX_ENTRY),
                part: part.min(Place::MAX_PART),
            }
            .seq(),
        },
    }
}

impl From<cluster::Refusal> for Refusal {
    fn from(refusal: cluster::Refusal) -> Refusal {
        match refusal {
            cluster::Refusal::Warming => Refusal::LogWarming,
            cluster::Refusal::Silent { silent_ms } => silent(silent_ms),
            cluster::Refusal::Busy => Refusal::LogBusy,
            cluster::Refusal::TooMany => Refusal::TooManyTogether,
            cluster::Refusal::Halted => Refusal::LogHalted,
        }
    }
}
