//! One subscriber: its connection, what it has asked, and what it has had.

use std::os::fd::OwnedFd;

use crate::receipt::{AnswerReader, Counts, Order, Part, Scanner, status};

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No connection.
    Away,
    /// The connection is not there yet, or the request not sent.
    Connecting,
    /// Has asked, and waits to be let in: a stream before its head.
    Asked,
    /// As it should be: a stream, a long poll that has asked, a connection for polls.
    Settled,
}

/// A client.
pub(super) struct Client {
    pub(super) fd: Option<OwnedFd>,
    pub(super) stage: Stage,
    pub(super) channel: u32,
    /// When it sent its last poll.
    pub(super) asked_at: u64,
    order: Order,
    answers: AnswerReader,
    scanner: Scanner,
    /// The last head, for the cursor in it.
    pub(super) head: Vec<u8>,
}

/// What a read was about.
#[derive(Default)]
pub(super) struct Heard {
    /// A head came.
    pub(super) head: bool,
    /// Messages that came.
    pub(super) messages: u64,
    /// Answers that are whole.
    pub(super) answers: u64,
}

impl Client {
    pub(super) fn new(channel: u32) -> Client {
        Client {
            fd: None,
            stage: Stage::Away,
            channel,
            asked_at: 0,
            order: Order::after(0),
            answers: AnswerReader::default(),
            scanner: Scanner::default(),
            head: Vec::new(),
        }
    }

    /// Begins anew on a connection, to get what comes after a number.
    pub(super) fn begin(&mut self, fd: OwnedFd, after: u64) {
        self.fd = Some(fd);
        self.stage = Stage::Connecting;
        self.order = Order::after(after);
        self.answers = AnswerReader::default();
        self.scanner = Scanner::default();
        self.head.clear();
    }

    /// The connection is gone, or given up.
    pub(super) fn leave(&mut self) {
        self.fd = None;
        self.stage = Stage::Away;
    }

    /// Takes in bytes; `delay` gets the time of each message that is right.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        run: u32,
        keeps_head: bool,
        counts: &mut Counts,
        mut on_message: impl FnMut(u64),
    ) -> Heard {
        let mut heard = Heard::default();
        counts.bytes += bytes.len() as u64;
        let Client {
            channel,
            order,
            answers,
            scanner,
            head: kept,
            ..
        } = self;
        answers.feed(bytes, |part| match part {
            Part::Head(head) => {
                heard.head = true;
                // To a poll, "not modified" says that there is nothing.
                counts.failed += u64::from(!matches!(status(head), 200 | 304));
                if keeps_head {
                    kept.clear();
                    kept.extend_from_slice(head);
                }
            }
            Part::Data(data) => scanner.feed(data, |mark| {
                if counts.take(mark, run, *channel, order) {
                    heard.messages += 1;
                    on_message(mark.time);
                }
            }),
            Part::End => heard.answers += 1,
        });
        heard
    }
}
