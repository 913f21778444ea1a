//! A message on its way from a producer, and what it comes back with.
//!
//! Owns what producers may hand over: a publication that is in the queue is one that the hub can
//! take. It never publishes.

use std::fmt;

use crossbeam_channel::{Receiver, Sender};

use encke_core::encode::{self, Data, EventError};
use encke_core::hub::{self, NameError, Submission};

/// A message on its way to a channel.
#[derive(Debug)]
pub struct Publication {
    channel: Box<str>,
    submission: Submission,
    receipt: Option<ReceiptSender>,
}

/// The reactor's end of a [`Receipt`].
#[derive(Debug)]
pub(super) struct ReceiptSender(Sender<Result<Accepted, PublishError>>);

impl ReceiptSender {
    /// Tells what became of the message. Who no longer waits does not need it.
    pub(super) fn tell(self, result: Result<Accepted, PublishError>) {
        let _ = self.0.try_send(result);
    }
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
        self.receipt = Some(ReceiptSender(sender));
        (self, Receipt(receiver))
    }

    /// The publication as the hub takes it.
    pub(super) fn checked(mut self, max_message_bytes: usize) -> Result<Self, PublishError> {
        if self.submission.data.len() > max_message_bytes {
            return Err(PublishError::TooLarge(max_message_bytes));
        }
        hub::check_name(self.channel.as_bytes()).map_err(PublishError::Name)?;
        if let Some(name) = self.submission.event.take() {
            let name = encode::check_event(name.as_bytes()).map_err(PublishError::Event)?;
            self.submission.event = name.map(Box::from);
        }
        if let Data::Json(text) = &self.submission.data {
            // Whoever made it need not have checked it, and a raw line end could forge a line.
            let checked = Data::accept(Some(b"application/json"), text.as_bytes());
            self.submission.data = checked.map_err(|error| PublishError::Json(error.detail()))?;
        }
        Ok(self)
    }

    /// Its parts, for the reactor.
    pub(super) fn into_parts(self) -> (Box<str>, Submission, Option<ReceiptSender>) {
        (self.channel, self.submission, self.receipt)
    }

    /// The publication of such parts.
    pub(super) fn from_parts(
        channel: Box<str>,
        submission: Submission,
        receipt: Option<ReceiptSender>,
    ) -> Publication {
        Publication {
            channel,
            submission,
            receipt,
        }
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The name of its channel is not one.
    Name(NameError),
    /// The name of its event is refused.
    Event(EventError),
    /// It says that it is JSON and is not; what is wrong.
    Json(String),
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
            PublishError::Event(error) => f.write_str(error.detail()),
            PublishError::Json(detail) => f.write_str(detail),
            PublishError::Full => f.write_str("the producers' queue is full"),
            PublishError::Closed => f.write_str("the server takes no more messages"),
            PublishError::TooManyChannels => f.write_str("there are as many channels as allowed"),
            PublishError::TooLarge(max) => write!(f, "a message is at most {max} bytes"),
        }
    }
}

impl std::error::Error for PublishError {}
