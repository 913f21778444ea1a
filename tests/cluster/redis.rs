//! A Redis of a test: a process of its own, on a unix socket in a directory of its own.
//!
//! Owns the process and the directory; both are gone when it is dropped.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
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

/// A directory for one server.
fn new_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("encke-redis-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// A port that was free just now.
pub(crate) fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    address.port().to_string()
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

    /// Its directory, for files of a test.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
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
        self.child = Some(child);
        let begun = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
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
