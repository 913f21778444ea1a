//! The application that Pushpin needs behind it: it lets every request in.
//!
//! Pushpin itself decides nothing: it passes each request on, and what comes back says in
//! `Grip-` headers what to hold it for. This answers with the least that does that, so that what a
//! run costs is Pushpin's. It keeps nothing, and is none of what a server is charged for.
//!
//! | request | answer |
//! |---|---|
//! | `GET /stream/CHANNEL` | hold as a stream, begun with an empty line |
//! | `GET /response/CHANNEL` | hold until the next message, which is the answer |
//! | other | at once, an empty line |

use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::EventFlags;

use crate::net::{self, Poll, Read};

const LISTENER: u64 = u64::MAX;

/// A longer head is given up on.
const HEAD_BYTES: usize = 16 << 10;

/// Longer than any run.
const HOLD_SECONDS: u32 = 3_600;

/// A connection, and a head that was cut off.
struct Connection {
    fd: OwnedFd,
    head: Vec<u8>,
}

/// Serves until the process is ended.
pub fn serve(address: SocketAddrV4) -> io::Result<()> {
    let listener = net::listen(address)?;
    let mut poll = Poll::new(256)?;
    poll.add(&listener, LISTENER, EventFlags::IN)?;
    let mut connections = HashMap::new();
    let mut buffer = vec![0; HEAD_BYTES];
    loop {
        for place in 0..poll.wait(None)? {
            let token = poll.token(place);
            if token == LISTENER {
                while let Some(fd) = net::accept(&listener)? {
                    let token = fd.as_raw_fd() as u64;
                    poll.add(&fd, token, EventFlags::IN)?;
                    let head = Vec::new();
                    connections.insert(token, Connection { fd, head });
                }
            } else if let Some(connection) = connections.get_mut(&token)
                && !connection.serve(&mut buffer)
            {
                connections.remove(&token);
            }
        }
    }
}

impl Connection {
    /// Answers what has come; false when the connection is done with.
    fn serve(&mut self, buffer: &mut [u8]) -> bool {
        match net::receive(&self.fd, buffer) {
            Read::Nothing => return true,
            Read::End => return false,
            Read::Bytes(length) => self.head.extend_from_slice(&buffer[..length]),
        }
        while let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") {
            let answer = answer(&self.head[..end]);
            self.head.drain(..end + 4);
            if !matches!(net::send(&self.fd, &answer), Ok(length) if length == answer.len()) {
                return false;
            }
        }
        self.head.len() < HEAD_BYTES
    }
}

fn answer(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let target = head.split(' ').nth(1).unwrap_or_default();
    let hold = if let Some(channel) = target.strip_prefix("/stream/") {
        format!("Grip-Hold: stream\r\nGrip-Channel: {channel}\r\n")
    } else if let Some(channel) = target.strip_prefix("/response/") {
        format!(
            "Grip-Hold: response\r\nGrip-Channel: {channel}\r\nGrip-Timeout: {HOLD_SECONDS}\r\n"
        )
    } else {
        String::new()
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{hold}Content-Length: 1\r\n\r\n\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_hold_a_request_for() {
        let stream = String::from_utf8(answer(b"GET /stream/a-1 HTTP/1.1\r\nHost: h")).unwrap();
        assert!(stream.contains("\r\nGrip-Hold: stream\r\nGrip-Channel: a-1\r\n"));
        let poll = String::from_utf8(answer(b"GET /response/a-1 HTTP/1.1")).unwrap();
        assert!(poll.contains("\r\nGrip-Hold: response\r\nGrip-Channel: a-1\r\n"));
        let other = String::from_utf8(answer(b"GET / HTTP/1.1")).unwrap();
        assert!(!other.contains("Grip-") && other.ends_with("\r\n\r\n\n"));
    }
}
