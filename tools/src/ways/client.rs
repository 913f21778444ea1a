//! One client: its connection, its cursor, and what it has had.

use std::os::fd::OwnedFd;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::net;
use crate::receipt::{AnswerReader, Counts, Order, Part, Scanner, status};

/// A client.
pub(super) struct Client {
    pub(super) fd: OwnedFd,
    pub(super) channel: u32,
    /// Where to go on.
    pub(super) cursor: String,
    pub(super) order: Order,
    /// Answers that have not come.
    pub(super) open: u32,
    /// When its next poll is due.
    pub(super) due: u64,
    answers: AnswerReader,
    scanner: Scanner,
    body: Vec<u8>,
}

/// The answer to a poll, as far as a client needs it.
#[derive(Deserialize)]
struct Batch<'a> {
    cursor: &'a str,
    #[serde(rename = "messages")]
    _messages: IgnoredAny,
    #[serde(default)]
    more: bool,
    #[serde(default)]
    gap: bool,
}

/// What a read was about.
#[derive(Default)]
pub(super) struct Heard {
    /// The head of an answer came.
    pub(super) head: bool,
    /// An answer is whole.
    pub(super) is_answered: bool,
    /// There is more to fetch at once.
    pub(super) more: bool,
}

impl Client {
    /// A client that has what its channel had up to a number.
    pub(super) fn new(fd: OwnedFd, channel: u32, cursor: String, after: u64) -> Client {
        Client {
            fd,
            channel,
            cursor,
            order: Order::after(after),
            open: 0,
            due: 0,
            answers: AnswerReader::default(),
            scanner: Scanner::default(),
            body: Vec::new(),
        }
    }

    /// Sends a request; how long it was.
    pub(super) fn ask(&mut self, target: &str, host: &str) -> Result<usize, String> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let length = net::send(&self.fd, request.as_bytes()).map_err(|error| error.to_string())?;
        if length != request.len() {
            return Err("the server takes no request".into());
        }
        self.open += 1;
        Ok(length)
    }

    /// Takes in bytes; `on_message` gets the time of each message that is right. With `is_batch`,
    /// answers are batches, and the cursor moves on with each.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        run: u32,
        is_batch: bool,
        counts: &mut Counts,
        mut on_message: impl FnMut(u64),
    ) -> Result<Heard, String> {
        let mut heard = Heard::default();
        let mut complaint = None;
        let Client {
            channel,
            cursor,
            order,
            open,
            answers,
            scanner,
            body,
            ..
        } = self;
        answers.feed(bytes, |part| match part {
            Part::Head(head) => {
                heard.head = true;
                counts.failed += u64::from(status(head) != 200);
            }
            Part::Data(data) => {
                if is_batch {
                    body.extend_from_slice(data);
                }
                scanner.feed(data, |mark| {
                    if counts.take(mark, run, *channel, order) {
                        on_message(mark.time);
                    }
                });
            }
            Part::End => {
                heard.is_answered = true;
                *open = open.saturating_sub(1);
                if !is_batch {
                    return;
                }
                match serde_json::from_slice::<Batch<'_>>(body) {
                    Ok(batch) => {
                        batch.cursor.clone_into(cursor);
                        heard.more = batch.more;
                        counts.lost += u64::from(batch.gap);
                    }
                    Err(error) => complaint = Some(format!("an answer is no batch: {error}")),
                }
                // A large answer is rare: its room is not kept.
                *body = Vec::new();
            }
        });
        complaint.map_or(Ok(heard), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

    use super::*;
    use crate::receipt::Mark;

    #[test]
    fn takes_cursor_and_messages_from_a_batch_in_pieces() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut client = Client::new(net::connect(None, to).unwrap(), 2, "a-1".into(), 4);
        client.open = 1;
        let mut message = Vec::new();
        let mark = Mark {
            run: 9,
            channel: 2,
            seq: 5,
            time: 77,
        };
        mark.write(&mut message, 40);
        let message = String::from_utf8(message).unwrap();
        let body = format!(r#"{{"cursor":"a-7","messages":[{{"data":"{message}"}}],"more":true}}"#);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut counts = Counts::default();
        let mut times = Vec::new();
        let (first, second) = answer.as_bytes().split_at(answer.len() - 30);
        let heard = client.hear(first, 9, true, &mut counts, |time| times.push(time));
        assert!(heard.is_ok_and(|heard| heard.head && !heard.is_answered));
        let heard = client.hear(second, 9, true, &mut counts, |time| times.push(time));
        assert!(heard.is_ok_and(|heard| heard.is_answered && heard.more));
        assert_eq!((times, client.open), (vec![77], 0));
        assert_eq!((client.cursor.as_str(), client.order.last()), ("a-7", 5));
        assert_eq!((counts.received, counts.faults()), (1, 0));
    }

    #[test]
    fn notices_a_gap_and_what_is_no_batch() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut client = Client::new(net::connect(None, to).unwrap(), 0, String::new(), 0);
        let mut counts = Counts::default();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n\
            {\"cursor\":\"a-7\",\"messages\":[],\"gap\":true}";
        assert!(client.hear(answer, 1, true, &mut counts, |_| ()).is_ok());
        assert_eq!(counts.faults(), 1);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(client.hear(answer, 1, true, &mut counts, |_| ()).is_err());
    }
}
