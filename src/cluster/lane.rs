//! The thread of either lane, which connects, serves, and connects again.
//!
//! Owns the loop, its pauses, and its lines in the log. The thread gives each connection a number.
//! Events and jobs carry it, so that both sides can drop those of an earlier connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::connection::Connection;
use super::fault::{Cause, Fault};
use super::open::open;
use super::target::Target;
use super::wire::ReadEntry;
use encke_core::log::cluster::{Command, Lane, Reply};
use encke_core::message::EntryId;

/// The shortest and the longest pause before a connection is tried again; the first try comes at once.
/// The longest is short because a new term waits for all nodes of the cluster.
const PAUSE: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];

/// After a connection that lasted this long, the next try comes without a pause.
const GOOD: Duration = Duration::from_secs(1);

/// A request of the reactor to a lane.
pub(super) enum Job {
    /// Sends a command. Publish lane.
    Send(Command),
    /// Reads the entries after this id. Follow lane.
    Follow(EntryId),
    /// Checks whether the connection is to be dropped.
    Look,
}

/// A report of a lane to the reactor.
#[derive(Debug)]
pub(crate) enum Event {
    /// There is a new connection.
    Connected {
        /// For how long the server has been running, in milliseconds; 0 if it does not say.
        up_ms: u64,
    },
    /// The connection is gone, or was not established, for this reason.
    Broken(Cause),
    /// Replies, each to the oldest unanswered command of the same kind ([`Command::is_publish`]).
    Answered(Vec<(bool, Reply)>),
    /// Entries of the log, in order.
    Read(Vec<ReadEntry>),
}

/// The reason for which the service of a connection ends.
pub(super) enum End {
    /// The reactor's side is gone.
    Stop,
    /// The connection is broken, or refused.
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

/// The thread's side of a lane.
pub(super) struct LaneThread {
    pub(super) lane: Lane,
    pub(super) target: Target,
    /// Jobs, each for the connection with this number.
    pub(super) jobs: Receiver<(u64, Job)>,
    pub(super) events: Sender<(u64, Event)>,
    pub(super) wake: Box<dyn Fn() + Send>,
    /// No message comes through it. It is closed when the reactor's side is gone.
    pub(super) stop: Receiver<Infallible>,
    /// The number of the connection.
    pub(super) connection: u64,
    /// Connections up to this number are to be dropped.
    pub(super) dropped: Arc<AtomicU64>,
}

/// The work of a lane on one connection, until that ends.
pub(super) trait Service {
    /// Prepares a connection, before the reactor is told of it.
    fn prepare(&mut self, line: &LaneThread, connection: &mut Connection) -> Result<(), Fault>;

    /// Serves the connection.
    fn serve(&mut self, line: &LaneThread, connection: &mut Connection) -> Result<Infallible, End>;
}

impl LaneThread {
    /// Connects and serves until the reactor's side is gone.
    pub(super) fn run(mut self, mut service: impl Service) {
        let mut pauses = Pauses::new();
        let mut lines = Lines::default();
        loop {
            let mut connected = None;
            let end = self.serve_one(&mut service, &mut |line, version| {
                let lane = line.name();
                match (lines.connected(), line.lane) {
                    (Some(IsFirst(false)), _) => {
                        log::info!("{lane}: connected again, to {version}")
                    }
                    (Some(_), Lane::Publish) => log::info!("engine: connected to {version}"),
                    (Some(_), Lane::Follow) | (None, _) => {}
                }
                connected = Some(Instant::now());
            });
            let fault = match end {
                End::Stop => return,
                End::Fault(fault) => fault,
            };
            // Only the time as a working connection counts, not the time until a timeout.
            let served = connected.map_or(Duration::ZERO, |at: Instant| at.elapsed());
            let text = fault.to_string();
            if lines.broken(&text, served) {
                match &fault {
                    Fault::Broken(Cause::Reset, _) => log::info!("{}: {text}", self.name()),
                    Fault::Broken(..) | Fault::Moved(_) => log::warn!("{}: {text}", self.name()),
                    Fault::Refused(_) => log::error!("{}: {text}", self.name()),
                }
            }
            let is_told = self.tell(Event::Broken(fault.cause()));
            if is_told.is_err() || self.pause(pauses.after(served)).is_err() {
                return;
            }
        }
    }

    /// Opens one connection, and serves it.
    fn serve_one(
        &mut self,
        service: &mut impl Service,
        on_connected: &mut dyn FnMut(&LaneThread, &str),
    ) -> End {
        // The jobs in the queue are for earlier connections.
        while self.jobs.try_recv().is_ok() {}
        self.connection += 1;
        let opened = open(&self.target).and_then(|(mut connection, facts)| {
            service.prepare(self, &mut connection)?;
            Ok((connection, facts))
        });
        let (mut connection, facts) = match opened {
            Ok(opened) => opened,
            Err(fault) => return End::Fault(fault),
        };
        on_connected(self, &facts.version);
        let up_ms = facts.up_ms;
        let served = match self.tell(Event::Connected { up_ms }) {
            Ok(()) => service.serve(self, &mut connection),
            Err(end) => Err(end),
        };
        match served {
            Err(end) => end,
        }
    }

    fn name(&self) -> &'static str {
        match self.lane {
            Lane::Publish => "engine, publishing",
            Lane::Follow => "engine, following",
        }
    }

    /// Sends an event to the reactor, and waits as long as the queue is full.
    pub(super) fn tell(&self, event: Event) -> Result<(), End> {
        let told = self.events.send((self.connection, event));
        (self.wake)();
        told.map_err(|_| End::Stop)
    }

    /// The next job for this connection; waits for it.
    pub(super) fn next_job(&self) -> Result<Job, End> {
        loop {
            let job = self.jobs.recv().map_err(|_| End::Stop)?;
            if let Some(job) = self.check(job)? {
                return Ok(job);
            }
        }
    }

    /// The next job for this connection, if there is one.
    pub(super) fn try_next_job(&self) -> Result<Option<Job>, End> {
        loop {
            let job = match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(End::Stop),
            };
            if let Some(job) = self.check(job)? {
                return Ok(Some(job));
            }
        }
    }

    /// Drops a job that is for another connection, and ends if this one is to be dropped.
    fn check(&self, (connection, job): (u64, Job)) -> Result<Option<Job>, End> {
        if self.dropped.load(Ordering::Acquire) >= self.connection {
            let text = "this node does not hear itself: connecting anew".into();
            return Err(End::Fault(Fault::Broken(Cause::Reset, text)));
        }
        match job {
            Job::Look => Ok(None),
            job => Ok((connection == self.connection).then_some(job)),
        }
    }

    fn pause(&self, pause: Duration) -> Result<(), End> {
        match self.stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(End::Stop),
            Ok(never) => match never {},
        }
    }
}

/// Which connections and faults of a lane were logged. If connection after connection breaks at once with
/// the same fault, neither the fault nor the connections are logged again.
#[derive(Default)]
struct Lines {
    /// The last fault that was logged.
    fault: String,
    /// Whether a connection was logged since.
    has_connection: bool,
    /// Whether one was logged ever.
    had_connection: bool,
}

/// Whether a connection is the first of a lane.
struct IsFirst(bool);

impl Lines {
    /// Notes a connection; `None` if it is not to be logged.
    fn connected(&mut self) -> Option<IsFirst> {
        let is_news = !std::mem::replace(&mut self.has_connection, true);
        let is_first = !std::mem::replace(&mut self.had_connection, true);
        is_news.then_some(IsFirst(is_first))
    }

    /// Notes the fault of a connection that lasted this long. Returns whether it is to be logged.
    fn broken(&mut self, fault: &str, served: Duration) -> bool {
        let is_news = served >= GOOD || fault != self.fault;
        if is_news {
            self.fault = fault.to_owned();
            self.has_connection = false;
        }
        is_news
    }
}

/// The pauses between tries: none at first, then longer and longer ones. They are random, so that
/// the nodes do not all connect at the same time.
struct Pauses {
    tries: u32,
    random: fastrand::Rng,
}

impl Pauses {
    fn new() -> Pauses {
        Pauses {
            tries: 0,
            random: fastrand::Rng::new(),
        }
    }

    /// The pause before the next try, if the connection of the last one lasted this long.
    fn after(&mut self, served: Duration) -> Duration {
        if served >= GOOD {
            self.tries = 0;
        }
        let tries = self.tries;
        self.tries = tries.saturating_add(1);
        if tries == 0 {
            return Duration::ZERO;
        }
        let [shortest, longest] = PAUSE.map(|pause| pause.as_millis() as u64);
        let longest = longest.min(shortest << tries.min(6));
        Duration::from_millis(self.random.u64(shortest..=longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_of_each_connection_is_logged_once_and_so_is_the_connection() {
        let mut lines = Lines::default();
        assert!(matches!(lines.connected(), Some(IsFirst(true))));
        for (fault, served) in [("a", Duration::ZERO), ("a", GOOD), ("b", Duration::ZERO)] {
            assert!(lines.broken(fault, served), "{fault} is new");
            assert!(matches!(lines.connected(), Some(IsFirst(false))));
            for _ in 0..3 {
                assert!(!lines.broken(fault, Duration::ZERO));
                assert!(lines.connected().is_none());
            }
        }
        // Without a connection between them too.
        assert!(lines.broken("a", GOOD) && !lines.broken("a", Duration::ZERO));
        assert!(lines.connected().is_some());
    }

    #[test]
    fn first_try_comes_at_once_and_later_ones_after_bounded_pauses() {
        let mut pauses = Pauses::new();
        let short = GOOD - Duration::from_nanos(1);
        for served in [short, GOOD] {
            assert_eq!(pauses.after(served), Duration::ZERO);
            for served in [Duration::ZERO, short].repeat(50) {
                let pause = pauses.after(served);
                assert!(PAUSE[0] <= pause && pause <= PAUSE[1], "{pause:?}");
            }
        }
        pauses.tries = u32::MAX;
        assert!(pauses.after(short) <= PAUSE[1]);
    }
}
