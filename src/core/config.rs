//! All settings in one struct, each number with its unit and its default.
//!
//! Owns the meaning and the defaults of the settings; in `table`, their names, ranges and help; in
//! `setting` and `value`, how texts are parsed; in `file`, the format of a file of settings; in
//! `policy`, what holds for channels by name; in `engine`, where the engine of several nodes is; in `check`, the rules for combinations; in
//! `warnings`, the combinations that are allowed and have no effect. It never reads the command
//! line, the environment or a file: `cli`, in the binary, does.

mod address;
mod check;
mod engine;
mod file;
mod policy;
mod print;
mod reload;
mod saving;
mod setting;
mod table;
mod value;
mod warnings;

pub use address::{Address, Inherited};
pub use engine::{EngineAddress, EngineConfig, EngineUrl};
pub use file::{File, FileError, FileSetting};
pub use policy::{Create, POLICY_KEYS, Policy, PolicyKey, PolicyKind, Publish, Subscribe};
pub use saving::{DataFull, DataSync, Saving};
pub use setting::{Group, Kind, Options, Reload, Setting, TextForm, Unit};
pub use table::SETTINGS;
pub use value::{Bytes, Resolve, Span};

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::pattern::Pattern;
use crate::tokens;

/// Settings of a server. The binary without options runs with `Config::default()`.
///
/// Durations are from 1 ms to 30 days; those of a drain and [`EngineConfig::ready`] may be zero. The range of a number is in
/// its documentation. [`Config::check`] checks both.
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
    /// `/channels`, `/connections`, `/nodes`, `/metrics`) is 404 on the addresses of [`Config::listen`]; with
    /// token keys, publishing by token is served there too.
    pub control: Vec<Address>,
    /// Permission bits of the files of unix sockets. `None`: the umask decides.
    pub unix_mode: Option<u32>,
    /// Whether other processes of the same user that set it too may listen on the same TCP
    /// addresses (`SO_REUSEPORT`). The kernel spreads new connections over them.
    pub reuse_port: bool,
    /// `Authorization: Bearer` key that guards the control surface, except on control
    /// addresses on loopback or a unix socket.
    pub publish_key: Option<String>,
    /// The keys of tokens, and the audience and issuer that they must have.
    pub tokens: tokens::Rules,
    /// The cookie in which a token may come. `None`: cookies are not looked at.
    pub token_cookie: Option<String>,
    /// Channels from which anyone may receive. `None`: all if there are no keys of tokens, else
    /// none.
    pub anonymous: Option<Vec<Pattern>>,
    /// Origins whose pages may read responses.
    pub cors: Cors,
    /// Whether the live page is served at `/`.
    pub page: bool,
    /// Hold of a long poll without a `hold` parameter, less a random part of up to a tenth.
    pub hold: Duration,
    /// Longest hold that a client may request, at least [`Config::hold`].
    pub max_hold: Duration,
    /// Time without a message after which a stream gets a heartbeat.
    pub heartbeat: Duration,
    /// Maximum number of messages in one batch, from 1.
    pub max_batch: usize,
    /// Maximum bytes of messages in one batch, from 1; one message always fits. Less than
    /// [`Config::max_buffer_bytes`].
    pub max_batch_bytes: usize,
    /// Body bytes after which a stream ends cleanly, from 1, randomised to 80–100 %.
    pub stream_max_bytes: u32,
    /// Age at which a stream ends cleanly, randomised to 80–100 %.
    pub stream_max_age: Duration,
    /// Limits on the history of channels.
    pub history: History,
    /// Where history is saved beyond the process.
    pub saving: Saving,
    /// The engine that several nodes share.
    pub engine: EngineConfig,
    /// Policies for channels by name, at most 255: the first whose pattern matches applies.
    pub policies: Vec<Policy>,
    /// Maximum number of channels, 1 to 2^24. Their table is reserved at the start.
    pub max_channels: usize,
    /// Maximum number of connections, 1 to 2^24. `None`: as many as the file limit allows.
    pub max_connections: Option<usize>,
    /// Maximum number of connections from one IP address, 1 to 2^24. `None`: no limit per address.
    pub max_connections_per_address: Option<usize>,
    /// Maximum bytes of a request head (request line and header fields), 512 to 1 MiB.
    pub max_head_bytes: usize,
    /// Maximum bytes of a request body, and so of a message, 1 to 1 GiB. Less than
    /// [`Config::max_buffer_bytes`] and [`History::max_total_bytes`].
    pub max_body_bytes: usize,
    /// Maximum bytes of all unfinished requests and unsent responses together, at most 256 GiB.
    pub max_buffer_bytes: usize,
    /// Time for a client to send a request head, from its first byte (on a new connection: from
    /// accept).
    pub head_timeout: Duration,
    /// Time for a client to send a request body, or, where it publishes by lines, the next line.
    pub body_timeout: Duration,
    /// Time for which a connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// Time without progress after which the connection of a client that reads no bytes, or whose
    /// TCP acknowledges none, is closed.
    pub write_timeout: Duration,
    /// Capacity of the queue between producer threads and the reactor, in messages, 1 to 2^20.
    pub queue: usize,
    /// Time within which a drain releases held polls and streams. In its last half second the last
    /// of them can still read their responses, so that the server ends within this time, or within
    /// 0.5 s if that is longer.
    pub drain: Duration,
    /// Time for which a drain still accepts connections.
    pub drain_delay: Duration,
    /// Time within which a new process must have taken everything over, so that the old one does
    /// not serve on.
    pub upgrade_timeout: Duration,
}

/// Limits on the messages that channels keep for readers that resume or join later.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Maximum number of messages that a channel keeps; 0 keeps none after delivery.
    pub max_messages: usize,
    /// Age at which a message is evicted.
    pub max_age: Duration,
    /// Maximum bytes that a channel keeps, at most 256 GiB.
    pub max_bytes: usize,
    /// Maximum bytes that all channels together keep, overhead included, 1 byte to 256 GiB.
    pub max_total_bytes: usize,
}

/// The origins whose pages may read responses (Fetch standard, CORS protocol).
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
            reuse_port: false,
            publish_key: None,
            tokens: tokens::Rules::default(),
            token_cookie: None,
            anonymous: None,
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
            saving: Saving::default(),
            engine: EngineConfig::default(),
            policies: Vec::new(),
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
            upgrade_timeout: Duration::from_secs(10),
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

/// An invalid setting, or an invalid combination of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The option at fault, by its name on the command line; `[[channels]]` for a policy.
    pub option: &'static str,
    /// The option with which it is not allowed, if the fault is a combination.
    pub beside: Option<&'static str>,
    /// The fault, and the allowed values.
    pub detail: String,
}

impl ConfigError {
    fn new(option: &'static str, detail: impl Into<String>) -> ConfigError {
        ConfigError {
            option,
            beside: None,
            detail: detail.into(),
        }
    }

    /// A combination that is not allowed.
    fn beside(option: &'static str, beside: &'static str, detail: String) -> ConfigError {
        ConfigError {
            option,
            beside: Some(beside),
            detail,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.detail)
    }
}

impl std::error::Error for ConfigError {}
