//! The engine that several nodes share: where it is, and how this node uses it.
//!
//! Owns the syntax of the URL and of names of nodes and namespaces. It never resolves a name, and
//! a URL never contains a password: it is shown in logs and by `encke check`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::address::check_socket_path;
use crate::authority::Authority;

/// The port of Redis, of TLS too.
const REDIS_PORT: u16 = 6379;

/// The port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;

/// Maximum number of Sentinels in a URL.
const MAX_SENTINELS: usize = 16;

/// Maximum bytes of names: of a node, a namespace, a user, a master.
const MAX_NAME_BYTES: usize = 128;

const URL_SYNTAX: &str = "an engine is redis://HOST:PORT, rediss://HOST:PORT, \
                          redis+unix:///PATH or redis+sentinel://HOST,HOST,HOST/NAME";

const PASSWORD: &str = "the URL contains a password, which lists of processes and logs would show; \
                        give it in --engine-password-file";

/// The engine that several nodes share, and how this node uses it. Without a URL the node is alone,
/// and nothing else here has an effect.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Where the engine is. `None`: this node is alone.
    pub url: Option<EngineUrl>,
    /// The password with which the node logs in, at most 4,096 bytes. It is never displayed.
    pub password: Option<String>,
    /// The beginning of the names of all keys in the engine. Nodes with the same engine and the
    /// same namespace are one cluster. 1 to 128 letters, digits, `-`, `_`, `.` or `:`.
    pub namespace: String,
    /// Replicas of the engine that must have a message before its publisher is answered, at most
    /// 100.
    pub wait: u32,
    /// Time for which a publisher waits while the engine is away.
    pub patience: Duration,
    /// Time without hearing its own beat after which the node is not ready. Zero: it stays ready.
    pub ready: Duration,
    /// Maximum bytes of the log in the engine, 1 byte to 256 GiB. `None`: as much as
    /// [`History::max_total_bytes`](super::History::max_total_bytes).
    pub log_bytes: Option<u64>,
    /// The name of this node in logs and metrics: 1 to 128 letters, digits, `-`, `_` or `.`. `None`: the
    /// host name.
    pub node: Option<String>,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            url: None,
            password: None,
            namespace: "encke".into(),
            wait: 0,
            patience: Duration::from_secs(5),
            ready: Duration::from_secs(10),
            log_bytes: None,
            node: None,
        }
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EngineConfig {
            url,
            password,
            namespace,
            wait,
            patience,
            ready,
            log_bytes,
            node,
        } = self;
        f.debug_struct("EngineConfig")
            .field("url", url)
            .field("password", &password.as_ref().map(|_| "not shown"))
            .field("namespace", namespace)
            .field("wait", wait)
            .field("patience", patience)
            .field("ready", ready)
            .field("log_bytes", log_bytes)
            .field("node", node)
            .finish()
    }
}

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineUrl {
    /// The servers to ask.
    pub at: EngineAddress,
    /// The user that logs in to the engine (an ACL user of Redis). `None`: the default user.
    pub user: Option<String>,
    /// The number of the database.
    pub database: u32,
}

impl EngineUrl {
    /// Whether it leads to the database of another URL, as far as the two tell: to the same server,
    /// or to the same master by a Sentinel that both name. The user may be another.
    pub fn leads_where(&self, other: &EngineUrl) -> bool {
        let is_same = match (&self.at, &other.at) {
            (
                EngineAddress::Sentinel { sentinels, master },
                EngineAddress::Sentinel {
                    sentinels: others,
                    master: other,
                },
            ) => master == other && sentinels.iter().any(|one| others.contains(one)),
            (one, other) => one == other,
        };
        is_same && self.database == other.database
    }
}

/// The servers of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A server: its host, its port, and whether the connection is encrypted.
    Tcp {
        /// A name or an address; an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is used.
        is_tls: bool,
    },
    /// The socket of a server on this machine.
    Unix(PathBuf),
    /// Sentinels, which know the server that is the master at present.
    Sentinel {
        /// Hosts and ports, as for [`EngineAddress::Tcp`]; at least one.
        sentinels: Vec<(String, u16)>,
        /// The name under which they know the master.
        master: String,
    },
}

impl FromStr for EngineUrl {
    type Err = String;

    /// Parses a URL. An error never contains the text, which may contain a password.
    fn from_str(text: &str) -> Result<EngineUrl, String> {
        let (scheme, rest) = text.split_once(':').ok_or(URL_SYNTAX)?;
        let rest = match scheme {
            "redis+unix" => return unix(rest),
            _ => rest.strip_prefix("//").ok_or(URL_SYNTAX)?,
        };
        let (user, rest) = split_user(rest)?;
        if rest.contains(['?', '#']) {
            return Err("the URL has no parameters: `?` and `#` are not allowed".into());
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (at, database) = match scheme {
            "redis" | "rediss" => {
                let is_tls = scheme == "rediss";
                let (host, port) = host_and_port(hosts, REDIS_PORT)?;
                (EngineAddress::Tcp { host, port, is_tls }, database(path)?)
            }
            "redis+sentinel" => (sentinels(hosts, path)?, 0),
            _ => return Err(URL_SYNTAX.into()),
        };
        let url = EngineUrl { at, user, database };
        url.check()?;
        Ok(url)
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |(host, port): &(String, u16)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let user = match &self.user {
            Some(user) => format!("{user}@"),
            None => String::new(),
        };
        match &self.at {
            EngineAddress::Tcp { host, port, is_tls } => {
                let scheme = if *is_tls { "rediss" } else { "redis" };
                write!(f, "{scheme}://{user}{}", at(&(host.clone(), *port)))?;
            }
            EngineAddress::Unix(path) => write!(f, "redis+unix://{user}{}", path.display())?,
            EngineAddress::Sentinel { sentinels, master } => {
                let sentinels: Vec<String> = sentinels.iter().map(at).collect();
                write!(f, "redis+sentinel://{user}{}/{master}", sentinels.join(","))?;
            }
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

impl EngineUrl {
    /// Checks what a program that sets the fields may get wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(user) = &self.user {
            check_name(user, "a user")?;
        }
        match &self.at {
            EngineAddress::Tcp { is_tls: true, .. } if !cfg!(feature = "tls") => Err(
                "this encke was built without TLS, so rediss: is not allowed; use redis:, or build \
                 it with `--features tls`"
                    .into(),
            ),
            EngineAddress::Tcp { host, .. } if host.is_empty() => Err(URL_SYNTAX.into()),
            EngineAddress::Tcp { .. } => Ok(()),
            EngineAddress::Unix(path) => check_socket_path(path)
                .map_err(|detail| format!("redis+unix:///PATH: {detail}")),
            EngineAddress::Sentinel { sentinels, master } => {
                if sentinels.is_empty() || sentinels.len() > MAX_SENTINELS {
                    let count = sentinels.len();
                    return Err(format!(
                        "{count} Sentinels are not allowed; 1 to {MAX_SENTINELS}"
                    ));
                }
                check_name(master, "the name of a master")
            }
        }
    }
}

/// The part before `@`, and the rest.
fn split_user(text: &str) -> Result<(Option<String>, &str), String> {
    match text.rsplit_once('@') {
        None => Ok((None, text)),
        Some((user, _)) if user.contains(':') => Err(PASSWORD.into()),
        Some((user, rest)) => Ok((Some(user.to_owned()), rest)),
    }
}

fn unix(rest: &str) -> Result<EngineUrl, String> {
    let (user, path) = split_user(rest.strip_prefix("//").unwrap_or(rest))?;
    if path.contains(['?', '#']) {
        return Err("the URL has no parameters: `?` and `#` are not allowed".into());
    }
    let url = EngineUrl {
        at: EngineAddress::Unix(path.into()),
        user,
        database: 0,
    };
    url.check()?;
    Ok(url)
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), String> {
    // A comma is a character of names, and here the sign of a list where there is one host.
    let authority = Authority::parse(text.as_bytes()).filter(|_| !text.contains(','));
    // Not the text: with `/` in place of `@` it is a password.
    let authority = authority.ok_or("what follows `//` is no HOST or HOST:PORT")?;
    Ok((authority.host(), authority.port().unwrap_or(default)))
}

fn database(path: &str) -> Result<u32, String> {
    if path.is_empty() {
        return Ok(0);
    }
    let is_number = path.bytes().all(|byte| byte.is_ascii_digit());
    let number = path.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| "what follows `/` is no number of a database, such as 0".into())
}

fn sentinels(hosts: &str, master: &str) -> Result<EngineAddress, String> {
    if master.is_empty() {
        return Err(
            "the name of the master is missing: redis+sentinel://HOST,HOST,HOST/NAME".into(),
        );
    }
    let sentinels = hosts.split(',');
    let sentinels = sentinels.map(|host| host_and_port(host, SENTINEL_PORT));
    Ok(EngineAddress::Sentinel {
        sentinels: sentinels.collect::<Result<_, _>>()?,
        master: master.to_owned(),
    })
}

/// Checks a namespace: 1 to 128 letters, digits, `-`, `_`, `.` or `:`, which make keys that every
/// tool shows as they are, and one slot of a cluster.
pub(super) fn check_namespace(text: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if is_short(text) && text.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "a namespace is 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_`, `.` or `:`"
    ))
}

/// Checks the name of a node: 1 to 128 letters, digits, `-`, `_` or `.`, as a host name has.
pub(super) fn check_node(text: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if is_short(text) && text.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "the name of a node is 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`"
    ))
}

fn check_name(text: &str, what: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"/@,:?#".contains(&byte);
    if is_short(text) && text.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "{what} is 1 to {MAX_NAME_BYTES} visible ASCII characters without / @ , : ? #"
    ))
}

fn is_short(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
}
