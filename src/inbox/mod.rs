//! From other threads to the reactor: messages and commands; and back, receipts.
//!
//! Owns the only things that threads share: two bounded queues, a doorbell for both, and a flag. The queue
//! of messages carries back-pressure to producers; commands have a queue of their own, so that they do
//! not wait behind messages. The doorbell wakes the reactor at most once for as much as it finds when it
//! comes. Nothing else of the reactor is seen by another thread.
//!
//! Invariant: the reactor answers the doorbell before it looks into either queue.

mod control;
mod doorbell;
mod publication;

pub(crate) use control::Control;
pub use control::Handle;
pub use publication::{Accepted, Publication, PublishError, Receipt};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use doorbell::Doorbell;
use mio::Waker;

use encke_core::encode::Data;
use encke_core::hub::{Refusal, Submission};

/// What threads and the reactor share beside the queues.
#[derive(Debug)]
struct Shared {
    bell: Doorbell<AtomicBool>,
    waker: Waker,
    /// No message is accepted any more.
    closed: AtomicBool,
}

impl Shared {
    fn wake(&self) {
        if self.bell.ring() {
            // Writing to an eventfd fails only where its counter would overflow, and mio resets it then.
            if let Err(error) = self.waker.wake() {
                log::error!("the reactor cannot be woken: {error}");
            }
        }
    }
}

/// Publishes from any thread: one clone for each producer.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: Sender<Publication>,
    shared: Arc<Shared>,
    max_message_bytes: usize,
}

impl Publisher {
    /// Publishes a message; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// A message that cannot be published is refused here; one that is returned `Ok` for reaches
    /// its channel unless the limit on channels is met there (ask for a receipt to know).
    pub fn publish(
        &self,
        channel: impl Into<Box<str>>,
        data: impl Into<Data>,
    ) -> Result<(), PublishError> {
        self.send(Publication::new(channel, data))
    }

    /// Publishes a message, or says that the queue is full.
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

    fn check(&self, publication: Publication) -> Result<Publication, PublishError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        publication.checked(self.max_message_bytes)
    }
}

/// The reactor's side.
pub(crate) struct Inbox {
    queue: Receiver<Publication>,
    shared: Arc<Shared>,
    /// A message for which there was no room yet: those behind it wait in the queue, and so do
    /// their producers.
    stalled: Option<Publication>,
    commands: Receiver<Control>,
    /// There may be something in the queues that the doorbell will not announce.
    is_signalled: bool,
}

/// A queue of `capacity` messages, and both of its sides.
pub(crate) fn channel(
    capacity: usize,
    max_message_bytes: usize,
    waker: Waker,
) -> (Publisher, Handle, Inbox) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    let shared = Arc::new(Shared {
        bell: Doorbell::new(AtomicBool::new(false)),
        waker,
        closed: AtomicBool::new(false),
    });
    let publisher = Publisher {
        queue: sender,
        shared: Arc::clone(&shared),
        max_message_bytes,
    };
    let (handle, commands) = control::channel(&shared);
    let inbox = Inbox {
        queue: receiver,
        shared,
        stalled: None,
        commands,
        is_signalled: true,
    };
    (publisher, handle, inbox)
}

impl Inbox {
    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + usize::from(self.stalled.is_some())
    }

    /// Notes that the waker's event has come.
    pub(crate) fn on_wake(&mut self) {
        self.is_signalled = true;
    }

    /// Whether there may be something that the doorbell will not announce, and that may be taken now.
    pub(crate) fn has_work(&self) -> bool {
        self.is_signalled && !self.is_stalled()
    }

    /// Answers the doorbell: what is sent from here on rings it anew. Comes in each tick before
    /// [`Inbox::next_command`] and [`Inbox::drain`].
    pub(crate) fn answer(&self) {
        if self.is_signalled {
            self.shared.bell.answer();
        }
    }

    /// The next command, if there is one.
    pub(crate) fn next_command(&self) -> Option<Control> {
        self.commands.try_recv().ok()
    }

    /// Whether a message found no room: it is to be tried again after a rest.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Refuses producers from now on; what is in the queue already is still taken.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    /// Hands at most `budget` messages to `submit`; one that finds no room stays and is tried
    /// again, and those behind it wait.
    pub(crate) fn drain(
        &mut self,
        budget: usize,
        mut submit: impl FnMut(&str, Submission) -> Result<Accepted, (Refusal, Submission)>,
    ) {
        if !self.is_signalled {
            return;
        }
        for _ in 0..budget {
            let next = match self.stalled.take() {
                Some(stalled) => Ok(stalled),
                None => self.queue.try_recv(),
            };
            let publication = match next {
                Ok(publication) => publication,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    self.is_signalled = !self.commands.is_empty();
                    return;
                }
            };
            if let Some(stalled) = hand_over(publication, &mut submit) {
                self.stalled = Some(stalled);
                return;
            }
        }
    }
}

/// Submits one; returns it if there is no room for it yet.
fn hand_over(
    publication: Publication,
    submit: &mut impl FnMut(&str, Submission) -> Result<Accepted, (Refusal, Submission)>,
) -> Option<Publication> {
    let (channel, submission, receipt) = publication.into_parts();
    let result = match submit(&channel, submission) {
        Ok(accepted) => Ok(accepted),
        Err((Refusal::TooManyChannels, _)) => {
            log::debug!("a producer's message for {channel:?} is dropped: too many channels");
            Err(PublishError::TooManyChannels)
        }
        Err((Refusal::TooLarge, submission)) => Err(PublishError::TooLarge(submission.data.len())),
        Err((Refusal::Busy, submission)) => {
            return Some(Publication::from_parts(channel, submission, receipt));
        }
    };
    if let Some(receipt) = receipt {
        receipt.tell(result);
    }
    None
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;

    fn accept(channel: &str, _: Submission) -> Result<Accepted, (Refusal, Submission)> {
        Ok(Accepted {
            id: channel.to_owned(),
            subscribers: 0,
        })
    }

    #[test]
    fn what_finds_no_room_waits_and_those_behind_it_too() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let (publisher, _, mut inbox) = channel(2, 100, waker);
        let (first, receipt) = Publication::new("first", "x").with_receipt();
        publisher.send(first).unwrap();
        publisher.publish("second", "x").unwrap();
        assert_eq!(publisher.try_publish("third", "x"), Err(PublishError::Full));

        for _ in 0..3 {
            inbox.drain(10, |channel, submission| {
                assert_eq!(channel, "first");
                Err((Refusal::Busy, submission))
            });
            assert!(
                inbox.is_stalled() && !inbox.has_work(),
                "it rests, and does not spin"
            );
            assert_eq!(inbox.len(), 2);
        }
        let mut order = Vec::new();
        inbox.drain(10, |channel, submission| {
            order.push(channel.to_owned());
            accept(channel, submission)
        });
        assert_eq!(order, ["first", "second"]);
        assert_eq!(receipt.wait().unwrap().id, "first");
        assert!(inbox.len() == 0 && !inbox.has_work());
    }

    #[test]
    fn command_passes_messages_that_wait() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let (publisher, handle, inbox) = channel(1, 100, waker);
        publisher.publish("full", "x").unwrap();
        for _ in 0..100 {
            handle.shutdown();
        }
        inbox.answer();
        assert_eq!(inbox.next_command(), Some(Control::Drain));
        assert_eq!(inbox.len(), 1);
        assert!(inbox.has_work(), "the message is still to be taken");
    }

    #[test]
    fn nothing_is_taken_from_producers_once_it_is_closed() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let (publisher, handle, mut inbox) = channel(2, 100, waker);
        publisher.publish("before", "x").unwrap();
        handle.shutdown();
        assert_eq!(inbox.next_command(), Some(Control::Drain));
        inbox.close();
        assert_eq!(publisher.publish("after", "x"), Err(PublishError::Closed));
        let mut taken = 0;
        inbox.drain(10, |channel, submission| {
            taken += 1;
            accept(channel, submission)
        });
        assert_eq!(taken, 1, "what was accepted is delivered");
        drop(inbox);
        assert_eq!(publisher.publish("gone", "x"), Err(PublishError::Closed));
    }
}
