//! All subscribers of a worker over one epoll.
//!
//! Invariant: what is reported as received has been counted, and a long poll's next request has
//! been written, so that the conductor may publish again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::epoll::EventFlags;

use super::client::{Client, Stage};
use super::{Command, Config, Event, Kind, Returns, Snapshot};
use crate::lines::{self, read_input, say, take_line};
use crate::measure::histogram;
use crate::net::{self, Poll, Read, now_ns};
use crate::receipt::Counts;
use crate::server::{Filling, Template};

const STDIN: u64 = u64::MAX;

/// Connections begun in one turn.
const AT_ONCE: usize = 64;

struct Crowd {
    config: Config,
    poll: Poll,
    first: Template,
    next: Template,
    clients: Vec<Client>,
    /// Clients that are to connect.
    waiting: VecDeque<u32>,
    connecting: usize,
    settled: usize,
    after: u64,
    /// No message has come since the clients were let in.
    is_arriving: bool,
    counts: Counts,
    delays: Histogram<u64>,
    /// Messages whose answers are whole, and, in polls, answers.
    done: u64,
    reported: u64,
    polls_to_send: u64,
    polls_open: u64,
    from: usize,
    /// When those who come back by themselves do.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// Serves a conductor until it is gone.
pub fn run() -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let Some((config, input)) = lines::begin::<Config>()? else {
        return Ok(());
    };
    if let Some(cpu) = config.cpu {
        net::pin(cpu).map_err(text)?;
    }
    if config.eager {
        net::be_eager();
    }
    Crowd::new(config)
        .and_then(|crowd| crowd.serve(input))
        .map_err(text)
}

impl Crowd {
    fn new(config: Config) -> io::Result<Crowd> {
        let clients = (0..config.clients).map(|number| {
            let channel = (config.first_client + number) % config.channels.max(1);
            Client::new(channel, config.returns.is_some())
        });
        Ok(Crowd {
            poll: Poll::new(512)?,
            first: Template::new(&config.first, config.run),
            next: Template::new(&config.next, config.run),
            clients: clients.collect(),
            waiting: VecDeque::new(),
            connecting: 0,
            settled: 0,
            after: 0,
            is_arriving: false,
            counts: Counts::default(),
            delays: histogram(),
            done: 0,
            reported: 0,
            polls_to_send: 0,
            polls_open: 0,
            from: 0,
            due: BinaryHeap::new(),
            request: Vec::new(),
            buffer: vec![0; 256 << 10],
            config,
        })
    }

    fn serve(mut self, mut input: Vec<u8>) -> io::Result<()> {
        self.poll.add(io::stdin(), STDIN, EventFlags::IN)?;
        self.obey(&mut input)?;
        loop {
            let are_waiting = self.connect_more()?;
            self.report()?;
            let timeout = self.bring_back()?;
            let timeout = match are_waiting {
                true => Some(Duration::ZERO),
                false => timeout,
            };
            for place in 0..self.poll.wait(timeout)? {
                match self.poll.token(place) {
                    STDIN => {
                        if !read_input(&mut input)? {
                            return Ok(());
                        }
                        self.obey(&mut input)?;
                    }
                    number => self.serve_client(number as usize, self.poll.flags(place))?,
                }
            }
        }
    }

    /// Carries out what has been told.
    fn obey(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        while let Some(line) = take_line(input) {
            self.carry_out(serde_json::from_slice(&line)?)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Connect { after } => {
                self.after = after;
                self.is_arriving = true;
                let away = self.clients.iter().enumerate();
                let away = away.filter(|(_, client)| client.stage == Stage::Away);
                self.waiting = away.map(|(number, _)| number as u32).collect();
                self.report_ready()
            }
            Command::Poll { answers } => {
                self.polls_to_send = answers;
                for number in 0..self.clients.len() {
                    self.send_poll(number)?;
                }
                Ok(())
            }
            Command::Reset => {
                self.counts = Counts::default();
                self.delays.clear();
                self.done = 0;
                self.reported = 0;
                say(&Event::Reset)
            }
            Command::Snapshot => {
                let delays = self.delays.iter_recorded();
                let delays = delays.map(|step| (step.value_iterated_to(), step.count_at_value()));
                say(&Event::Snapshot(Box::new(Snapshot {
                    counts: self.counts,
                    delays: delays.collect(),
                })))
            }
        }
    }

    /// Begins connections, a few at once: those begun before, that could not ask yet, wait for
    /// their turn meanwhile. Whether more may be to begin.
    fn connect_more(&mut self) -> io::Result<bool> {
        for _ in 0..AT_ONCE {
            if self.connecting >= self.config.connecting {
                return Ok(false);
            }
            let Some(number) = self.waiting.pop_front() else {
                return Ok(false);
            };
            let fd = net::connect(self.next_address(), self.config.server)?;
            self.clients[number as usize].begin(fd, self.after);
            self.connecting += 1;
            self.ask_first(number as usize, true)?;
        }
        Ok(true)
    }

    /// Sends the first request if the connection is there, else waits until it is.
    fn ask_first(&mut self, number: usize, is_new: bool) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(fd) = &client.fd else {
            return Ok(());
        };
        let is_sent = if self.config.kind == Kind::Poll {
            !is_new
        } else {
            self.request.clear();
            let filling = Filling {
                channel: client.channel,
                answer: &client.head,
                ..Filling::default()
            };
            match client.head.is_empty() {
                true => self.first.fill(&mut self.request, filling),
                false => self.next.fill(&mut self.request, filling),
            }
            match net::send(fd, &self.request) {
                Ok(0) => false,
                Ok(length) if length == self.request.len() => true,
                Ok(_) | Err(_) => return self.lose(number),
            }
        };
        let flags = match is_sent {
            true => EventFlags::IN,
            false => EventFlags::OUT,
        };
        match is_new {
            true => self.poll.add(fd, number as u64, flags)?,
            false if is_sent => self.poll.modify(fd, number as u64, flags)?,
            false => {}
        }
        if is_sent {
            client.stage = Stage::Asked;
            if self.config.kind != Kind::Stream {
                self.settle(number)?;
            }
        }
        Ok(())
    }

    /// Has those come back whose time it is; how long until the next.
    fn bring_back(&mut self) -> io::Result<Option<Duration>> {
        while let Some(&Reverse((due, number))) = self.due.peek() {
            let left = due.saturating_sub(now_ns());
            if left > 0 {
                return Ok(Some(Duration::from_nanos(left)));
            }
            self.due.pop();
            self.come_back(number as usize)?;
        }
        Ok(None)
    }

    /// Decides when a client whose answer is whole comes back.
    fn plan_return(&mut self, number: usize, returns: Returns) -> io::Result<()> {
        let client = &mut self.clients[number];
        let delay_ms = match (returns.heeds, client.advice_ms()) {
            (true, (Some(spread), _)) => fastrand::u64(0..=spread),
            (true, (None, Some(retry))) => retry,
            _ => 0,
        };
        if returns.renews || client.is_sent_away {
            client.fd = None;
            client.has_moved |= client.is_sent_away;
        }
        client.stage = Stage::Returning;
        self.settled -= 1;
        self.connecting += 1;
        match delay_ms {
            0 => self.come_back(number),
            delay => {
                let due = now_ns() + delay * 1_000_000;
                self.due.push(Reverse((due, number as u32)));
                Ok(())
            }
        }
    }

    fn come_back(&mut self, number: usize) -> io::Result<()> {
        if self.clients[number].fd.is_some() {
            self.ask_again(number)?;
            return match self.clients[number].stage {
                Stage::Returning => self.settle(number),
                _ => Ok(()),
            };
        }
        let server = match (self.config.returns, self.clients[number].has_moved) {
            (Some(returns), true) => returns.elsewhere,
            _ => self.config.server,
        };
        let fd = net::connect(self.next_address(), server)?;
        self.clients[number].resume(fd);
        self.counts.reparked += 1;
        self.ask_first(number, true)
    }

    fn next_address(&mut self) -> Option<Ipv4Addr> {
        self.from += 1;
        match self.config.from.len() {
            0 => None,
            count => Some(self.config.from[self.from % count]),
        }
    }

    fn settle(&mut self, number: usize) -> io::Result<()> {
        self.clients[number].stage = Stage::Settled;
        self.connecting -= 1;
        self.settled += 1;
        self.report_ready()
    }

    fn report_ready(&mut self) -> io::Result<()> {
        match self.settled == self.clients.len() {
            true => say(&Event::Ready),
            false => Ok(()),
        }
    }

    /// A connection that ended though it should not have.
    fn lose(&mut self, number: usize) -> io::Result<()> {
        if self.config.comes_again && self.is_arriving {
            self.counts.dropped += 1;
            self.waiting.push_back(number as u32);
        } else {
            self.counts.failed += 1;
        }
        self.leave(number)
    }

    fn leave(&mut self, number: usize) -> io::Result<()> {
        match self.clients[number].stage {
            Stage::Away => {}
            Stage::Connecting | Stage::Asked | Stage::Returning => self.connecting -= 1,
            Stage::Settled => self.settled -= 1,
        }
        self.clients[number].leave();
        match self.settled + self.connecting + self.waiting.len() {
            0 => say(&Event::Left),
            _ => Ok(()),
        }
    }

    fn serve_client(&mut self, number: usize, flags: EventFlags) -> io::Result<()> {
        if self.clients[number].stage == Stage::Connecting {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                return self.lose(number);
            }
            return self.ask_first(number, false);
        }
        let Some(fd) = &self.clients[number].fd else {
            return Ok(());
        };
        match net::receive(fd.as_fd(), &mut self.buffer) {
            Read::Nothing => Ok(()),
            Read::End => self.lose(number),
            Read::Bytes(length) => self.hear(number, length),
        }
    }

    fn hear(&mut self, number: usize, length: usize) -> io::Result<()> {
        let now = now_ns();
        let delays = &mut self.delays;
        let kind = self.config.kind;
        let heard = self.clients[number].hear(
            &self.buffer[..length],
            self.config.run,
            kind == Kind::LongPoll,
            &mut self.counts,
            |time| {
                if kind != Kind::Poll {
                    delays.saturating_record(now.saturating_sub(time));
                }
            },
        );
        self.is_arriving &= heard.messages == 0;
        match kind {
            Kind::Stream => {
                self.done += heard.messages;
                if heard.head && self.clients[number].stage == Stage::Asked {
                    self.settle(number)?;
                }
            }
            Kind::LongPoll if heard.answers > 0 => {
                self.done += heard.messages;
                match self.config.returns {
                    Some(returns) => self.plan_return(number, returns)?,
                    None if self.config.leaves => {}
                    None => self.ask_again(number)?,
                }
            }
            Kind::LongPoll => self.done += heard.messages,
            Kind::Poll if heard.answers > 0 => {
                let asked_at = self.clients[number].asked_at;
                self.delays.saturating_record(now.saturating_sub(asked_at));
                self.done += 1;
                self.polls_open -= 1;
                self.send_poll(number)?;
            }
            Kind::Poll => {}
        }
        match self.config.leaves && heard.messages > 0 {
            true => self.leave(number),
            false => Ok(()),
        }
    }

    fn ask_again(&mut self, number: usize) -> io::Result<()> {
        self.request.clear();
        let client = &self.clients[number];
        let filling = Filling {
            channel: client.channel,
            answer: &client.head,
            ..Filling::default()
        };
        self.next.fill(&mut self.request, filling);
        self.counts.reparked += 1;
        self.write_request(number)
    }

    fn send_poll(&mut self, number: usize) -> io::Result<()> {
        if self.polls_to_send == 0 || self.clients[number].stage != Stage::Settled {
            return Ok(());
        }
        self.polls_to_send -= 1;
        self.polls_open += 1;
        self.request.clear();
        let client = &mut self.clients[number];
        client.asked_at = now_ns();
        let filling = Filling {
            channel: client.channel,
            ..Filling::default()
        };
        self.first.fill(&mut self.request, filling);
        self.write_request(number)
    }

    fn write_request(&mut self, number: usize) -> io::Result<()> {
        let Some(fd) = &self.clients[number].fd else {
            return Ok(());
        };
        match net::send(fd, &self.request) {
            Ok(length) if length == self.request.len() => Ok(()),
            _ => self.lose(number),
        }
    }

    fn report(&mut self) -> io::Result<()> {
        let every = self.config.report_every;
        let is_due = match self.config.kind {
            Kind::Poll => self.polls_to_send == 0 && self.polls_open == 0,
            _ => every > 0 && self.done / every > self.reported / every,
        };
        if is_due && self.done > self.reported {
            self.reported = self.done;
            say(&Event::Reached(self.done))?;
        }
        Ok(())
    }
}
