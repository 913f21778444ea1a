//! A message from a producer, and the result that it gets back.
//!
//! Owns the construction of a valid [`Draft`] from strings and bytes of a program. The queue
//! contains only drafts. It never publishes.

use std::borrow::Cow;

use crossbeam_channel::{Receiver, Sender};
use thiserror::Error;

use encke_core::hub::Published;
use encke_core::message::{
    ChannelName, Data, Draft, EventError, EventName, IdempotencyKey, IdempotencyKeyError, NameError,
};

/// A message for a channel, under construction.
///
/// A name or a key that is not valid is reported when the publication is sent.
#[derive(Debug)]
pub struct Publication {
    draft: Result<Draft<'static>, PublishError>,
    receipt: Option<ReceiptSender>,
}

/// The reactor's end of a [`Receipt`].
#[derive(Debug)]
pub(super) struct ReceiptSender(Sender<Result<Accepted, PublishError>>);

impl ReceiptSender {
    /// Sends the result, unless the receipt was dropped.
    pub(super) fn send(self, result: Result<Published, PublishError>) {
        let accepted = result.map(|published| Accepted {
            id: published.id.to_string(),
            subscribers: published.subscribers,
        });
        let _ = self.0.try_send(accepted);
    }
}

/// The result of a message that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id, `EPOCH-SEQ`, or `EPOCH-SEQ.PART` in a cluster: a cursor.
    pub id: String,
    /// Connections that were parked on its channel.
    pub subscribers: u32,
}

/// Receives the id of a message.
#[derive(Debug)]
pub struct Receipt(Receiver<Result<Accepted, PublishError>>);

impl Receipt {
    /// Waits until the message was accepted or refused.
    ///
    /// # Errors
    ///
    /// The reason for which the reactor refused the message; [`PublishError::Closed`] if the server
    /// ended before.
    pub fn wait(self) -> Result<Accepted, PublishError> {
        self.0.recv().unwrap_or(Err(PublishError::Closed))
    }
}

impl Publication {
    /// A message for a channel: text from a string, binary from bytes, JSON from a
    /// [`Json`](encke_core::message::Json).
    pub fn new(channel: impl Into<Box<str>>, data: impl Into<Data>) -> Publication {
        let name: Cow<'static, [u8]> = Cow::Owned(channel.into().into_string().into_bytes());
        let channel = ChannelName::parse(name).map_err(PublishError::Name);
        Publication {
            draft: channel.map(|channel| Draft::new(channel, data.into())),
            receipt: None,
        }
    }

    /// Names its event; an empty name means none. Names of events of encke or of the browser
    /// (`cursor`, `gap`, `end`, `expired`, `error`, `open`) and names with line ends are refused.
    pub fn event(self, name: impl Into<Box<str>>) -> Publication {
        self.and(|draft| {
            draft.event = EventName::parse(name.into().as_bytes())?;
            Ok(())
        })
    }

    /// Sets the idempotency key: while a message with the same key is in the channel's history, the
    /// receipt gets the result of that message and nothing is published. A key is 1 to 255 bytes.
    pub fn idempotency_key(self, key: impl Into<Box<str>>) -> Publication {
        self.and(|draft| {
            draft.key = Some(IdempotencyKey::parse(key.into().as_bytes())?);
            Ok(())
        })
    }

    /// Changes the draft, unless an earlier part was refused.
    fn and(
        mut self,
        change: impl FnOnce(&mut Draft<'static>) -> Result<(), PublishError>,
    ) -> Publication {
        if let Ok(draft) = &mut self.draft
            && let Err(error) = change(draft)
        {
            self.draft = Err(error);
        }
        self
    }

    /// Requests a receipt, which gets the id.
    pub fn with_receipt(mut self) -> (Publication, Receipt) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.receipt = Some(ReceiptSender(sender));
        (self, Receipt(receiver))
    }

    /// Converts it to an element of the queue.
    pub(super) fn submit(self, max_message_bytes: usize) -> Result<Submission, PublishError> {
        let draft = self.draft?;
        if draft.data.len() > max_message_bytes {
            return Err(PublishError::TooLarge(max_message_bytes));
        }
        let receipt = self.receipt;
        Ok(Submission { draft, receipt })
    }
}

impl From<Draft<'static>> for Publication {
    fn from(draft: Draft<'static>) -> Publication {
        Publication {
            draft: Ok(draft),
            receipt: None,
        }
    }
}

/// A valid message in the queue.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) draft: Draft<'static>,
    pub(super) receipt: Option<ReceiptSender>,
}

/// The reason for which a message was not published.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PublishError {
    /// The name of its channel is not valid.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The name of its event is refused.
    #[error("{0}")]
    Event(#[from] EventError),
    /// The idempotency key is refused.
    #[error("{0}")]
    Key(#[from] IdempotencyKeyError),
    /// The queue is full (`try_publish` alone).
    #[error("the producers' queue is full")]
    Full,
    /// The server has stopped, or is draining.
    #[error("the server accepts no more messages")]
    Closed,
    /// The limit on channels is reached.
    #[error("the limit on channels is reached")]
    TooManyChannels,
    /// The message is too large; the limit in bytes.
    #[error("a message is at most {0} bytes")]
    TooLarge(usize),
    /// The message takes more memory than all messages together may
    /// (`Config::history.max_total_bytes`).
    #[error("the message takes more memory than all messages together may (--history-total-bytes)")]
    ExceedsTotalMemory,
    /// The message is larger than the policy of its channel allows; the limit in bytes.
    #[error("a message to its channel is at most {0} bytes (max-message-bytes of its policy)")]
    TooLargeForChannel(u32),
    /// The engine of the cluster has not taken the message in time, or has refused it: it is not
    /// published.
    #[error("the engine has not taken the message; nothing was published")]
    Unavailable,
    /// The engine of the cluster has not answered in time: the message may be published. Repeated
    /// with the same key, it is published once.
    #[error(
        "the engine has not answered; the message may have been published; repeat it with the same \
         idempotency key"
    )]
    Undecided,
}
