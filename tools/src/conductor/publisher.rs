//! The connection that publishes, and asks who is parked.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use crate::net::{self, Read};
use crate::receipt::{AnswerReader, Mark, Part, header, status};
use crate::server::{Filling, Request, Template};

/// A kept connection with requests that wait for their answers.
pub(crate) struct Publisher {
    pub(crate) fd: OwnedFd,
    server: SocketAddrV4,
    run: u32,
    head: Template,
    body: Template,
    answers: AnswerReader,
    unsent: Vec<u8>,
    message: Vec<u8>,
    /// Whether requests may be sent before the last is answered.
    pipelined: bool,
    /// The lengths of those that are kept back; all of them are in `unsent`.
    kept_back: VecDeque<usize>,
    /// Bytes of `unsent` that may be sent.
    sendable: usize,
    /// Requests sent.
    pub(crate) asked: u64,
    /// Answers had.
    pub(crate) answered: u64,
    /// Answers other than 200.
    pub(crate) refused: u64,
    /// The server closed the connection.
    pub(crate) is_closed: bool,
    /// Whether the poll watches for room to send.
    pub(crate) watches_room: bool,
    /// The body of the last answer.
    pub(crate) last: Vec<u8>,
    buffer: Vec<u8>,
}

impl Publisher {
    /// Connects to send requests of one kind.
    pub(crate) fn connect(
        request: &Request,
        run: u32,
        server: SocketAddrV4,
    ) -> io::Result<Publisher> {
        Ok(Publisher {
            fd: net::connect(None, server)?,
            server,
            run,
            head: Template::new(&request.first(server), run),
            body: Template::new(request.body.as_deref().unwrap_or_default(), run),
            answers: AnswerReader::default(),
            unsent: Vec::new(),
            message: Vec::new(),
            pipelined: request.pipelined,
            kept_back: VecDeque::new(),
            sendable: 0,
            asked: 0,
            answered: 0,
            refused: 0,
            is_closed: false,
            watches_room: false,
            last: Vec::new(),
            buffer: vec![0; 64 << 10],
        })
    }

    /// Begins a new connection after the server has closed one on which nothing was open.
    pub(crate) fn reconnect(&mut self) -> io::Result<()> {
        self.fd = net::connect(None, self.server)?;
        self.answers = AnswerReader::default();
        self.is_closed = false;
        self.watches_room = false;
        self.release();
        Ok(())
    }

    /// Appends a publish to what is to be sent.
    pub(crate) fn add(&mut self, channel: u32, seq: u64, time: u64, size: u32) {
        let mark = Mark {
            run: self.run,
            channel,
            seq,
            time,
        };
        self.message.clear();
        mark.write(&mut self.message, size as usize);
        let filling = Filling {
            channel,
            message: &self.message,
            ..Filling::default()
        };
        let mut body = Vec::with_capacity(self.message.len());
        self.body.fill(&mut body, filling);
        self.add_request(channel, &body);
    }

    /// Appends a request without a body.
    pub(crate) fn add_question(&mut self, channel: u32) {
        self.add_request(channel, &[]);
    }

    fn add_request(&mut self, channel: u32, body: &[u8]) {
        let filling = Filling {
            channel,
            length: body.len(),
            ..Filling::default()
        };
        let before = self.unsent.len();
        self.head.fill(&mut self.unsent, filling);
        self.unsent.extend_from_slice(body);
        self.kept_back.push_back(self.unsent.len() - before);
        self.asked += 1;
        self.release();
    }

    /// Lets go what may be sent: all, or the next when the last is answered.
    fn release(&mut self) {
        while self.pipelined || (self.in_flight() == 0 && !self.is_closed) {
            match self.kept_back.pop_front() {
                Some(length) => self.sendable += length,
                None => return,
            }
        }
    }

    /// Requests that were let go and wait for their answers.
    fn in_flight(&self) -> u64 {
        self.open() - self.kept_back.len() as u64
    }

    /// Whether answers are lost if the connection is.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.in_flight() > 0
    }

    /// Requests that wait for their answers.
    pub(crate) fn open(&self) -> u64 {
        self.asked - self.answered
    }

    /// Whether it waits for room to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sendable > 0
    }

    /// Sends as much as there is room for.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        if self.sendable > 0 {
            let length = net::send(&self.fd, &self.unsent[..self.sendable])?;
            self.unsent.drain(..length);
            self.sendable -= length;
        }
        Ok(())
    }

    /// Reads answers.
    pub(crate) fn receive(&mut self) {
        match net::receive(&self.fd, &mut self.buffer) {
            Read::Nothing => {}
            Read::End => self.is_closed = true,
            Read::Bytes(length) => {
                let Publisher {
                    answers,
                    answered,
                    refused,
                    is_closed,
                    last,
                    ..
                } = self;
                answers.feed(&self.buffer[..length], |part| match part {
                    Part::Head(head) => {
                        last.clear();
                        *is_closed = header(head, "connection") == Some(b"close");
                        *refused += u64::from(status(head) / 100 != 2);
                    }
                    Part::Data(data) => last.extend_from_slice(data),
                    Part::End => *answered += 1,
                });
                self.release();
            }
        }
    }
}
