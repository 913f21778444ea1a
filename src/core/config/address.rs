//! Addresses to listen on.
//!
//! Owns how they are displayed, and the rule for the path of a unix socket. It never opens a
//! socket.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `sun_path` of unix(7), less its final NUL.
const MAX_UNIX_PATH_BYTES: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `1.2.3.4:port` or `[v6]:port`.
    Tcp(SocketAddr),
    /// `name:port`, resolved. An address that this host does not have is skipped with a warning, if
    /// another address of the name can be bound.
    Name {
        /// The name as it was given, with its port.
        name: String,
        /// The addresses of the name, each once.
        addresses: Vec<SocketAddr>,
    },
    /// `unix:/path`.
    Unix(PathBuf),
    /// A listening socket that another process opened.
    Inherited(Inherited),
    /// `proxy:` and another address: each connection begins with a PROXY protocol header (version
    /// 1 or 2), which names the client's address.
    Proxied(Box<Address>),
}

/// A listening socket that another process opened and passed to this one.
#[derive(Clone, Debug)]
pub struct Inherited {
    socket: Arc<OwnedFd>,
    ip_address: Option<SocketAddr>,
}

impl Inherited {
    /// Takes over a listening stream socket. `ip_address` is the address to which it is bound;
    /// `None` for a unix socket. `Server::bind` checks both. `encke::inherit` checks the socket at
    /// once, and finds its address.
    pub fn new(socket: OwnedFd, ip_address: Option<SocketAddr>) -> Inherited {
        Inherited {
            socket: Arc::new(socket),
            ip_address,
        }
    }

    /// The address to which it is bound, if that is an IP address.
    pub fn ip_address(&self) -> Option<SocketAddr> {
        self.ip_address
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl PartialEq for Inherited {
    fn eq(&self, other: &Inherited) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket)
    }
}

impl Eq for Inherited {}

impl Address {
    /// The addresses of a name, or the address itself: one per listening socket.
    pub fn each(&self) -> Vec<Address> {
        match self {
            Address::Name { addresses, .. } => {
                addresses.iter().copied().map(Address::Tcp).collect()
            }
            Address::Proxied(inner) => {
                let proxied = |address: Address| Address::Proxied(address.into());
                inner.each().into_iter().map(proxied).collect()
            }
            Address::Tcp(_) | Address::Unix(_) | Address::Inherited(_) => vec![self.clone()],
        }
    }

    /// Whether only processes of this machine can connect to it.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        match self {
            Address::Tcp(address) => is_loopback(*address),
            Address::Name { addresses, .. } => addresses.iter().copied().all(is_loopback),
            Address::Unix(_) => true,
            Address::Inherited(socket) => socket.ip_address().is_none_or(is_loopback),
            // The clients are those of the proxy, which may be on other machines.
            Address::Proxied(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Name { name, .. } => f.write_str(name),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Inherited(socket) => match socket.ip_address() {
                Some(address) => write!(f, "{address} (inherited)"),
                None => f.write_str("a unix socket (inherited)"),
            },
            Address::Proxied(inner) => write!(f, "proxy:{inner}"),
        }
    }
}

/// Checks the path of a unix socket. An error is the detail alone: the caller names the path.
pub(super) fn check_socket_path(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.first() != Some(&b'/') || bytes.contains(&0) {
        return Err("the path starts with `/`".into());
    }
    if bytes.len() > MAX_UNIX_PATH_BYTES {
        let len = bytes.len();
        return Err(format!(
            "{len} bytes of path; at most {MAX_UNIX_PATH_BYTES} are allowed"
        ));
    }
    Ok(())
}
