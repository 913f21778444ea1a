//! What a service manager hands over and wants to hear: sockets, readiness, signs of life.
//!
//! Owns the environment variables of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).
//! Without them, as without systemd, everything here does nothing.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use encke::{Address, Inherited, Server};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The name of sockets that serve everything (`FileDescriptorName=` in a socket unit).
const CONTROL: &str = "control";

/// Listening sockets that were handed over.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) listen: Vec<Address>,
    pub(crate) control: Vec<Address>,
}

/// Takes the sockets. To be called before there are threads, as it clears their variables.
pub(crate) fn sockets() -> io::Result<Sockets> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let mut sockets = Sockets::default();
    for place in 0..passed.len() {
        let address = Address::Inherited(take(&mut passed, place)?);
        match names.next() {
            Some(CONTROL) => sockets.control.push(address),
            _ => sockets.listen.push(address),
        }
    }
    Ok(sockets)
}

fn take(passed: &mut ListenFd, place: usize) -> io::Result<Inherited> {
    if let Ok(Some(socket)) = passed.take_unix_listener(place) {
        return Ok(Inherited::new(socket.into(), None));
    }
    match passed.take_tcp_listener(place)? {
        Some(socket) => {
            let ip_address = socket.local_addr()?;
            Ok(Inherited::new(socket.into(), Some(ip_address)))
        }
        None => Err(io::Error::other("a socket was passed twice")),
    }
}

/// Says that the server serves, and has it show that it lives as often as that is asked for.
pub(crate) fn ready(server: &mut Server) {
    tell(&[NotifyState::Ready]);
    if let Some(deadline) = sd_notify::watchdog_enabled() {
        // Half of the deadline, as sd_watchdog_enabled(3) recommends.
        server.every(deadline / 2, || tell(&[NotifyState::Watchdog]));
    }
}

/// Says that the server drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = send(state) {
        log::warn!("the service manager cannot be told {state:?}: {error}");
    }
}

/// As `sd_notify::notify`, which knows no abstract sockets.
fn send(state: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let lines: String = state.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(lines.as_bytes(), &address)?;
    Ok(())
}
