//! A producer that can be stopped between two bytes, and goes on, here or in another process.
//!
//! Owns the thread, and the descriptor that it reads. It waits for bytes and for the word to stop
//! at once, so that it takes no byte that it does not hand over.

use std::fs::File;
use std::io::{self, BufRead, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::stdin::{Feeder, Lines, Part, Stop};
use crate::inbox::{Publication, Publisher};

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// The input that a producer has read and not published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rest {
    /// The line that is being read.
    part: Part,
    /// Bytes after it.
    read: Vec<u8>,
}

/// The reactor's side of a producer.
#[derive(Debug)]
pub(crate) struct Producer {
    is_asked: Arc<AtomicBool>,
    wake: PipeWriter,
    rests: Receiver<Rest>,
    go_on: Sender<()>,
    has_asked: bool,
    /// The input that was left when it paused; `None`: it has not paused; `Some(None)`: its input
    /// has ended.
    paused: Option<Option<Rest>>,
}

impl Producer {
    /// Starts a thread that publishes the lines of a descriptor, after what another one has left.
    /// If it `is_paused`, [`Producer::go_on`] lets it begin. `bell` is rung when it has paused.
    ///
    /// # Errors
    ///
    /// There is no pipe or no thread.
    pub(crate) fn start(
        source: OwnedFd,
        lines: Lines,
        rest: Rest,
        is_paused: bool,
        publisher: Publisher,
        bell: impl Fn() + Send + 'static,
    ) -> io::Result<Producer> {
        let (woken, wake) = io::pipe()?;
        let (to_reactor, rests) = bounded(1);
        let (go_on, goes_on) = bounded(1);
        let is_asked = Arc::new(AtomicBool::new(false));
        let mut input = Input {
            source: source.into(),
            read: rest.read,
            taken: 0,
            is_asked: Arc::clone(&is_asked),
            woken,
        };
        let mut feeder = Feeder::new(rest.part.clone());
        let run = move || {
            if is_paused && goes_on.recv().is_err() {
                return;
            }
            let max_message_bytes = || publisher.max_message_bytes();
            let mut publish = |draft| publisher.send(Publication::from(draft));
            loop {
                let stop = feeder.run(&mut input, &lines, max_message_bytes, &mut publish);
                let rest = Rest {
                    part: feeder.part().clone(),
                    read: input.read[input.taken..].to_vec(),
                };
                let is_over = matches!(stop, Stop::Ended) || to_reactor.send(rest).is_err();
                if is_over {
                    break;
                }
                bell();
                if goes_on.recv().is_err() {
                    break;
                }
            }
            // The reactor may wait for it.
            drop(to_reactor);
            bell();
        };
        let thread = thread::Builder::new().name("stdin".into());
        // It is not joined, because it may be blocked when the server ends.
        thread.spawn(run)?;
        Ok(Producer {
            is_asked,
            wake,
            rests,
            go_on,
            has_asked: false,
            paused: is_paused.then(|| Some(Rest::default())),
        })
    }

    /// Asks it to pause.
    pub(crate) fn pause(&mut self) {
        if self.paused.is_none() && !self.has_asked {
            self.has_asked = true;
            self.is_asked.store(true, Ordering::Release);
            // Without a reader the thread has ended.
            let _ = self.wake.write_all(&[0]);
        }
    }

    /// Whether it has paused.
    pub(crate) fn is_paused(&mut self) -> bool {
        if self.paused.is_none() {
            self.paused = match self.rests.try_recv() {
                Ok(rest) => Some(Some(rest)),
                Err(TryRecvError::Disconnected) => Some(None),
                Err(TryRecvError::Empty) => None,
            };
        }
        self.paused.is_some()
    }

    /// The input that was left when it paused; `None` if its input has ended.
    pub(crate) fn rest(&self) -> Option<&Rest> {
        self.paused.as_ref()?.as_ref()
    }

    /// Lets it go on, also if it has not paused yet.
    pub(crate) fn go_on(&mut self) {
        let has_asked = mem::take(&mut self.has_asked);
        // One of both takes the word back. If it was the thread, it pauses in no time.
        if self.paused.is_none() && has_asked && !self.is_asked.swap(false, Ordering::AcqRel) {
            self.paused = Some(self.rests.recv().ok());
        }
        if let Some(Some(_)) = self.paused {
            self.paused = None;
            // It takes one word for each pause.
            let _ = self.go_on.send(());
        }
    }
}

/// A descriptor that is read until the thread is asked to pause.
struct Input {
    source: File,
    read: Vec<u8>,
    /// How many bytes of `read` are taken.
    taken: usize,
    is_asked: Arc<AtomicBool>,
    woken: PipeReader,
}

impl Input {
    /// Waits for bytes.
    ///
    /// # Errors
    ///
    /// It is to pause: that is the one that would block.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            self.check()?;
            let mut both = [
                PollFd::new(&self.source, PollFlags::IN),
                PollFd::new(&self.woken, PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Ok(_) if !both[1].revents().is_empty() => self.woken.read_exact(&mut [0])?,
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.is_asked.swap(false, Ordering::AcqRel) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        while self.taken == self.read.len() {
            self.wait()?;
            self.read.resize(READ_BYTES, 0);
            self.taken = 0;
            let read = self.source.read(&mut self.read);
            self.read.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                // Another reader was faster.
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.read[self.taken..])
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

fn is_transient(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
    kinds.contains(&error.kind())
}

#[cfg(test)]
mod tests;
