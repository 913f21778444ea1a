//! The server to connect to: one that is given, or the one that Sentinels name.
//!
//! Owns the question to the Sentinels. Every connection asks anew, so that it finds the master of
//! the moment.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, Value};

use super::fault::{Cause, Fault};
use encke_core::config::{EngineAddress, EngineConfig};

/// How long a connection to a Sentinel may take, and its answer.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the master is, and how to log in.
#[derive(Clone)]
pub(super) struct Target {
    at: EngineAddress,
    login: RedisConnectionInfo,
}

/// A server that may be connected to.
pub(super) enum Candidate {
    Tcp(SocketAddr),
    Tls(String, u16),
    Unix(PathBuf),
}

impl Candidate {
    /// As an address of the client library.
    pub(super) fn address(&self) -> ConnectionAddr {
        match self {
            Candidate::Tcp(address) => {
                ConnectionAddr::Tcp(address.ip().to_string(), address.port())
            }
            Candidate::Tls(host, port) => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            Candidate::Unix(path) => ConnectionAddr::Unix(path.clone()),
        }
    }
}

impl Target {
    /// The target of settings; `None` without an engine.
    pub(super) fn new(config: &EngineConfig) -> Option<Target> {
        let url = config.url.as_ref()?;
        let mut login = RedisConnectionInfo::default()
            .set_db(i64::from(url.database))
            .set_skip_set_lib_name();
        if let Some(user) = &url.user {
            login = login.set_username(user);
        }
        if let Some(password) = &config.password {
            login = login.set_password(password);
        }
        Some(Target {
            at: url.at.clone(),
            login,
        })
    }

    /// How to log in.
    pub(super) fn login(&self) -> RedisConnectionInfo {
        self.login.clone()
    }

    /// The servers to try, in this order.
    pub(super) fn candidates(&self) -> Result<Vec<Candidate>, Fault> {
        match &self.at {
            EngineAddress::Unix(path) => Ok(vec![Candidate::Unix(path.clone())]),
            EngineAddress::Tcp {
                host,
                port,
                is_tls: true,
            } => Ok(vec![Candidate::Tls(host.clone(), *port)]),
            EngineAddress::Tcp { host, port, .. } => resolve(host, *port),
            EngineAddress::Sentinel { sentinels, master } => ask_sentinels(sentinels, master),
        }
    }
}

fn resolve(host: &str, port: u16) -> Result<Vec<Candidate>, Fault> {
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| Fault::unreachable(host, &error))?;
    let candidates: Vec<Candidate> = found.map(Candidate::Tcp).collect();
    match candidates.is_empty() {
        false => Ok(candidates),
        true => Err(Fault::Broken(
            Cause::Unreachable,
            format!("{host} resolves to no address"),
        )),
    }
}

/// Asks one Sentinel after another where the master is.
fn ask_sentinels(sentinels: &[(String, u16)], master: &str) -> Result<Vec<Candidate>, Fault> {
    let mut last = Fault::Broken(Cause::Unreachable, "there is no Sentinel".into());
    for (host, port) in sentinels {
        let candidates = match resolve(host, *port) {
            Ok(candidates) => candidates,
            Err(fault) => {
                last = fault;
                continue;
            }
        };
        for candidate in candidates {
            match ask(&candidate, master) {
                Ok((host, port)) => return resolve(&host, port),
                Err(text) => {
                    let text = format!("the Sentinel at {}: {text}", candidate.address());
                    last = Fault::Broken(Cause::Unreachable, text);
                }
            }
        }
    }
    Err(last)
}

/// Asks a Sentinel for the host and port of the master.
fn ask(sentinel: &Candidate, master: &str) -> Result<(String, u16), String> {
    let ask = || {
        let login = RedisConnectionInfo::default().set_skip_set_lib_name();
        let info = sentinel.address().into_connection_info()?;
        let client = redis::Client::open(info.set_redis_settings(login))?;
        let mut connection = client.get_connection_with_timeout(SENTINEL_TIMEOUT)?;
        connection.set_read_timeout(Some(SENTINEL_TIMEOUT))?;
        redis::cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(master)
            .query::<Value>(&mut connection)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    if answer == Value::Nil {
        return Err(format!("it knows no master named {master}"));
    }
    let answer: Result<(String, u16), _> = redis::from_redis_value(answer);
    answer.map_err(|error| error.to_string())
}
