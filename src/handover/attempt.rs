//! The side of the old process: a thread that starts the new process, sends the hello, and waits
//! until the new process is ready.
//!
//! Owns the new process: unless everything was handed over to it, the thread kills it, waits for
//! its end, and logs the reason. A thread does this because it may block, while the reactor of the
//! old process continues to serve.

use std::convert::Infallible;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::channel::{Channel, Fault, Waiting};
use super::failure::Failure;
use super::message::{Hello, Message, Ready};
use super::program::Program;

/// The longest wait for the end of a new process that has failed.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// An upgrade that is under way. Dropping it ends the new process.
#[derive(Debug)]
pub(crate) struct Attempt {
    channel: Channel,
    until: Instant,
    news: Receiver<Result<NewProcess, Failure>>,
    end: Sender<Failure>,
    /// No message comes through it. It is closed when the thread has ended.
    ended: Receiver<Infallible>,
}

/// An upgrade that has failed, and whose new process is being ended.
#[derive(Debug)]
pub(crate) struct Ending(Receiver<Infallible>);

impl Ending {
    /// Waits until the new process has ended, unless the system hangs.
    pub(crate) fn wait(self) {
        let _ = self.0.recv_timeout(END_TIMEOUT);
    }
}

/// The new process, which is ready.
#[derive(Clone, Debug)]
pub(crate) struct NewProcess {
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// The format in which it is to be given the state, one of those that were offered.
    pub(crate) format: u32,
}

impl Attempt {
    /// Starts a program and sends it the hello with its descriptors. `bell` is rung when
    /// [`Attempt::news`] has a result.
    ///
    /// # Errors
    ///
    /// There is no socket or no thread.
    pub(crate) fn begin(
        program: Program,
        hello: Hello,
        descriptors: Vec<OwnedFd>,
        until: Instant,
        bell: impl Fn() + Send + 'static,
    ) -> Result<Attempt, Failure> {
        let system = |error| Failure::System("cannot begin an upgrade", error);
        let (channel, socket) = Channel::pair().map_err(system)?;
        let (to_reactor, news) = bounded(1);
        let (end, ends) = bounded(1);
        let starting = Starting {
            program,
            channel: channel.try_clone().map_err(system)?,
            hello,
            descriptors,
            until,
        };
        let (is_running, ended) = bounded(0);
        let run = move || {
            let _is_running: Sender<Infallible> = is_running;
            let mut child = None;
            // Sending fails if the attempt was dropped; then no one needs the result.
            let _ = to_reactor.send(starting.run(socket, &mut child));
            bell();
            let failure = ends.recv();
            let status = child.map(end_child);
            if let Ok(failure) = failure {
                report_with(&failure, status);
            }
        };
        let thread = thread::Builder::new().name("upgrade".into());
        thread.spawn(run).map_err(system)?;
        Ok(Attempt {
            channel,
            until,
            news,
            end,
            ended,
        })
    }

    /// The result of the start, once it is known: the new process is ready, or has failed.
    pub(crate) fn news(&self) -> Option<Result<NewProcess, Failure>> {
        self.news.try_recv().ok()
    }

    /// The deadline of the upgrade.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// The socket to the new process.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Ends the new process, and logs why.
    pub(crate) fn fail(self, failure: Failure) -> Ending {
        self.channel.close();
        // The thread waits for one failure, and logs it.
        let _ = self.end.send(failure);
        Ending(self.ended)
    }

    /// Ends a new process that was sent `Go` and then failed.
    pub(crate) fn lose(self) {
        self.channel.close();
        // Without a failure the thread ends the process and logs nothing.
        drop(self.end);
        Ending(self.ended).wait();
    }

    /// Leaves the new process running: it serves, and this process has reported that to the service
    /// manager.
    pub(crate) fn succeed(self) {
        self.channel.close();
        // The thread waits for a failure that never comes, so the process is not killed.
        mem::forget(self.end);
    }
}

/// The arguments of the thread.
struct Starting {
    program: Program,
    channel: Channel,
    hello: Hello,
    descriptors: Vec<OwnedFd>,
    until: Instant,
}

impl Starting {
    fn run(self, socket: OwnedFd, child: &mut Option<Child>) -> Result<NewProcess, Failure> {
        let path = self.program.path().to_owned();
        let started = self.program.start(socket);
        let started = started.map_err(|error| Failure::Start { path, error })?;
        let pid = child.insert(started).id();
        let ready = Waiting::until(self.until, |waiting| self.introduce(waiting))?;
        if !self.hello.formats.contains(&ready.format) {
            let text = format!("it wants a format that is not offered: {}", ready.format);
            return Err(Failure::Broken(
                Fault::Unreadable(text),
                "before it was ready",
            ));
        }
        let Ready { version, format } = ready;
        Ok(NewProcess {
            pid,
            version,
            format,
        })
    }

    fn introduce(&self, waiting: &mut Waiting<'_>) -> Result<Ready, Failure> {
        let broken = |fault| Failure::Broken(fault, "before it was ready");
        let hello = Message::Hello(self.hello.clone());
        let descriptors = self.descriptors.iter().map(AsFd::as_fd);
        let said = self.channel.send(&hello, &[], waiting);
        let said = said.and_then(|()| self.channel.send_descriptors(descriptors, waiting));
        // A process that ends may have sent `Refused` with its reason before.
        if let Err(fault) = said
            && !matches!(fault, Fault::Ended)
        {
            return Err(broken(fault));
        }
        match self.channel.receive(waiting).map_err(broken)?.0 {
            Message::Ready(ready) => Ok(ready),
            Message::Refused { reason } => Err(Failure::Refused(reason)),
            other => Err(broken(other.instead_of("ready"))),
        }
    }
}

/// Ends the new process, and returns how it ended.
fn end_child(mut child: Child) -> String {
    // Killing fails if the process has ended by itself.
    let _ = child.kill();
    match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Logs why an upgrade failed, with how the new process ended, if there was one.
fn report_with(failure: &Failure, status: Option<String>) {
    match (failure, status) {
        (Failure::Drained, _) => log::info!("upgrade: given up, because the server drains"),
        (Failure::Broken(Fault::Ended, _), Some(status)) => {
            log::error!("upgrade: {failure} ({status}); this process serves on");
        }
        _ => log::error!("upgrade: {failure}; this process serves on"),
    }
}

/// Logs why an upgrade failed before a process was started.
pub(crate) fn report(failure: &Failure) {
    report_with(failure, None);
}
