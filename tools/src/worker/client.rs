//! One subscriber: what it has asked, and what it has received. Its socket is the driver's.

use encke_test_client::{Batch, Error, Part, ResponseReader};

use crate::receipt::{Counts, Order, Scanner};

/// The state of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Without a connection, and not to come back by itself.
    #[default]
    Away,
    /// The connection is not established yet.
    Connecting,
    /// It has asked for a stream; the head has not arrived.
    Asked,
    /// Subscribed: a stream, a long poll that has been sent, or a connection for polls.
    Settled,
    /// It was answered, and asks again at its time.
    Returning,
}

/// A client.
#[derive(Default)]
pub(super) struct Client {
    pub(super) stage: Stage,
    pub(super) channel: u32,
    /// When it sent its last poll, in nanoseconds.
    pub(super) asked_at: u64,
    order: Order,
    responses: ResponseReader,
    scanner: Scanner,
    status: u16,
    /// The next request is not its first on this subscription.
    pub(super) is_answered: bool,
    /// The fields of the last response that the next request repeats.
    pub(super) answer: Vec<String>,
    /// The present body; kept only if `reads_batches`.
    body: Vec<u8>,
    reads_batches: bool,
    /// The last batch, if `reads_batches`, without its messages.
    pub(super) batch: Option<Batch>,
    /// When it polls next, in nanoseconds.
    pub(super) due: u64,
    /// It waits for the response to a poll.
    pub(super) is_asking: bool,
    /// The server has said that it closes the connection.
    pub(super) is_sent_away: bool,
    /// It connects to the other server from now on.
    pub(super) has_moved: bool,
}

/// The things that a read completed.
#[derive(Default)]
pub(super) struct Heard {
    /// The head of a response.
    pub(super) head: bool,
    /// Messages.
    pub(super) messages: u64,
    /// Whole responses.
    pub(super) answers: u64,
}

impl Client {
    pub(super) fn new(channel: u32, reads_batches: bool) -> Client {
        Client {
            channel,
            reads_batches,
            ..Client::default()
        }
    }

    /// Starts over on a new connection, for what comes after message number `after`.
    pub(super) fn begin(&mut self, after: u64) {
        self.order = Order::after(after);
        self.is_answered = false;
        self.batch = None;
        self.resume();
    }

    /// Continues on a new connection.
    pub(super) fn resume(&mut self) {
        self.stage = Stage::Connecting;
        self.responses = ResponseReader::default();
        self.scanner = Scanner::default();
    }

    /// The advice of the last batch, in milliseconds: `spread` and `retry`.
    pub(super) fn advice_ms(&self) -> (Option<u64>, Option<u64>) {
        let batch = self.batch.as_ref();
        batch.map_or((None, None), |batch| (batch.spread_ms, batch.retry_ms))
    }

    /// Takes bytes in; keeps these fields of a response, and calls `on_message` with the time of
    /// each message that is in order.
    pub(super) fn hear(
        &mut self,
        mut bytes: &[u8],
        run: u32,
        keeps: &[String],
        counts: &mut Counts,
        mut on_message: impl FnMut(u64),
    ) -> Result<Heard, Error> {
        let mut heard = Heard::default();
        counts.bytes += bytes.len() as u64;
        while let Some(part) = self.responses.next(&mut bytes)? {
            match part {
                Part::Interim(_) => {}
                Part::Head(head) => {
                    heard.head = true;
                    self.status = head.status;
                    self.body.clear();
                    self.is_sent_away = head.closes();
                    // The response 304 to a poll says that there is nothing new.
                    counts.failed += u64::from(!matches!(head.status, 101 | 200 | 304));
                    if !keeps.is_empty() {
                        self.answer.resize(keeps.len(), String::new());
                        for (value, name) in self.answer.iter_mut().zip(keeps) {
                            head.field(name).unwrap_or_default().clone_into(value);
                        }
                    }
                }
                Part::Body(data) => {
                    if self.reads_batches {
                        self.body.extend_from_slice(data);
                    }
                    let Client {
                        channel,
                        order,
                        scanner,
                        ..
                    } = self;
                    scanner.feed(data, |mark| {
                        if counts.take(mark, run, *channel, order) {
                            heard.messages += 1;
                            on_message(mark.time);
                        }
                    });
                }
                Part::End => {
                    heard.answers += 1;
                    self.is_answered = true;
                    self.is_asking = false;
                    if self.reads_batches && self.status == 200 {
                        let mut batch = Batch::decode(&self.body)?;
                        batch.messages = Vec::new();
                        self.batch = Some(batch);
                    }
                }
            }
        }
        Ok(heard)
    }
}
