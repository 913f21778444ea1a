//! Servers of Redis: one alone, a master and a replica, which Sentinels may watch, or those of a Redis
//! Cluster.
//!
//! Owns their processes and directories, and the way in which they are sent commands. It never
//! reads the log of a cluster: what is in it is known from the clients of the nodes.

mod clustered;

pub use clustered::Clustered;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{Directory, Process, free_ports, needs};

/// How long a server may take to start, or to promote a replica: Sentinels vote again after some
/// seconds if they do not agree.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a command may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The name by which Sentinels know the master.
const MASTER: &str = "main";

/// Lines of its log that an error shows.
const SHOWN: usize = 20;

/// A server of Redis, or a Sentinel.
#[derive(Debug)]
pub struct Server {
    process: Process,
    command: Command,
    /// Its address on loopback; its port is 0 if it has only a socket.
    pub address: SocketAddrV4,
    directory: Directory,
}

impl Server {
    /// A server of a test, on a socket, with further arguments. `None` where Redis is not
    /// installed: then the test is to end.
    ///
    /// # Panics
    ///
    /// It does not answer; or it is not installed, in CI.
    pub fn of_test(args: &[&str]) -> Option<Server> {
        let start = || Server::start(&[], 0, args).expect("redis-server starts");
        needs("redis-server", "redis-server").then(start)
    }

    /// Starts a server without persistence, on a unix socket and on a port unless that is 0, with
    /// further arguments. `prefix` are words before the command.
    pub fn start(prefix: &[String], port: u16, args: &[&str]) -> Result<Server, String> {
        let port_text = port.to_string();
        let settings = ["--port", &port_text, "--bind", "127.0.0.1", "--save", ""];
        let more = ["--appendonly", "no", "--repl-diskless-sync-delay", "0"];
        let words = ["redis-server"].iter().chain(&settings).chain(&more);
        let words: Vec<&str> = words.chain(args).copied().collect();
        Server::launch(prefix, port, &words, Directory::new())
    }

    fn start_sentinel(
        prefix: &[String],
        port: u16,
        master: u16,
        quorum: usize,
    ) -> Result<Server, String> {
        let directory = Directory::new();
        // It is written by the Sentinel too.
        let file = directory.write(
            "sentinel.conf",
            format!(
                "port {port}\nbind 127.0.0.1\n\
                 sentinel monitor {MASTER} 127.0.0.1 {master} {quorum}\n\
                 sentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 4000\n"
            ),
        );
        let words = ["redis-server", &file.display().to_string(), "--sentinel"];
        Server::launch(prefix, port, &words, directory)
    }

    fn launch(
        prefix: &[String],
        port: u16,
        words: &[&str],
        directory: Directory,
    ) -> Result<Server, String> {
        let socket = directory.path("socket").display().to_string();
        let dir = directory.root().display().to_string();
        let all = prefix
            .iter()
            .map(|word| &**word)
            .chain(words.iter().copied());
        let all: Vec<&str> = all
            .chain(["--dir", &dir, "--unixsocket", &socket])
            .collect();
        let log = File::create(directory.path("log")).map_err(text)?;
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(text)?).stderr(log);
        let process = Process::start(&mut command).map_err(text)?;
        let mut server = Server {
            process,
            command,
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            directory,
        };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Waits until it has loaded its data and answers commands.
    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        // Whatever it answers, such as that it wants a password.
        while !self
            .ask("PING")
            .is_ok_and(|answer| !answer.is_empty() && !answer.starts_with("-LOADING"))
        {
            if !self.process.runs() || Instant::now() > deadline {
                return Err(format!("redis-server does not answer: {}", self.output()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path("socket")
    }

    /// The `--engine` of a node that reaches it by its socket.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The directory in which it is, for files of a test.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Sends a command in one line, with words in quotes where they need it, and returns the
    /// beginning of what is answered.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        write!(stream, "{command}\r\n")?;
        let mut buffer = [0; 4_096];
        let length = stream.read(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Sends a command that must not be refused.
    ///
    /// # Errors
    ///
    /// It is refused, or there is no answer in time.
    pub fn tell(&self, command: &str) -> Result<(), String> {
        match self.ask(command).map_err(text)? {
            answer if answer.is_empty() || answer.starts_with('-') => {
                Err(format!("{command} was answered {answer:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        self.process.signal(signal).map_err(text)
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) -> Result<(), String> {
        self.process.kill().map_err(text)
    }

    /// Starts it again after it was killed.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.process = Process::start(&mut self.command).map_err(text)?;
        self.wait_until_it_answers()
    }

    fn is_master(&self) -> bool {
        let role = self.ask("ROLE");
        role.is_ok_and(|role| role.contains("\r\nmaster\r\n"))
    }

    fn is_replica(&self) -> bool {
        self.ask("ROLE")
            .is_ok_and(|role| role.contains("connected"))
    }

    /// The last lines of its log.
    fn output(&self) -> String {
        let log = fs::read_to_string(self.directory.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

/// One server, or a master and a replica, with the Sentinels that watch them if there are any.
#[derive(Debug)]
pub struct Servers {
    /// The server; or the master, and the replica.
    pub servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Servers {
    /// One server on a port, with words before its command and arguments after it.
    pub fn alone(prefix: &[String], args: &[&str]) -> Result<Servers, String> {
        let [address] = free_ports().map_err(text)?;
        Ok(Servers {
            servers: vec![Server::start(prefix, address.port(), args)?],
            sentinels: Vec::new(),
        })
    }

    /// A master and a replica of a test, watched by one Sentinel. `None` where Redis is not
    /// installed: then the test is to end.
    ///
    /// # Panics
    ///
    /// They do not answer; or Redis is not installed, in CI.
    pub fn of_test() -> Option<Servers> {
        let start = || Servers::replicated(1, &[], &[]).expect("they start");
        needs("redis-server", "redis-server").then(start)
    }

    /// A master and a replica, watched by so many Sentinels, of which more than half have to agree.
    ///
    /// # Errors
    ///
    /// They do not answer, or do not find each other.
    pub fn replicated(
        sentinels: usize,
        prefix: &[String],
        args: &[&str],
    ) -> Result<Servers, String> {
        let mut all = Servers::alone(prefix, args)?;
        let [address] = free_ports().map_err(text)?;
        all.servers
            .push(Server::start(prefix, address.port(), args)?);
        all.follow(1, 0)?;
        let master = all.servers[0].address.port();
        for _ in 0..sentinels {
            let [address] = free_ports().map_err(text)?;
            let (port, quorum) = (address.port(), sentinels / 2 + 1);
            let sentinel = Server::start_sentinel(prefix, port, master, quorum)?;
            all.sentinels.push(sentinel);
        }
        let is_known = |sentinel: &Server| {
            let quorum = sentinel.ask(&format!("SENTINEL CKQUORUM {MASTER}"));
            let usable = format!("+OK {sentinels} usable");
            let replicas = sentinel.ask(&format!("SENTINEL REPLICAS {MASTER}"));
            quorum.is_ok_and(|answer| answer.starts_with(&usable))
                && replicas.is_ok_and(|answer| answer.starts_with("*1"))
        };
        wait_until("the Sentinels have not found each other", || {
            all.sentinels.iter().all(is_known)
        })?;
        Ok(all)
    }

    /// The `--engine` of a node that asks the Sentinels, if there are any, or else reaches the
    /// single server at an address.
    pub fn url(&self, address: SocketAddrV4) -> String {
        if self.sentinels.is_empty() {
            return format!("redis://{address}");
        }
        let sentinels = self.sentinels.iter();
        let sentinels: Vec<String> = sentinels.map(|each| each.address.to_string()).collect();
        format!("redis+sentinel://{}/{MASTER}", sentinels.join(","))
    }

    /// The place of the master.
    pub fn master(&self) -> Result<usize, String> {
        let place = self.servers.iter().position(Server::is_master);
        place.ok_or_else(|| "there is no master".into())
    }

    /// Makes a server the replica of the other one, and waits until it is.
    ///
    /// # Errors
    ///
    /// It refuses, or has not become that in time.
    pub fn follow(&self, replica: usize, master: usize) -> Result<(), String> {
        let address = self.servers[master].address;
        let (ip, port) = (address.ip(), address.port());
        self.servers[replica].tell(&format!("REPLICAOF {ip} {port}"))?;
        self.wait_for_replica(replica)
    }

    /// Tells a Sentinel to promote the replica.
    pub fn fail_over(&self) -> Result<(), String> {
        self.sentinels[0].tell(&format!("SENTINEL FAILOVER {MASTER}"))
    }

    /// Waits until a server is master.
    pub fn wait_for_master(&self, place: usize) -> Result<(), String> {
        wait_until("the replica was not promoted", || {
            self.servers[place].is_master()
        })
        .map_err(|error| format!("{error}\n{}", self.state()))
    }

    /// Waits until a server is the replica of the other one.
    pub fn wait_for_replica(&self, place: usize) -> Result<(), String> {
        wait_until("the server has not become a replica", || {
            self.servers[place].is_replica()
        })
        .map_err(|error| format!("{error}\n{}", self.state()))
    }

    /// Waits until the replica has a key.
    pub fn wait_for_key(&self, key: &str) -> Result<(), String> {
        let command = format!("EXISTS {key}");
        let has_it = || self.servers[1].ask(&command).is_ok_and(|n| n == ":1\r\n");
        wait_until("the replica has not got a key", has_it)
    }

    /// The state of the servers and of a Sentinel, for a run that cannot continue.
    fn state(&self) -> String {
        let servers = self.servers.iter();
        let roles = servers.map(|server| format!("{:?}", server.ask("ROLE")));
        let sentinel = self.sentinels.first().map(Server::output);
        roles.chain(sentinel).collect::<Vec<_>>().join("\n")
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

fn text(error: impl ToString) -> String {
    error.to_string()
}
