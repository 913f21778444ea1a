//! The server, the workers and the publisher of a run, and the driver that waits for them.

use std::io::{self, IsTerminal};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::parked::{Asker, wait_until_parked};
use super::plan::Plan;
use super::publisher::Publisher;
use crate::command::text;
use crate::driver::{Driver, End, Session};
use crate::lines::{self, Process};
use crate::measure::histogram;
use crate::net;
use crate::receipt::Counts;
use crate::server::{Description, Server};
use crate::worker::{Command, Config, Event, Kind, Snapshot};

/// The key of the publisher, which is the driver's only connection.
const PUBLISHER: u32 = 0;

struct Worker {
    process: Process,
    is_ready: bool,
    has_left: bool,
    reset: Option<Counts>,
    reached: u64,
    snapshot: Option<Box<Snapshot>>,
    /// The number of messages that are reported once each client has one; 0 if none are reported.
    share: u64,
}

/// Everything a run works with.
pub(crate) struct Stage {
    workers: Vec<Worker>,
    pub(crate) publisher: Publisher,
    driver: Driver,
    pub(crate) server: Server,
    pub(crate) run: u32,
    pub(super) patience: Duration,
    pub(crate) processes: Vec<u32>,
    progress: Option<Progress>,
}

/// The progress that is shown on standard error.
struct Progress {
    since: Instant,
    last: Instant,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_secs(1);

    /// `None` if standard error is not a terminal.
    fn new(plan: &Plan) -> Option<Progress> {
        let since = Instant::now();
        let is_watched = io::stderr().is_terminal() && !plan.json;
        is_watched.then_some(Progress { since, last: since })
    }
}

impl Stage {
    /// Starts the server and connects the publisher.
    pub(crate) fn set(plan: &Plan, mut description: Description) -> Result<Stage, String> {
        net::raise_file_limit();
        for word in &mut description.command {
            *word = word.replace("{drain}", &plan.drain.unwrap_or(0).to_string());
        }
        if let Some(reason) = plan.reason_against(&description) {
            return Err(format!("not with {}: {reason}", description.name));
        }
        let server = Server::start(description, plan.pin_server, plan.pin_driver)?;
        if let Some(cpu) = plan.pin_driver {
            net::pin(cpu).map_err(|error| format!("CPU {cpu}: {error}"))?;
        }
        let run = (net::now_ns() / 1_000) as u32;
        let publish = &server.description.publish;
        let to = match publish.second_port {
            true => server.second,
            false => server.address,
        };
        let mut driver = Driver::new().map_err(text)?;
        let publisher = Publisher::new(&mut driver, PUBLISHER, publish, run, to).map_err(text)?;
        Ok(Stage {
            processes: Vec::new(),
            workers: Vec::new(),
            publisher,
            driver,
            server,
            run,
            progress: Progress::new(plan),
            patience: Duration::from_secs_f64(plan.patience),
        })
    }

    /// Publishes to a channel that the run does not use: the server works, has touched the memory
    /// that it always needs, and has no first request to wait for on this connection.
    pub(crate) fn try_out(&mut self, plan: &Plan) -> Result<(), String> {
        self.wait_until_ready()?;
        let channel = plan.channels + 1;
        self.publisher.add(channel, 1, net::now_ns(), plan.size);
        self.wait("a first publish", |stage| stage.publisher.open() == 0)?;
        // A server that answers has started its own processes too.
        self.processes = self.server.processes();
        match self.publisher.refused {
            0 => Ok(()),
            _ => Err("the server refuses to publish".into()),
        }
    }

    /// Asks until the answer is one of success.
    fn wait_until_ready(&self) -> Result<(), String> {
        let Some(request) = &self.server.description.ready else {
            return Ok(());
        };
        let deadline = Instant::now() + self.patience;
        loop {
            let mut asker = Asker::connect(request, self.run, self.server.address)?;
            let answer = asker.ask(0, deadline)?;
            if answer.status / 100 == 2 {
                return Ok(());
            }
            if Instant::now() > deadline {
                let answer = String::from_utf8_lossy(&answer.body);
                return Err(format!("the server never became ready: {answer}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the workers; their clients do not connect yet.
    pub(crate) fn hire(&mut self, plan: &Plan, kind: Kind, each: u64) -> Result<(), String> {
        self.hire_as(plan, kind, each, |_| ())
    }

    /// The same for workers that are told something else.
    pub(super) fn hire_as(
        &mut self,
        plan: &Plan,
        kind: Kind,
        each: u64,
        change: impl Fn(&mut Config),
    ) -> Result<(), String> {
        let shares = lines::shares(plan.subscribers, plan.workers);
        for (number, (first, clients)) in (0..).zip(shares) {
            let mut config = self.config(plan, kind, number)?;
            config.first_client = first;
            config.clients = clients;
            config.report_every = each * u64::from(clients);
            change(&mut config);
            self.start(&config, each)?;
        }
        Ok(())
    }

    /// Starts one worker more, with one client, on the channel after those of the plan.
    pub(super) fn hire_one_apart(&mut self, plan: &Plan, kind: Kind) -> Result<(), String> {
        let number = self.workers.len() as u32;
        let mut config = self.config(plan, kind, number)?;
        config.first_client = plan.channels;
        config.channels = plan.channels + 1;
        config.clients = 1;
        config.eager = true;
        self.start(&config, 0)
    }

    fn start(&mut self, config: &Config, each: u64) -> Result<(), String> {
        let process = Process::start("worker", config).map_err(text)?;
        rustix::io::ioctl_fionbio(&process.stdout, true).map_err(|error| error.to_string())?;
        let worker = Worker {
            process,
            is_ready: false,
            has_left: false,
            reset: None,
            reached: 0,
            snapshot: None,
            share: if each == 0 { 0 } else { config.clients.into() },
        };
        let number = u8::try_from(self.workers.len()).map_err(|_| "too many workers")?;
        let fd = worker.process.stdout.as_raw_fd();
        self.driver.watch(fd, number).map_err(text)?;
        self.workers.push(worker);
        Ok(())
    }

    fn config(&self, plan: &Plan, kind: Kind, number: u32) -> Result<Config, String> {
        let description = &self.server.description;
        let request = match kind {
            Kind::Poll => description.poll.as_ref().ok_or("it has no poll")?,
            _ => description.receiving(&plan.transport)?,
        };
        Ok(Config {
            run: self.run,
            server: self.server.address,
            from: lines::addresses(1 + number as u8),
            cpu: plan.pin_driver,
            kind,
            first: request.first(self.server.address),
            next: request.next(self.server.address),
            clients: 0,
            first_client: 0,
            channels: plan.channels,
            report_every: 0,
            eager: false,
            leaves: plan.mode.is_leaving(),
            returns: None,
            every_ns: plan.every.map(|every| (every * 1e9) as u64),
            connecting: description.connecting,
            comes_again: description.settle_ms > 0,
        })
    }

    /// Tells all workers.
    pub(super) fn tell(&mut self, command: &Command) -> Result<(), String> {
        let mut workers = self.workers.iter_mut();
        workers.try_for_each(|worker| worker.process.tell(command).map_err(text))
    }

    /// Has all clients without a connection connect, and waits until they are parked.
    pub(crate) fn connect(&mut self, plan: &Plan, after: u64) -> Result<(), String> {
        self.connect_to(plan, after, self.server.address)
    }

    /// The same where they are parked at another server than the stage's.
    pub(super) fn connect_to(
        &mut self,
        plan: &Plan,
        after: u64,
        server: SocketAddrV4,
    ) -> Result<(), String> {
        self.let_in(after)?;
        let settle_ms = self.server.description.settle_ms;
        if settle_ms > 0 && !plan.mode.is_leaving() {
            std::thread::sleep(Duration::from_millis(settle_ms));
            self.let_in(after)?;
        }
        wait_until_parked(
            &self.server.description,
            plan,
            self.run,
            server,
            self.patience,
        )
    }

    fn let_in(&mut self, after: u64) -> Result<(), String> {
        for worker in &mut self.workers {
            worker.is_ready = false;
            worker.has_left = false;
        }
        self.tell(&Command::Connect { after })?;
        self.wait("all to connect", |stage| {
            stage.workers.iter().all(|worker| worker.is_ready)
        })
    }

    /// Waits until all connected clients are parked.
    pub(super) fn wait_until_parked(&self, plan: &Plan) -> Result<(), String> {
        let Server {
            description,
            address,
            ..
        } = &self.server;
        wait_until_parked(description, plan, self.run, *address, self.patience)
    }

    /// Waits until something is so; serves what happens meanwhile.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Stage) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("waited in vain for {what}"));
            }
            self.turn(Some(left))?;
        }
        Ok(())
    }

    /// Sends what is to be sent, and serves what happens, for at most so long.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> Result<(), String> {
        self.tell_progress();
        self.publisher.send(&mut self.driver).map_err(text)?;
        let mut listener = Listener {
            publisher: &mut self.publisher,
            workers: &mut self.workers,
        };
        self.driver.turn(&mut listener, timeout).map_err(text)?;
        // A response may have released the next request.
        self.publisher.send(&mut self.driver).map_err(text)
    }

    fn tell_progress(&mut self) {
        let reached = self.reached();
        let Some(progress) = &mut self.progress else {
            return;
        };
        if progress.last.elapsed() >= Progress::INTERVAL {
            progress.last = Instant::now();
            eprint!(
                "\r{} s, {} publishes, {} received since the last reset ",
                progress.since.elapsed().as_secs(),
                self.publisher.asked,
                reached
            );
        }
    }

    /// Whether each client has received so many messages, as far as that is reported.
    pub(super) fn have_all_reached(&self, each: u64) -> bool {
        self.workers
            .iter()
            .all(|worker| worker.reached >= each * worker.share)
    }

    /// The number of messages that the workers have reported.
    pub(super) fn reached(&self) -> u64 {
        self.workers.iter().map(|worker| worker.reached).sum()
    }

    /// Whether all clients have left.
    pub(super) fn have_all_left(&self) -> bool {
        self.workers.iter().all(|worker| worker.has_left)
    }

    /// The number of workers.
    pub(super) fn worker_count(&self) -> u64 {
        self.workers.len() as u64
    }

    /// Has all workers forget counts and delays, and returns the counts up to then.
    pub(crate) fn reset(&mut self) -> Result<Counts, String> {
        for worker in &mut self.workers {
            worker.reset = None;
        }
        self.tell(&Command::Reset)?;
        self.wait("a reset", |stage| {
            stage.workers.iter().all(|worker| worker.reset.is_some())
        })?;
        let mut all = Counts::default();
        for worker in &mut self.workers {
            worker.reached = 0;
            all.add(&worker.reset.unwrap_or_default());
        }
        Ok(all)
    }

    /// The receipts of all since the last reset.
    pub(crate) fn snapshot(&mut self) -> Result<(Counts, Histogram<u64>), String> {
        self.snapshot_from(0)
    }

    /// The receipts of the one apart since the last reset.
    pub(super) fn snapshot_apart(&mut self) -> Result<(Counts, Histogram<u64>), String> {
        self.snapshot_from(self.workers.len().saturating_sub(1))
    }

    fn snapshot_from(&mut self, first: usize) -> Result<(Counts, Histogram<u64>), String> {
        for worker in &mut self.workers {
            worker.snapshot = None;
        }
        self.tell(&Command::Snapshot)?;
        self.wait("a snapshot", |stage| {
            stage.workers.iter().all(|worker| worker.snapshot.is_some())
        })?;
        let mut counts = Counts::default();
        let mut delays = histogram();
        for worker in &mut self.workers[first..] {
            let snapshot = worker.snapshot.take().unwrap_or_default();
            counts.add(&snapshot.counts);
            for (value, count) in snapshot.delays {
                delays.saturating_record_n(value, count);
            }
        }
        counts.failed += self.publisher.refused;
        Ok((counts, delays))
    }
}

/// The session of a stage's driver.
struct Listener<'a> {
    publisher: &'a mut Publisher,
    workers: &'a mut [Worker],
}

impl Session for Listener<'_> {
    fn on_connect(&mut self, _: &mut Driver, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn on_bytes(&mut self, _: &mut Driver, _: u32, bytes: &[u8]) -> io::Result<()> {
        self.publisher.hear(bytes).map_err(io::Error::other)
    }

    fn on_end(&mut self, _: &mut Driver, _: u32, _: End) -> io::Result<()> {
        self.publisher.close();
        Ok(())
    }

    fn on_readable(&mut self, _: &mut Driver, number: u8) -> io::Result<()> {
        self.workers[usize::from(number)].listen()
    }
}

impl Worker {
    fn listen(&mut self) -> io::Result<()> {
        self.process.hear_all(|event| match event {
            Event::Ready => self.is_ready = true,
            Event::Left => self.has_left = true,
            Event::Reset(counts) => self.reset = Some(counts),
            Event::Reached(count) => self.reached = count,
            Event::Snapshot(snapshot) => self.snapshot = Some(snapshot),
        })
    }
}
