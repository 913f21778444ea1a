//! The connection that publishes. Its socket is the driver's.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddrV4;

use encke_test_client::{Error, Part, ResponseReader};

use crate::driver::Driver;
use crate::net::SocketOptions;
use crate::receipt::Mark;
use crate::server::{Filling, Request, Template};

/// A kept connection with publishes that wait for their responses.
pub(crate) struct Publisher {
    key: u32,
    server: SocketAddrV4,
    run: u32,
    head: Template,
    body: Template,
    responses: ResponseReader,
    message: Vec<u8>,
    /// Whether requests may be sent before the last is answered.
    pipelined: bool,
    /// Requests to be handed to the driver.
    ready: Vec<u8>,
    /// Requests that are sent only when the one before is answered.
    kept_back: VecDeque<Vec<u8>>,
    /// Publishes so far.
    pub(crate) asked: u64,
    answered: u64,
    /// Responses other than 2xx.
    pub(crate) refused: u64,
    /// The server closes, or has closed, the connection.
    is_closed: bool,
}

impl Publisher {
    /// A publisher that connects with this key.
    pub(crate) fn new(
        driver: &mut Driver,
        key: u32,
        request: &Request,
        run: u32,
        server: SocketAddrV4,
    ) -> io::Result<Publisher> {
        driver.connect(key, None, server, SocketOptions::default())?;
        Ok(Publisher {
            key,
            server,
            run,
            head: Template::new(&request.first(server), run),
            body: Template::new(request.body.as_deref().unwrap_or_default(), run),
            responses: ResponseReader::default(),
            message: Vec::new(),
            pipelined: request.pipelined,
            ready: Vec::new(),
            kept_back: VecDeque::new(),
            asked: 0,
            answered: 0,
            refused: 0,
            is_closed: false,
        })
    }

    /// Adds a publish to what is to be sent.
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
        let filling = Filling {
            channel,
            length: body.len(),
            ..Filling::default()
        };
        self.asked += 1;
        match self.pipelined {
            true => {
                self.head.fill(&mut self.ready, filling);
                self.ready.extend_from_slice(&body);
            }
            false => {
                let mut request = Vec::new();
                self.head.fill(&mut request, filling);
                request.extend_from_slice(&body);
                self.kept_back.push_back(request);
            }
        }
    }

    /// Publishes that wait for their responses.
    pub(crate) fn open(&self) -> u64 {
        self.asked - self.answered
    }

    /// Hands the driver what may be sent. Where the server answers one request a connection, this
    /// connects again.
    pub(crate) fn send(&mut self, driver: &mut Driver) -> io::Result<()> {
        if self.is_closed {
            if self.open() > self.kept_back.len() as u64 {
                return Err(io::Error::other(
                    "the server closed the publisher's connection",
                ));
            }
            driver.connect(self.key, None, self.server, SocketOptions::default())?;
            self.responses = ResponseReader::default();
            self.is_closed = false;
        }
        if self.open() == self.kept_back.len() as u64
            && let Some(request) = self.kept_back.pop_front()
        {
            self.ready.extend_from_slice(&request);
        }
        if !self.ready.is_empty() {
            driver.send(self.key, &self.ready)?;
            self.ready.clear();
        }
        Ok(())
    }

    /// Takes received bytes in.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while let Some(part) = self.responses.next(&mut bytes)? {
            match part {
                Part::Head(head) => {
                    self.is_closed = head.closes();
                    self.refused += u64::from(head.status / 100 != 2);
                }
                Part::End => self.answered += 1,
                Part::Interim(_) | Part::Body(_) => {}
            }
        }
        Ok(())
    }

    /// The connection has ended.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }
}
