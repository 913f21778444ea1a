//! A server to embed: bound, then run on the thread that calls it.
//!
//! Owns the assembly: settings, listeners, engine, reactor.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::disk::{self, DataError, Opened, Trust};
use crate::inbox::{self, Handle, Publisher};
use crate::reactor::Reactor;
use encke_core::config::{Address, Config, ConfigError};
use encke_core::engine::{Access, Engine};
use encke_core::log::{History, How, Identity};
use encke_core::message::Epoch;

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
}

/// The reason for which a server could not be bound, or stopped early.
#[derive(Debug)]
pub enum Error {
    /// A setting is out of its range, or is not allowed in combination with another.
    Config(ConfigError),
    /// The server cannot listen on an address.
    Bind(Address, io::Error),
    /// The directory of saved history cannot be used.
    Data(DataError),
    /// A system call that the reactor needs failed.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(error) => error.fmt(f),
            Error::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Error::Data(error) => write!(f, "--data-dir: {error}"),
            Error::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Config(error) => Some(error),
            Error::Data(error) => Some(error),
            Error::Bind(_, error) | Error::System(_, error) => Some(error),
        }
    }
}

impl Server {
    /// Reads the saved history, if there is any, and listens on the addresses of `config`. Raises the
    /// soft file limit of the process to the hard one.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn bind(config: Config) -> Result<Server, Error> {
        config.check().map_err(Error::Config)?;
        let files = raise_file_limit();
        let room = files
            .saturating_sub(RESERVED_FILES)
            .clamp(1, MAX_CONNECTIONS) as usize;
        let max_connections = config.max_connections.map_or(room, |max| max.min(room));
        let (poll, waker) =
            Reactor::poll().map_err(|error| Error::System("cannot create a poll", error))?;
        let (publisher, handle, inbox) = inbox::channel(&config, waker);
        let (engine, opened) = match &config.saving.dir {
            None => (
                Engine::new(&config, max_connections, fastrand::u64(..)),
                None,
            ),
            Some(dir) => {
                let (engine, opened) = restore(dir, &config, max_connections)?;
                (engine, Some(opened))
            }
        };
        let goes_on = (*engine.hub().epoch(), engine.newest());
        let mut reactor = Reactor::new(poll, engine, inbox, max_connections, &config)
            .map_err(|error| Error::System("cannot create a poll", error))?;
        let mut addresses = Vec::new();
        for (address, is_control) in listeners(&config) {
            addresses.extend(listen(&mut reactor, address, is_control, &config)?);
        }
        // Last: from here on the directory is one in use, which only an end makes clean again.
        if let Some(opened) = opened {
            let read = (opened.read.records, opened.read.cut_bytes);
            let saver = disk::start(opened, goes_on, &config, reactor.bell())
                .map_err(|error| Error::System("cannot start a thread", error))?;
            reactor.save_with(saver, read);
        }
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

    /// Serves on this thread until a drain is over.
    ///
    /// # Errors
    ///
    /// The system call of the poll failed.
    pub fn run(self) -> Result<(), Error> {
        // Producers learn that the server is closed when the last receiver of their queue is
        // dropped.
        let Server { reactor, .. } = self;
        reactor
            .run()
            .map_err(|error| Error::System("the poll failed", error))
    }
}

/// Reads the saved history of a directory.
fn restore(dir: &Path, config: &Config, max_connections: usize) -> Result<(Engine, Opened), Error> {
    let started = Instant::now();
    let random = || fastrand::u64(..);
    let identity = Identity::new([random(), random(), random()]);
    let locked = disk::lock(dir, config, identity).map_err(Error::Data)?;
    let date = SystemTime::now().duration_since(UNIX_EPOCH);
    let date_ms = date.map_or(0, |date| date.as_millis() as u64);
    let mut history = History::new(locked.identity(), config, max_connections, date_ms);
    let opened = locked.read(|entry| history.replay(entry).is_ok());
    let opened = opened.map_err(Error::Data)?;
    history.go_on_after(opened.newest);
    let how = match opened.trust {
        Trust::All => How::Clean,
        Trust::Answered => How::Crashed,
        Trust::Doubtful => How::TailLost(Epoch::from_seed(random())),
    };
    let engine = Engine::with_history(config, max_connections, random(), history, how);
    let how = match opened.trust {
        Trust::All => "",
        Trust::Answered => " after a crash, with every message that was answered for",
        Trust::Doubtful => " and may lack messages: every reader is told of a gap",
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

/// The addresses to listen on, and whether each is one of [`Config::control`].
fn listeners(config: &Config) -> impl Iterator<Item = (&Address, bool)> {
    let listen = config.listen.iter().map(|address| (address, false));
    listen.chain(config.control.iter().map(|address| (address, true)))
}

/// Listens on an address, and returns the bound addresses. For a name, these are the ones that this
/// host has, at least one.
fn listen(
    reactor: &mut Reactor,
    address: &Address,
    is_control: bool,
    config: &Config,
) -> Result<Vec<Address>, Error> {
    let mut bound = Vec::new();
    let mut missing = Vec::new();
    for address in address.each() {
        let access = match is_control {
            false if !config.control.is_empty() => Access::Public,
            true if address.is_local() => Access::Trusted,
            _ => Access::Guarded,
        };
        match reactor.listen(&address, access, config) {
            Ok(address) => {
                match access {
                    Access::Public if config.tokens.keys.is_empty() => {
                        log::info!("listening on {address} (receiving only)");
                    }
                    Access::Public => {
                        log::info!("listening on {address} (receiving and publishing, by token)");
                    }
                    Access::Guarded | Access::Trusted => log::info!("listening on {address}"),
                }
                bound.push(address);
            }
            Err(error) if is_missing(&error) => missing.push((address, error)),
            Err(error) => return Err(Error::Bind(address, error)),
        }
    }
    if bound.is_empty()
        && let Some((address, error)) = missing.pop()
    {
        return Err(Error::Bind(address, error));
    }
    for (single, error) in missing {
        log::warn!("not listening on {single}, an address of {address}: {error}");
    }
    Ok(bound)
}

/// Whether an error means that this host does not have the address or its family.
fn is_missing(error: &io::Error) -> bool {
    let missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT];
    missing
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
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

        // One that never runs.
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
