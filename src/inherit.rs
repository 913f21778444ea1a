//! Sockets that a service manager or the embedding program opened and passed to encke.
//!
//! Owns the check whether encke can serve a socket. It never accepts from, reads or changes one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Type};

use encke_core::config::Inherited;

/// The remedy for a socket unit of systemd.
const USE_STREAM: &str =
    "encke serves TCP and unix stream sockets: set ListenStream= in the socket unit";

/// Takes over a listening TCP or unix stream socket.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let config = encke::Config {
///     listen: vec![encke::Address::Inherited(encke::inherit(listener.into())?)],
///     ..encke::Config::default()
/// };
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The descriptor is not a socket, is a socket of another family or type, or does not listen. The
/// error names the setting to change in the unit of a service manager.
pub fn inherit(socket: OwnedFd) -> io::Result<Inherited> {
    let ip_address = check(&socket)?;
    Ok(Inherited::new(socket, ip_address))
}

/// Checks that encke can accept connections from a descriptor, and returns the IP
/// address to which it is bound; `None` for a unix socket.
pub(crate) fn check(socket: &impl AsFd) -> io::Result<Option<SocketAddr>> {
    let socket = SockRef::from(socket);
    let domain = match socket.domain() {
        Err(error) if error.raw_os_error() == Some(Errno::NOTSOCK.raw_os_error()) => {
            return refuse(format!("it is not a socket; {USE_STREAM}"));
        }
        domain => domain?,
    };
    let family = match domain {
        Domain::UNIX => "a unix",
        Domain::IPV4 | Domain::IPV6 => "an IP",
        Domain::VSOCK => {
            return refuse(format!(
                "it is a vsock socket; {USE_STREAM} to host:port or a path"
            ));
        }
        Domain::PACKET => return refuse(format!("it is a packet socket; {USE_STREAM}")),
        // socket2 has no name for it.
        domain if i32::from(domain) == i32::from(rustix::net::AddressFamily::NETLINK.as_raw()) => {
            return refuse(format!(
                "it is a netlink socket; {USE_STREAM}, not ListenNetlink="
            ));
        }
        domain => {
            let family = i32::from(domain);
            return refuse(format!(
                "it is a socket of address family {family}; {USE_STREAM}"
            ));
        }
    };
    match socket.r#type()? {
        Type::STREAM => {}
        Type::DGRAM => {
            return refuse(format!(
                "it is {family} datagram socket; {USE_STREAM}, not ListenDatagram="
            ));
        }
        Type::SEQPACKET => {
            return refuse(format!(
                "it is {family} sequential packet socket; {USE_STREAM}, not ListenSequentialPacket="
            ));
        }
        _ => {
            return refuse(format!(
                "it is {family} socket of another type; {USE_STREAM}"
            ));
        }
    }
    if domain != Domain::UNIX
        && !matches!(socket.protocol()?, Some(Protocol::TCP | Protocol::MPTCP))
    {
        return refuse("it is a stream socket of another protocol than TCP; set no SocketProtocol= in the socket unit".into());
    }
    if !socket.is_listener()? {
        return refuse(match socket.peer_addr() {
            Ok(_) => "it is connected to one client, but encke accepts its clients itself: set \
                      Accept=no in the socket unit"
                .into(),
            Err(_) => "it does not listen: hand it over after listen(2), as systemd does with \
                       ListenStream= and Accept=no"
                .into(),
        });
    }
    Ok(socket.local_addr()?.as_socket())
}

fn refuse<T>(detail: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, detail))
}
