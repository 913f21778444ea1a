//! Listening sockets: made, bound, and made safe to accept from.
//!
//! Owns the options that matter, set once on the listener where Linux lets accepted sockets
//! inherit them: no delay (an event is one small write) and keep-alive.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use super::socket_file::SocketFile;
use encke_core::config::Address;
use encke_core::engine::Access;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 65_535;

/// When a silent TCP peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A listening socket. A unix socket's file is removed with it.
pub(super) struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) access: Access,
    pub(super) address: Address,
    /// Each of its connections begins with a PROXY protocol header.
    pub(super) is_proxied: bool,
    /// There may be connections to accept.
    pub(super) is_ready: bool,
    file: Option<SocketFile>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Before the descriptor is closed: see `SocketFile`.
        drop(self.file.take());
    }
}

impl Listener {
    /// Listens on an address; the files of unix sockets get `unix_mode`.
    pub(super) fn bind(
        address: &Address,
        access: Access,
        unix_mode: Option<u32>,
    ) -> io::Result<Listener> {
        let (inner, is_proxied) = match address {
            Address::Proxied(inner) => (&**inner, true),
            address => (address, false),
        };
        let (socket, file) = open(inner, unix_mode)?;
        socket.set_nonblocking(true)?;
        let bound = match socket.local_addr()?.as_socket() {
            Some(bound) if matches!(inner, Address::Tcp(_)) => Address::Tcp(bound),
            _ => inner.clone(),
        };
        Ok(Listener {
            fd: socket.into(),
            access,
            address: match is_proxied {
                true => Address::Proxied(bound.into()),
                false => bound,
            },
            is_proxied,
            is_ready: true,
            file,
        })
    }
}

/// A listening socket, and the file to be removed with it.
fn open(address: &Address, unix_mode: Option<u32>) -> io::Result<(Socket, Option<SocketFile>)> {
    match address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            set_inherited_options(&socket)?;
            socket.bind(&SockAddr::from(*address))?;
            socket.listen(BACKLOG)?;
            Ok((socket, None))
        }
        Address::Unix(path) => {
            let (socket, file) = SocketFile::listen(path, unix_mode)?;
            Ok((socket, Some(file)))
        }
        Address::Inherited(inherited) => {
            let socket = Socket::from(inherited.as_fd().try_clone_to_owned()?);
            if inherited.ip_address().is_some() {
                set_inherited_options(&socket)?;
            }
            Ok((socket, None))
        }
        Address::Proxied(_) => Err(io::Error::other("`proxy:` is given twice")),
    }
}

fn set_inherited_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}
