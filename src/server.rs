//! A server to embed: bound, then run on the thread that calls it.
//!
//! Owns the assembly: settings, listeners, engine, reactor; anew, or after another process.

mod listening;
mod nodes;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::Poll;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cluster::Redis;
use crate::disk::{self, DataError, Opened};
use crate::handover::{Listening, Program, Stage, TakeOver, TakeOverError};
use crate::inbox::{self, Handle, Inbox, Publisher};
use crate::producer::stdin::Lines;
use crate::producer::{Producer, Rest};
use crate::reactor::{End, Input, Listener, Prepared, Reactor};
use encke_core::config::{Address, Config, ConfigError};
use encke_core::engine::Engine;
use encke_core::log::{History, Identity, LogEnding};

/// Descriptors reserved for listeners, the poll, the log, and the embedding program.
const RESERVED_FILES: u64 = 64;

/// Maximum number of connections for which tables are reserved, whatever the file limit.
const MAX_CONNECTIONS: u64 = 4_000_000;

/// A server that is bound to its addresses and does not run yet.
///
/// ```no_run
/// use std::thread;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let server = encke::Server::bind(encke::Config::default())?;
///     let publisher = server.publisher();
///     thread::spawn(move || publisher.publish("news", "hello"));
///     server.run()?;
///     Ok(())
/// }
/// ```
pub struct Server {
    reactor: Reactor,
    publisher: Publisher,
    handle: Handle,
    addresses: Vec<Address>,
    /// Bytes of standard input that the old process had read and not published.
    input: Input,
}

/// The reason for which a server could not be bound, or stopped early.
#[derive(Debug)]
pub enum Error {
    /// A setting is out of its range, or is not allowed in combination with another.
    Config(ConfigError),
    /// The server cannot listen on an address.
    Bind(Address, io::Error),
    /// The engine of several nodes refuses this one, for a reason that an operator has to change.
    Engine(String),
    /// The directory of saved history cannot be used.
    Data(DataError),
    /// Another server cannot be taken over: it serves on.
    TakeOver(TakeOverError),
    /// Everything was handed over to a process that ended at once: no process serves.
    Lost,
    /// A system call that the reactor needs failed.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(error) => error.fmt(f),
            Error::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Error::Engine(text) => write!(f, "--engine: {text}"),
            Error::Data(error) => write!(f, "--data-dir: {error}"),
            Error::TakeOver(error) => error.fmt(f),
            Error::Lost => f.write_str(
                "the process that has taken over has ended at once: nobody serves any more",
            ),
            Error::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Config(error) => Some(error),
            Error::Data(error) => Some(error),
            Error::TakeOver(error) => Some(error),
            Error::Engine(_) | Error::Lost => None,
            Error::Bind(_, error) | Error::System(_, error) => Some(error),
        }
    }
}

impl Server {
    /// Reads the saved history, if there is any, and listens on the addresses of `config`. Raises
    /// the soft file limit of the process to the hard one.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn bind(config: Config) -> Result<Server, Error> {
        config.check().map_err(Error::Config)?;
        nodes::check_engine(&config.engine).map_err(Error::Engine)?;
        let (files, max_connections) = room(&config);
        let (poll, waker) =
            Reactor::poll().map_err(|error| Error::System("cannot create a poll", error))?;
        let (publisher, handle, inbox) = inbox::channel(&config, waker);
        let seed = fastrand::u64(..);
        let (engine, opened) = match (&config.saving.dir, &config.engine.url) {
            (None, None) => (Engine::new(&config, max_connections, seed), None),
            (None, Some(_)) => {
                let settings = nodes::settings(&config);
                let engine = Engine::with_cluster(&config, max_connections, seed, settings);
                (engine, None)
            }
            (Some(dir), _) => {
                let (engine, opened) = restore(dir, &config, max_connections)?;
                (engine, Some(opened))
            }
        };
        let goes_on = (engine.hub().epoch(), engine.newest());
        let mut reactor = Reactor::new(poll, engine, inbox, max_connections, &config)
            .map_err(|error| Error::System("cannot create a poll", error))?;
        let listeners = listen(&config, &mut Vec::new())?;
        for listener in &listeners {
            let prepared = listener.prepare(&config);
            prepared.map_err(|error| Error::Bind(listener.address.clone(), error))?;
        }
        let addresses = add_all(&mut reactor, listeners)?;
        // Last: from here on the directory is one in use, which only an end makes clean again.
        if let Some(opened) = opened {
            let read = (opened.read.records, opened.read.cut_bytes);
            let saver = disk::start(opened, goes_on, &config, reactor.bell())
                .map_err(|error| Error::System("cannot start a thread", error))?;
            reactor.save_with(saver, read);
        }
        share(&mut reactor, &config)?;
        log::info!(
            "encke {}: at most {max_connections} connections (file limit {files}), {} channels, \
             {} bytes of history, {} bytes of buffers",
            env!("CARGO_PKG_VERSION"),
            config.max_channels,
            config.history.max_total_bytes,
            config.max_buffer_bytes,
        );
        Ok(Server {
            reactor,
            publisher,
            handle,
            addresses,
            input: None,
        })
    }

    /// Takes over a running server of another process: its connections, its history and its
    /// listening sockets. It listens in addition where `config` says and the other one does not. It
    /// serves when it [runs](Server::run); until then the other one can, and does where this fails.
    ///
    /// # Errors
    ///
    /// See [`Error`]. The other process is told, so that its log says why it serves on.
    pub fn take_over(mut take_over: TakeOver, config: Config) -> Result<Server, Error> {
        let prepared = prepare(&mut take_over, &config);
        let Ready {
            poll,
            channel: (publisher, handle, inbox),
            listeners,
            files,
            prepared,
        } = prepared.inspect_err(|error| take_over.refuse(error))?;
        let max_connections = prepared.max_connections;
        let taken = Reactor::take_over(poll, inbox, &config, take_over, prepared);
        let (mut reactor, input) = taken.map_err(Error::TakeOver)?;
        // They connect, and do nothing more before this server runs.
        share(&mut reactor, &config)?;
        let addresses = add_all(&mut reactor, listeners)?;
        log::debug!("at most {max_connections} connections (file limit {files})");
        Ok(Server {
            reactor,
            publisher,
            handle,
            addresses,
            input,
        })
    }

    /// The addresses that the server listens on, with the ports that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// A publisher for other threads.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// A handle with which other threads stop the server or change its settings.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Calls `run` on the reactor's thread about once per `interval` while the server runs, for
    /// example for a watchdog. It must not block, because no connection is served while it runs.
    pub fn every(&mut self, interval: Duration, run: impl FnMut() + Send + 'static) {
        self.reactor.every(interval, Box::new(run));
    }

    /// Calls `run` on the reactor's thread whenever `source` has become readable, for example to
    /// handle signals. `run` must read all available data, and must not block.
    ///
    /// # Errors
    ///
    /// The system cannot watch the descriptor.
    pub fn watch(
        &mut self,
        source: OwnedFd,
        run: impl FnMut() + Send + 'static,
    ) -> Result<(), Error> {
        self.reactor
            .watch(source, Box::new(run))
            .map_err(|error| Error::System("cannot watch a descriptor", error))
    }

    /// Publishes the lines of standard input, on a thread of its own. A server that has taken over
    /// another one goes on within the line where that one has stopped.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or there is no descriptor left.
    pub fn read_stdin(&mut self, lines: Lines) -> Result<(), Error> {
        let failed = |error| Error::System("cannot read standard input", error);
        let is_taken_over = self.reactor.is_arriving();
        let rest = match self.input.take() {
            // It has ended.
            Some(None) => return Ok(()),
            Some(Some(rest)) => rest,
            None => Rest::default(),
        };
        let source = rustix::stdio::stdin().try_clone_to_owned();
        let (publisher, bell) = (self.publisher(), self.reactor.bell());
        let producer = source.and_then(|source| {
            Producer::start(source, lines, rest, is_taken_over, publisher, bell)
        });
        self.reactor.add_producer(producer.map_err(failed)?);
        Ok(())
    }

    /// Allows upgrades: [`Handle::upgrade`] starts `program`, whose standard input is then not that
    /// of this process but a socket, by which it takes everything over ([`TakeOver::from_stdin`],
    /// [`Server::take_over`]). If it does, [`Server::run`] returns, and this process is to end at
    /// once: its sockets are left open, so that none of them is closed twice. If it does not, this
    /// server serves on, and logs why. `notify` is called on the reactor's thread; it must not
    /// block.
    ///
    /// Publishers of other threads than that of [`Server::read_stdin`] are not handed over: to
    /// allow upgrades is for a program that has none.
    pub fn upgrade_to(&mut self, program: Program, notify: impl FnMut(Stage) + Send + 'static) {
        self.reactor.upgrade_to(program, Box::new(notify));
    }

    /// Calls `run` on the reactor's thread when this server has taken over another one, and the old
    /// process has reported that to the service manager. Its argument says whether the settings may
    /// have changed since they were read, so that they are to be read again. It must not block.
    pub fn when_taken_over(&mut self, run: impl FnOnce(bool) + Send + 'static) {
        self.reactor.when_taken_over(Box::new(run));
    }

    /// Serves on this thread until a drain is over, or until another process has taken over.
    ///
    /// # Errors
    ///
    /// The system call of the poll failed. Or this server should take over another one, and that
    /// serves on. Or the process that has taken over has ended at once.
    pub fn run(self) -> Result<(), Error> {
        // Producers learn that the server is closed when the last receiver of their queue is
        // dropped.
        let Server {
            mut reactor, input, ..
        } = self;
        if let Some(Some(_)) = input {
            log::warn!("standard input is not read any more: there is no --stdin");
        }
        reactor.arrive().map_err(Error::TakeOver)?;
        match reactor.run() {
            Ok(End::Drained | End::HandedOver) => Ok(()),
            Ok(End::Lost) => Err(Error::Lost),
            Err(error) => Err(Error::System("the poll failed", error)),
        }
    }
}

/// The parts of a server that are ready before the state arrives.
struct Ready {
    poll: Poll,
    channel: (Publisher, Handle, Inbox),
    listeners: Vec<Listener>,
    files: u64,
    prepared: Prepared,
}

/// Does everything that can fail before another process stops to serve.
fn prepare(take_over: &mut TakeOver, config: &Config) -> Result<Ready, Error> {
    config.check().map_err(Error::Config)?;
    let format = take_over.format().map_err(Error::TakeOver)?;
    let (before, dir) = (take_over.data_dir(), &config.saving.dir);
    if before != *dir {
        let path = |dir: &Option<PathBuf>| match dir {
            Some(dir) => dir.display().to_string(),
            None => "none".into(),
        };
        let detail = format!(
            "it was {}, and would be {}: restart encke instead",
            path(&before),
            path(dir)
        );
        let error = TakeOverError::new("--data-dir cannot change in an upgrade", detail);
        return Err(Error::TakeOver(error));
    }
    nodes::check_cluster(take_over.cluster(), &config.engine).map_err(Error::TakeOver)?;
    nodes::check_engine(&config.engine).map_err(Error::Engine)?;
    let (files, max_connections) = room(config);
    let (poll, waker) =
        Reactor::poll().map_err(|error| Error::System("cannot create a poll", error))?;
    let is_node = config.engine.url.is_some();
    Ok(Ready {
        poll,
        channel: inbox::channel(config, waker),
        listeners: listen(config, take_over.opened())?,
        files,
        prepared: Prepared {
            max_connections,
            format,
            node: is_node.then(|| nodes::settings(config)),
        },
    })
}

/// Starts the threads of a node of a cluster, if the server is one.
fn share(reactor: &mut Reactor, config: &Config) -> Result<(), Error> {
    if config.engine.url.is_some() {
        let redis = Redis::start(&config.engine, reactor.bell());
        let redis = redis.map_err(|error| Error::System("cannot start a thread", error))?;
        reactor.share_by(redis);
    }
    Ok(())
}

fn listen(config: &Config, others: &mut Vec<(Listening, OwnedFd)>) -> Result<Vec<Listener>, Error> {
    listening::listen(config, others).map_err(|(address, error)| Error::Bind(address, error))
}

/// Serves at all of them, and returns their addresses.
fn add_all(reactor: &mut Reactor, listeners: Vec<Listener>) -> Result<Vec<Address>, Error> {
    let add = |listener: Listener| {
        let address = listener.address.clone();
        match reactor.add_listener(listener) {
            Ok(()) => Ok(address),
            Err(error) => Err(Error::Bind(address, error)),
        }
    };
    listeners.into_iter().map(add).collect()
}

/// The file limit, and how many connections there may be.
fn room(config: &Config) -> (u64, usize) {
    let files = raise_file_limit();
    let room = files
        .saturating_sub(RESERVED_FILES)
        .clamp(1, MAX_CONNECTIONS) as usize;
    let max_connections = config.max_connections.map_or(room, |max| max.min(room));
    (files, max_connections)
}

/// Reads the saved history of a directory.
fn restore(dir: &Path, config: &Config, max_connections: usize) -> Result<(Engine, Opened), Error> {
    let started = Instant::now();
    let random = || fastrand::u64(..);
    let identity = Identity::new([random(), random(), random()]);
    let locked = disk::lock(dir, config, identity).map_err(Error::Data)?;
    let date = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix_ms = date.map_or(0, |date| date.as_millis() as u64);
    let mut history = History::new(locked.identity(), config, max_connections, unix_ms);
    let opened = locked.read(|entry| history.replay(entry).is_ok());
    let opened = opened.map_err(Error::Data)?;
    history.go_on_after(opened.newest);
    let ending = opened.ending;
    let engine = Engine::with_history(config, max_connections, random(), history, ending);
    let how = match ending {
        LogEnding::Clean => "",
        LogEnding::Crashed => " after a crash, with every acknowledged message",
        LogEnding::TailLost(_) => " and may lack messages: every reader is told of a gap",
    };
    log::info!(
        "history of {}: {} messages, read from {} records in {} ms; it goes on{how}",
        dir.display(),
        engine.hub().message_count(),
        opened.read.records,
        started.elapsed().as_millis(),
    );
    Ok((engine, opened))
}

/// Raises the soft file limit to the hard one, and returns the limit that is then in force.
fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::TempDir;

    fn ends_cleanly(dir: &TempDir) -> bool {
        let head = fs::read_to_string(dir.0.join("head")).unwrap();
        head.lines().any(|line| line == "end clean")
    }

    #[test]
    fn start_that_fails_leaves_saved_history_clean() {
        let dir = TempDir::new();
        let mut config = Config {
            listen: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
            ..Config::default()
        };
        let other = Server::bind(config.clone()).unwrap();
        config.saving.dir = Some(dir.0.clone());

        // A server that never runs.
        let server = Server::bind(config.clone()).unwrap();
        assert!(!ends_cleanly(&dir));
        drop(server);
        assert!(ends_cleanly(&dir));

        config.listen.push(other.local_addrs()[0].clone());
        let error = Server::bind(config).err();
        assert!(matches!(error, Some(Error::Bind(..))), "{error:?}");
        assert!(ends_cleanly(&dir));
    }
}
