//! A process of clients on one driver: each connects, asks, reads, stalls, leaves and comes back
//! at moments of its own, and all that happens to it is written into the process's log.
//!
//! Owns moments. Invariant: an entry is written before what it leads to is done, so a request's
//! time is before the server can have seen it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use encke_oracle::log::{Entry, Event};

use super::client::{Client, Heard, Stage};
use super::pass::Pass;
use super::protocol::{Command, Config, Said};
use crate::command::text;
use crate::driver::{Driver, Due, End, Session};
use crate::lines::{self, drain_input, say, take_line};
use crate::net::SocketOptions;
use crate::net::now_us;

/// How often a process tells how far it is, in microseconds.
const TELL_US: u64 = 1_000_000;

/// How long clients that leave for good may take what is still coming.
const LEAVE_US: u64 = 5_000_000;

/// The mean time between two of the things that a client does on a whim.
const WHIM_US: f64 = 3_000_000.0;

/// Bytes of a small receive buffer, so that what its reader does not take fills the server's side.
/// Much smaller, and a reader that takes everything would be slow.
const NARROW_BYTES: usize = 32 << 10;

/// The tags of deadlines: it is time to connect or to ask, or to do something on a whim.
const ASK: u32 = 0;
const ACT: u32 = 1;

struct Crowd {
    config: Config,
    clients: Vec<Client>,
    log: Log,
    input: Vec<u8>,
    /// The nodes for new connections.
    nodes: Vec<u32>,
    /// The conductor is gone.
    is_alone: bool,
    is_settled: bool,
    tell_at: u64,
    /// When those who are still there are left behind.
    leave_by: Option<u64>,
    request: Vec<u8>,
}

struct Log {
    file: BufWriter<File>,
    first_client: u32,
    messages: u64,
    failed: Option<String>,
}

impl Log {
    fn add(&mut self, key: u32, at: u64, event: Event) {
        match &event {
            Event::Message(_) => self.messages += 1,
            Event::Batch(batch) => self.messages += batch.receipts.len() as u64,
            _ => {}
        }
        let entry = Entry {
            client: self.first_client + key,
            at,
            event,
        };
        if let Err(error) = postcard::to_io(&entry, &mut self.file) {
            self.failed = Some(error.to_string());
        }
    }
}

/// Serves as clients until told to finish, or until the conductor is gone.
///
/// # Errors
///
/// The log cannot be written, or the system refuses sockets.
pub fn serve() -> Result<(), String> {
    let Some((config, input)) = lines::begin::<Config>()? else {
        return Ok(());
    };
    let mut crowd = Crowd::new(config, input).map_err(text)?;
    crowd.run().map_err(text)?;
    crowd.log.file.flush().map_err(text)?;
    match crowd.log.failed {
        Some(error) => Err(error),
        None => say(&Said::Finished).map_err(text),
    }
}

impl Session for Crowd {
    fn on_connect(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let now = now_us();
        self.client(key).connected();
        self.client(key).stage = Stage::Idle;
        let node = self.client(key).node;
        self.log.add(key, now, Event::Connected(node));
        match self.leave_by {
            Some(_) => self.leave_in_order(driver, key, now),
            None => self.ask(driver, key),
        }
        Ok(())
    }

    fn on_bytes(&mut self, driver: &mut Driver, key: u32, bytes: &[u8]) -> io::Result<()> {
        let now = now_us();
        let newest_key = self.config.key.unwrap_or(0);
        let (client, log) = (&mut self.clients[key as usize], &mut self.log);
        let pass = client.pass.as_ref();
        client.may_be_refused = pass.is_some_and(|pass| pass.may_be_refused(now, newest_key));
        let heard = client.hear(bytes, |event| log.add(key, now, event));
        if std::mem::take(&mut client.is_cut) {
            driver.limit_reads(key, None);
            if !heard.ended {
                let by_reset = client.rng.bool();
                self.leave(driver, key, by_reset);
                return Ok(());
            }
        }
        self.follow_up(driver, key, heard, now);
        Ok(())
    }

    fn on_end(&mut self, driver: &mut Driver, key: u32, end: End) -> io::Result<()> {
        match end {
            End::Refused | End::Closed => self.lose(driver, key),
            // It reads what has come, and then learns that the connection is closed.
            End::HalfClosed | End::HungUp => self.resume(driver, key, now_us()),
        }
        Ok(())
    }

    fn on_due(&mut self, driver: &mut Driver, due: Due) -> io::Result<()> {
        let at = due.at / 1_000;
        let client = self.client(due.key);
        match due.tag {
            ASK if client.ask_due == at => self.move_on(driver, due.key),
            ACT if client.act_due == at => {
                self.act(driver, due.key, now_us());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_readable(&mut self, driver: &mut Driver, _: u8) -> io::Result<()> {
        self.is_alone = !drain_input(&mut self.input)?;
        self.obey_all(driver)
    }
}

impl Crowd {
    fn new(config: Config, input: Vec<u8>) -> io::Result<Crowd> {
        let clients = (0..config.clients).map(|number| {
            let seed = config.seed ^ u64::from(config.first_client + number + 1) << 32;
            Client::new(config.run, seed)
        });
        Ok(Crowd {
            clients: clients.collect(),
            log: Log {
                file: BufWriter::new(File::create(&config.log)?),
                first_client: config.first_client,
                messages: 0,
                failed: None,
            },
            input,
            nodes: Vec::new(),
            is_alone: false,
            is_settled: false,
            tell_at: 0,
            leave_by: None,
            request: Vec::new(),
            config,
        })
    }

    fn client(&mut self, key: u32) -> &mut Client {
        &mut self.clients[key as usize]
    }

    fn run(&mut self) -> io::Result<()> {
        let mut driver = Driver::new()?;
        lines::watch_input(&mut driver)?;
        let now = now_us();
        for key in 0..self.config.clients {
            self.begin(key, now);
            // Not all at once.
            let wait = self.client(key).rng.u64(0..2_000_000);
            self.ask_at(&mut driver, key, now + wait);
            self.act_later(&mut driver, key, now);
        }
        self.obey_all(&mut driver)?;
        while !self.is_alone && !self.has_left() {
            self.tell()?;
            let left = self.tell_at.saturating_sub(now_us());
            driver.turn(self, Some(Duration::from_micros(left)))?;
        }
        Ok(())
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

    fn obey_all(&mut self, driver: &mut Driver) -> io::Result<()> {
        while let Some(line) = take_line(&mut self.input) {
            self.obey(driver, serde_json::from_slice(&line)?);
        }
        Ok(())
    }

    fn obey(&mut self, driver: &mut Driver, command: Command) {
        let now = now_us();
        match command {
            Command::Key(key) => return self.config.key = Some(key),
            Command::Nodes(nodes) => return self.nodes = nodes,
            Command::Settle | Command::Finish => {}
        }
        self.is_settled = true;
        for key in 0..self.config.clients {
            self.client(key).is_cut = false;
            driver.limit_reads(key, None);
            if command == Command::Settle {
                self.resume(driver, key, now);
                if self.client(key).stage == Stage::Away {
                    let wait = self.client(key).rng.u64(0..500_000);
                    self.ask_at(driver, key, now + wait);
                }
            } else {
                self.leave_in_order(driver, key, now);
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

    fn begin(&mut self, key: u32, now: u64) {
        let channels = self.config.channels;
        let event = self.client(key).begin(channels.first(now), channels.count);
        self.log.add(key, now, event);
    }

    fn ask_at(&mut self, driver: &mut Driver, key: u32, at: u64) {
        self.client(key).ask_due = at;
        let at = at * 1_000;
        driver.set_deadline(Due { at, key, tag: ASK });
    }

    fn act_at(&mut self, driver: &mut Driver, key: u32, at: u64) {
        self.client(key).act_due = at;
        let at = at * 1_000;
        driver.set_deadline(Due { at, key, tag: ACT });
    }

    fn act_later(&mut self, driver: &mut Driver, key: u32, now: u64) {
        let mean = WHIM_US * self.config.calmness;
        let wait = -(1.0 - self.client(key).rng.f64()).ln() * mean;
        self.act_at(driver, key, now + wait as u64);
    }

    /// It is time to connect, or to ask.
    fn move_on(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let is_settled = self.is_settled;
        let client = &mut self.clients[key as usize];
        match client.stage {
            _ if self.leave_by.is_some() => Ok(()),
            Stage::Away => {
                match client.rng.u8(0..100) {
                    _ if is_settled => {}
                    0..10 => self.begin(key, now_us()),
                    10..30 => client.transport = client.any_transport(),
                    _ => {}
                }
                self.connect(driver, key)
            }
            Stage::Idle => {
                self.ask(driver, key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn connect(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let client = &mut self.clients[key as usize];
        let from = match self.config.from.len() {
            0 => None,
            count => Some(self.config.from[client.rng.usize(0..count)]),
        };
        let options = SocketOptions {
            receive_buffer: client.is_narrow.then_some(NARROW_BYTES),
        };
        client.stage = Stage::Connecting;
        client.node = match self.nodes.len() {
            0 => client.rng.u32(0..self.config.servers.len() as u32),
            count => self.nodes[client.rng.usize(0..count)],
        };
        let node = client.node as usize;
        let address = match self.has_tokens(key) {
            true => self.config.servers[node],
            false => self.config.controls[node],
        };
        driver.connect(key, from, address, options)
    }

    fn ask(&mut self, driver: &mut Driver, key: u32) {
        self.request.clear();
        self.renew(key);
        let client = &mut self.clients[key as usize];
        let event = client.ask(&mut self.request, self.config.servers[client.node as usize]);
        client.stage = Stage::Waiting;
        let lapses = client.pass.as_ref().map(|pass| pass.expires_at);
        let now = now_us();
        self.log.add(key, now, event);
        if let Some(lapses) = lapses {
            self.log.add(key, now, Event::Lapses(lapses));
        }
        self.write(driver, key);
    }

    /// Whether a client is one of those with tokens.
    fn has_tokens(&self, key: u32) -> bool {
        self.config.key.is_some() && (self.config.first_client + key).is_multiple_of(2)
    }

    /// Gets a client a new token in time, or too late.
    fn renew(&mut self, key: u32) {
        let Some(newest_key) = self.config.key.filter(|_| self.has_tokens(key)) else {
            return;
        };
        let number = self.config.first_client + key;
        let client = &mut self.clients[key as usize];
        let is_old = |pass: &Pass| pass.is_old(now_us());
        let is_lazy = client.rng.u8(0..8) == 0;
        if client
            .pass
            .as_ref()
            .is_none_or(|pass| is_old(pass) && !is_lazy)
        {
            let run = self.config.run;
            client.pass = Some(Pass::new(run, newest_key, number, &mut client.rng));
        }
    }

    fn write(&mut self, driver: &mut Driver, key: u32) {
        if driver.send(key, &self.request).is_err() {
            self.lose(driver, key);
        }
    }

    /// A random action of a client, or the end of its pause.
    fn act(&mut self, driver: &mut Driver, key: u32, now: u64) {
        self.resume(driver, key, now);
        if self.is_settled {
            return;
        }
        self.act_later(driver, key, now);
        let client = &mut self.clients[key as usize];
        let is_busy = matches!(client.stage, Stage::Waiting | Stage::Idle);
        match client.rng.u8(0..100) {
            0..20 if is_busy => self.leave(driver, key, true),
            20..40 if is_busy => self.leave(driver, key, false),
            40..55 if is_busy && !self.config.is_gentle => {
                client.is_cut = true;
                driver.limit_reads(key, Some(client.rng.usize(1..600)));
            }
            55..75 if client.stage == Stage::Waiting => self.pause(driver, key, now),
            75..85 if client.may_nudge() => {
                client.is_nudged = true;
                self.request.clear();
                let host = self.config.servers[client.node as usize];
                let _ = write!(
                    self.request,
                    "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"
                );
                self.log.add(key, now, Event::Nudged);
                self.write(driver, key);
            }
            _ => {}
        }
    }

    fn pause(&mut self, driver: &mut Driver, key: u32, now: u64) {
        let client = self.client(key);
        client.is_paused = true;
        let until = now + client.rng.u64(300_000..6_000_000);
        driver.pause(key);
        self.act_at(driver, key, until);
        self.log.add(key, now, Event::Paused);
    }

    fn resume(&mut self, driver: &mut Driver, key: u32, now: u64) {
        if std::mem::take(&mut self.client(key).is_paused) {
            self.log.add(key, now, Event::Resumed);
            driver.resume(key);
        }
    }

    /// A client ends its connection, by a reset or as it pleases.
    fn leave(&mut self, driver: &mut Driver, key: u32, by_reset: bool) {
        let now = now_us();
        if self.config.is_gentle {
            return self.leave_in_order(driver, key, now);
        }
        if by_reset {
            driver.reset(key);
        }
        self.log.add(key, now, Event::Left);
        self.go_away(driver, key);
    }

    /// A client says that it sends nothing more, and takes what still comes.
    fn leave_in_order(&mut self, driver: &mut Driver, key: u32, now: u64) {
        self.resume(driver, key, now);
        match self.client(key).stage {
            Stage::Waiting | Stage::Idle if driver.finish_sending(key).is_ok() => {
                self.client(key).stage = Stage::Leaving;
            }
            Stage::Away | Stage::Connecting | Stage::Leaving => {}
            _ => {
                self.log.add(key, now, Event::Left);
                self.go_away(driver, key);
            }
        }
    }

    /// The connection is gone; the client comes back, mostly soon.
    fn go_away(&mut self, driver: &mut Driver, key: u32) {
        driver.close(key);
        let is_settled = self.is_settled;
        let client = self.client(key);
        client.stage = Stage::Away;
        client.is_paused = false;
        let wait = match client.rng.u8(0..100) {
            _ if is_settled => client.rng.u64(0..300_000),
            0..70 => client.rng.u64(0..300_000),
            70..95 => client.rng.u64(300_000..3_000_000),
            _ => client.rng.u64(3_000_000..10_000_000),
        };
        self.ask_at(driver, key, now_us() + wait);
    }

    fn lose(&mut self, driver: &mut Driver, key: u32) {
        let event = match self.client(key).stage {
            Stage::Waiting => Event::Lost,
            Stage::Idle => Event::Ended,
            Stage::Connecting => Event::Unreachable(self.clients[key as usize].node),
            Stage::Leaving => Event::Left,
            Stage::Away => return,
        };
        self.log.add(key, now_us(), event);
        self.go_away(driver, key);
    }

    /// Continues after the bytes of a read: asks again, or connects again.
    fn follow_up(&mut self, driver: &mut Driver, key: u32, heard: Heard, now: u64) {
        let client = self.client(key);
        if client.stage == Stage::Leaving {
            return;
        }
        if heard.ended {
            return self.go_away(driver, key);
        }
        let Some(advice) = heard.answered else { return };
        let wait = match advice {
            Some(advice) => advice.min(1_000) * 1_000,
            None if client.transport.is_held() => 0,
            None => client.rng.u64(100_000..1_500_000),
        };
        if client.closes() {
            client.stage = Stage::Away;
            driver.close(key);
        } else {
            client.stage = Stage::Idle;
        }
        self.ask_at(driver, key, now + wait);
    }
}
