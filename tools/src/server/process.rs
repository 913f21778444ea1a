//! The process of a server: started pinned, with all the descriptors there may be, and ended with
//! the process that started it.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::Description;
use crate::{measure, net};

/// How long a server may take to accept its first connection.
const START_TIME: Duration = Duration::from_secs(20);

/// So that each has a directory of its own.
static STARTED: AtomicU32 = AtomicU32::new(0);

const FIRST_PORT: u16 = 20_000;

const PORTS: u16 = 12_000;

/// A running server.
pub struct Server {
    /// Its description.
    pub description: Description,
    /// Where it serves.
    pub address: SocketAddrV4,
    /// Where it serves what is asked on the second port.
    pub second: SocketAddrV4,
    child: Option<Child>,
    dir: PathBuf,
}

impl Server {
    /// Starts a server, or finds the one that runs, and waits until it accepts connections.
    pub fn start(description: Description, cpu: Option<usize>) -> Result<Server, String> {
        if let Some(address) = description.address {
            if !address.ip().is_loopback() {
                return Err(format!("{address} is not on loopback"));
            }
            return Ok(Server {
                description,
                address,
                second: address,
                child: None,
                dir: PathBuf::new(),
            });
        }
        let (address, second) = free_ports().map_err(|error| format!("no free port: {error}"))?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("encke-tools-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let mut server = Server {
            description,
            address,
            second,
            child: None,
            dir,
        };
        server
            .launch(cpu)
            .map_err(|error| format!("{} cannot be started: {error}", server.description.name))?;
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    fn launch(&mut self, cpu: Option<usize>) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        for (path, text) in &self.description.files {
            let path = PathBuf::from(self.fill(path));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, self.fill(text))?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("launch");
        if let Some(cpu) = cpu {
            command.arg("--cpu").arg(cpu.to_string());
        }
        command.arg("--");
        command.args(self.description.command.iter().map(|word| self.fill(word)));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// What it has written on standard output and standard error.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Sends a signal to the process that was started.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.child.as_ref().map(Pid::from_child) {
            Some(pid) => Ok(rustix::process::kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait(),
            None => Ok(None),
        }
    }

    /// Starts one that has ended again, where it was.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.launch(None)
            .map_err(|error| format!("{} cannot be started: {error}", self.description.name))?;
        self.wait_until_it_accepts()
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.address.port().to_string())
            .replace("{port2}", &self.second.port().to_string())
            .replace("{dir}", &self.dir.to_string_lossy())
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIME;
        while TcpStream::connect(self.address).is_err() {
            let ended = match &mut self.child {
                Some(child) => child.try_wait().ok().flatten(),
                None => None,
            };
            if ended.is_some() || Instant::now() > deadline {
                let log = self.output();
                return Err(format!("{} did not start: {log}", self.description.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its processes: the one that was started and all below it.
    pub fn processes(&self) -> Vec<u32> {
        match &self.child {
            Some(child) => measure::descendants(child.id()),
            None => Vec::new(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        for process in measure::descendants(child.id()).into_iter().rev() {
            if let Some(pid) = Pid::from_raw(process as i32) {
                // One that has ended meanwhile is as it should be.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        let _ = child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Two ports that nobody uses, below those that the kernel gives to connections: or those of
/// thousands of clients would be in a server's way.
fn free_ports() -> io::Result<(SocketAddrV4, SocketAddrV4)> {
    let first = (net::now_ns() / 1_000 % u64::from(PORTS)) as u16;
    let ports = (0..PORTS).map(|step| FIRST_PORT + (first + step) % PORTS);
    // Held until both are found.
    let mut free = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok());
    let (Some(one), Some(two)) = (free.next(), free.next()) else {
        return Err(io::Error::other("all are taken"));
    };
    let address = |listener: &TcpListener| -> io::Result<SocketAddrV4> {
        let port = listener.local_addr()?.port();
        Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    };
    Ok((address(&one)?, address(&two)?))
}

/// Becomes a server: pinned, with all descriptors, to end with its parent. Returns if it cannot.
pub fn launch(cpu: Option<usize>, command: &[String]) -> io::Error {
    net::raise_file_limit();
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    if let Some(Err(error)) = cpu.map(net::pin) {
        return error;
    }
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::other("no command");
    };
    Command::new(find_program(program)).args(arguments).exec()
}

/// A program of this workspace lies beside this one; others are found as usual.
fn find_program(name: &str) -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|this| this.parent().map(|dir| dir.join(name)));
    match beside {
        Some(path) if !name.contains('/') && path.exists() => path,
        _ => PathBuf::from(name),
    }
}
