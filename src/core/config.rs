//! Everything that can be set, in one struct, each number with its unit and its default.
//!
//! Owns the meaning and the defaults of the settings; in `table`, their names, ranges and help; in `setting`
//! and `value`, how texts become values; in `check`, which of them go together. It never reads the command line or the environment (`cli` does, in the binary).

mod address;
mod check;
mod setting;
mod table;
mod value;

pub use address::{Address, Inherited};
pub use setting::{Group, Kind, Options, Reload, Setting, Unit};
pub use table::SETTINGS;
pub use value::{Bytes, Resolve, Span};

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a server. `Config::default()` is what the binary runs with when told nothing.
///
/// Durations are from 1 ms to 30 days; those of a drain may be zero. The ranges of numbers are with them.
/// [`Config::check`] holds a configuration to both.
///
/// ```
/// use encke_core::config::Config;
/// use std::time::Duration;
///
/// let config = Config {
///     hold: Duration::from_secs(20),
///     ..Config::default()
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses that serve receivers; without [`Config::control`] they serve everything.
    pub listen: Vec<Address>,
    /// Addresses that serve everything. If there are any, the control surface (publishing,
    /// `/channels`, `/metrics`) is 404 on the addresses of [`Config::listen`].
    pub control: Vec<Address>,
    /// Permission bits of the files of unix sockets; `None`: what the umask leaves.
    pub unix_mode: Option<u32>,
    /// `Authorization: Bearer` key that guards the control surface, except on control
    /// addresses on loopback or a unix socket.
    pub publish_key: Option<String>,
    /// Origins whose pages may read answers.
    pub cors: Cors,
    /// Whether the live page is served at `/`.
    pub page: bool,
    /// Hold of a long poll that names none, less a random part of up to a tenth.
    pub hold: Duration,
    /// Longest hold that a client may ask for, at least [`Config::hold`].
    pub max_hold: Duration,
    /// Silence after which a stream gets a heartbeat.
    pub heartbeat: Duration,
    /// Most messages in one batch, from 1.
    pub max_batch: usize,
    /// Most bytes of messages in one batch, from 1; one message always fits. Less than
    /// [`Config::max_buffer_bytes`].
    pub max_batch_bytes: usize,
    /// Body bytes after which a stream ends cleanly, from 1, randomised to 80–100 %.
    pub stream_max_bytes: u32,
    /// Age at which a stream ends cleanly, randomised to 80–100 %.
    pub stream_max_age: Duration,
    /// Limits of what channels keep.
    pub history: History,
    /// Most channels at once, 1 to 2^24: room is made for them at the start.
    pub max_channels: usize,
    /// Most connections at once, 1 to 2^24; `None`: as many as the file limit allows.
    pub max_connections: Option<usize>,
    /// Most connections from one IP address, 1 to 2^24; `None`: no limit of its own.
    pub max_connections_per_address: Option<usize>,
    /// Most bytes of a request's head (request line and header fields), 512 to 1 MiB.
    pub max_head_bytes: usize,
    /// Most bytes of a request's body, and so of a message, 1 to 1 GiB. Less than
    /// [`Config::max_buffer_bytes`] and [`History::max_total_bytes`].
    pub max_body_bytes: usize,
    /// Most bytes of all unfinished requests and unsent answers together, at most 256 GiB.
    pub max_buffer_bytes: usize,
    /// Time to send a request's head, from its first byte (a new connection: from accept).
    pub head_timeout: Duration,
    /// Time to send a request's body.
    pub body_timeout: Duration,
    /// Time a connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// Time without progress after which a client that takes no bytes, or whose TCP acknowledges none,
    /// is closed.
    pub write_timeout: Duration,
    /// Messages that may wait between producer threads and the reactor, 1 to 2^20.
    pub queue: usize,
    /// Time over which a drain releases the held and the streams. The last half second is for the last
    /// of them to take their answers, so that the server ends within this time.
    pub drain: Duration,
    /// Time for which a drain still accepts connections.
    pub drain_delay: Duration,
}

/// What a channel keeps for those who come later, and what all of them may keep together.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Most messages a channel keeps; 0 keeps none beyond delivery.
    pub max_messages: usize,
    /// Age at which a message is dropped.
    pub max_age: Duration,
    /// Most bytes a channel keeps, at most 256 GiB.
    pub max_bytes: usize,
    /// Most bytes of all channels together, overhead included, 1 byte to 256 GiB.
    pub max_total_bytes: usize,
}

/// Which origins' pages may read answers (Fetch standard, CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Pages of these origins (`https://example.org`); empty: none.
    Origins(Vec<String>),
    /// Pages of every origin: `*`.
    Any,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 7711)))],
            control: Vec::new(),
            unix_mode: None,
            publish_key: None,
            cors: Cors::Origins(Vec::new()),
            page: true,
            hold: Duration::from_secs(30),
            max_hold: Duration::from_secs(120),
            heartbeat: Duration::from_secs(15),
            max_batch: 1_000,
            max_batch_bytes: 1 << 20,
            stream_max_bytes: 64 << 20,
            stream_max_age: Duration::from_secs(3_600),
            history: History::default(),
            max_channels: 1_000_000,
            max_connections: None,
            max_connections_per_address: None,
            max_head_bytes: 16 << 10,
            max_body_bytes: 1 << 20,
            max_buffer_bytes: 64 << 20,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            queue: 1_024,
            drain: Duration::from_secs(8),
            drain_delay: Duration::ZERO,
        }
    }
}

impl Default for History {
    fn default() -> History {
        History {
            max_messages: 1_000,
            max_age: Duration::from_secs(600),
            max_bytes: 4 << 20,
            max_total_bytes: 256 << 20,
        }
    }
}

/// A setting, or a combination of settings, that encke does not run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The option at fault, as the command line names it.
    pub option: &'static str,
    /// What is wrong and what is allowed.
    pub detail: String,
}

impl ConfigError {
    fn new(option: &'static str, detail: impl Into<String>) -> ConfigError {
        ConfigError {
            option,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.detail)
    }
}

impl std::error::Error for ConfigError {}
