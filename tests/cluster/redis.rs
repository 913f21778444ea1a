//! A Redis of a test: a process of its own, on a unix socket in a directory of its own.
//!
//! Owns the process and the directory; both are gone when it is dropped.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct RedisServer {
    dir: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

/// Whether Redis is installed. In CI it must be.
pub(crate) fn is_installed() -> bool {
    let version = Command::new("redis-server").arg("--version").output();
    let is_installed = version.is_ok();
    assert!(
        is_installed || std::env::var_os("CI").is_none(),
        "redis-server is missing"
    );
    is_installed
}

/// A master and its replica, on ports of their own, and a Sentinel that watches them.
pub(crate) struct Watched {
    pub(crate) master: RedisServer,
    replica: RedisServer,
    sentinel: RedisServer,
    sentinel_port: String,
}

impl Watched {
    pub(crate) fn start() -> Watched {
        let [master_port, replica_port, sentinel_port] = [(); 3].map(|()| free_port());
        let master = RedisServer::start(&["--port", &master_port]);
        let replica = RedisServer::start(&["--port", &replica_port]);
        let follow = ["REPLICAOF", "127.0.0.1", &master_port];
        replica.ask(&follow).expect("OK");
        let sentinel = RedisServer::start_sentinel(&format!(
            "port {sentinel_port}\n\
             sentinel monitor main 127.0.0.1 {master_port} 1\n\
             sentinel down-after-milliseconds main 2000\n\
             sentinel failover-timeout main 3000\n"
        ));
        Watched {
            master,
            replica,
            sentinel,
            sentinel_port,
        }
    }

    /// Its URL. The first Sentinel in it does not answer, so that the next one is asked.
    pub(crate) fn url(&self) -> String {
        let (nobody, port) = (free_port(), &self.sentinel_port);
        format!("redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{port}/main")
    }

    /// Waits until the replica has a key, and the Sentinel knows the replica.
    pub(crate) fn until_replicated(&self, key: &str) {
        let begun = Instant::now();
        let has_key = || self.replica.ask(&["EXISTS", key]) == Ok(redis::Value::Int(1));
        let replicas = || self.sentinel.ask(&["SENTINEL", "REPLICAS", "main"]);
        let is_known = || matches!(replicas(), Ok(redis::Value::Array(all)) if !all.is_empty());
        while !has_key() || !is_known() {
            assert!(begun.elapsed() < START_TIMEOUT, "it is replicated");
            std::thread::yield_now();
        }
    }
}

/// A directory for one server.
fn new_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("encke-redis-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// A port that was free just now. It is below those that the system gives to outgoing connections,
/// of which tests that run beside this one have many. So is the one above it by 10,000, which a
/// server of a Redis Cluster takes too, and which was free as well.
pub(crate) fn free_port() -> String {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let ports = std::iter::repeat_with(|| fastrand::u16(10_000..22_000));
    let mut free = ports.filter(|port| is_free(*port) && is_free(port + 10_000));
    free.next().expect("there is no end").to_string()
}

impl RedisServer {
    /// Starts a server without persistence, on its socket and no port, with further arguments.
    pub(crate) fn start(args: &[&str]) -> RedisServer {
        let dir = new_dir();
        let mut all = ["--port", "0", "--save", "", "--appendonly", "no"].to_vec();
        all.extend(args);
        RedisServer::in_dir(dir, all.into_iter().map(String::from).collect())
    }

    /// Starts a Sentinel with these settings.
    pub(crate) fn start_sentinel(settings: &str) -> RedisServer {
        let dir = new_dir();
        let file = dir.join("sentinel.conf");
        // It is written by the Sentinel too.
        fs::write(&file, settings).expect("a file");
        let file = file.display().to_string();
        RedisServer::in_dir(dir, vec![file, "--sentinel".into()])
    }

    fn in_dir(dir: PathBuf, args: Vec<String>) -> RedisServer {
        let mut server = RedisServer {
            dir,
            args,
            child: None,
        };
        server.run();
        server
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    /// Its URL for `--engine`.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Starts it again after [`RedisServer::kill`].
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new("redis-server");
        command
            .args(&self.args)
            .arg("--dir")
            .arg(&self.dir)
            .arg("--unixsocket")
            .arg(self.socket())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("redis-server starts");
        // A thread reads its log, so that it never waits for that.
        let mut log = child.stdout.take().expect("it is a pipe");
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        let child = self.child.insert(child);
        let socket = self.dir.join("redis.sock");
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            // Such as when a port that was free is not any more.
            let ended = child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "redis-server has ended: {ended:?}");
            assert!(begun.elapsed() < START_TIMEOUT, "it listens");
            std::thread::yield_now();
        }
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }

    /// Stops it, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("it is ours");
    }

    /// Sends a command, and returns its answer.
    pub(crate) fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let address = redis::ConnectionAddr::Unix(self.socket());
        let client =
            redis::Client::open(redis::IntoConnectionInfo::into_connection_info(address)?)?;
        let mut connection = client.get_connection()?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
