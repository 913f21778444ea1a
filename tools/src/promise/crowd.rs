//! A process of clients over one epoll: each connects, asks, reads, stalls, leaves and comes back
//! at moments of its own, and all that happens to it is written into the process's log.
//!
//! Owns sockets and moments. Invariant: an entry is written before what it leads to is done, so a
//! request's time is before the server can have seen it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::client::{Client, Heard, Stage};
use super::protocol::{Command, Config, Said};
use crate::lines::{self, read_input, say, take_line};
use crate::net::{self, Poll, Read, now_ns};
use encke_oracle::log::{Entry, Event};

const STDIN: u64 = u64::MAX;

/// How often a process tells how far it is, in microseconds.
const TELL_US: u64 = 1_000_000;

/// How long clients that leave for good may take what is still coming.
const LEAVE_US: u64 = 5_000_000;

/// The mean time between two of the things that a client does on a whim.
const WHIM_US: f64 = 3_000_000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Ask,
    Act,
}

struct Crowd {
    config: Config,
    poll: Poll,
    clients: Vec<Client>,
    moments: BinaryHeap<Reverse<(u64, u32, Moment)>>,
    log: Log,
    is_settled: bool,
    tell_at: u64,
    /// When those who are still there are left behind.
    leave_by: Option<u64>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

struct Log {
    file: BufWriter<File>,
    first_client: u32,
    messages: u64,
    failed: Option<String>,
}

impl Log {
    fn add(&mut self, client: usize, at: u64, event: Event) {
        match &event {
            Event::Message(_) => self.messages += 1,
            Event::Batch(batch) => self.messages += batch.receipts.len() as u64,
            _ => {}
        }
        let entry = Entry {
            client: self.first_client + client as u32,
            at,
            event,
        };
        if let Err(error) = postcard::to_io(&entry, &mut self.file) {
            self.failed = Some(error.to_string());
        }
    }
}

/// Serves as clients until told to finish, or until whoever tells is gone.
pub fn serve() -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let Some((config, input)) = lines::begin::<Config>()? else {
        return Ok(());
    };
    let mut crowd = Crowd::new(config).map_err(text)?;
    crowd.run(input).map_err(text)?;
    crowd.log.file.flush().map_err(text)?;
    match crowd.log.failed {
        Some(error) => Err(error),
        None => say(&Said::Finished).map_err(text),
    }
}

fn now_us() -> u64 {
    now_ns() / 1_000
}

impl Crowd {
    fn new(config: Config) -> io::Result<Crowd> {
        let clients = (0..config.clients).map(|number| {
            let seed = config.seed ^ u64::from(config.first_client + number + 1) << 32;
            Client::new(config.run, seed)
        });
        Ok(Crowd {
            poll: Poll::new(512)?,
            clients: clients.collect(),
            moments: BinaryHeap::new(),
            log: Log {
                file: BufWriter::new(File::create(&config.log)?),
                first_client: config.first_client,
                messages: 0,
                failed: None,
            },
            is_settled: false,
            tell_at: 0,
            leave_by: None,
            request: Vec::new(),
            buffer: vec![0; 64 << 10],
            config,
        })
    }

    fn run(&mut self, mut input: Vec<u8>) -> io::Result<()> {
        self.poll.add(io::stdin(), STDIN, EventFlags::IN)?;
        let now = now_us();
        for number in 0..self.clients.len() {
            self.begin(number, now);
            // Not all at once.
            let wait = self.clients[number].rng.u64(0..2_000_000);
            self.ask_at(number, now + wait);
            self.act_later(number, now);
        }
        loop {
            self.tell()?;
            self.do_what_is_due()?;
            if self.has_left() {
                return Ok(());
            }
            for place in 0..self.poll.wait(Some(self.patience()))? {
                match self.poll.token(place) {
                    STDIN => {
                        if !read_input(&mut input)? {
                            return Ok(());
                        }
                        while let Some(line) = take_line(&mut input) {
                            self.obey(serde_json::from_slice(&line)?);
                        }
                    }
                    number => self.attend(number as usize, self.poll.flags(place))?,
                }
            }
        }
    }

    fn patience(&self) -> Duration {
        let now = now_us();
        let next = self.moments.peek().map_or(self.tell_at, |next| next.0.0);
        Duration::from_micros(next.min(self.tell_at).saturating_sub(now))
    }

    fn tell(&mut self) -> io::Result<()> {
        if now_us() < self.tell_at {
            return Ok(());
        }
        self.tell_at = now_us() + TELL_US;
        let waiting = self.clients.iter().filter(|c| c.stage == Stage::Waiting);
        say(&Said::Progress {
            messages: self.log.messages,
            waiting: waiting.count() as u64,
        })
    }

    fn obey(&mut self, command: Command) {
        let now = now_us();
        self.is_settled = true;
        for number in 0..self.clients.len() {
            self.clients[number].cut = None;
            if command == Command::Settle {
                self.resume(number, now);
                if self.clients[number].stage == Stage::Away {
                    let wait = self.clients[number].rng.u64(0..500_000);
                    self.ask_at(number, now + wait);
                }
            } else {
                self.leave_in_order(number, now);
            }
        }
        if command == Command::Finish {
            self.leave_by = Some(now + LEAVE_US);
        }
    }

    fn has_left(&self) -> bool {
        self.leave_by
            .is_some_and(|by| now_us() > by || self.clients.iter().all(|c| c.stage == Stage::Away))
    }

    fn begin(&mut self, number: usize, now: u64) {
        let channels = self.config.channels;
        let event = self.clients[number].begin(channels.first(now), channels.count);
        self.log.add(number, now, event);
    }

    fn ask_at(&mut self, number: usize, at: u64) {
        self.clients[number].ask_due = at;
        self.moments.push(Reverse((at, number as u32, Moment::Ask)));
    }

    fn act_at(&mut self, number: usize, at: u64) {
        self.clients[number].act_due = at;
        self.moments.push(Reverse((at, number as u32, Moment::Act)));
    }

    fn act_later(&mut self, number: usize, now: u64) {
        let mean = WHIM_US * self.config.calmness;
        let wait = -(1.0 - self.clients[number].rng.f64()).ln() * mean;
        self.act_at(number, now + wait as u64);
    }

    fn do_what_is_due(&mut self) -> io::Result<()> {
        let now = now_us();
        while let Some(&Reverse((at, number, moment))) = self.moments.peek()
            && at <= now
        {
            self.moments.pop();
            let number = number as usize;
            let client = &self.clients[number];
            match moment {
                Moment::Ask if client.ask_due == at => self.move_on(number)?,
                Moment::Act if client.act_due == at => self.act(number, now)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// It is time to connect, or to ask.
    fn move_on(&mut self, number: usize) -> io::Result<()> {
        match self.clients[number].stage {
            _ if self.leave_by.is_some() => Ok(()),
            Stage::Away => {
                match self.clients[number].rng.u8(0..100) {
                    _ if self.is_settled => {}
                    0..10 => self.begin(number, now_us()),
                    10..30 => {
                        let client = &mut self.clients[number];
                        client.transport = client.any_transport();
                    }
                    _ => {}
                }
                self.connect(number)
            }
            Stage::Idle => self.ask(number),
            _ => Ok(()),
        }
    }

    fn connect(&mut self, number: usize) -> io::Result<()> {
        let from = match self.config.from.len() {
            0 => None,
            count => Some(self.config.from[self.clients[number].rng.usize(0..count)]),
        };
        let fd = net::connect(from, self.config.server)?;
        if self.clients[number].is_narrow {
            net::set_small_window(&fd)?;
        }
        self.poll.add(&fd, number as u64, EventFlags::OUT)?;
        let client = &mut self.clients[number];
        client.fd = Some(fd);
        client.stage = Stage::Connecting;
        Ok(())
    }

    fn ask(&mut self, number: usize) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(fd) = &client.fd else { return Ok(()) };
        self.poll.modify(fd, number as u64, EventFlags::IN)?;
        self.request.clear();
        let event = client.ask(&mut self.request, self.config.server);
        client.stage = Stage::Waiting;
        self.log.add(number, now_us(), event);
        self.write(number);
        Ok(())
    }

    fn write(&mut self, number: usize) {
        let Some(fd) = &self.clients[number].fd else {
            return;
        };
        if net::send(fd, &self.request).ok() != Some(self.request.len()) {
            self.lose(number);
        }
    }

    /// Something that a client does on a whim, or the end of its pause.
    fn act(&mut self, number: usize, now: u64) -> io::Result<()> {
        self.resume(number, now);
        if self.is_settled {
            return Ok(());
        }
        self.act_later(number, now);
        let client = &mut self.clients[number];
        let is_busy = matches!(client.stage, Stage::Waiting | Stage::Idle);
        match client.rng.u8(0..100) {
            0..20 if is_busy => self.leave(number, true),
            20..40 if is_busy => self.leave(number, false),
            40..55 if is_busy && !self.config.is_gentle => {
                client.cut = Some(client.rng.usize(1..600));
            }
            55..75 if client.stage == Stage::Waiting => self.pause(number, now)?,
            75..85 if client.may_nudge() => {
                client.is_nudged = true;
                self.request.clear();
                let host = self.config.server;
                let _ = write!(
                    self.request,
                    "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"
                );
                self.log.add(number, now, Event::Nudged);
                self.write(number);
            }
            _ => {}
        }
        Ok(())
    }

    fn pause(&mut self, number: usize, now: u64) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(fd) = &client.fd else { return Ok(()) };
        self.poll.modify(fd, number as u64, EventFlags::empty())?;
        client.is_paused = true;
        let until = now + client.rng.u64(300_000..6_000_000);
        self.act_at(number, until);
        self.log.add(number, now, Event::Paused);
        Ok(())
    }

    fn resume(&mut self, number: usize, now: u64) {
        let client = &mut self.clients[number];
        if !std::mem::take(&mut client.is_paused) {
            return;
        }
        self.log.add(number, now, Event::Resumed);
        if let Some(fd) = &client.fd
            && self.poll.modify(fd, number as u64, EventFlags::IN).is_err()
        {
            self.lose(number);
        }
    }

    /// A client ends its connection, by a reset or as it pleases.
    fn leave(&mut self, number: usize, by_reset: bool) {
        let now = now_us();
        if self.config.is_gentle {
            return self.leave_in_order(number, now);
        }
        if let Some(fd) = self.clients[number].fd.take()
            && by_reset
        {
            // Without the option it is closed in the usual way, which is as good a test.
            let _ = net::reset(fd);
        }
        self.log.add(number, now, Event::Left);
        self.go_away(number);
    }

    /// A client says that it sends nothing more, and takes what still comes.
    fn leave_in_order(&mut self, number: usize, now: u64) {
        self.resume(number, now);
        let client = &mut self.clients[number];
        match (client.stage, &client.fd) {
            (Stage::Waiting | Stage::Idle, Some(fd)) if net::finish_sending(fd).is_ok() => {
                client.stage = Stage::Leaving;
            }
            (Stage::Away | Stage::Connecting | Stage::Leaving, _) => {}
            _ => {
                self.log.add(number, now, Event::Left);
                self.go_away(number);
            }
        }
    }

    /// The connection is gone; the client comes back, mostly soon.
    fn go_away(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.fd = None;
        client.stage = Stage::Away;
        client.is_paused = false;
        let wait = match client.rng.u8(0..100) {
            _ if self.is_settled => client.rng.u64(0..300_000),
            0..70 => client.rng.u64(0..300_000),
            70..95 => client.rng.u64(300_000..3_000_000),
            _ => client.rng.u64(3_000_000..10_000_000),
        };
        self.ask_at(number, now_us() + wait);
    }

    fn lose(&mut self, number: usize) {
        let event = match self.clients[number].stage {
            Stage::Waiting => Event::Lost,
            Stage::Idle => Event::Ended,
            Stage::Connecting => Event::Unreachable,
            Stage::Leaving => Event::Left,
            Stage::Away => return,
        };
        self.log.add(number, now_us(), event);
        self.go_away(number);
    }

    fn attend(&mut self, number: usize, flags: EventFlags) -> io::Result<()> {
        let is_over = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        match self.clients[number].stage {
            Stage::Away => Ok(()),
            Stage::Connecting if is_over => {
                self.lose(number);
                Ok(())
            }
            Stage::Connecting => {
                self.clients[number].connected();
                self.clients[number].stage = Stage::Idle;
                self.log.add(number, now_us(), Event::Connected);
                if self.leave_by.is_some() {
                    self.leave_in_order(number, now_us());
                    return Ok(());
                }
                self.ask(number)
            }
            _ => {
                // These are announced to a client that does not read, too, again and again.
                self.resume(number, now_us());
                self.read(number)
            }
        }
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(fd) = &client.fd else { return Ok(()) };
        let cut = client.cut.take();
        let room = cut.unwrap_or(self.buffer.len());
        let length = match net::receive(fd.as_fd(), &mut self.buffer[..room]) {
            Read::Nothing => {
                client.cut = cut;
                return Ok(());
            }
            Read::End => {
                self.lose(number);
                return Ok(());
            }
            Read::Bytes(length) => length,
        };
        let now = now_us();
        let log = &mut self.log;
        let heard = client.hear(&self.buffer[..length], |event| log.add(number, now, event));
        if cut.is_some() && !heard.ended {
            let by_reset = self.clients[number].rng.bool();
            self.leave(number, by_reset);
            return Ok(());
        }
        self.follow_up(number, heard, now);
        Ok(())
    }

    /// What a client does after what it has heard.
    fn follow_up(&mut self, number: usize, heard: Heard, now: u64) {
        let client = &mut self.clients[number];
        if client.stage == Stage::Leaving {
            return;
        }
        if heard.ended {
            return self.go_away(number);
        }
        let Some(advice) = heard.answered else { return };
        let wait = match advice {
            Some(advice) => advice.min(1_000) * 1_000,
            None if client.transport.is_held() => 0,
            None => client.rng.u64(100_000..1_500_000),
        };
        if client.closes() {
            client.fd = None;
            client.stage = Stage::Away;
        } else {
            client.stage = Stage::Idle;
        }
        self.ask_at(number, now + wait);
    }
}
