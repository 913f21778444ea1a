//! The socket between the two processes.
//!
//! Owns its two ends. It keeps the boundaries of messages (`SOCK_SEQPACKET`), so each packet is one
//! message with its descriptors. No call waits beyond a deadline.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use thiserror::Error;

use super::message::Message;

/// The most descriptors of one packet: the kernel's `SCM_MAX_FD`.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// The longest message.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// The interval at which a waiting call runs [`Waiting::meanwhile`].
const SLICE: Duration = Duration::from_millis(50);

/// The pause before a packet is sent again, after the kernel refused it because too many
/// descriptors are in transit.
const CROWDED: Duration = Duration::from_millis(1);

/// The reason for which a message could not be sent or received.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// The other process has closed its end.
    #[error("the other process has ended")]
    Ended,
    /// The time is up.
    #[error("the time is up")]
    TimedOut,
    /// `Waiting::meanwhile` asked to stop waiting.
    #[error("it is given up")]
    GivenUp,
    /// The packet is not a message.
    #[error("a message cannot be read: {0}")]
    Unreadable(String),
    /// Another message was expected.
    #[error("{found} came instead of {expected}")]
    Unexpected {
        /// The message that came.
        found: &'static str,
        /// The message that was expected.
        expected: &'static str,
    },
    /// A system call failed.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Fault::Ended,
            errno => Fault::System(errno.into()),
        }
    }
}

/// The deadline of a call that waits, and what it does in the meantime.
pub(crate) struct Waiting<'a> {
    pub(crate) until: Instant,
    /// Called every 50 ms. Returns whether to wait on.
    pub(crate) meanwhile: &'a mut dyn FnMut() -> bool,
}

impl Waiting<'_> {
    /// Waits until a deadline, without doing anything else.
    pub(crate) fn until<T>(until: Instant, call: impl FnOnce(&mut Waiting<'_>) -> T) -> T {
        call(&mut Waiting {
            until,
            meanwhile: &mut || true,
        })
    }

    fn go_on(&mut self) -> Result<(), Fault> {
        if !(self.meanwhile)() {
            return Err(Fault::GivenUp);
        }
        match Instant::now() < self.until {
            true => Ok(()),
            false => Err(Fault::TimedOut),
        }
    }
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Two ends: one to keep, and one for the other process.
    pub(crate) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (socket, other) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Channel { socket }, other))
    }

    /// The end that the other process created and passed to this one.
    ///
    /// # Errors
    ///
    /// It is not such a socket.
    pub(super) fn of(socket: OwnedFd) -> io::Result<Channel> {
        let kind = rustix::net::sockopt::socket_type(&socket);
        let domain = rustix::net::sockopt::socket_domain(&socket);
        match (domain, kind) {
            (Ok(AddressFamily::UNIX), Ok(SocketType::SEQPACKET)) => Ok(Channel { socket }),
            _ => Err(io::Error::other(
                "standard input is not the socket of an upgrade",
            )),
        }
    }

    /// A duplicate of this end.
    pub(super) fn try_clone(&self) -> io::Result<Channel> {
        let socket = self.socket.try_clone()?;
        Ok(Channel { socket })
    }

    /// The descriptor, to be watched for the other process closing its end.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Shuts the socket down in both directions, for all duplicates of this end.
    pub(super) fn close(&self) {
        // It fails only if it is closed already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Stops receiving: the other process cannot send any more. Messages that it has sent can still
    /// be received, and this process can still send.
    pub(super) fn stop_receiving(&self) {
        // It fails only if it is closed already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }

    /// Sends a message with its descriptors.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
        waiting: &mut Waiting<'_>,
    ) -> Result<(), Fault> {
        debug_assert!(descriptors.len() <= MAX_DESCRIPTORS);
        let text = serde_json::to_vec(message).map_err(io::Error::other)?;
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(
                io::Error::other(format!("{} is too long to be sent", message.name())).into(),
            );
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                let is_pushed = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
                debug_assert!(is_pushed, "there is room for them");
            }
            let slices = [IoSlice::new(&text)];
            match rustix::net::sendmsg(&self.socket, &slices, &mut ancillary, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, waiting)?,
                // The other process has not received enough of the descriptors in transit.
                Err(Errno::TOOMANYREFS) => {
                    thread::sleep(CROWDED);
                    waiting.go_on()?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives the next message and its descriptors.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn receive(
        &self,
        waiting: &mut Waiting<'_>,
    ) -> Result<(Message, Vec<OwnedFd>), Fault> {
        let mut text = vec![0; MAX_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        loop {
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut text)];
            match rustix::net::recvmsg(&self.socket, &mut slices, &mut ancillary, flags) {
                Ok(received) => {
                    let mut descriptors = Vec::new();
                    for message in ancillary.drain() {
                        if let RecvAncillaryMessage::ScmRights(some) = message {
                            descriptors.extend(some);
                        }
                    }
                    if received.flags.contains(ReturnFlags::CTRUNC) {
                        let error = "descriptors were lost: is the file limit reached?";
                        return Err(io::Error::other(error).into());
                    }
                    if received.flags.contains(ReturnFlags::TRUNC) {
                        return Err(Fault::Unreadable("it is too long".into()));
                    }
                    if received.bytes == 0 {
                        return Err(Fault::Ended);
                    }
                    let message = serde_json::from_slice(&text[..received.bytes]);
                    let message = message.map_err(|error| Fault::Unreadable(error.to_string()))?;
                    return Ok((message, descriptors));
                }
                // The other end was closed with unread packets in it. The error is reported once;
                // packets that the other process had sent follow it.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, waiting)?,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends descriptors, as many per packet as the kernel allows. The other process has to receive
    /// them at the same time.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn send_descriptors<'fd>(
        &self,
        descriptors: impl IntoIterator<Item = BorrowedFd<'fd>>,
        waiting: &mut Waiting<'_>,
    ) -> Result<(), Fault> {
        let mut packet = Vec::with_capacity(MAX_DESCRIPTORS);
        let mut descriptors = descriptors.into_iter();
        loop {
            packet.clear();
            packet.extend(descriptors.by_ref().take(MAX_DESCRIPTORS));
            if packet.is_empty() {
                return Ok(());
            }
            let count = packet.len();
            self.send(&Message::Descriptors { count }, &packet, waiting)?;
        }
    }

    /// Receives `count` descriptors and passes each to `take`.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub(crate) fn receive_descriptors(
        &self,
        mut count: usize,
        waiting: &mut Waiting<'_>,
        mut take: impl FnMut(OwnedFd) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while count > 0 {
            let (message, descriptors) = self.receive(waiting)?;
            let Message::Descriptors { count: said } = message else {
                return Err(message.instead_of("descriptors"));
            };
            if said != descriptors.len() || said == 0 || said > count {
                return Err(Fault::Unreadable("descriptors are missing".into()));
            }
            count -= said;
            descriptors.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    fn wait(&self, what: PollFlags, waiting: &mut Waiting<'_>) -> Result<(), Fault> {
        let left = waiting.until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left.min(SLICE)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.socket, what)], Some(&timeout)) {
            Ok(0) => waiting.go_on(),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Message {
    /// The fault that this message came instead of the expected one.
    pub(crate) fn instead_of(&self, expected: &'static str) -> Fault {
        Fault::Unexpected {
            found: self.name(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests;
