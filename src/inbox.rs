//! From other threads to the reactor: messages, and the wish to stop.
//!
//! Owns the only things that threads share: a bounded queue, a bell, and a flag. The queue
//! carries back-pressure to producers; the bell wakes the reactor at most once for as much as
//! it finds when it comes.
//!
//! Invariant, checked by a model of all interleavings: a message that is in the queue before the
//! bell is rung is found by the reactor, which answers the bell *before* it looks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use mio::Waker;

use crate::encode::{self, Data};
use crate::hub::{self, NameError, Refusal, Submission};

/// A flag that threads share; a trait so that a model checker can stand in for the real one.
pub trait Flag {
    /// Stores a value and returns the one before, ordered with everything around it.
    fn swap(&self, value: bool) -> bool;
}

impl Flag for AtomicBool {
    fn swap(&self, value: bool) -> bool {
        AtomicBool::swap(self, value, Ordering::AcqRel)
    }
}

/// The wake protocol: many ring, one answers.
#[derive(Debug, Default)]
pub struct Doorbell<F> {
    rung: F,
}

impl<F: Flag> Doorbell<F> {
    /// A bell that was not rung, over a flag that is false.
    pub fn new(flag: F) -> Doorbell<F> {
        Doorbell { rung: flag }
    }

    /// Rings, after something was put where the other side will look. True: the other side may be
    /// asleep and must be woken.
    pub fn ring(&self) -> bool {
        !self.rung.swap(true)
    }

    /// Answers, before looking: whatever is put there later rings anew.
    pub fn answer(&self) {
        self.rung.swap(false);
    }
}

/// What producers and the reactor share beside the queue.
#[derive(Debug)]
struct Shared {
    bell: Doorbell<AtomicBool>,
    waker: Waker,
    /// Someone wants the server to drain and stop.
    stop: AtomicBool,
    /// Nothing is accepted any more.
    closed: AtomicBool,
}

impl Shared {
    fn wake(&self) {
        if self.bell.ring() {
            // An eventfd that cannot be written is a process in ruins; the next tick comes anyway.
            if let Err(error) = self.waker.wake() {
                log::error!("the reactor cannot be woken: {error}");
            }
        }
    }
}

/// A message on its way to a channel.
#[derive(Debug)]
pub struct Publication {
    channel: Box<str>,
    submission: Submission,
    receipt: Option<Sender<Result<Accepted, PublishError>>>,
}

/// What an accepted message got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id, `EPOCH-SEQ`: a cursor.
    pub id: String,
    /// Connections that were parked on its channel.
    pub subscribers: u32,
}

/// Where the id of a message arrives.
#[derive(Debug)]
pub struct Receipt(Receiver<Result<Accepted, PublishError>>);

impl Receipt {
    /// Waits until the message was accepted or refused.
    ///
    /// # Errors
    ///
    /// As the reactor found; [`PublishError::Closed`] if the server stopped first.
    pub fn wait(self) -> Result<Accepted, PublishError> {
        self.0.recv().unwrap_or(Err(PublishError::Closed))
    }
}

impl Publication {
    /// A message for a channel: text from a string, binary from bytes.
    pub fn new(channel: impl Into<Box<str>>, data: impl Into<Data>) -> Publication {
        Publication {
            channel: channel.into(),
            submission: Submission::new(data.into()),
            receipt: None,
        }
    }

    /// Names its event. `cursor`, `gap` and names with line ends are refused when it is published.
    pub fn event(mut self, name: impl Into<Box<str>>) -> Publication {
        self.submission.event = Some(name.into());
        self
    }

    /// Makes a retry harmless: while a message with the same key is in the channel's history, its
    /// result is answered again and nothing is published.
    pub fn idempotency_key(mut self, key: impl Into<Box<str>>) -> Publication {
        self.submission.idempotency_key = Some(key.into());
        self
    }

    /// Asks for the id.
    pub fn with_receipt(mut self) -> (Publication, Receipt) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.receipt = Some(sender);
        (self, Receipt(receiver))
    }

    fn check(&self) -> Result<(), PublishError> {
        hub::check_name(self.channel.as_bytes()).map_err(PublishError::Name)?;
        if let Some(event) = &self.submission.event {
            encode::check_event(event.as_bytes())
                .map_err(|error| PublishError::Event(error.detail()))?;
        }
        Ok(())
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The name of its channel is not one.
    Name(NameError),
    /// The name of its event is refused.
    Event(&'static str),
    /// The queue is full (`try_publish` alone).
    Full,
    /// The server has stopped, or is draining.
    Closed,
    /// There are as many channels as allowed.
    TooManyChannels,
    /// It is larger than a message may be; the limit in bytes.
    TooLarge(usize),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Name(error) => f.write_str(error.detail()),
            PublishError::Event(detail) => f.write_str(detail),
            PublishError::Full => f.write_str("the producers' queue is full"),
            PublishError::Closed => f.write_str("the server takes no more messages"),
            PublishError::TooManyChannels => f.write_str("there are as many channels as allowed"),
            PublishError::TooLarge(max) => write!(f, "a message is at most {max} bytes"),
        }
    }
}

impl std::error::Error for PublishError {}

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
        self.check(&publication)?;
        let sent = self.queue.send(publication);
        self.shared.wake();
        sent.map_err(|_| PublishError::Closed)
    }

    /// As [`Publisher::try_publish`], for a message with an event name, a key or a receipt.
    ///
    /// # Errors
    ///
    /// As [`Publisher::try_publish`].
    pub fn try_send(&self, publication: Publication) -> Result<(), PublishError> {
        self.check(&publication)?;
        let sent = self.queue.try_send(publication);
        self.shared.wake();
        sent.map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Full,
            TrySendError::Disconnected(_) => PublishError::Closed,
        })
    }

    fn check(&self, publication: &Publication) -> Result<(), PublishError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        if publication.submission.data.len() > self.max_message_bytes {
            return Err(PublishError::TooLarge(self.max_message_bytes));
        }
        publication.check()
    }
}

/// Stops a server from any thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Begins a drain: see `Config::drain`. [`crate::Server::run`] returns when it is over.
    pub fn shutdown(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.0.wake();
    }
}

/// The reactor's side.
pub(crate) struct Inbox {
    queue: Receiver<Publication>,
    shared: Arc<Shared>,
    /// A message for which there was no room yet: those behind it wait in the queue, and so do
    /// their producers.
    stalled: Option<Publication>,
    rung: bool,
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
        stop: AtomicBool::new(false),
        closed: AtomicBool::new(false),
    });
    let publisher = Publisher {
        queue: sender,
        shared: Arc::clone(&shared),
        max_message_bytes,
    };
    let handle = Handle(Arc::clone(&shared));
    let inbox = Inbox {
        queue: receiver,
        shared,
        stalled: None,
        rung: true,
    };
    (publisher, handle, inbox)
}

impl Inbox {
    /// The bell was rung.
    pub(crate) fn notice(&mut self) {
        self.rung = true;
    }

    /// Whether there may be messages that no bell will announce.
    pub(crate) fn has_work(&self) -> bool {
        self.rung
    }

    /// Whether someone wants the server to stop.
    pub(crate) fn wants_stop(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
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
        if !self.rung {
            return;
        }
        self.shared.bell.answer();
        for _ in 0..budget {
            let next = match self.stalled.take() {
                Some(stalled) => Ok(stalled),
                None => self.queue.try_recv(),
            };
            let publication = match next {
                Ok(publication) => publication,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    self.rung = false;
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
    let Publication {
        channel,
        submission,
        receipt,
    } = publication;
    let result = match submit(&channel, submission) {
        Ok(accepted) => Ok(accepted),
        Err((Refusal::TooManyChannels, _)) => {
            log::warn!("a producer's message for {channel:?} is dropped: too many channels");
            Err(PublishError::TooManyChannels)
        }
        Err((Refusal::Busy, submission)) => {
            return Some(Publication {
                channel,
                submission,
                receipt,
            });
        }
    };
    if let Some(receipt) = receipt {
        // Who no longer waits for the receipt does not need it.
        let _ = receipt.try_send(result);
    }
    None
}
