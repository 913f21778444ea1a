//! The lanes and the scripts, with a real Redis. Skipped where it is not installed, but in CI.

mod clustered;
pub(super) mod fake;
mod faults;
mod lanes;
mod scripts;
mod sentinel;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use encke_test_rig::redis::Server;

use super::fault::Cause;
use super::{Event, Redis};
use encke_core::config::EngineConfig;
use encke_core::log::cluster::{Command, Lane, OpenMode, Opened, Reply, Salt};
use encke_core::message::EntryId;

/// The longest time of any step.
const DEADLINE: Duration = Duration::from_secs(30);

/// Both lanes, and the bell that they ring.
struct Lanes {
    redis: Redis,
    rung: Receiver<()>,
}

/// A server of Redis of a test; none where that is not installed.
fn redis(args: &[&str]) -> Option<Server> {
    Server::of_test(args)
}

fn config(server: &Server) -> EngineConfig {
    EngineConfig {
        url: Some(server.url().parse().expect("a URL")),
        ..EngineConfig::default()
    }
}

impl Lanes {
    fn start(config: &EngineConfig) -> Lanes {
        let (bell, rung) = bounded(1);
        let wake = move || {
            // A bell that has rung rings on.
            let _ = bell.try_send(());
        };
        let redis = Redis::start(config, wake).expect("threads");
        Lanes { redis, rung }
    }

    /// Lanes that are connected.
    fn connected(config: &EngineConfig) -> Lanes {
        let mut lanes = Lanes::start(config);
        for lane in [Lane::Publish, Lane::Follow] {
            lanes.until_connected(lane);
        }
        lanes
    }

    /// The next event of a lane.
    fn event(&mut self, lane: Lane) -> Event {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.redis.next_event(lane) {
                return event;
            }
            let left = DEADLINE.saturating_sub(begun.elapsed());
            self.rung.recv_timeout(left).expect("an event in time");
        }
    }

    /// Skips events until a lane has a connection, and returns the causes for which it had none.
    fn until_connected(&mut self, lane: Lane) -> Vec<Cause> {
        let mut causes = Vec::new();
        loop {
            match self.event(lane) {
                Event::Connected { .. } => return causes,
                Event::Broken(cause) => causes.push(cause),
                Event::Answered(_) | Event::Read(_) => {}
            }
        }
    }

    fn until_broken(&mut self, lane: Lane) -> Cause {
        loop {
            if let Event::Broken(cause) = self.event(lane) {
                return cause;
            }
        }
    }

    fn send(&mut self, command: Command) {
        self.redis.send(command).expect("room");
    }

    /// The next `count` replies.
    fn replies(&mut self, count: usize) -> Vec<Reply> {
        let mut replies = Vec::new();
        while replies.len() < count {
            match self.event(Lane::Publish) {
                Event::Answered(more) => replies.extend(more.into_iter().map(|(_, reply)| reply)),
                other => panic!("{other:?} instead of replies"),
            }
        }
        assert_eq!(replies.len(), count);
        replies
    }

    fn reply_to(&mut self, command: Command) -> Reply {
        self.send(command);
        self.replies(1).remove(0)
    }

    fn open(&mut self, mode: OpenMode, knows: EntryId) -> Opened {
        match self.reply_to(open(mode, knows)) {
            Reply::Opened(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    /// The next `count` entries, in their order.
    fn read(&mut self, count: usize) -> Vec<(EntryId, Vec<u8>)> {
        let mut entries = Vec::new();
        while entries.len() < count {
            match self.event(Lane::Follow) {
                Event::Read(more) => {
                    entries.extend(more.into_iter().map(|(id, bytes)| (id, bytes.to_vec())));
                }
                other => panic!("{other:?} instead of entries"),
            }
        }
        entries
    }
}

fn open(mode: OpenMode, knows: EntryId) -> Command {
    Command::Open {
        mode,
        knows,
        salt: Salt(1, 2),
        bytes: b"opened by a test: ".to_vec(),
        not_before: 0,
    }
}

fn append(term: u64, bytes: impl Into<Vec<u8>>) -> Command {
    Command::Append {
        term,
        keep_from: EntryId::ZERO,
        bytes: bytes.into(),
        is_publish: true,
    }
}
