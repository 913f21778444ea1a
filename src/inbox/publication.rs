//! A message on its way from a producer, and the result that comes back.
//!
//! Owns the way from what a program has at hand to a [`Draft`]: the queue holds nothing else. It
//! never publishes.

use std::borrow::Cow;

use crossbeam_channel::{Receiver, Sender};
use thiserror::Error;

use encke_core::hub::Published;
use encke_core::message::{
    ChannelName, Data, Draft, EventError, EventName, IdempotencyKey, KeyError, NameError,
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
    /// Sends the result. A receipt that was dropped does not need it.
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
    /// Its id, `EPOCH-SEQ`: a cursor.
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
    /// As the reactor found; [`PublishError::Closed`] if the server stopped first.
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

    /// Names its event; an empty name is none. Names that encke or a browser uses itself (`cursor`,
    /// `gap`, `end`, `expired`, `error`, `open`) and names with line ends are refused.
    pub fn event(self, name: impl Into<Box<str>>) -> Publication {
        self.and(|draft| {
            draft.event = EventName::parse(name.into().as_bytes())?;
            Ok(())
        })
    }

    /// Makes a retry harmless: while a message with the same key is in the channel's history, its
    /// result is answered again and nothing is published. A key is 1 to 255 bytes.
    pub fn idempotency_key(self, key: impl Into<Box<str>>) -> Publication {
        self.and(|draft| {
            draft.key = Some(IdempotencyKey::parse(key.into().as_bytes())?);
            Ok(())
        })
    }

    /// Changes the draft, unless an earlier part of it was refused.
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

    /// Asks for the id.
    pub fn with_receipt(mut self) -> (Publication, Receipt) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.receipt = Some(ReceiptSender(sender));
        (self, Receipt(receiver))
    }

    /// The message as the queue takes it.
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

/// Why a message was not published.
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
    Key(#[from] KeyError),
    /// The queue is full (`try_publish` alone).
    #[error("the producers' queue is full")]
    Full,
    /// The server has stopped, or is draining.
    #[error("the server takes no more messages")]
    Closed,
    /// There are as many channels as allowed.
    #[error("there are as many channels as allowed")]
    TooManyChannels,
    /// It is larger than a message may be; the limit in bytes.
    #[error("a message is at most {0} bytes")]
    TooLarge(usize),
}
