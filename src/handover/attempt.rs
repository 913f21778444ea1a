//! The old side: a thread that starts the new process, introduces itself, and waits until it is
//! ready.
//!
//! Owns the new process: unless everything was handed over to it, it is killed and awaited, and the
//! log says why. The thread does what may block, so that the old process serves on meanwhile.

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

/// How long the end of a process that has failed may take.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// An upgrade that is under way. Dropping it ends the new process.
#[derive(Debug)]
pub(crate) struct Attempt {
    channel: Channel,
    until: Instant,
    news: Receiver<Result<Started, Failure>>,
    end: Sender<Failure>,
    /// Nothing comes here: it is closed when the thread has ended.
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
pub(crate) struct Started {
    pub(crate) pid: u32,
    pub(crate) version: String,
}

impl Attempt {
    /// Starts a program and says hello, with the descriptors that go with it. `bell` is rung when
    /// there is news.
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
            // If nobody hears it, the attempt is over.
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

    /// Whether the new process is ready, once that is known.
    pub(crate) fn news(&self) -> Option<Result<Started, Failure>> {
        self.news.try_recv().ok()
    }

    /// The end of its time.
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
        // The thread takes one.
        let _ = self.end.send(failure);
        Ending(self.ended)
    }

    /// Ends a new process that was told to serve and has ended, or is about to.
    pub(crate) fn lose(self) {
        self.channel.close();
        // The thread ends the process, and has nothing to log.
        drop(self.end);
        Ending(self.ended).wait();
    }

    /// Lets the new process go on by itself: it serves, and hears that this one has said so to whom
    /// it concerns.
    pub(crate) fn succeed(self) {
        self.channel.close();
        // The thread waits for what never comes, until this process ends.
        mem::forget(self.end);
    }
}

/// What the thread begins with.
struct Starting {
    program: Program,
    channel: Channel,
    hello: Hello,
    descriptors: Vec<OwnedFd>,
    until: Instant,
}

impl Starting {
    fn run(self, socket: OwnedFd, child: &mut Option<Child>) -> Result<Started, Failure> {
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
        let version = ready.version;
        Ok(Started { pid, version })
    }

    fn introduce(&self, waiting: &mut Waiting<'_>) -> Result<Ready, Failure> {
        let broken = |fault| Failure::Broken(fault, "before it was ready");
        let hello = Message::Hello(self.hello.clone());
        let descriptors = self.descriptors.iter().map(AsFd::as_fd);
        let said = self.channel.send(&hello, &[], waiting);
        let said = said.and_then(|()| self.channel.send_descriptors(descriptors, waiting));
        // One that has ended may have said why.
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

/// Ends the new process, and says how it ended.
fn end_child(mut child: Child) -> String {
    // It fails if the process has ended by itself.
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

/// Logs why an upgrade did not even begin.
pub(crate) fn report(failure: &Failure) {
    report_with(failure, None);
}
