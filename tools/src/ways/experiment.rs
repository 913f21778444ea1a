//! One technique under one rate of events: the server, the events, all clients over one epoll.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use rustix::event::epoll::EventFlags;
use serde::Deserialize;

use super::client::Client;
use super::row::Row;
use super::schedule::{self, Event};
use super::technique::{Manner, Technique};
use crate::conductor::parked;
use crate::conductor::publisher::Publisher;
use crate::measure::{self, Delays, histogram};
use crate::net::{self, Poll, Read, now_ns};
use crate::receipt::Counts;
use crate::server::{Description, Server, channel_name};
use crate::workspace;

const PUBLISHER: u64 = u64::MAX;

/// What stands in messages for the begin of the window, so that what was before it has a time too.
const ZERO: u64 = 1 << 40;

/// The middle of what the server makes of its `--hold`, in seconds: 30 less a tenth at most.
const HOLD: f64 = 28.5;

/// As shipped, but for a history that holds what comes between two polls.
const COMMAND: &str = "encke --listen 127.0.0.1:{port} --log warn \
    --history-messages 10000 --history-bytes 16M";

/// The circumstances of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Events a second on each channel, at random.
    pub rate: f64,
    /// Clients, spread over the channels.
    pub clients: u32,
    /// Channels.
    pub channels: u32,
    /// Bytes of a message.
    pub size: u32,
    /// Measured at least so long; polls for a multiple of their interval.
    pub window: Duration,
    /// Where chance begins.
    pub seed: u64,
    /// Longest wait for anything.
    pub patience: Duration,
    /// CPU for the server.
    pub pin_server: Option<usize>,
}

/// What happened in the window.
#[derive(Clone, Copy, Default)]
struct Tally {
    counts: Counts,
    requests: u64,
    up: u64,
    down: u64,
}

struct Experiment<'p> {
    plan: &'p Plan,
    technique: Technique,
    server: Server,
    host: String,
    run: u32,
    publisher: Publisher,
    poll: Poll,
    events: Vec<Event>,
    /// The first event that was not published.
    next: usize,
    /// The number of the last message on each channel.
    seqs: Vec<u64>,
    clients: Vec<Client>,
    /// Polls to come: when, in nanoseconds of the window, and whose.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// When the window began.
    start: u64,
    tally: Tally,
    delays: Histogram<u64>,
    phase: Phase,
    /// Clients that have asked for the first time.
    asked: usize,
    /// Heads that have come.
    heads: usize,
    rng: Rng,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Clients arrive.
    Arrival,
    /// What is measured.
    Window,
    /// Everybody fetches what is still to come, and nothing is published any more.
    End,
}

/// What the server says of a publish.
#[derive(Deserialize)]
struct Accepted<'a> {
    id: &'a str,
}

/// Measures one technique. Fails if anything is lost, comes twice, or to the wrong client.
pub fn run(plan: &Plan, technique: Technique) -> Result<Row, String> {
    let mut experiment = Experiment::set(plan, technique)?;
    let result = experiment.carry_out();
    result.map_err(|error| format!("{technique}, {} a second: {error}", plan.rate))
}

impl<'p> Experiment<'p> {
    fn set(plan: &'p Plan, technique: Technique) -> Result<Experiment<'p>, String> {
        let mut description = Description::read(&workspace::description("encke"))?;
        description.command = COMMAND.split_whitespace().map(String::from).collect();
        let server = Server::start(description, plan.pin_server, None)?;
        let run = (now_ns() / 1_000) as u32;
        let publish = &server.description.publish;
        let publisher = Publisher::connect(publish, run, server.address).map_err(text)?;
        let poll = Poll::new(512).map_err(text)?;
        poll.add(&publisher.fd, PUBLISHER, EventFlags::IN)
            .map_err(text)?;
        let events = schedule::poisson(
            plan.seed,
            plan.channels,
            plan.rate,
            -nanos(technique.interval()),
            nanos(window(plan, technique)),
        );
        Ok(Experiment {
            plan,
            technique,
            host: server.address.to_string(),
            server,
            run,
            publisher,
            poll,
            events,
            next: 0,
            // One more, for a message that nobody awaits.
            seqs: vec![0; plan.channels as usize + 1],
            clients: Vec::new(),
            due: BinaryHeap::new(),
            start: 0,
            tally: Tally::default(),
            delays: histogram(),
            phase: Phase::Arrival,
            asked: 0,
            heads: 0,
            rng: Rng::with_seed(plan.seed),
            buffer: vec![0; 256 << 10],
        })
    }

    fn carry_out(&mut self) -> Result<Row, String> {
        if let Some(manner) = self.technique.manner() {
            self.arrive(manner)?;
        } else {
            self.publish_and_wait(0, self.plan.channels)?;
        }
        let row = self.measure()?;
        self.end()?;
        let faults = self.tally.counts.faults();
        match faults {
            0 => Ok(row),
            _ => Err(format!("not all is well: {:?}", self.tally.counts)),
        }
    }

    /// Publishes what was before the window, and brings the clients to where they would be then.
    fn arrive(&mut self, manner: Manner) -> Result<(), String> {
        let interval = nanos(self.technique.interval());
        let last_polls: Vec<i64> = (0..self.plan.clients)
            .map(|_| (self.rng.f64() * interval as f64) as i64 - interval)
            .collect();
        let places = self.publish_past(&last_polls)?;
        for (number, (cursor, seq)) in (0..).zip(places) {
            let fd = net::connect(None, self.server.address).map_err(text)?;
            self.poll.add(&fd, number, EventFlags::OUT).map_err(text)?;
            let channel = number as u32 % self.plan.channels;
            let mut client = Client::new(fd, channel, cursor, seq);
            client.due = (last_polls[number as usize] + interval) as u64;
            self.clients.push(client);
        }
        self.wait("all to arrive", |this| {
            let has_answer = |client: &Client| client.open == 0;
            this.asked == this.clients.len()
                && match manner {
                    Manner::Polls => this.clients.iter().all(has_answer),
                    Manner::Waits if this.technique == Technique::LongPoll => true,
                    Manner::Waits | Manner::Listens => this.heads == this.clients.len(),
                }
        })?;
        match manner {
            Manner::Polls => {
                let polls = (0..).zip(&self.clients);
                self.due = polls
                    .map(|(number, client)| Reverse((client.due, number)))
                    .collect();
                Ok(())
            }
            Manner::Waits => {
                let plan = self.plan;
                let (clients, channels) = (plan.clients, plan.channels);
                let (description, address) = (&self.server.description, self.server.address);
                parked::wait(
                    description,
                    self.run,
                    address,
                    clients,
                    channels,
                    plan.patience,
                )
            }
            Manner::Listens => Ok(()),
        }
    }

    /// Publishes what was before the window; the cursor and the last number that each client had
    /// when it last polled.
    fn publish_past(&mut self, last_polls: &[i64]) -> Result<Vec<(String, u64)>, String> {
        let mut places = vec![(String::new(), 0); last_polls.len()];
        let mut waiting: Vec<usize> = (0..last_polls.len()).collect();
        waiting.sort_by_key(|number| Reverse(last_polls[*number]));
        let mut cursor = self.publish_and_wait(0, self.plan.channels)?;
        loop {
            let event = self.events.get(self.next).copied();
            let at = event.map_or(i64::MAX, |event| event.at);
            // Those who polled before this event have had what came before it.
            while let Some(number) = waiting.pop_if(|number| last_polls[*number] < at) {
                let channel = number % self.plan.channels as usize;
                places[number] = (cursor.clone(), self.seqs[channel]);
            }
            let Some(event) = event.filter(|event| event.at < 0) else {
                return Ok(places);
            };
            self.next += 1;
            cursor = self.publish_and_wait(event.at, event.channel)?;
        }
    }

    fn publish(&mut self, at: i64, channel: u32) {
        let seq = &mut self.seqs[channel as usize];
        *seq += 1;
        let time = ZERO.saturating_add_signed(at);
        self.publisher.add(channel, *seq, time, self.plan.size);
    }

    /// The id of what was published.
    fn publish_and_wait(&mut self, at: i64, channel: u32) -> Result<String, String> {
        self.publish(at, channel);
        self.wait("a publish", |this| this.publisher.open() == 0)?;
        let accepted: Accepted<'_> = serde_json::from_slice(&self.publisher.last)
            .map_err(|error| format!("a publish was not accepted: {error}"))?;
        Ok(accepted.id.into())
    }

    fn measure(&mut self) -> Result<Row, String> {
        let processes = self.server.processes();
        let window = window(self.plan, self.technique);
        let until = window.as_nanos() as u64;
        let published = self.next;
        self.tally = Tally::default();
        self.delays.clear();
        self.phase = Phase::Window;
        let cpu = measure::cpu_ns(&processes);
        self.start = now_ns();
        loop {
            let now = now_ns() - self.start;
            if now >= until {
                break;
            }
            while let Some(event) = self.events.get(self.next).copied()
                && event.at as u64 <= now
            {
                self.publish(event.at, event.channel);
                self.next += 1;
            }
            while let Some(Reverse((due, number))) = self.due.peek().copied()
                && due <= now
            {
                self.due.pop();
                self.ask(number as usize)?;
            }
            let event = self.events.get(self.next);
            let event = event.map_or(until, |event| event.at as u64);
            let poll = self.due.peek().map_or(until, |due| due.0.0);
            let next = event.min(poll).min(until);
            self.turn(Duration::from_nanos(
                next.saturating_sub(now_ns() - self.start),
            ))?;
        }
        let seconds = (now_ns() - self.start) as f64 / 1e9;
        let cpu_ns = measure::cpu_ns(&processes) - cpu;
        let Plan {
            rate,
            clients,
            channels,
            size,
            ..
        } = *self.plan;
        let Tally {
            counts,
            requests,
            up,
            down,
        } = self.tally;
        Ok(Row {
            technique: self.technique,
            rate,
            clients,
            channels,
            size,
            seconds,
            publishes: (self.next - published) as u64,
            received: counts.received,
            requests,
            up,
            down,
            cpu_ns,
            publishing_ns: 0.0,
            delays: Delays::of(&self.delays),
        })
    }

    /// Lets everybody fetch what is left, and waits until all have all.
    fn end(&mut self) -> Result<(), String> {
        self.phase = Phase::End;
        for number in 0..self.clients.len() {
            if self.technique.manner() == Some(Manner::Polls) && self.clients[number].open == 0 {
                self.ask(number)?;
            }
        }
        self.wait("all to have everything", |this| {
            this.publisher.open() == 0 && (0..this.clients.len()).all(|number| this.has_all(number))
        })?;
        match self.publisher.refused {
            0 => Ok(()),
            refused => Err(format!("the server refused {refused} publishes")),
        }
    }

    fn has_all(&self, number: usize) -> bool {
        let client = &self.clients[number];
        client.order.last() == self.seqs[client.channel as usize]
    }

    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + self.plan.patience;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!(
                    "waited in vain for {what}: {:?}",
                    self.tally.counts
                ));
            }
            self.turn(left)?;
        }
        Ok(())
    }

    /// Sends what is to be published, and serves what happens, for at most so long.
    fn turn(&mut self, timeout: Duration) -> Result<(), String> {
        self.publisher.send().map_err(text)?;
        let timeout = match self.publisher.has_unsent() {
            // Its socket is full, which reading empties: that is waited for, but not long.
            true => timeout.min(Duration::from_millis(1)),
            false => timeout,
        };
        for place in 0..self.poll.wait(Some(timeout)).map_err(text)? {
            match self.poll.token(place) {
                PUBLISHER => {
                    self.publisher.receive();
                    if self.publisher.is_closed {
                        return Err("the server closed the publisher's connection".into());
                    }
                }
                number if self.poll.flags(place).contains(EventFlags::OUT) => {
                    self.ask_first(number as usize)?;
                }
                number => self.hear(number as usize)?,
            }
        }
        Ok(())
    }

    /// A connection is there: a first request lets the server take note of it.
    fn ask_first(&mut self, number: usize) -> Result<(), String> {
        let client = &mut self.clients[number];
        let name = channel_name(self.run, client.channel);
        let mut target = self.technique.target(&name, &client.cursor);
        match self.technique.manner() {
            Some(Manner::Polls) => target = "/healthz".into(),
            // What has been held for a while by now ends sooner.
            Some(Manner::Waits) => {
                let left = HOLD - schedule::age(&mut self.rng, self.plan.rate, HOLD);
                target += &format!("&hold={left:.3}");
            }
            Some(Manner::Listens) | None => {}
        }
        client.ask(&target, &self.host)?;
        self.asked += 1;
        let token = number as u64;
        self.poll
            .modify(&client.fd, token, EventFlags::IN)
            .map_err(text)
    }

    fn ask(&mut self, number: usize) -> Result<(), String> {
        let client = &mut self.clients[number];
        let name = channel_name(self.run, client.channel);
        let target = self.technique.target(&name, &client.cursor);
        self.tally.requests += 1;
        self.tally.up += client.ask(&target, &self.host)? as u64;
        Ok(())
    }

    fn hear(&mut self, number: usize) -> Result<(), String> {
        let client = &mut self.clients[number];
        let length = match net::receive(&client.fd, &mut self.buffer) {
            Read::Nothing => return Ok(()),
            Read::End => return Err("the server closed a connection".into()),
            Read::Bytes(length) => length,
        };
        self.tally.down += length as u64;
        let now = now_ns();
        let zero = self.start;
        let manner = self.technique.manner();
        let is_batch = match manner {
            Some(Manner::Polls) => self.phase != Phase::Arrival,
            _ => manner == Some(Manner::Waits),
        };
        let delays = &mut self.delays;
        let counts = &mut self.tally.counts;
        let heard = client.hear(&self.buffer[..length], self.run, is_batch, counts, |time| {
            delays.saturating_record((now + ZERO).saturating_sub(zero + time));
        })?;
        self.heads += usize::from(heard.head);
        if !heard.is_answered {
            return Ok(());
        }
        match manner {
            Some(Manner::Polls) => self.poll_later(number, heard.more),
            Some(Manner::Waits) => self.ask(number),
            Some(Manner::Listens) | None => Err("the server ended a stream".into()),
        }
    }

    /// A poll was answered: when is the next?
    fn poll_later(&mut self, number: usize, more: bool) -> Result<(), String> {
        match self.phase {
            Phase::Arrival => Ok(()),
            Phase::Window if !more => {
                let client = &mut self.clients[number];
                client.due += self.technique.interval().as_nanos() as u64;
                self.due.push(Reverse((client.due, number as u32)));
                Ok(())
            }
            Phase::End if self.has_all(number) => Ok(()),
            Phase::Window | Phase::End => self.ask(number),
        }
    }
}

/// How long a technique is measured.
fn window(plan: &Plan, technique: Technique) -> Duration {
    let interval = technique.interval();
    let times = match interval {
        Duration::ZERO => return plan.window,
        _ => plan.window.as_nanos().div_ceil(interval.as_nanos()),
    };
    interval * times as u32
}

fn nanos(duration: Duration) -> i64 {
    duration.as_nanos() as i64
}

fn text(error: io::Error) -> String {
    error.to_string()
}
