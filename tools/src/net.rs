//! Sockets, the clock, and what a process may use: a thin layer over system calls.
//!
//! Everything here is non-blocking and over IPv4, since all load stays on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use mio::net::TcpListener;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::CpuSet;
use rustix::time::ClockId;
use socket2::{Domain, Socket, Type};

/// Returns the machine's monotonic clock in nanoseconds; it is the same in all processes.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The same in microseconds.
pub fn now_us() -> u64 {
    now_ns() / 1_000
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

/// Options of a client's socket.
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
    socket.set_tcp_nodelay(true)?;
    // BBR, where it is the default, holds requests back by a timer of each socket: a publish would
    // overtake the long polls that were sent before it. Reno is in every kernel.
    let _ = socket.set_tcp_congestion(b"reno");
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    if let Some(bytes) = options.receive_buffer {
        // Only now: with a tiny window from the start, the kernel sends in pieces of some hundred
        // bytes, which takes seconds of the server's time and is another attack.
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(socket.into())
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
