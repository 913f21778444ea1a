//! The processes of clients, as their conductor sees them.
//!
//! Owns their start, what is said to them and by them, when they were stopped, and the files of
//! their logs. What the clients do is in `crowd`.

use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::log_file;
use super::plan::Plan;
use super::protocol::{Channels, Command, Config, Said};
use crate::command::text;
use crate::lines::Process;
use crate::net::now_us;
use encke_oracle::run::Logs;
use encke_oracle::span::Span;

/// Source addresses of each process of clients, so that ports in TIME_WAIT do not run out.
const ADDRESSES: u8 = 16;

/// How often the conductor looks around.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// How long clients may take to leave, in microseconds.
const LEAVE_US: u64 = 30_000_000;

/// A process of clients.
struct Crowd {
    process: Process,
    log: PathBuf,
    stops: Vec<Span>,
    /// Messages received, and clients waiting, as it last said.
    progress: (u64, u64),
    is_finished: bool,
}

impl Crowd {
    fn start(config: &Config) -> io::Result<Crowd> {
        let process = Process::start("clients", config)?;
        rustix::io::ioctl_fionbio(&process.stdout, true)?;
        Ok(Crowd {
            process,
            log: config.log.clone(),
            stops: Vec::new(),
            progress: (0, 0),
            is_finished: false,
        })
    }

    /// Takes in what it says. It ends when it has said that it is finished, and not before.
    fn listen(&mut self) -> io::Result<()> {
        if self.is_finished {
            return Ok(());
        }
        let heard = self.process.hear_all(|said| match said {
            Said::Progress { messages, waiting } => self.progress = (messages, waiting),
            Said::Finished => self.is_finished = true,
        });
        heard.or_else(|error| if self.is_finished { Ok(()) } else { Err(error) })
    }
}

/// All processes of clients.
pub(super) struct Crowds {
    crowds: Vec<Crowd>,
    begun: u64,
    told_at: u64,
}

/// The configuration that all processes of clients share.
pub(super) struct Common<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: u32,
    pub(super) seed: u64,
    pub(super) servers: Vec<SocketAddrV4>,
    pub(super) controls: Vec<SocketAddrV4>,
    pub(super) key: Option<u64>,
    pub(super) channels: Channels,
    pub(super) dir: &'a Path,
}

impl Crowds {
    /// Starts all processes that the plan asks for.
    pub(super) fn start(common: &Common<'_>) -> Result<Crowds, String> {
        let places = 0..common.plan.processes;
        let crowds = places.map(|place| Crowd::start(&config(common, place)));
        let begun = common.channels.begun;
        Ok(Crowds {
            crowds: crowds.collect::<io::Result<_>>().map_err(text)?,
            begun,
            told_at: begun,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.crowds.len()
    }

    /// Tells all processes something.
    pub(super) fn tell(&mut self, command: &Command) -> Result<(), String> {
        let mut crowds = self.crowds.iter_mut();
        crowds.try_for_each(|crowd| crowd.process.tell(command).map_err(text))
    }

    pub(super) fn signal(&self, place: usize, signal: Signal) -> Result<(), String> {
        self.crowds[place].process.signal(signal).map_err(text)
    }

    /// A process was stopped.
    pub(super) fn note_stop(&mut self, place: usize, span: Span) {
        self.crowds[place].stops.push(span);
    }

    /// Takes in what the processes say, and tells people now and then; `published` counts messages
    /// accepted.
    pub(super) fn listen(&mut self, published: &AtomicU64) -> Result<(), String> {
        let mut crowds = self.crowds.iter_mut();
        crowds.try_for_each(Crowd::listen).map_err(text)?;
        let interval = match io::stderr().is_terminal() {
            true => 1_000_000,
            false => 60_000_000,
        };
        if now_us() >= self.told_at + interval {
            self.told_at = now_us();
            let received: u64 = self.crowds.iter().map(|crowd| crowd.progress.0).sum();
            let waiting: u64 = self.crowds.iter().map(|crowd| crowd.progress.1).sum();
            eprintln!(
                "{:5} s: {} published, {received} received, {waiting} clients waiting",
                (self.told_at - self.begun) / 1_000_000,
                published.load(Ordering::Relaxed),
            );
        }
        Ok(())
    }

    /// Publishing has ended: the clients catch up, and leave. Returns when they began to leave.
    pub(super) fn settle(&mut self, plan: &Plan, published: &AtomicU64) -> Result<u64, String> {
        self.tell(&Command::Settle)?;
        let settle = plan.settle.unwrap_or(plan.slack + 3.0);
        let until = now_us() + (settle * 1e6) as u64;
        while now_us() < until {
            thread::sleep(STEP);
            self.listen(published)?;
        }
        let end = now_us();
        self.tell(&Command::Finish)?;
        while !self.crowds.iter().all(|crowd| crowd.is_finished) {
            thread::sleep(STEP);
            self.listen(published)?;
            if now_us() > end + LEAVE_US {
                return Err("clients do not finish".into());
            }
        }
        Ok(end)
    }

    /// Adds what the clients wrote down, and when they were stopped.
    pub(super) fn read_logs(&self, logs: &mut Logs) -> Result<(), String> {
        for (place, crowd) in self.crowds.iter().enumerate() {
            log_file::read(logs, &crowd.log, place)?;
            logs.client_stops.push(crowd.stops.clone());
        }
        Ok(())
    }
}

fn config(common: &Common<'_>, place: u32) -> Config {
    let Plan {
        clients, processes, ..
    } = *common.plan;
    let first = clients * place / processes;
    let from = (0..ADDRESSES).map(|last| Ipv4Addr::new(127, 9, place as u8, last + 1));
    Config {
        run: common.run,
        seed: common.seed,
        servers: common.servers.clone(),
        controls: common.controls.clone(),
        key: common.key,
        from: from.collect(),
        first_client: first,
        clients: clients * (place + 1) / processes - first,
        channels: common.channels,
        is_gentle: common.plan.soak,
        calmness: if common.plan.soak { 10.0 } else { 1.0 },
        log: common.dir.join(format!("clients-{place}")),
    }
}
