//! The reactor's side of the lanes.
//!
//! Owns the queues to and from both threads, and the rule that events of an earlier connection are
//! dropped. No call blocks.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::check;
use super::fault::{Cause, Fault};
use super::follow::Follow;
use super::lane::{Event, Job, LaneThread};
use super::open::open;
use super::publish::Publish;
use super::target::Target;
use super::wire::Keys;
use encke_core::config::EngineConfig;
use encke_core::engine::Reconnects;
use encke_core::log::cluster::{Command, Lane};
use encke_core::message::EntryId;

/// The capacity of a queue of jobs: more than a node has commands without a reply, and a reset.
const JOBS: usize = 72;

/// The capacity of the queue of events of the publish lane.
const REPLIES: usize = 64;

/// The capacity of the queue of events of the follow lane. An event may be all entries of a read.
const READS: usize = 2;

/// Both lanes of a node.
pub(crate) struct Redis {
    publish: LaneHandle,
    follow: LaneHandle,
    /// Closed when this is dropped, which ends the threads.
    _running: Sender<Infallible>,
    /// Connections that broke or were not established, by [`Cause`].
    broken: Reconnects,
}

/// The reactor's side of one lane.
struct LaneHandle {
    jobs: Sender<(u64, Job)>,
    events: Receiver<(u64, Event)>,
    /// The number of the present connection, whose events alone are passed on; `None` before the
    /// first.
    connection: Option<u64>,
    /// Events of connections up to this number are dropped, and the thread is to drop the
    /// connection.
    dropped: Arc<AtomicU64>,
}

/// Connects once, and checks that the server can be used.
///
/// # Errors
///
/// The server refuses, or cannot be reached at present. `Ok` has warnings, each in one line.
pub(crate) fn probe(config: &EngineConfig) -> Result<Vec<String>, Fault> {
    let Some(target) = Target::new(config) else {
        return Ok(Vec::new());
    };
    let (mut connection, facts) = open(&target)?;
    let keys = Keys::new(&config.namespace);
    check::rights(&mut connection, &keys, config.wait > 0)?;
    let warning = |policy| {
        format!(
            "the engine's maxmemory-policy is {policy}: it may remove the log when its memory is \
             full; set it to noeviction"
        )
    };
    Ok(facts.evicts_by.map(warning).into_iter().collect())
}

impl Redis {
    /// Starts the threads, which connect. `wake` wakes the reactor when there is an event.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub(crate) fn start(
        config: &EngineConfig,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Redis> {
        let no_engine = || io::Error::new(io::ErrorKind::InvalidInput, "there is no engine");
        let target = Target::new(config).ok_or_else(no_engine)?;
        let keys = Keys::new(&config.namespace);
        let (running, stop) = bounded(0);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(wake);
        let line = |lane, events| {
            let (jobs, for_thread) = bounded(JOBS);
            let (to_reactor, events) = bounded(events);
            let dropped = Arc::new(AtomicU64::new(0));
            let wake = Arc::clone(&wake);
            let line = LaneThread {
                lane,
                target: target.clone(),
                jobs: for_thread,
                events: to_reactor,
                wake: Box::new(move || wake()),
                stop: stop.clone(),
                connection: 0,
                dropped: Arc::clone(&dropped),
            };
            let front = LaneHandle {
                jobs,
                events,
                connection: None,
                dropped,
            };
            (line, front)
        };
        let (publish_line, publish) = line(Lane::Publish, REPLIES);
        let (follow_line, follow) = line(Lane::Follow, READS);
        let service = Publish::new(keys.clone(), config.wait);
        thread::Builder::new()
            .name("engine-publish".into())
            .spawn(move || publish_line.run(service))?;
        thread::Builder::new()
            .name("engine-follow".into())
            .spawn(move || follow_line.run(Follow::new(keys)))?;
        Ok(Redis {
            publish,
            follow,
            _running: running,
            broken: [0; Cause::ALL.len()],
        })
    }

    /// The next event of a lane.
    pub(crate) fn next_event(&mut self, lane: Lane) -> Option<Event> {
        let front = self.front(lane);
        let event = front.next_event()?;
        if let Event::Broken(cause) = &event {
            self.broken[*cause as usize] += 1;
        }
        Some(event)
    }

    /// Whether there may be an event of a lane.
    pub(crate) fn has_event(&self, lane: Lane) -> bool {
        match lane {
            Lane::Publish => !self.publish.events.is_empty(),
            Lane::Follow => !self.follow.events.is_empty(),
        }
    }

    /// Gives the publish lane a command to send; gives it back if the queue is full. Without a
    /// connection the command is dropped, and the node knows that there is none.
    pub(crate) fn send(&mut self, command: Command) -> Result<(), Command> {
        match self.publish.give(Job::Send(command)) {
            Err(Job::Send(command)) => Err(command),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the follow lane read the entries after an id from now on. Returns whether its queue
    /// had room.
    pub(crate) fn follow(&mut self, after: EntryId) -> bool {
        self.follow.connection.is_some() && self.follow.give(Job::Follow(after)).is_ok()
    }

    /// Drops both connections and makes the lanes connect again. No further event of the old
    /// connections is passed on.
    pub(crate) fn reset(&mut self) {
        for front in [&mut self.publish, &mut self.follow] {
            if front.connection.is_some() {
                front.drop_connection();
                self.broken[Cause::Reset as usize] += 1;
            }
        }
    }

    /// Counts on from these.
    pub(crate) fn go_on_counting(&mut self, broken: Reconnects) {
        self.broken = broken;
    }

    /// How many connections broke or were not established, by [`Cause`].
    pub(crate) fn broken(&self) -> &Reconnects {
        &self.broken
    }

    fn front(&mut self, lane: Lane) -> &mut LaneHandle {
        match lane {
            Lane::Publish => &mut self.publish,
            Lane::Follow => &mut self.follow,
        }
    }
}

impl LaneHandle {
    fn next_event(&mut self) -> Option<Event> {
        loop {
            let (connection, event) = self.events.try_recv().ok()?;
            if connection <= self.dropped.load(Ordering::Relaxed) {
                continue;
            }
            match event {
                Event::Connected { .. } => self.connection = Some(connection),
                Event::Broken(_) => {
                    self.connection = None;
                    self.dropped.store(connection, Ordering::Relaxed);
                }
                Event::Answered(_) | Event::Read(_) => {
                    debug_assert_eq!(self.connection, Some(connection), "it was told of");
                }
            }
            return Some(event);
        }
    }

    fn give(&mut self, job: Job) -> Result<(), Job> {
        let Some(connection) = self.connection else {
            return Ok(());
        };
        let given = self.jobs.try_send((connection, job));
        given.map_err(|error| error.into_inner().1)
    }

    fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.dropped.store(connection, Ordering::Release);
            // The job wakes the thread. If the queue is full, the thread is awake and looks anyway.
            let _ = self.jobs.try_send((connection, Job::Look));
        }
    }
}
