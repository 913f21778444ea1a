//! Sockets, the clock, and what a process may use: a thin layer over system calls.
//!
//! Everything here is non-blocking and over IPv4, since all load stays on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use mio::net::TcpListener;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::CpuSet;
use rustix::time::{ClockId, Timespec};
use socket2::{Domain, Socket, Type};

/// Returns the machine's monotonic clock in nanoseconds; it is the same in all processes.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Raises the limit on open files as far as this process may, and returns the limit in force.
pub fn raise_file_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Gives a process, this one or another, this limit on open files from now on.
pub fn limit_files(process: Option<Pid>, files: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(files),
        maximum: Some(files),
    };
    rustix::process::prlimit(process, Resource::Nofile, limit)?;
    Ok(())
}

/// Keeps this process, and the children it starts from now on, to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Raises this process's priority, where that is allowed.
pub fn be_eager() {
    // Otherwise delays include the time that other processes take.
    let _ = rustix::process::setpriority_process(None, -20);
}

/// Gives this process the usual priority, also if its parent has a higher one.
pub fn be_ordinary() {
    // Lowering it is always allowed; where raising it is not, the parent has not raised its own.
    let _ = rustix::process::setpriority_process(None, 0);
}

/// An epoll and room for its events.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    /// A poll that takes at most `room` events at once.
    pub fn new(room: usize) -> io::Result<Poll> {
        Ok(Poll {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(room),
        })
    }

    /// Watches a descriptor until it is closed.
    pub fn add(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token),
            flags,
        )?)
    }

    /// Changes what is watched.
    pub fn modify(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, fd, data, flags)?)
    }

    /// Waits for events, at most for the given time, and returns how many there are.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(self.events.len()),
            Err(error) => Err(error.into()),
        }
    }

    /// The token of an event of the last wait.
    pub fn token(&self, place: usize) -> u64 {
        self.events[place].data.u64()
    }

    /// What an event of the last wait says.
    pub fn flags(&self, place: usize) -> EventFlags {
        self.events[place].flags
    }
}

/// What is particular about a client's socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketOptions {
    /// Bytes of its receive buffer, and with it of the window that it offers; `None`: the system's
    /// choice. The system makes it no smaller than it allows.
    pub receive_buffer: Option<usize>,
}

/// Begins to connect from a source address; the socket is writable when that is done.
///
/// # Errors
///
/// There is no descriptor or no port to spare, or the address is refused at once.
pub fn begin_connect(
    from: Option<Ipv4Addr>,
    to: SocketAddrV4,
    options: SocketOptions,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    if let Some(from) = from {
        socket.bind(&SocketAddrV4::new(from, 0).into())?;
    }
    if let Some(bytes) = options.receive_buffer {
        // Before the connection, as the window's scale is settled with it.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_tcp_nodelay(true)?;
    // BBR, where it is the default, holds requests back by a timer of each socket: a publish would
    // overtake the long polls that were sent before it. Reno is in every kernel.
    let _ = socket.set_tcp_congestion(b"reno");
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

fn tcp() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Begins to connect from a source address; the socket is writable when that is done.
pub fn connect(from: Option<Ipv4Addr>, to: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = tcp()?;
    if let Some(from) = from {
        rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    // BBR, where it is the default, holds requests back by a timer of each socket: a publish would
    // overtake the long polls that were sent before it. Reno is in every kernel.
    let _ = sockopt::set_tcp_congestion(&socket, "reno");
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Makes a socket's window small, so that what its reader does not take fills the sender's side.
/// Much smaller, and a reader that takes everything would be slow.
pub fn set_small_window(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, 32 << 10)?)
}

/// Ends a connection by a reset.
pub fn reset(fd: OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?)
}

/// Says that nothing more will be sent.
pub fn finish_sending(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Write)?)
}

/// Listens on an address, without blocking.
///
/// # Errors
///
/// The address is in use, or not this machine's.
pub fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4_096)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Accepts the next connection that waits, if one does.
///
/// # Errors
///
/// There is no descriptor to spare.
pub fn accept(listener: &TcpListener) -> io::Result<Option<mio::net::TcpStream>> {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(error) => match error.kind() {
                WouldBlock => return Ok(None),
                Interrupted | ConnectionAborted => {}
                _ => return Err(error),
            },
        }
    }
}

/// What a read gave.
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end, in order or not.
    End,
}

/// Receives once from a socket.
pub fn receive(fd: impl AsFd, buffer: &mut [u8]) -> Read {
    read_by(|| {
        let (length, _) = rustix::net::recv(&fd, &mut *buffer, RecvFlags::empty())?;
        Ok(length)
    })
}

fn read_by(mut read: impl FnMut() -> rustix::io::Result<usize>) -> Read {
    loop {
        match read() {
            Ok(0) => return Read::End,
            Ok(length) => return Read::Bytes(length),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Read::Nothing,
            Err(_) => return Read::End,
        }
    }
}

/// Sends once to a socket; how much was taken.
pub fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::net::send(&fd, bytes, SendFlags::NOSIGNAL) {
            Ok(length) => return Ok(length),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
    }
}
