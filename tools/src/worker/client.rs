//! One subscriber: its connection, what it has asked, and what it has had.

use std::os::fd::OwnedFd;

use crate::receipt::{AnswerReader, Counts, Order, Part, Scanner, header, number_after, status};

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
    /// Comes back by itself, at its time.
    Returning,
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
    /// The last body, for the advice in it; only of clients that come back.
    body: Vec<u8>,
    keeps_body: bool,
    /// The server has said that it closes the connection.
    pub(super) is_sent_away: bool,
    /// It is at home at the other server.
    pub(super) has_moved: bool,
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
    pub(super) fn new(channel: u32, keeps_body: bool) -> Client {
        Client {
            fd: None,
            stage: Stage::Away,
            channel,
            asked_at: 0,
            order: Order::after(0),
            answers: AnswerReader::default(),
            scanner: Scanner::default(),
            head: Vec::new(),
            body: Vec::new(),
            keeps_body,
            is_sent_away: false,
            has_moved: false,
        }
    }

    /// Begins anew on a connection, to get what comes after a number.
    pub(super) fn begin(&mut self, fd: OwnedFd, after: u64) {
        self.order = Order::after(after);
        self.head.clear();
        self.resume(fd);
    }

    /// Goes on by another connection.
    pub(super) fn resume(&mut self, fd: OwnedFd) {
        self.fd = Some(fd);
        self.stage = Stage::Connecting;
        self.answers = AnswerReader::default();
        self.scanner = Scanner::default();
    }

    /// Within how many milliseconds many, and in how many this one, should come back.
    pub(super) fn advice_ms(&self) -> (Option<u64>, Option<u64>) {
        let number = |name: &str| number_after(&self.body, name);
        (number("\"spread\":"), number("\"retry\":"))
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
            body,
            keeps_body,
            is_sent_away,
            ..
        } = self;
        answers.feed(bytes, |part| match part {
            Part::Head(head) => {
                heard.head = true;
                body.clear();
                *is_sent_away = header(head, "connection") == Some(b"close");
                // To a poll, "not modified" says that there is nothing.
                counts.failed += u64::from(!matches!(status(head), 200 | 304));
                if keeps_head {
                    kept.clear();
                    kept.extend_from_slice(head);
                }
            }
            Part::Data(data) => {
                if *keeps_body {
                    body.extend_from_slice(data);
                }
                scanner.feed(data, |mark| {
                    if counts.take(mark, run, *channel, order) {
                        heard.messages += 1;
                        on_message(mark.time);
                    }
                });
            }
            Part::End => heard.answers += 1,
        });
        heard
    }
}
