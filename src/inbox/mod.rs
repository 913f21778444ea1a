//! The communication between other threads and the reactor: messages and commands to it, receipts
//! from it.
//!
//! Owns two bounded queues, the doorbell, which threads with queues of their own ring too, and flags. The
//! queue of messages exerts back-pressure on producers. Commands have a queue of their own, so that
//! they do not wait behind messages. The doorbell wakes the reactor at most once until it has read
//! the queues.
//!
//! Invariant: the reactor answers the doorbell before it reads either queue.

mod commands;
mod doorbell;
mod frozen;
mod publication;
mod sent;
mod shared;

pub(crate) use commands::ServerCommand;
pub use commands::{Handle, ReloadError, Reloading};
pub(crate) use frozen::Waiting;
pub use publication::{Accepted, Publication, PublishError, Receipt};
pub(crate) use sent::Sent;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use doorbell::Doorbell;
use mio::Waker;

use encke_core::config::Config;
use encke_core::frozen::Freezer;
use encke_core::hub::{Published, Refusal};
use encke_core::log::Mark;
use encke_core::log::cluster::Ticket;
use encke_core::message::{Data, Draft};
use publication::{ReceiptSender, Submission};
use shared::Shared;

/// Publishes from any thread. Clone it for each producer.
///
/// Where the server is a node of a cluster, a message goes through the engine: a receipt says that
/// the engine has it and that this node has delivered it. While the engine is away, messages wait
/// in the queue, and publishers wait for space in it.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: Sender<Submission>,
    shared: Arc<Shared>,
}

impl Publisher {
    /// Publishes a message. Blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// The message is not valid, or the server is closed. `Ok` means that the message is in the
    /// queue. The reactor may still refuse it: too many channels, or larger than the policy of its
    /// channel or the memory for messages allows. Only a receipt reports that.
    pub fn publish(
        &self,
        channel: impl Into<Box<str>>,
        data: impl Into<Data>,
    ) -> Result<(), PublishError> {
        self.send(Publication::new(channel, data))
    }

    /// Publishes a message, without blocking.
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish`], and [`PublishError::Full`].
    pub fn try_publish(
        &self,
        channel: impl Into<Box<str>>,
        data: impl Into<Data>,
    ) -> Result<(), PublishError> {
        self.try_send(Publication::new(channel, data))
    }

    /// As [`Publisher::publish`], for a message with an event name, a key or a receipt.
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish`].
    pub fn send(&self, publication: Publication) -> Result<(), PublishError> {
        let sent = self.queue.send(self.check(publication)?);
        self.shared.wake();
        sent.map_err(|_| PublishError::Closed)
    }

    /// As [`Publisher::try_publish`], for a message with an event name, a key or a receipt.
    ///
    /// # Errors
    ///
    /// As [`Publisher::try_publish`].
    pub fn try_send(&self, publication: Publication) -> Result<(), PublishError> {
        let sent = self.queue.try_send(self.check(publication)?);
        self.shared.wake();
        sent.map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Full,
            TrySendError::Disconnected(_) => PublishError::Closed,
        })
    }

    /// The largest message that is accepted, in bytes: see `Config::max_body_bytes`.
    pub fn max_message_bytes(&self) -> usize {
        self.shared.max_message_bytes.load(Ordering::Relaxed)
    }

    fn check(&self, publication: Publication) -> Result<Submission, PublishError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        publication.submit(self.max_message_bytes())
    }
}

/// The result of a message that was submitted.
pub(crate) enum Submitted {
    /// It is published.
    Published(Published),
    /// It is published; its receipt is sent when the log is saved up to this place.
    Unsaved(Published, Mark),
    /// It is handed to the log of a cluster; it has its result when this ticket is done.
    Sent(Ticket, Draft<'static>),
}

/// The result of submitting a message, which is handed back where it is refused.
pub(crate) type SubmitResult = Result<Submitted, (Refusal, Draft<'static>)>;

/// The reactor's side.
pub(crate) struct Inbox {
    queue: Receiver<Submission>,
    shared: Arc<Shared>,
    /// Messages before those in the queue: one for which there was no memory; those that the log of a
    /// cluster did not take; and all of the queue, where a producer is to pause for an upgrade. Later
    /// messages wait in the queue, and producers wait for space in it.
    held: VecDeque<Submission>,
    /// Whether there was no memory for the first of them.
    is_stalled: bool,
    /// Receipts of messages that have their numbers and are not saved yet, in the order of these.
    unsaved: VecDeque<(Mark, ReceiptSender, Published)>,
    /// Messages that are handed to the log of a cluster and are not published yet.
    sent: Sent,
    commands: Receiver<ServerCommand>,
    /// Whether the queues may contain items that the doorbell does not announce.
    is_signalled: bool,
}

/// Creates the inbox of a server with these settings, and its ends for other threads.
pub(crate) fn channel(config: &Config, waker: Waker) -> (Publisher, Handle, Inbox) {
    let (sender, receiver) = crossbeam_channel::bounded(config.queue);
    let shared = Arc::new(Shared {
        bell: Doorbell::new(AtomicBool::new(false)),
        waker,
        drain: AtomicBool::new(false),
        upgrade: AtomicBool::new(false),
        reload_noted: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        max_message_bytes: AtomicUsize::new(config.max_body_bytes),
    });
    let publisher = Publisher {
        queue: sender,
        shared: Arc::clone(&shared),
    };
    let (handle, commands) = commands::channel(&shared, config);
    let inbox = Inbox {
        queue: receiver,
        shared,
        held: VecDeque::new(),
        is_stalled: false,
        unsaved: VecDeque::new(),
        sent: Sent::default(),
        commands,
        is_signalled: true,
    };
    (publisher, handle, inbox)
}

impl Inbox {
    /// A function by which another thread wakes the reactor.
    pub(crate) fn bell(&self) -> impl Fn() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.wake()
    }

    /// The number of messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.held.len()
    }

    /// Records an event of the waker.
    pub(crate) fn on_wake(&mut self) {
        self.is_signalled = true;
    }

    /// Whether the queues may contain items that the doorbell does not announce and that can be
    /// taken now.
    pub(crate) fn has_work(&self) -> bool {
        self.is_signalled && !self.is_stalled()
    }

    /// Answers the doorbell: items that are sent from here on ring it again. Call it in each tick
    /// before [`Inbox::next_command`] and [`Inbox::take_messages`].
    pub(crate) fn answer(&self) {
        if self.is_signalled {
            self.shared.bell.answer();
        }
    }

    /// The next command, if there is one.
    pub(crate) fn next_command(&self) -> Option<ServerCommand> {
        if self.shared.drain.swap(false, Ordering::Acquire) {
            return Some(ServerCommand::Drain);
        }
        if self.shared.upgrade.swap(false, Ordering::Acquire) {
            return Some(ServerCommand::Upgrade);
        }
        self.commands.try_recv().ok()
    }

    /// Whether new settings were about to be read since the last call.
    pub(crate) fn take_noted_reload(&self) -> bool {
        self.shared.reload_noted.swap(false, Ordering::AcqRel)
    }

    /// Whether a drain was requested that is not taken yet.
    pub(crate) fn is_drain_requested(&self) -> bool {
        self.shared.drain.load(Ordering::Acquire)
    }

    /// Whether an upgrade was requested that is not taken yet; it is taken back.
    pub(crate) fn take_requested_upgrade(&self) -> bool {
        self.shared.upgrade.swap(false, Ordering::AcqRel)
    }

    /// Takes new settings.
    pub(crate) fn reconfigure(&self, config: &Config) {
        let max_message_bytes = &self.shared.max_message_bytes;
        max_message_bytes.store(config.max_body_bytes, Ordering::Relaxed);
    }

    /// Whether a message waits for memory and must be tried again later.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Empties the queue, so that a producer that waits for space can go on and pause.
    pub(crate) fn make_space(&mut self) {
        self.is_signalled = true;
        self.held.extend(self.queue.try_iter());
    }

    /// Messages that were accepted and are not published. They stay.
    pub(crate) fn waiting(&mut self) -> impl Iterator<Item = &Draft<'static>> {
        self.make_space();
        self.held.iter().map(|submission| &submission.draft)
    }

    /// Messages that another process had accepted, and not published.
    pub(crate) fn hold(&mut self, drafts: impl IntoIterator<Item = Draft<'static>>) {
        let submission = |draft| Submission {
            draft,
            receipt: None,
        };
        self.held.extend(drafts.into_iter().map(submission));
    }

    /// Writes the messages that the log of a cluster was given, and that have no results yet.
    pub(crate) fn freeze_sent<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        self.sent.freeze(state)
    }

    /// Goes on with the messages that the log of a cluster was given by another process.
    pub(crate) fn go_on(&mut self, sent: Sent) {
        self.sent = sent;
    }

    /// Refuses publishers from now on. Messages that are already queued are still taken.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    /// Passes at most `budget` messages to `submit`. If there is no memory for one, it is kept for
    /// the next call, and those behind it wait.
    pub(crate) fn take_messages(
        &mut self,
        mut budget: usize,
        mut submit: impl FnMut(Draft<'static>) -> SubmitResult,
    ) {
        if !self.is_signalled {
            return;
        }
        if self.sent.is_refused() {
            if !self.sent.is_empty() {
                self.is_stalled = true;
                return;
            }
            // It is tried with the first.
            budget = budget.min(1);
        }
        for _ in 0..budget {
            self.is_stalled = false;
            let next = match self.held.pop_front() {
                Some(held) => Ok(held),
                None => self.queue.try_recv(),
            };
            let submission = match next {
                Ok(submission) => submission,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    self.is_signalled = !self.commands.is_empty();
                    return;
                }
            };
            if let Some(stalled) = self.hand_over(submission, &mut submit) {
                self.held.push_front(stalled);
                self.is_stalled = true;
                return;
            }
        }
    }

    /// Sends the receipts of the messages that are saved now: `is_saved` says up to where.
    pub(crate) fn saved(&mut self, is_saved: impl Fn(Mark) -> bool) {
        while let Some((mark, ..)) = self.unsaved.front()
            && is_saved(*mark)
            && let Some((_, receipt, published)) = self.unsaved.pop_front()
        {
            receipt.send(Ok(published));
        }
    }

    /// A ticket is done: its message has its receipt, or is put back if it was not published and
    /// has none. Tickets are done in their order.
    pub(crate) fn done(&mut self, ticket: Ticket, result: Result<Published, Refusal>) {
        if let Some((place, submission)) = self.sent.done(ticket, result) {
            self.held.insert(place.min(self.held.len()), submission);
            self.is_signalled = true;
        }
    }

    /// Messages of producers that are lost, or published though it was not said: the log of the
    /// cluster has not answered, and they have neither a key nor a receipt.
    pub(crate) fn undecided(&self) -> u64 {
        self.sent.undecided()
    }

    /// Messages that are not published, or not known to be.
    pub(crate) fn unpublished(&self) -> usize {
        self.len() + self.sent.len()
    }

    /// Submits one message, and returns it if there is no room for it yet.
    fn hand_over(
        &mut self,
        submission: Submission,
        submit: &mut impl FnMut(Draft<'static>) -> SubmitResult,
    ) -> Option<Submission> {
        let receipt = submission.receipt;
        let result = match submit(submission.draft) {
            Ok(Submitted::Sent(ticket, draft)) => {
                self.sent.add(ticket, Submission { draft, receipt });
                return None;
            }
            Ok(Submitted::Unsaved(published, mark)) => {
                if let Some(receipt) = receipt {
                    self.unsaved.push_back((mark, receipt, published));
                }
                return None;
            }
            Ok(Submitted::Published(published)) => Ok(published),
            Err((Refusal::TooManyChannels, draft)) => {
                let channel = &*draft.channel;
                log::debug!("a producer's message for {channel:?} is dropped: too many channels");
                Err(PublishError::TooManyChannels)
            }
            Err((Refusal::ExceedsTotalMemory, draft)) => {
                let channel = &*draft.channel;
                log::debug!(
                    "a producer's message for {channel:?} is dropped: it exceeds \
                     --history-total-bytes"
                );
                Err(PublishError::ExceedsTotalMemory)
            }
            Err((Refusal::TooLargeForChannel { max_bytes, .. }, draft)) => {
                let channel = &*draft.channel;
                log::debug!(
                    "a producer's message for {channel:?} is dropped: it has more than {max_bytes} \
                     bytes"
                );
                Err(PublishError::TooLargeForChannel(max_bytes))
            }
            // There is no memory, or the log does not take it at present.
            Err((_, draft)) => return Some(Submission { draft, receipt }),
        };
        if let Some(receipt) = receipt {
            receipt.send(result);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;
    use encke_core::message::{
        Epoch, EventError, IdempotencyKeyError, Json, MessageId, NameError, Seq,
    };

    fn inbox(queue: usize, max_body_bytes: usize) -> (Publisher, Handle, Inbox) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let config = Config {
            queue,
            max_body_bytes,
            ..Config::default()
        };
        channel(&config, waker)
    }

    fn published(seq: u64) -> Published {
        Published {
            id: MessageId {
                epoch: Epoch::from_seed(0),
                seq: Seq(seq),
            },
            subscribers: 0,
        }
    }

    fn accept(seq: u64) -> SubmitResult {
        Ok(Submitted::Published(published(seq)))
    }

    #[test]
    fn receipts_of_a_cluster_follow_their_tickets() {
        let (publisher, _, mut inbox) = inbox(8, 100);
        let mut receipts = Vec::new();
        for number in 0..4 {
            let (publication, receipt) = Publication::new("a", "x").with_receipt();
            publisher.send(publication).unwrap();
            receipts.push(receipt);
            // One without a receipt has a ticket as well.
            publisher.publish("a", number.to_string()).unwrap();
        }
        let mut ticket = 0;
        inbox.take_messages(100, |draft| {
            ticket += 1;
            Ok(Submitted::Sent(Ticket(ticket), draft))
        });
        for ticket in 1..=8 {
            let result = match ticket {
                3 => Err(Refusal::LogSilent { silent_s: 5 }),
                5 => Err(Refusal::LogUndecided { silent_s: 5 }),
                ticket => Ok(published(ticket)),
            };
            inbox.done(Ticket(ticket), result);
        }
        let results: Vec<_> = receipts.into_iter().map(Receipt::wait).collect();
        let ids = [0, 3].map(|place: usize| results[place].clone().unwrap().id);
        assert_eq!(ids, ["00000000-1", "00000000-7"]);
        assert_eq!(results[1], Err(PublishError::Unavailable));
        assert_eq!(results[2], Err(PublishError::Undecided));
    }

    #[test]
    fn messages_that_the_log_did_not_take_are_put_back_in_order() {
        let (publisher, _, mut inbox) = inbox(8, 100);
        for number in 1..=6 {
            let keyed = Publication::new(number.to_string(), "x").idempotency_key("k");
            publisher.send(keyed).unwrap();
        }
        let mut ticket = 0;
        let mut take = |inbox: &mut Inbox, budget| {
            let mut taken = Vec::new();
            inbox.take_messages(budget, |draft| {
                ticket += 1;
                taken.push(draft.channel.to_string());
                Ok(Submitted::Sent(Ticket(ticket), draft))
            });
            taken.concat()
        };
        let silent = Refusal::LogSilent { silent_s: 5 };
        let undecided = Refusal::LogUndecided { silent_s: 5 };
        assert_eq!(take(&mut inbox, 4), "1234");
        inbox.done(Ticket(1), Ok(published(1)));
        inbox.done(Ticket(2), Err(silent));
        assert_eq!(take(&mut inbox, 9), "", "those before it come first");
        assert!(!inbox.has_work(), "it waits without spinning");
        inbox.done(Ticket(3), Err(undecided));
        inbox.done(Ticket(4), Err(Refusal::LogFull));
        assert_eq!(take(&mut inbox, 9), "2", "one tries");
        assert_eq!(take(&mut inbox, 9), "");
        inbox.done(Ticket(5), Err(Refusal::LogRefused));
        assert_eq!(take(&mut inbox, 9), "2");
        assert_eq!(inbox.unpublished(), 5);
        inbox.done(Ticket(6), Ok(published(2)));
        assert_eq!(take(&mut inbox, 9), "3456");
        for ticket in 7..=10 {
            inbox.done(Ticket(ticket), Ok(published(ticket)));
        }
        assert_eq!((inbox.unpublished(), inbox.undecided()), (0, 0));
    }

    #[test]
    fn message_without_key_is_not_published_twice() {
        let (publisher, _, mut inbox) = inbox(8, 100);
        publisher.publish("a", "x").unwrap();
        inbox.take_messages(9, |draft| Ok(Submitted::Sent(Ticket(1), draft)));
        inbox.done(Ticket(1), Err(Refusal::LogUndecided { silent_s: 5 }));
        inbox.take_messages(9, |_| unreachable!("it may be published already"));
        assert_eq!((inbox.unpublished(), inbox.undecided()), (0, 1));
    }

    #[test]
    fn message_without_room_waits_before_those_behind_it() {
        let (publisher, _, mut inbox) = inbox(2, 100);
        let (first, receipt) = Publication::new("first", "x").with_receipt();
        publisher.send(first).unwrap();
        publisher.publish("second", "x").unwrap();
        assert_eq!(publisher.try_publish("third", "x"), Err(PublishError::Full));

        for _ in 0..3 {
            inbox.take_messages(10, |draft| {
                assert_eq!(&*draft.channel, "first");
                Err((Refusal::Busy, draft))
            });
            assert!(
                inbox.is_stalled() && !inbox.has_work(),
                "it waits without spinning"
            );
            assert_eq!(inbox.len(), 2);
        }
        let mut order = Vec::new();
        inbox.take_messages(10, |draft| {
            order.push(draft.channel.to_string());
            accept(order.len() as u64)
        });
        assert_eq!(order, ["first", "second"]);
        assert_eq!(receipt.wait().unwrap().id, "00000000-1");
        assert!(inbox.len() == 0 && !inbox.has_work());
    }

    #[test]
    fn message_beyond_total_memory_has_an_error_of_its_own() {
        let (publisher, _, mut inbox) = inbox(1, 100);
        let (publication, receipt) = Publication::new("a", "12345").with_receipt();
        publisher.send(publication).unwrap();
        inbox.take_messages(1, |draft| Err((Refusal::ExceedsTotalMemory, draft)));
        assert_eq!(receipt.wait(), Err(PublishError::ExceedsTotalMemory));
    }

    #[test]
    fn command_does_not_wait_behind_messages() {
        let (publisher, handle, inbox) = inbox(1, 100);
        publisher.publish("full", "x").unwrap();
        for _ in 0..100 {
            handle.shutdown();
        }
        inbox.answer();
        assert!(matches!(inbox.next_command(), Some(ServerCommand::Drain)));
        assert!(inbox.next_command().is_none(), "one drain is enough");
        assert_eq!(inbox.len(), 1);
        assert!(inbox.has_work(), "the message is still queued");
    }

    #[test]
    fn new_settings_are_checked_and_keep_what_is_fixed() {
        let (publisher, handle, inbox) = inbox(9, 100);
        let config = |max_body_bytes| Config {
            queue: 10,
            max_body_bytes,
            ..Config::default()
        };
        let error = handle.reload(config(0)).unwrap_err();
        assert!(matches!(error, ReloadError::Config(error) if error.option == "--max-body-bytes"));
        assert!(matches!(
            inbox.next_command(),
            Some(ServerCommand::ReloadFailed)
        ));

        let reloading = handle.reload(config(4)).unwrap();
        assert_eq!(reloading.needs_restart(), ["--queue"]);
        let Some(ServerCommand::Reload(config, in_force)) = inbox.next_command() else {
            panic!("no settings");
        };
        assert_eq!((config.queue, config.max_body_bytes), (9, 4));
        assert_eq!(publisher.publish("a", "12345"), Ok(()));
        inbox.reconfigure(&config);
        drop(in_force);
        reloading.wait();
        let refused = publisher.publish("a", "12345");
        assert_eq!(refused, Err(PublishError::TooLarge(4)));
    }

    #[test]
    fn drain_waits_behind_no_settings() {
        let (_, handle, inbox) = inbox(9, 100);
        let mut taken = 0;
        let full = loop {
            match handle.reload(Config::default()) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full, ReloadError::Busy);
        assert!(taken > 1);
        handle.shutdown();
        assert!(matches!(inbox.next_command(), Some(ServerCommand::Drain)));
        drop(inbox);
        let closed = handle.reload(Config::default()).unwrap_err();
        assert_eq!(closed, ReloadError::Closed);
    }

    #[test]
    fn closed_inbox_refuses_producers_and_keeps_its_queue() {
        let (publisher, handle, mut inbox) = inbox(2, 100);
        publisher.publish("before", "x").unwrap();
        handle.shutdown();
        assert!(matches!(inbox.next_command(), Some(ServerCommand::Drain)));
        inbox.close();
        assert_eq!(publisher.publish("after", "x"), Err(PublishError::Closed));
        let mut taken = 0;
        inbox.take_messages(10, |_| {
            taken += 1;
            accept(taken)
        });
        assert_eq!(taken, 1, "an accepted message is delivered");
        drop(inbox);
        assert_eq!(publisher.publish("gone", "x"), Err(PublishError::Closed));
    }

    #[test]
    fn invalid_publications_are_refused_before_the_queue() {
        let (publisher, _, inbox) = inbox(9, 4);
        let message = || Publication::new("a", "x");
        let refused = |publication: Publication| publisher.send(publication).unwrap_err();
        let longest = "k".repeat(255);
        for (publication, expected) in [
            (
                Publication::new("a,b", "x"),
                PublishError::Name(NameError::Character),
            ),
            (
                message().idempotency_key(format!("{longest}k")),
                PublishError::Key(IdempotencyKeyError),
            ),
            (
                message().idempotency_key(""),
                PublishError::Key(IdempotencyKeyError),
            ),
            (
                message().event("a\nb").idempotency_key("k"),
                PublishError::Event(EventError::LineEnd),
            ),
            (Publication::new("a", "12345"), PublishError::TooLarge(4)),
        ] {
            assert_eq!(refused(publication), expected);
        }
        for name in ["cursor", "gap", "end", "expired", "error", "open"] {
            let reserved = PublishError::Event(EventError::Reserved);
            assert_eq!(refused(message().event(name)), reserved, "{name}");
        }
        assert_eq!(inbox.len(), 0);
        publisher.send(message().idempotency_key(longest)).unwrap();
        publisher.send(message().event("")).unwrap();
        publisher.publish("a", Json::parse("[1]").unwrap()).unwrap();
        assert_eq!(inbox.len(), 3);
    }
}
