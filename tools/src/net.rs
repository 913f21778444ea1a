//! Sockets, epoll, the clock and what a process may use: the thin layer over system calls.
//!
//! Everything here is non-blocking and over IPv4, since all load stays on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::CpuSet;
use rustix::time::{ClockId, Timespec};
use socket2::{Domain, Socket, Type};

/// The machine's monotonic clock in nanoseconds, the same in all processes.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Raises the limit on open files as far as this process may; the limit now in force.
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

/// Asks for the processor before others; only where that is allowed.
pub fn be_eager() {
    // Without the right to, delays hold what other processes take.
    let _ = rustix::process::setpriority_process(None, -20);
}

/// Asks for the processor as programs usually do, which a process started by an eager one does not.
pub fn be_ordinary() {
    // To ask for less is allowed; without the right to ask for more, nobody has done so.
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

/// Listens on an address.
pub fn listen(address: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = tcp()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 4_096)?;
    Ok(socket)
}

/// The next connection that waits to be accepted, if one does.
pub fn accept(listener: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match rustix::net::accept_with(listener, flags) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
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

/// Reads once from a pipe.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Read {
    read_by(|| rustix::io::read(&fd, &mut *buffer))
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
