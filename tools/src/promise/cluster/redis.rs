//! Servers of Redis: one alone, or a master and a replica, which Sentinels may watch.
//!
//! Owns their processes, files and ports, and the few commands that are sent to them. It never
//! reads the log: what is in it is known from the nodes' clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fault::{Fault, Topology};
use super::process::Process;
use super::report::last_lines;
use crate::command::text;
use crate::server::free_ports;

/// How long a server of Redis may take to start, or to promote a replica: the Sentinels vote again
/// after some seconds if they do not agree.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a command may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The name by which Sentinel knows the master.
const MASTER: &str = "promise";

/// A server of Redis or a Sentinel.
pub(super) struct Server {
    process: Process,
    pub(super) address: SocketAddrV4,
}

/// All servers of Redis of a run.
pub(super) struct Redis {
    pub(super) servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Server {
    fn start(address: SocketAddrV4, command: Vec<String>, log: &Path) -> Result<Server, String> {
        let process = Process::start(command, log)?;
        let mut server = Server { process, address };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Waits until it has loaded its data and answers commands.
    pub(super) fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self
            .ask("PING")
            .is_ok_and(|answer| answer.starts_with("+PONG"))
        {
            if !self.process.runs() || Instant::now() > deadline {
                let output = self.process.output();
                return Err(format!("redis-server does not answer: {output}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Sends a command in one line, and returns the beginning of what is answered.
    pub(super) fn ask(&self, command: &str) -> Result<String, String> {
        let mut stream = TcpStream::connect(self.address).map_err(text)?;
        stream.set_read_timeout(Some(ANSWER_TIME)).map_err(text)?;
        write!(stream, "{command}\r\n").map_err(text)?;
        let mut buffer = [0; 4_096];
        let length = stream.read(&mut buffer).map_err(text)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Sends a command that must not be refused.
    pub(super) fn tell(&self, command: &str) -> Result<(), String> {
        match self.ask(command)? {
            answer if answer.is_empty() || answer.starts_with('-') => {
                Err(format!("{command} was answered {answer:?}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        self.process.signal(signal)
    }

    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.process.kill()
    }

    pub(super) fn start_again(&mut self) -> Result<(), String> {
        self.process.start_again()?;
        self.wait_until_it_answers()
    }

    fn is_master(&self) -> bool {
        let role = self.ask("ROLE");
        role.is_ok_and(|role| role.contains("\r\nmaster\r\n"))
    }
}

impl Redis {
    /// Starts what a fault needs. `prefix` are words before the command of each server.
    pub(super) fn start(fault: Fault, dir: &Path, prefix: &[String]) -> Result<Redis, String> {
        let [first, second, a, b, c] = free_ports().map_err(text)?;
        let is_logged = fault == Fault::KillWithLog;
        let mut redis = Redis {
            servers: vec![start_server(first, dir, prefix, is_logged)?],
            sentinels: Vec::new(),
        };
        if fault.topology() != Topology::Single {
            let replica = start_server(second, dir, prefix, is_logged)?;
            redis.servers.push(replica);
            redis.follow(1, 0)?;
        }
        if fault.topology() == Topology::Sentinel {
            for address in [a, b, c] {
                redis.sentinels.push(start_sentinel(address, first, dir)?);
            }
            wait_until("the Sentinels have not found each other", || {
                let sentinels = redis.sentinels.iter();
                sentinels
                    .map(|sentinel| sentinel.ask(&format!("SENTINEL CKQUORUM {MASTER}")))
                    .all(|answer| answer.is_ok_and(|answer| answer.starts_with("+OK 3 usable")))
            })?;
        }
        Ok(redis)
    }

    /// The `--engine` of a node that reaches a single server at an address.
    pub(super) fn url(&self, address: SocketAddrV4) -> String {
        if self.sentinels.is_empty() {
            return format!("redis://{address}");
        }
        let sentinels = self.sentinels.iter();
        let sentinels: Vec<String> = sentinels.map(|each| each.address.to_string()).collect();
        format!("redis+sentinel://{}/{MASTER}", sentinels.join(","))
    }

    /// The place of the master.
    pub(super) fn master(&self) -> Result<usize, String> {
        let place = self.servers.iter().position(Server::is_master);
        place.ok_or_else(|| "there is no master".into())
    }

    /// Makes a server the replica of another one, and waits until it is.
    pub(super) fn follow(&self, replica: usize, master: usize) -> Result<(), String> {
        let address = self.servers[master].address;
        let (ip, port) = (address.ip(), address.port());
        self.servers[replica].tell(&format!("REPLICAOF {ip} {port}"))?;
        self.wait_for_replica(replica)
    }

    /// Tells Sentinel to promote the replica.
    pub(super) fn fail_over(&self) -> Result<(), String> {
        self.sentinels[0].tell(&format!("SENTINEL FAILOVER {MASTER}"))
    }

    /// Waits until a server is master.
    pub(super) fn wait_for_master(&self, place: usize) -> Result<(), String> {
        wait_until("the replica was not promoted", || {
            self.servers[place].is_master()
        })
        .map_err(|error| format!("{error}\n{}", self.state()))
    }

    /// Waits until a server is the replica of the other one.
    pub(super) fn wait_for_replica(&self, place: usize) -> Result<(), String> {
        wait_until("the server has not become a replica", || {
            let role = self.servers[place].ask("ROLE");
            role.is_ok_and(|role| role.contains("connected"))
        })
        .map_err(|error| format!("{error}\n{}", self.state()))
    }

    /// The state of the servers and of a Sentinel, for a run that cannot continue.
    fn state(&self) -> String {
        let roles = self
            .servers
            .iter()
            .map(|server| format!("{:?}", server.ask("ROLE")));
        let sentinel = self.sentinels.first();
        let watched = sentinel.map(|sentinel| last_lines(&sentinel.process.output()));
        roles.chain(watched).collect::<Vec<_>>().join("\n")
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(what.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A directory for a server at an address.
fn directory(dir: &Path, address: SocketAddrV4) -> Result<PathBuf, String> {
    let dir = dir.join(format!("redis-{}", address.port()));
    fs::create_dir_all(&dir).map_err(text)?;
    Ok(dir)
}

fn start_server(
    address: SocketAddrV4,
    dir: &Path,
    prefix: &[String],
    is_logged: bool,
) -> Result<Server, String> {
    let dir = directory(dir, address)?;
    let mut command = prefix.to_vec();
    let append = if is_logged { "yes" } else { "no" };
    for (option, value) in [
        ("redis-server --port", address.port().to_string()),
        ("--bind", address.ip().to_string()),
        ("--dir", dir.display().to_string()),
        // No snapshots but those that a run asks for.
        ("--save", String::new()),
        ("--appendonly", append.into()),
        ("--appendfsync", "everysec".into()),
        ("--repl-diskless-sync-delay", "0".into()),
    ] {
        command.extend(option.split(' ').map(String::from));
        command.push(value);
    }
    Server::start(address, command, &dir.join("log"))
}

fn start_sentinel(
    address: SocketAddrV4,
    master: SocketAddrV4,
    dir: &Path,
) -> Result<Server, String> {
    let dir = directory(dir, address)?;
    let file = dir.join("sentinel.conf");
    let (ip, port) = (master.ip(), master.port());
    let settings = format!(
        "port {}\nbind {}\ndir {}\nsentinel monitor {MASTER} {ip} {port} 2\n\
         sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 4000\n",
        address.port(),
        address.ip(),
        dir.display(),
    );
    fs::write(&file, settings).map_err(text)?;
    let command = vec!["redis-sentinel".into(), file.display().to_string()];
    Server::start(address, command, &dir.join("log"))
}
