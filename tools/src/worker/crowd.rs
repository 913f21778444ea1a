//! All subscribers of a worker.
//!
//! Invariant: when messages are reported as received, they have been counted and the next request
//! of each long poll has been sent, so that the conductor may publish again.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::{Client, Stage};
use super::{Command, Config, Event, Kind, Returns, Snapshot};
use crate::command::text;
use crate::driver::{Driver, Due, End, Session};
use crate::lines::{self, drain_input, say, take_line};
use crate::measure::histogram;
use crate::net::{self, SocketOptions, now_ns};
use crate::receipt::Counts;
use crate::server::{Filling, Template};

/// Connections begun in one turn.
const AT_ONCE: usize = 64;

struct Crowd {
    config: Config,
    input: Vec<u8>,
    is_told_to_end: bool,
    first: Template,
    next: Template,
    clients: Vec<Client>,
    /// Clients that are to connect.
    waiting: VecDeque<u32>,
    connecting: usize,
    settled: usize,
    after: u64,
    /// No message has come since the clients were told to connect.
    is_arriving: bool,
    counts: Counts,
    delays: Histogram<u64>,
    /// Messages received or, in polls, responses.
    done: u64,
    reported: u64,
    polls_to_send: u64,
    polls_open: u64,
    from: usize,
    request: Vec<u8>,
}

/// Serves a conductor until it is gone.
pub fn run() -> Result<(), String> {
    let Some((config, input)) = lines::begin::<Config>()? else {
        return Ok(());
    };
    if let Some(cpu) = config.cpu {
        net::pin(cpu).map_err(text)?;
    }
    if config.eager {
        net::be_eager();
    }
    Crowd::new(config, input).serve().map_err(text)
}

impl Crowd {
    fn new(config: Config, input: Vec<u8>) -> Crowd {
        let next = Template::new(&config.next, config.run);
        let reads_batches =
            config.returns.is_some() || config.every_ns.is_some() || next.needs_cursor();
        let clients = (0..config.clients).map(|number| {
            let channel = (config.first_client + number) % config.channels.max(1);
            Client::new(channel, reads_batches)
        });
        Crowd {
            input,
            is_told_to_end: false,
            first: Template::new(&config.first, config.run),
            next,
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
            request: Vec::new(),
            config,
        }
    }

    fn serve(mut self) -> io::Result<()> {
        let mut driver = Driver::new()?;
        lines::watch_input(&mut driver)?;
        self.obey(&mut driver)?;
        while !self.is_told_to_end {
            let are_waiting = self.connect_more(&mut driver)?;
            self.report()?;
            driver.turn(&mut self, are_waiting.then_some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn obey(&mut self, driver: &mut Driver) -> io::Result<()> {
        while let Some(line) = take_line(&mut self.input) {
            self.carry_out(driver, serde_json::from_slice(&line)?)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, driver: &mut Driver, command: Command) -> io::Result<()> {
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
                (0..self.config.clients).try_for_each(|key| self.send_poll(driver, key))
            }
            Command::Fetch => (0..self.config.clients).try_for_each(|key| {
                let client = &self.clients[key as usize];
                match client.stage == Stage::Settled && !client.is_asking {
                    true => self.ask(driver, key),
                    false => Ok(()),
                }
            }),
            Command::Reset => {
                self.delays.clear();
                self.done = 0;
                self.reported = 0;
                say(&Event::Reset(std::mem::take(&mut self.counts)))
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

    /// Begins some connections, and returns whether more may be begun at once. Between two rounds
    /// those that are established send their requests.
    fn connect_more(&mut self, driver: &mut Driver) -> io::Result<bool> {
        for _ in 0..AT_ONCE {
            if self.connecting >= self.config.connecting {
                return Ok(false);
            }
            let Some(key) = self.waiting.pop_front() else {
                return Ok(false);
            };
            self.connecting += 1;
            self.clients[key as usize].begin(self.after);
            self.connect(driver, key, self.config.server)?;
        }
        Ok(true)
    }

    fn connect(&mut self, driver: &mut Driver, key: u32, server: SocketAddrV4) -> io::Result<()> {
        let from = self.next_address();
        driver.connect(key, from, server, SocketOptions::default())
    }

    fn next_address(&mut self) -> Option<Ipv4Addr> {
        self.from += 1;
        match self.config.from.len() {
            0 => None,
            count => Some(self.config.from[self.from % count]),
        }
    }

    /// Sends a client's next request.
    fn ask(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let client = &mut self.clients[key as usize];
        client.is_asking = true;
        let filling = Filling {
            channel: client.channel,
            answer: &client.answer,
            cursor: client.batch.as_ref().map_or("", |batch| &batch.cursor),
            ..Filling::default()
        };
        self.request.clear();
        match client.is_answered && self.config.kind == Kind::LongPoll {
            true => self.next.fill(&mut self.request, filling),
            false => self.first.fill(&mut self.request, filling),
        }
        self.counts.requests += 1;
        self.counts.sent += self.request.len() as u64;
        match driver.send(key, &self.request) {
            Ok(_) => Ok(()),
            Err(_) => self.lose(driver, key),
        }
    }

    fn send_poll(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let client = &mut self.clients[key as usize];
        if self.polls_to_send == 0 || client.stage != Stage::Settled {
            return Ok(());
        }
        self.polls_to_send -= 1;
        self.polls_open += 1;
        client.asked_at = now_ns();
        self.ask(driver, key)
    }

    /// Sets when a client polls next: at intervals from a random time on, so that the polls of
    /// many are spread.
    fn poll_later(&mut self, driver: &mut Driver, key: u32, every: u64) {
        let client = &mut self.clients[key as usize];
        client.due = match client.due {
            0 => now_ns() + fastrand::u64(0..every),
            due => due + every,
        };
        driver.set_deadline(Due {
            at: client.due,
            key,
            tag: 0,
        });
    }

    /// Decides when a client that was answered asks again.
    fn plan_return(&mut self, driver: &mut Driver, key: u32, returns: Returns) -> io::Result<()> {
        let client = &mut self.clients[key as usize];
        let delay_ms = match (returns.heeds, client.advice_ms()) {
            (true, (Some(spread), _)) => fastrand::u64(0..=spread),
            (true, (None, Some(retry))) => retry,
            _ => 0,
        };
        if returns.renews || client.is_sent_away {
            driver.close(key);
            client.has_moved |= client.is_sent_away;
        }
        client.stage = Stage::Returning;
        self.settled -= 1;
        self.connecting += 1;
        if delay_ms == 0 {
            return self.come_back(driver, key);
        }
        let at = now_ns() + delay_ms * 1_000_000;
        driver.set_deadline(Due { at, key, tag: 0 });
        Ok(())
    }

    fn come_back(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        self.counts.reparked += 1;
        if driver.is_open(key) {
            self.ask(driver, key)?;
            return match self.clients[key as usize].stage {
                Stage::Returning => self.settle(key),
                _ => Ok(()),
            };
        }
        let client = &mut self.clients[key as usize];
        client.resume();
        let server = match (self.config.returns, client.has_moved) {
            (Some(returns), true) => returns.elsewhere,
            _ => self.config.server,
        };
        self.connect(driver, key, server)
    }

    fn settle(&mut self, key: u32) -> io::Result<()> {
        self.clients[key as usize].stage = Stage::Settled;
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

    /// Counts a connection that ended unexpectedly.
    fn lose(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        if self.config.comes_again && self.is_arriving {
            self.counts.dropped += 1;
            self.waiting.push_back(key);
        } else {
            self.counts.failed += 1;
        }
        self.leave(driver, key)
    }

    fn leave(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        driver.close(key);
        let client = &mut self.clients[key as usize];
        match std::mem::replace(&mut client.stage, Stage::Away) {
            Stage::Away => {}
            Stage::Connecting | Stage::Asked | Stage::Returning => self.connecting -= 1,
            Stage::Settled => self.settled -= 1,
        }
        match self.settled + self.connecting + self.waiting.len() {
            0 => say(&Event::Left),
            _ => Ok(()),
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

impl Session for Crowd {
    fn on_connect(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        match (self.config.kind, self.config.every_ns) {
            (Kind::Poll, _) => {}
            (_, Some(every)) => self.poll_later(driver, key, every),
            (_, None) => self.ask(driver, key)?,
        }
        let client = &mut self.clients[key as usize];
        match (client.stage, self.config.kind) {
            (Stage::Connecting, Kind::Stream) => client.stage = Stage::Asked,
            (Stage::Connecting, _) => self.settle(key)?,
            _ => {}
        }
        Ok(())
    }

    fn on_bytes(&mut self, driver: &mut Driver, key: u32, bytes: &[u8]) -> io::Result<()> {
        let now = now_ns();
        let kind = self.config.kind;
        let keeps = match kind {
            Kind::LongPoll => self.next.answer_fields(),
            _ => &[],
        };
        let client = &mut self.clients[key as usize];
        let delays = &mut self.delays;
        let heard = client.hear(bytes, self.config.run, keeps, &mut self.counts, |time| {
            if kind != Kind::Poll {
                delays.saturating_record(now.saturating_sub(time));
            }
        });
        let Ok(heard) = heard else {
            return self.lose(driver, key);
        };
        self.is_arriving &= heard.messages == 0;
        match kind {
            Kind::Stream => {
                self.done += heard.messages;
                if heard.head && client.stage == Stage::Asked {
                    self.settle(key)?;
                }
            }
            Kind::LongPoll => {
                self.done += heard.messages;
                match self.config.returns {
                    _ if heard.answers == 0 || self.config.leaves => {}
                    _ if self.config.every_ns.is_some() => {
                        let has_more = client.batch.as_ref().is_some_and(|batch| batch.more);
                        match self.config.every_ns {
                            Some(every) if !has_more => self.poll_later(driver, key, every),
                            _ => self.ask(driver, key)?,
                        }
                    }
                    Some(returns) => self.plan_return(driver, key, returns)?,
                    None => {
                        self.counts.reparked += 1;
                        self.ask(driver, key)?;
                    }
                }
            }
            Kind::Poll if heard.answers > 0 => {
                self.delays
                    .saturating_record(now.saturating_sub(client.asked_at));
                self.done += 1;
                self.polls_open -= 1;
                self.send_poll(driver, key)?;
            }
            Kind::Poll => {}
        }
        match self.config.leaves && heard.messages > 0 {
            true => self.leave(driver, key),
            false => Ok(()),
        }
    }

    fn on_end(&mut self, driver: &mut Driver, key: u32, _: End) -> io::Result<()> {
        self.lose(driver, key)
    }

    fn on_due(&mut self, driver: &mut Driver, due: Due) -> io::Result<()> {
        let client = &self.clients[due.key as usize];
        match client.stage {
            Stage::Returning => self.come_back(driver, due.key),
            // Told to fetch, it may be asking already: a second poll would have the same cursor.
            Stage::Settled if client.due == due.at && !client.is_asking => {
                self.ask(driver, due.key)
            }
            _ => Ok(()),
        }
    }

    fn on_readable(&mut self, driver: &mut Driver, _: u8) -> io::Result<()> {
        self.is_told_to_end |= !drain_input(&mut self.input)?;
        self.obey(driver)
    }
}
