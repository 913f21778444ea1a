//! The protocol of the service manager: sockets that it passes, and notifications of readiness,
//! stopping and liveness.
//!
//! Owns the environment variables of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).
//! Without them, as without systemd, everything here does nothing.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use encke::handover::Stage;
use encke::{Address, Server};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The name of sockets that serve the control surface too (`FileDescriptorName=` in a socket unit).
const CONTROL: &str = "control";

/// Upper bounds of the numbers of `AF_` and `SOCK_` in Linux.
const MAX_ADDRESS_FAMILY: i32 = 64;
const MAX_SOCKET_TYPE: i32 = 10;

/// Listening sockets of the service manager.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) listen: Vec<Address>,
    pub(crate) control: Vec<Address>,
    /// Whether there is one of either kind.
    pub(crate) is_any: bool,
}

/// Takes the sockets. Call it before other threads exist, because it clears their environment
/// variables.
///
/// # Errors
///
/// One line that names a descriptor that encke cannot serve, and the setting to change.
pub(crate) fn sockets() -> Result<Sockets, String> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let mut sockets = Sockets::default();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let socket = take(&mut passed, index).and_then(encke::inherit);
        let address = socket.map(Address::Inherited).map_err(|error| {
            format!(
                "socket {} ({name:?}) of the service manager: {error}",
                index + 1
            )
        })?;
        sockets.is_any = true;
        match name {
            CONTROL => sockets.control.push(address),
            _ => sockets.listen.push(address),
        }
    }
    Ok(sockets)
}

/// Takes a socket of any kind. `listenfd` returns a descriptor only as a socket of a given kind, so
/// each kind is tried.
fn take(passed: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    for family in 1..=MAX_ADDRESS_FAMILY {
        for kind in 1..=MAX_SOCKET_TYPE {
            if let Ok(Some(socket)) = passed.take_custom(index, family, kind, "") {
                return Ok(socket);
            }
        }
    }
    let fd = passed.take_raw_fd(index)?.unwrap_or_default();
    let detail = match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
        Ok(file) => format!(
            "it is {}, not a socket; set ListenStream= in the socket unit",
            file.display()
        ),
        Err(_) => format!("descriptor {fd} is not open"),
    };
    Err(io::Error::other(detail))
}

impl Sockets {
    /// Sockets that an old process hands over: those for receivers, and those of the control
    /// surface.
    pub(crate) fn of([listen, control]: [Vec<Address>; 2]) -> Sockets {
        Sockets {
            is_any: !listen.is_empty() || !control.is_empty(),
            listen,
            control,
        }
    }
}

/// Notifies the manager that the server is ready.
pub(crate) fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Notifies the manager that this process has taken over, and lives: what it has said so far came
/// before it was the main process, and was not heard.
pub(crate) fn notify_taken_over() {
    let mut state = vec![NotifyState::Ready];
    if sd_notify::watchdog_enabled().is_some() {
        state.push(NotifyState::Watchdog);
    }
    notify(&state);
}

/// Notifies the manager of an upgrade: it reloads, until it is ready again or another process is
/// the main one.
pub(crate) fn notify_upgrade(stage: Stage) {
    match stage {
        Stage::Begun => notify_reloading(),
        Stage::Failed => notify_reloaded(),
        Stage::Done { pid } => notify(&[NotifyState::MainPid(pid)]),
    }
}

/// Sets up the watchdog notifications that the manager requests.
pub(crate) fn watch_over(server: &mut Server) {
    if let Some(deadline) = sd_notify::watchdog_enabled() {
        // Half of the deadline, as sd_watchdog_enabled(3) recommends.
        server.every(deadline / 2, || notify(&[NotifyState::Watchdog]));
    }
}

/// Notifies the manager that the settings are being read again, and since when.
pub(crate) fn notify_reloading() {
    let mut state = vec![NotifyState::Reloading];
    // Only `Type=notify-reload` needs the time.
    state.extend(NotifyState::monotonic_usec_now().ok());
    notify(&state);
}

/// Notifies the manager that a reload is over, whatever its result.
pub(crate) fn notify_reloaded() {
    notify(&[NotifyState::Ready]);
}

/// Notifies the manager that the server drains.
pub(crate) fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = send(state) {
        log::warn!("cannot notify the service manager of {state:?}: {error}");
    }
}

/// Like `sd_notify::notify`, which does not support abstract sockets.
fn send(state: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
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
