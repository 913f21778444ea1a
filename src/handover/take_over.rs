//! The side of the new process: its standard input is the socket of an upgrade.
//!
//! Owns all that the new process receives before it is ready. Until it receives `go`, it changes
//! nothing that it shares with the old process.

use std::env;
use std::ffi::OsString;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::channel::{Channel, Fault, Waiting};
use super::message::{Cluster, FORMATS, Go, Hello, Listening, Message, Ready};
use super::oom_score::RaisedScore;
use super::{memory, program};
use crate::inherit::inherit;
use encke_core::config::Address;

/// How much longer than the old process this one waits. By then the old process has killed it, if
/// it is still there.
const GRACE: Duration = Duration::from_secs(5);

/// The longest wait for the hello, which gives the timeout of all the rest.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// The reason for which a server is not taken over. The old process continues to serve.
#[derive(Debug, Error)]
#[error("{what}: {detail}")]
pub struct TakeOverError {
    what: &'static str,
    detail: String,
}

impl TakeOverError {
    pub(crate) fn new(what: &'static str, detail: impl ToString) -> TakeOverError {
        let detail = detail.to_string();
        TakeOverError { what, detail }
    }
}

/// A running server of another process, which this process is to take over.
#[derive(Debug)]
pub struct TakeOver {
    channel: Channel,
    until: Instant,
    hello: Hello,
    opened: Vec<(Listening, OwnedFd)>,
    inherited: [Vec<Address>; 2],
    oom_score: Option<RaisedScore>,
}

/// A state that was handed over: its memory, and the number of descriptors that follow.
pub(crate) struct State {
    pub(crate) memory: std::fs::File,
    pub(crate) descriptors: usize,
}

impl TakeOver {
    /// Whether this process was started to take over.
    pub fn is_wanted() -> bool {
        env::var_os(program::VARIABLE).is_some_and(|value| !value.is_empty())
    }

    /// Receives the hello, and gives this process the standard input of the old one. Call it before
    /// anything else reads standard input.
    ///
    /// # Errors
    ///
    /// Standard input is not the socket of an upgrade, or the old process broke off.
    pub fn from_stdin() -> Result<TakeOver, TakeOverError> {
        let socket = rustix::stdio::stdin().try_clone_to_owned();
        let channel = socket.and_then(Channel::of);
        let channel =
            channel.map_err(|error| TakeOverError::new("cannot take over a server", error))?;
        let heard = Waiting::until(Instant::now() + HELLO_TIMEOUT, |waiting| {
            let (mut take_over, stdin) = TakeOver::hear(channel, waiting)?;
            rustix::stdio::dup2_stdin(stdin)?;
            take_over.oom_score = Some(RaisedScore::raise());
            Ok(take_over)
        });
        heard.map_err(|fault: Fault| TakeOverError::new("cannot take over a server", fault))
    }

    /// Returns it with the standard input of the old process.
    fn hear(channel: Channel, waiting: &mut Waiting<'_>) -> Result<(TakeOver, OwnedFd), Fault> {
        let mut hello = match channel.receive(waiting)?.0 {
            Message::Hello(hello) => hello,
            other => return Err(other.instead_of("hello")),
        };
        let mut descriptors = Vec::new();
        channel.receive_descriptors(1 + hello.opened.len(), waiting, |descriptor| {
            descriptors.push(descriptor);
            Ok(())
        })?;
        let mut descriptors = descriptors.into_iter();
        let Some(stdin) = descriptors.next() else {
            return Err(Fault::Unreadable("standard input is missing".into()));
        };
        let mut opened = Vec::new();
        let mut inherited = [Vec::new(), Vec::new()];
        for (how, fd) in mem::take(&mut hello.opened).into_iter().zip(descriptors) {
            match how {
                Listening::Here { .. } => opened.push((how, fd)),
                Listening::Inherited { is_control } => {
                    let address = Address::Inherited(inherit(fd)?);
                    inherited[usize::from(is_control)].push(address);
                }
            }
        }
        let until = Instant::now() + Duration::from_millis(hello.timeout_ms) + GRACE;
        let take_over = TakeOver {
            channel,
            until,
            hello,
            opened,
            inherited,
            oom_score: None,
        };
        Ok((take_over, stdin))
    }

    /// The sockets that a service manager had passed to the old process, for
    /// [`Config::listen`](crate::Config::listen) and for
    /// [`Config::control`](crate::Config::control).
    pub fn inherited(&self) -> [Vec<Address>; 2] {
        self.inherited.clone()
    }

    /// Tells the old process why this one cannot take over, so that its log says it.
    pub fn refuse(&self, reason: impl ToString) {
        let reason = reason.to_string();
        let refused = Message::Refused { reason };
        // If this is not received, the old process still notices the end of this one.
        let _ = self.wait(|waiting| self.channel.send(&refused, &[], waiting));
    }

    /// The version of the old process.
    pub(crate) fn version(&self) -> &str {
        &self.hello.version
    }

    /// The `--data-dir` of the old process.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        let bytes = self.hello.data_dir.clone()?;
        Some(OsString::from_vec(bytes).into())
    }

    /// The log of the cluster of which the old process is a node, if it is one.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.hello.cluster.as_ref()
    }

    /// The sockets on which the old process listens and that it has opened itself. Those that are
    /// not taken out are given up when this process serves.
    pub(crate) fn opened(&mut self) -> &mut Vec<(Listening, OwnedFd)> {
        &mut self.opened
    }

    /// Chooses a format that both processes know.
    ///
    /// # Errors
    ///
    /// No format is known to both.
    pub(crate) fn format(&self) -> Result<u32, TakeOverError> {
        let known = FORMATS
            .iter()
            .find(|format| self.hello.formats.contains(format));
        known.copied().ok_or_else(|| {
            let detail = format!(
                "encke {} writes {:?}, and this encke, {}, reads {FORMATS:?}: restart it instead",
                self.hello.version,
                self.hello.formats,
                env!("CARGO_PKG_VERSION"),
            );
            TakeOverError::new("the state has no format that both know", detail)
        })
    }

    /// Reports that this process is ready for a state in a format, and waits for the state.
    ///
    /// # Errors
    ///
    /// The old process broke off.
    pub(crate) fn ready(&self, format: u32) -> Result<State, TakeOverError> {
        let version = env!("CARGO_PKG_VERSION").into();
        let ready = Message::Ready(Ready { version, format });
        let state = self.wait(|waiting| {
            self.channel.send(&ready, &[], waiting)?;
            let (message, mut descriptors) = self.channel.receive(waiting)?;
            let Message::State {
                bytes,
                descriptors: count,
            } = message
            else {
                return Err(message.instead_of("state"));
            };
            let (Some(memory), true) = (descriptors.pop(), descriptors.is_empty()) else {
                return Err(Fault::Unreadable("its memory is missing".into()));
            };
            Ok(State {
                memory: memory::open(memory, bytes)?,
                descriptors: usize::try_from(count).unwrap_or(usize::MAX),
            })
        });
        state.map_err(|fault| TakeOverError::new("nothing is handed over", fault))
    }

    /// Takes the descriptors that follow a state.
    ///
    /// # Errors
    ///
    /// The old process broke off, or `take` failed.
    pub(crate) fn descriptors(
        &self,
        count: usize,
        take: impl FnMut(OwnedFd) -> Result<(), Fault>,
    ) -> Result<(), TakeOverError> {
        let taken = self.wait(|waiting| self.channel.receive_descriptors(count, waiting, take));
        taken.map_err(|fault| TakeOverError::new("descriptors are not handed over", fault))
    }

    /// Reports that everything was received, and waits for `Go`.
    ///
    /// # Errors
    ///
    /// `Go` was not received, and cannot come any more.
    pub(crate) fn taken(&self) -> Result<Go, TakeOverError> {
        let hear = |waiting: &mut Waiting<'_>| match self.channel.receive(waiting)?.0 {
            Message::Go(go) => Ok(go),
            other => Err(other.instead_of("go")),
        };
        let go = self.wait(|waiting| {
            self.channel.send(&Message::Taken, &[], waiting)?;
            hear(waiting)
        });
        let go = go.or_else(|fault| {
            // Either `Go` was sent before, and the old process has stopped serving, or it can no
            // longer be sent. So one of the two processes always serves.
            self.channel.stop_receiving();
            Waiting::until(Instant::now(), hear).map_err(|_| fault)
        });
        go.map_err(|fault| TakeOverError::new("the old process serves on", fault))
    }

    /// Tells the old process that this one serves.
    pub(crate) fn serving(&self) {
        if let Some(Err(error)) = self.oom_score.as_ref().map(RaisedScore::restore) {
            log::warn!("cannot set the OOM score back, so that it stays 1000: {error}");
        }
        // The old process waits only for a short time, and may have ended.
        let _ = Waiting::until(Instant::now(), |waiting| {
            self.channel.send(&Message::Serving, &[], waiting)
        });
    }

    /// The descriptor, to be watched for the end of the old process.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.channel.into_fd()
    }

    fn wait<T>(&self, call: impl FnOnce(&mut Waiting<'_>) -> T) -> T {
        Waiting::until(self.until, call)
    }
}

#[cfg(test)]
mod tests;
