//! The least that any epoll server could do, as a yardstick for those that do more.
//!
//! Accept, read, keep the descriptor; on a publish, one non-blocking write of the same bytes to
//! each. Its answers are about as long as encke's, head and wrapping included, since the kernel's
//! share grows with them. It looks at the first bytes of a request and no further, keeps no
//! history, and closes a connection that does not take all at once: none of that would do for a
//! server in use.
//!
//! | request | answer |
//! |---|---|
//! | `GET /s/N` | a stream of channel N: its head now, a chunk for each message |
//! | `GET /l/N` | a long poll of channel N: kept, and answered by the next message |
//! | other `GET` | a fixed answer |
//! | `POST /N` | a fixed answer, and the body to all that are parked on channel N |

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::os::fd::AsRawFd;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::net;

const LISTENER: Token = Token(usize::MAX);

const READ_BYTES: usize = 128 << 10;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    Cache-Control: no-store, no-transform\r\n\
    Connection: close\r\n\
    Content-Type: application/x-ndjson\r\n\
    X-Accel-Buffering: no\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Transfer-Encoding: chunked\r\n\r\n\
    2d\r\n{\"cursor\":\"00000000-0000\",\"heartbeat\":15000}\n\r\n";

/// The begin of an answer with JSON, up to the length of its body.
macro_rules! json_head {
    () => {
        "HTTP/1.1 200 OK\r\n\
        Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
        Cache-Control: no-store, no-transform\r\n\
        Content-Type: application/json\r\n\
        Encke-Cursor: 00000000-0000\r\n\
        Content-Length: "
    };
}

const EMPTY_BATCH: &[u8] = concat!(
    json_head!(),
    "53\r\n\r\n",
    "{\"cursor\":\"00000000-0000\",\"messages\":[],\"retry\":1000}"
)
.as_bytes();

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    Cache-Control: no-store, no-transform\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 67\r\n\r\n\
    {\"id\":\"00000000-0000\",\"channel\":\"swarm-00000000-0\",\"subscribers\":0}";

/// The text around a message on a stream.
const OBJECT: (&[u8], &[u8]) = (
    b"{\"id\":\"00000000-0000\",\"channel\":\"swarm-00000000-0\",\"data\":\"",
    b"\"}",
);

/// The text around a message's object in the answer to a long poll.
const BATCH: (&[u8], &[u8]) = (b"{\"cursor\":\"00000000-0000\",\"messages\":[", b"]}");

/// A connection, and its place if it is parked.
struct Connection {
    stream: TcpStream,
    parked: Option<Place>,
}

/// A place in one of a channel's two lists.
#[derive(Clone, Copy)]
struct Place {
    channel: u32,
    is_stream: bool,
    index: u32,
}

/// The connections parked on a channel, by descriptor.
#[derive(Default)]
struct Channel {
    streams: Vec<u32>,
    polls: Vec<u32>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// By the descriptor's number.
    connections: Vec<Option<Connection>>,
    channels: Vec<Channel>,
    /// Incomplete requests, as they occur among pipelined ones.
    cut: HashMap<u32, Vec<u8>>,
}

/// Serves until the process is ended.
pub fn serve(address: SocketAddrV4) -> io::Result<()> {
    let mut listener = net::listen(address)?;
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; READ_BYTES];
    let mut message = Vec::new();
    let mut floor = Floor {
        poll,
        listener,
        connections: Vec::new(),
        channels: Vec::new(),
        cut: HashMap::new(),
    };
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(number) => floor.read(number as u32, &mut buffer, &mut message),
            }
        }
    }
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        while let Some(mut stream) = net::accept(&self.listener)? {
            let number = stream.as_raw_fd() as usize;
            self.poll
                .registry()
                .register(&mut stream, Token(number), Interest::READABLE)?;
            if self.connections.len() <= number {
                self.connections.resize_with(number + 1, || None);
            }
            self.connections[number] = Some(Connection {
                stream,
                parked: None,
            });
        }
        Ok(())
    }

    fn read(&mut self, number: u32, buffer: &mut [u8], message: &mut Vec<u8>) {
        loop {
            let Some(connection) = &mut self.connections[number as usize] else {
                return;
            };
            match connection.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => return self.forget(number),
                Ok(length) => {
                    self.take(number, &buffer[..length], message);
                    if length < buffer.len() {
                        return;
                    }
                }
            }
        }
    }

    /// Takes the bytes of one read, after what was left of the last.
    fn take(&mut self, number: u32, bytes: &[u8], message: &mut Vec<u8>) {
        let left = match self.cut.is_empty() {
            true => None,
            false => self.cut.remove(&number),
        };
        let rest = match left {
            None => self.requests(number, bytes, message).to_vec(),
            Some(mut left) => {
                left.extend_from_slice(bytes);
                self.requests(number, &left, message).to_vec()
            }
        };
        if !rest.is_empty() && self.connections[number as usize].is_some() {
            self.cut.insert(number, rest);
        }
    }

    /// Answers all requests in the bytes, and returns the bytes left over.
    fn requests<'b>(
        &mut self,
        number: u32,
        mut bytes: &'b [u8],
        message: &mut Vec<u8>,
    ) -> &'b [u8] {
        while let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
            let (head, rest) = bytes.split_at(end + 4);
            match head {
                [
                    b'G',
                    b'E',
                    b'T',
                    b' ',
                    b'/',
                    kind @ (b's' | b'l'),
                    b'/',
                    channel @ ..,
                ] => {
                    self.park(number, digits(channel), *kind == b's');
                }
                [b'G', ..] => self.write(number, EMPTY_BATCH),
                [b'P', b'O', b'S', b'T', b' ', b'/', channel @ ..] => {
                    let Some((body, after)) = rest.split_at_checked(content_length(head)) else {
                        return bytes;
                    };
                    self.write(number, ACCEPTED);
                    self.publish(digits(channel), body, message);
                    bytes = after;
                    continue;
                }
                _ => self.forget(number),
            }
            bytes = rest;
        }
        bytes
    }

    fn write(&mut self, number: u32, bytes: &[u8]) {
        if let Some(connection) = &mut self.connections[number as usize]
            && !matches!(connection.stream.write(bytes), Ok(length) if length == bytes.len())
        {
            self.forget(number);
        }
    }

    fn park(&mut self, number: u32, channel: u32, is_stream: bool) {
        if is_stream {
            self.write(number, STREAM_HEAD);
        }
        let Some(connection) = &mut self.connections[number as usize] else {
            return;
        };
        if self.channels.len() <= channel as usize {
            self.channels
                .resize_with(channel as usize + 1, Channel::default);
        }
        let list = self.channels[channel as usize].list(is_stream);
        connection.parked = Some(Place {
            channel,
            is_stream,
            index: list.len() as u32,
        });
        list.push(number);
    }

    fn publish(&mut self, channel: u32, body: &[u8], message: &mut Vec<u8>) {
        let Some(parked) = self.channels.get_mut(channel as usize) else {
            return;
        };
        if !parked.streams.is_empty() {
            message.clear();
            let length = OBJECT.0.len() + body.len() + OBJECT.1.len() + 1;
            message.extend_from_slice(format!("{length:x}\r\n").as_bytes());
            for part in [OBJECT.0, body, OBJECT.1, b"\n\r\n"] {
                message.extend_from_slice(part);
            }
            let streams = std::mem::take(&mut parked.streams);
            self.channels[channel as usize].streams = self.send(streams, message, true);
        }
        let parked = &mut self.channels[channel as usize];
        if !parked.polls.is_empty() {
            message.clear();
            let parts = [BATCH.0, OBJECT.0, body, OBJECT.1, BATCH.1];
            let length: usize = parts.iter().map(|part| part.len()).sum();
            message.extend_from_slice(json_head!().as_bytes());
            message.extend_from_slice(format!("{length}\r\n\r\n").as_bytes());
            for part in parts {
                message.extend_from_slice(part);
            }
            let polls = std::mem::take(&mut parked.polls);
            let mut polls = self.send(polls, message, false);
            polls.clear();
            self.channels[channel as usize].polls = polls;
        }
    }

    /// Writes to each of a list and gives the list back.
    fn send(&mut self, list: Vec<u32>, message: &[u8], stays: bool) -> Vec<u32> {
        for &number in &list {
            if let Some(connection) = &mut self.connections[number as usize] {
                if !stays {
                    connection.parked = None;
                }
                let sent = connection.stream.write(message);
                if !matches!(sent, Ok(length) if length == message.len()) {
                    // The end of the connection comes as an event of its own.
                    let _ = connection.stream.shutdown(Shutdown::Both);
                }
            }
        }
        list
    }

    fn forget(&mut self, number: u32) {
        let Some(connection) = self.connections[number as usize].take() else {
            return;
        };
        self.cut.remove(&number);
        let Some(place) = connection.parked else {
            return;
        };
        let list = self.channels[place.channel as usize].list(place.is_stream);
        list.swap_remove(place.index as usize);
        if let Some(&moved) = list.get(place.index as usize) {
            let moved = self.connections[moved as usize].as_mut();
            if let Some(parked) = moved.and_then(|moved| moved.parked.as_mut()) {
                parked.index = place.index;
            }
        }
    }
}

impl Channel {
    fn list(&mut self, is_stream: bool) -> &mut Vec<u32> {
        match is_stream {
            true => &mut self.streams,
            false => &mut self.polls,
        }
    }
}

/// Returns the number that the bytes begin with, or 0. Bounded, as it sizes a table.
fn digits(bytes: &[u8]) -> u32 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .take(6)
        .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"ontent-";
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&head[from..], NAME) {
        from += found + NAME.len();
        if let Some((name, value)) = head[from..].split_at_checked(8)
            && name.eq_ignore_ascii_case(b"length: ")
        {
            return digits(value) as usize;
        }
    }
    0
}
