//! The server to connect to: one that is given, the one that Sentinels name, or the one that
//! another server of a Redis Cluster names.
//!
//! Owns the question to the Sentinels. Every connection asks again, so that it finds the present
//! master.

use std::cmp::Reverse;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, Value};

use super::fault::{Cause, Fault};
use super::wire::Keys;
use encke_core::config::{EngineAddress, EngineConfig};

/// The longest time for connecting to a Sentinel, and for its answer.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the master is, and how to log in.
#[derive(Clone)]
pub(super) struct Target {
    at: EngineAddress,
    login: RedisConnectionInfo,
    /// The key of the log, by which a server of a Redis Cluster knows the master.
    log: String,
}

/// A server that may be connected to.
#[derive(PartialEq, Eq)]
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

    /// The servers at an address `HOST:PORT` that this one names, reached in the same way. Without a
    /// host it means its own: `cluster-preferred-endpoint-type unknown-endpoint`.
    ///
    /// # Errors
    ///
    /// It is no address, or the host has none.
    pub(super) fn others_at(&self, address: &str) -> Result<Vec<Candidate>, Fault> {
        let parts = address.rsplit_once(':');
        let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match (self, parts) {
            (_, Some(("?", _))) => Err(Fault::Refused(
                "the server of the Redis Cluster that has the log has no name: set \
                 cluster-announce-hostname there"
                    .into(),
            )),
            (Candidate::Tcp(own), Some(("", port))) => {
                Ok(vec![Candidate::Tcp(SocketAddr::new(own.ip(), port))])
            }
            (Candidate::Tls(own, _), Some(("", port))) => {
                Ok(vec![Candidate::Tls(own.clone(), port)])
            }
            (Candidate::Unix(_), Some(("", _))) | (_, None) => {
                let text = format!("a server names {address} as the place of the log");
                Err(Fault::Broken(Cause::Unexpected, text))
            }
            (Candidate::Tls(..), Some((host, port))) => Ok(vec![Candidate::Tls(host.into(), port)]),
            (Candidate::Tcp(_) | Candidate::Unix(_), Some((host, port))) => resolve(host, port),
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
        // Without a password a user logs in too: it may need none.
        if let Some(user) = &url.user {
            login = login.set_username(user).set_password("");
        }
        if let Some(password) = &config.password {
            login = login.set_password(password);
        }
        Some(Target {
            at: url.at.clone(),
            login,
            log: Keys::new(&config.namespace).log,
        })
    }

    /// How to log in.
    pub(super) fn login(&self) -> RedisConnectionInfo {
        self.login.clone()
    }

    /// The key of the log.
    pub(super) fn log(&self) -> &str {
        &self.log
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

/// Asks all Sentinels where the master is, because one that was cut off may name an earlier master.
/// They are asked at the same time, so that several that do not answer take no longer than one.
fn ask_sentinels(sentinels: &[(String, u16)], master: &str) -> Result<Vec<Candidate>, Fault> {
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = |at| scope.spawn(move || ask_sentinel(at, master));
        let asked: Vec<_> = sentinels.iter().map(ask).collect();
        // A panic is a fault of this program, so it ends the whole lane.
        let answers = asked.into_iter().map(|one| one.join().expect("no panic"));
        answers.collect()
    });
    let mut last = Fault::Broken(Cause::Unreachable, "there is no Sentinel".into());
    let mut named = Vec::new();
    for answer in answers {
        match answer {
            Ok(address) => named.push(address),
            Err(fault) => last = fault,
        }
    }
    let mut candidates = Vec::new();
    for (host, port) in by_votes(named) {
        match resolve(&host, port) {
            Ok(found) => candidates.extend(found),
            Err(fault) => last = fault,
        }
    }
    match candidates.is_empty() {
        false => Ok(candidates),
        true => Err(last),
    }
}

/// Each address once: first the one that is named most often, and else in the order given.
fn by_votes(named: Vec<(String, u16)>) -> Vec<(String, u16)> {
    let mut counts: Vec<((String, u16), usize)> = Vec::new();
    for address in named {
        match counts.iter_mut().find(|(known, _)| *known == address) {
            Some((_, count)) => *count += 1,
            None => counts.push((address, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts.into_iter().map(|(address, _)| address).collect()
}

/// Asks one Sentinel, at the first of its addresses that answers.
fn ask_sentinel((host, port): &(String, u16), master: &str) -> Result<(String, u16), Fault> {
    let mut last = Fault::Broken(Cause::Unreachable, format!("{host} has no address"));
    for candidate in resolve(host, *port)? {
        match ask(&candidate, master) {
            Ok(address) => return Ok(address),
            Err(text) => {
                let text = format!("the Sentinel at {}: {text}", candidate.address());
                last = Fault::Broken(Cause::Unreachable, text);
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A Sentinel that names a master at this port, once.
    fn sentinel(port: u16) -> (String, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut command = [0; 256];
            let len = stream.read(&mut command).expect("a command");
            assert!(command[..len].windows(8).any(|word| word == b"SENTINEL"));
            let port = port.to_string();
            let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
            stream.write_all(answer.as_bytes()).expect("it reads");
            // Until the other side closes.
            let _ = stream.read(&mut command);
        });
        ("127.0.0.1".into(), address.port())
    }

    #[test]
    fn server_that_another_names_is_reached_in_the_same_way() {
        let named = |by: &Candidate, address| -> Result<Vec<String>, Fault> {
            let candidates = by.others_at(address)?;
            let addresses = candidates.iter().map(|one| one.address().to_string());
            Ok(addresses.collect())
        };
        let tcp = Candidate::Tcp(([127, 0, 0, 1], 1).into());
        let unix = Candidate::Unix("/run/redis.sock".into());
        for by in [&tcp, &unix] {
            assert_eq!(named(by, "10.0.0.9:7000"), Ok(vec!["10.0.0.9:7000".into()]));
            assert_eq!(named(by, "::1:7000"), Ok(vec!["::1:7000".into()]));
        }
        let own = Ok(vec!["127.0.0.1:7000".into()]);
        assert_eq!(named(&tcp, ":7000"), own);
        let tls = Candidate::Tls("a.example".into(), 1);
        for (address, name) in [("b.example:7000", "b.example"), (":7000", "a.example")] {
            let others = tls.others_at(address);
            let [Candidate::Tls(host, 7000)] = &others.expect("one")[..] else {
                panic!("it is one by TLS");
            };
            assert_eq!(host, name);
        }
        // A socket has no host.
        for (by, address) in [(&tcp, ""), (&unix, ":7000"), (&tls, "b"), (&tls, ":x")] {
            let fault = named(by, address).expect_err("no address");
            assert!(matches!(fault, Fault::Broken(Cause::Unexpected, _)));
        }
        for by in [&tcp, &unix, &tls] {
            let fault = named(by, "?:7000").expect_err("no name");
            assert!(matches!(fault, Fault::Refused(_)));
            assert!(fault.to_string().contains("set cluster-announce-hostname"));
        }
    }

    #[test]
    fn all_sentinels_are_asked_and_most_of_them_are_heard_first() {
        let named = |sentinels: &[(String, u16)]| {
            let candidates = ask_sentinels(sentinels, "main").expect("one answers");
            let ports = candidates.into_iter().map(|one| match one {
                Candidate::Tcp(address) => address.port(),
                _ => panic!("it is TCP"),
            });
            ports.collect::<Vec<_>>()
        };
        // No server listens on port 1. The first address that answers is wrong.
        let nobody = ("127.0.0.1".to_owned(), 1);
        let all = [nobody.clone(), sentinel(6), sentinel(7), sentinel(7)];
        assert_eq!(named(&all), [7, 6]);
        assert_eq!(named(&[sentinel(6), sentinel(7)]), [6, 7]);
        assert!(ask_sentinels(&[nobody], "main").is_err());
    }
}
