//! The connection that publishes, and asks who is parked.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use crate::net::{self, Read};
use crate::receipt::{AnswerReader, Mark, Part, status};
use crate::server::{Filling, Request, Template};

/// A kept connection with requests that wait for their answers.
pub(crate) struct Publisher {
    pub(super) fd: OwnedFd,
    server: SocketAddrV4,
    run: u32,
    head: Template,
    body: Template,
    answers: AnswerReader,
    unsent: Vec<u8>,
    message: Vec<u8>,
    /// Requests sent.
    pub(super) asked: u64,
    /// Answers had.
    pub(super) answered: u64,
    /// Answers other than 200.
    pub(super) refused: u64,
    /// The server closed the connection.
    pub(super) is_closed: bool,
    /// Whether the poll watches for room to send.
    pub(super) watches_room: bool,
    /// The body of the last answer.
    pub(super) last: Vec<u8>,
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
    pub(super) fn reconnect(&mut self) -> io::Result<()> {
        self.fd = net::connect(None, self.server)?;
        self.answers = AnswerReader::default();
        self.is_closed = false;
        self.watches_room = false;
        Ok(())
    }

    /// Appends a publish to what is to be sent.
    pub(super) fn add(&mut self, channel: u32, seq: u64, time: u64, size: u32) {
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
        self.add_head(channel, body.len());
        self.unsent.extend_from_slice(&body);
    }

    /// Appends a request without a body.
    pub(super) fn add_question(&mut self, channel: u32) {
        self.add_head(channel, 0);
    }

    fn add_head(&mut self, channel: u32, length: usize) {
        let filling = Filling {
            channel,
            length,
            ..Filling::default()
        };
        self.head.fill(&mut self.unsent, filling);
        self.asked += 1;
    }

    /// Requests that wait for their answers.
    pub(crate) fn open(&self) -> u64 {
        self.asked - self.answered
    }

    /// Whether it waits for room to send.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends as much as there is room for.
    pub(super) fn send(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let length = net::send(&self.fd, &self.unsent)?;
            self.unsent.drain(..length);
        }
        Ok(())
    }

    /// Reads answers.
    pub(super) fn receive(&mut self) {
        match net::receive(&self.fd, &mut self.buffer) {
            Read::Nothing => {}
            Read::End => self.is_closed = true,
            Read::Bytes(length) => {
                let Publisher {
                    answers,
                    answered,
                    refused,
                    last,
                    ..
                } = self;
                answers.feed(&self.buffer[..length], |part| match part {
                    Part::Head(head) => {
                        last.clear();
                        *refused += u64::from(status(head) / 100 != 2);
                    }
                    Part::Data(data) => last.extend_from_slice(data),
                    Part::End => *answered += 1,
                });
            }
        }
    }
}
