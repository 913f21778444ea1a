//! The process of a server: started pinned, with all the descriptors there may be, and ended with
//! the process that started it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use encke_test_rig::{Directory, free_ports};
use rustix::process::{Pid, Signal};

use super::Description;
use super::running::Running;
use crate::command::text;
use crate::{measure, net};

/// Longest time until a server accepts its first connection.
const START_TIME: Duration = Duration::from_secs(20);

/// A running server.
pub struct Server {
    /// Its description.
    pub description: Description,
    /// The address of its first port.
    pub address: SocketAddrV4,
    /// The address of its second port.
    pub second: SocketAddrV4,
    /// The address of the application behind it, if it has one.
    behind: SocketAddrV4,
    running: Option<Running>,
    application: Option<Child>,
    dir: Directory,
}

impl Server {
    /// Starts a server, or finds the one that runs, and waits until it accepts connections.
    ///
    /// An application that it needs runs on `cpu_beside`.
    pub fn start(
        description: Description,
        cpu: Option<usize>,
        cpu_beside: Option<usize>,
    ) -> Result<Server, String> {
        if let Some(address) = description.address {
            if !address.ip().is_loopback() {
                return Err(format!("{address} is not on loopback"));
            }
            return Ok(Server {
                description,
                address,
                second: address,
                behind: address,
                running: None,
                application: None,
                dir: Directory::new(),
            });
        }
        if let Some(missing) = description.missing() {
            return Err(format!("{} is {missing}", description.name));
        }
        let [address, second, behind] =
            free_ports().map_err(|error| format!("no free port: {error}"))?;
        let mut server = Server {
            description,
            address,
            second,
            behind,
            running: None,
            application: None,
            dir: Directory::new(),
        };
        server
            .launch(cpu, cpu_beside)
            .map_err(|error| format!("{} cannot be started: {error}", server.description.name))?;
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    fn launch(&mut self, cpu: Option<usize>, cpu_beside: Option<usize>) -> io::Result<()> {
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
        if !self.description.application.is_empty() && self.application.is_none() {
            let application = self.spawn(&self.description.application, cpu_beside, &log)?;
            self.application = Some(application);
        }
        let child = self.spawn(&self.description.command, cpu, &log)?;
        self.running = Some(Running::new(&child)?);
        Ok(())
    }

    fn spawn(&self, words: &[String], cpu: Option<usize>, log: &File) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("launch");
        if let Some(cpu) = cpu {
            command.arg("--cpu").arg(cpu.to_string());
        }
        command.arg("--");
        command.args(words.iter().map(|word| self.fill(word)));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()
    }

    fn log(&self) -> PathBuf {
        self.dir.path("server.log")
    }

    /// Its standard output and standard error so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Sends a signal to the process that was started.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.running {
            Some(running) => running.signal(signal),
            None => Ok(()),
        }
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.running {
            Some(running) => running.ended(),
            None => Ok(None),
        }
    }

    /// Kills it, or has it drain, and waits for its end.
    pub fn end(&mut self, by_force: bool, patience: Duration) -> Result<ExitStatus, String> {
        let signal = match by_force {
            true => Signal::KILL,
            false => Signal::TERM,
        };
        self.signal(signal).map_err(text)?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended().map_err(text)? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let (name, output) = (&self.description.name, self.output());
                return Err(format!("{name} did not end within its drain\n{output}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it hand over to a new process of the same program, which is the server from then on.
    pub fn upgrade(&mut self, patience: Duration) -> Result<(), String> {
        match &mut self.running {
            Some(running) => running.upgrade(patience),
            None => Err("it was not started here".into()),
        }
    }

    /// Starts one that has ended again, where it was.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.launch(None, None)
            .map_err(|error| format!("{} cannot be started: {error}", self.description.name))?;
        self.wait_until_it_accepts()
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.address.port().to_string())
            .replace("{port2}", &self.second.port().to_string())
            .replace("{port3}", &self.behind.port().to_string())
            .replace("{dir}", &self.dir.root().to_string_lossy())
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIME;
        let mut addresses = vec![self.address];
        if self.description.publish.second_port {
            addresses.push(self.second);
        }
        if self.application.is_some() {
            addresses.push(self.behind);
        }
        for address in addresses {
            while TcpStream::connect(address).is_err() {
                let ended = self.ended().ok().flatten();
                if ended.is_some() || Instant::now() > deadline {
                    let log = self.output();
                    return Err(format!("{} did not start: {log}", self.description.name));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// Its processes: the one that was started and all below it.
    pub fn processes(&self) -> Vec<u32> {
        match &self.running {
            Some(running) => measure::descendants(running.id()),
            None => Vec::new(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            kill_all(running.id());
            // What cannot be awaited has ended.
            let _ = running.wait();
        }
        if let Some(mut application) = self.application.take() {
            kill_all(application.id());
            let _ = application.wait();
        }
    }
}

/// Kills a process and all below it. One that has ended meanwhile is as it should be.
fn kill_all(root: u32) {
    for process in measure::descendants(root).into_iter().rev() {
        if let Some(pid) = Pid::from_raw(process as i32) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The part in which a tool starts itself to become the server.
#[derive(Args)]
pub struct Launch {
    /// CPU to stay on
    #[arg(long)]
    cpu: Option<usize>,
    /// Program and arguments
    #[arg(last = true)]
    command: Vec<String>,
}

impl Launch {
    /// Becomes a server: pinned, with all descriptors, to end with its parent. Returns if it
    /// cannot.
    pub fn run(&self) -> io::Error {
        net::raise_file_limit();
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return error.into();
        }
        if let Some(Err(error)) = self.cpu.map(net::pin) {
            return error;
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return io::Error::other("no command");
        };
        Command::new(find_program(program)).args(arguments).exec()
    }
}

/// A program of this workspace lies beside this one; others are found as usual.
pub(super) fn find_program(name: &str) -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|this| this.parent().map(|dir| dir.join(name)));
    match beside {
        Some(path) if !name.contains('/') && path.exists() => path,
        _ => PathBuf::from(name),
    }
}
