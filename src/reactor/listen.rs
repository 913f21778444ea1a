//! Listening sockets: made, bound, and made safe to accept from.
//!
//! Owns the options that matter, set once on the listener where Linux lets accepted sockets
//! inherit them: no delay (an event is one small write) and keep-alive.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::config::Address;
use crate::engine::Access;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// When a silent TCP peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A listening socket. A unix socket's file is removed with it.
pub(super) struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) access: Access,
    pub(super) address: Address,
    /// There may be connections to accept.
    pub(super) is_ready: bool,
    file: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Whoever removed it first did our work.
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Listener {
    /// Listens on an address.
    pub(super) fn bind(address: &Address, access: Access) -> io::Result<Listener> {
        let (socket, file) = match address {
            Address::Tcp(address) => {
                let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
                if address.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.set_reuse_address(true)?;
                socket.set_tcp_nodelay(true)?;
                socket.set_keepalive(true)?;
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                socket.bind(&SockAddr::from(*address))?;
                (socket, None)
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.bind(&SockAddr::unix(path)?)?;
                (socket, Some(path.clone()))
            }
        };
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let address = match socket.local_addr()?.as_socket() {
            Some(bound) => Address::Tcp(bound),
            None => address.clone(),
        };
        Ok(Listener {
            fd: socket.into(),
            access,
            address,
            is_ready: true,
            file,
        })
    }
}

/// Removes a socket file that nobody listens on; a live one, or another kind of file, stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
