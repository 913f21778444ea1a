//! Listening sockets and their options.
//!
//! Owns the options of TCP sockets. They are set only on the listener, because Linux copies them to
//! the sockets that it accepts: `TCP_NODELAY`, because an event is one small write; and two that
//! detect clients that vanished without a FIN: keep-alive, on connections to which nothing is sent,
//! and `TCP_USER_TIMEOUT`, if sent bytes are not acknowledged. Without the latter, heartbeats would
//! fill the send buffer until the kernel closes the connection, after a quarter of an hour.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::socket_file::{BACKLOG, SocketFile};
use crate::handover::Listening;
use crate::inherit;
use encke_core::config::{Address, Config};
use encke_core::engine::Access;

/// The time without a byte after which the kernel asks a TCP peer whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Bounds of the time between two keep-alive probes (tcp(7), `TCP_KEEPINTVL`).
const KEEPALIVE_INTERVAL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(32_767)];

/// The longest `TCP_USER_TIMEOUT`: the kernel takes it as an `int`, in milliseconds.
const MAX_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Whether the queue of a listening socket may have connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Nothing waits in it. An event ends this.
    Idle,
    /// Connections may wait in it.
    Ready,
    /// The socket does not listen any more, whatever events still say.
    Ended,
}

/// A listening socket. A unix socket's file is removed with it.
pub(crate) struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) access: Access,
    /// The address as it is bound.
    pub(crate) address: Address,
    /// Its description for a process that takes it over.
    opened: Listening,
    /// Each of its connections begins with a PROXY protocol header.
    pub(super) is_proxied: bool,
    /// Whether there may be connections to accept.
    pub(super) readiness: Readiness,
    file: Option<SocketFile>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Before the descriptor is closed: see `SocketFile`.
        drop(self.file.take());
    }
}

impl Listener {
    /// Notes an event: connections may wait, if the socket still listens.
    pub(super) fn wake(&mut self) {
        if self.readiness == Readiness::Idle {
            self.readiness = Readiness::Ready;
        }
    }

    /// Whether there may be connections to accept.
    pub(super) fn is_ready(&self) -> bool {
        self.readiness == Readiness::Ready
    }

    /// Gives the connections that it accepts from now on the options of new settings.
    pub(super) fn reconfigure(&self, config: &Config) -> io::Result<()> {
        let socket = SockRef::from(&self.fd);
        let is_tcp = socket.local_addr()?.as_socket().is_some();
        match is_tcp {
            true => set_tcp_options(&socket, config.write_timeout),
            false => Ok(()),
        }
    }

    /// Sets the options of a socket that a service manager has passed to this process. Where
    /// another process has handed it over, [`Listener::own`] does, later.
    pub(crate) fn prepare(&self, config: &Config) -> io::Result<()> {
        match self.opened {
            Listening::Inherited { .. } => {
                self.warn_of_reuse_port(config);
                self.reconfigure(config)
            }
            Listening::Here { .. } => Ok(()),
        }
    }

    /// Says in the log if `--reuse-port` does not hold for a TCP socket that another process has
    /// opened. The option must be set before the socket is bound, so it stays as it is.
    fn warn_of_reuse_port(&self, config: &Config) {
        let socket = SockRef::from(&self.fd);
        let is_tcp = socket.local_addr().is_ok_and(|at| at.as_socket().is_some());
        let is_shared = socket.reuse_port().unwrap_or(config.reuse_port);
        if !is_tcp || is_shared == config.reuse_port {
            return;
        }
        let address = &self.address;
        match self.opened {
            Listening::Inherited { .. } if config.reuse_port => log::warn!(
                "--reuse-port has no effect on {address}, which was opened by another program: set \
                 ReusePort=yes in the socket unit"
            ),
            // The socket unit decides.
            Listening::Inherited { .. } => {}
            Listening::Here { .. } => log::warn!(
                "{address} stays {} until a restart: an upgrade cannot change --reuse-port",
                if is_shared { "shared" } else { "unshared" },
            ),
        }
    }

    /// Its description for a process that takes it over.
    pub(super) fn opened(&self) -> Listening {
        let mut opened = self.opened.clone();
        if let Listening::Here { file, .. } = &mut opened {
            *file = self.file.as_ref().map(SocketFile::id);
        }
        opened
    }

    /// Begins to serve on a socket that another process has handed over.
    pub(super) fn own(&mut self, config: &Config) {
        self.warn_of_reuse_port(config);
        if let Err(error) = self.reconfigure(config) {
            log::warn!("{} keeps its --write-timeout: {error}", self.address);
        }
        let Some(file) = &mut self.file else {
            return;
        };
        file.own();
        if let Some(mode) = config.unix_mode
            && let Err(error) = file.set_mode(mode)
        {
            log::warn!("{} keeps its mode: {error}", self.address);
        }
    }

    /// Gives up a socket that another process has handed over and that no setting names any more.
    /// The file of a unix socket is removed.
    pub(super) fn abandon(opened: &Listening, fd: &OwnedFd) {
        let Listening::Here { key, file } = opened else {
            return;
        };
        log::info!("not listening on {key} any more");
        let address = SockRef::from(fd).local_addr().ok();
        let path = address.as_ref().and_then(SockAddr::as_pathname);
        if let (Some(path), Some(id)) = (path, file) {
            let mut file = SocketFile::of_other(path, *id);
            file.own();
            drop(file);
        }
    }

    /// The socket of another process that listens on an address, if it has one: it is taken out of
    /// `others`.
    ///
    /// # Errors
    ///
    /// The system does not say where it is bound.
    pub(crate) fn of_other(
        address: &Address,
        access: Access,
        others: &mut Vec<(Listening, OwnedFd)>,
    ) -> io::Result<Option<Listener>> {
        let key = key(address);
        let is_it = |(opened, _): &(Listening, OwnedFd)| matches!(opened, Listening::Here { key: other, .. } if *other == key);
        let Some(place) = others.iter().position(is_it) else {
            return Ok(None);
        };
        let (opened, fd) = others.remove(place);
        let (inner, is_proxied) = inner(address);
        let file = match (&opened, inner) {
            (Listening::Here { file: Some(id), .. }, Address::Unix(path)) => {
                Some(SocketFile::of_other(path, *id))
            }
            _ => None,
        };
        let listener = Listener {
            address: bound(&SockRef::from(&fd), inner, is_proxied)?,
            fd,
            access,
            opened,
            is_proxied,
            readiness: Readiness::Ready,
            file,
        };
        Ok(Some(listener))
    }

    /// Listens on an address, with the socket options that `config` asks for. `is_control` says
    /// whether it is one of [`Config::control`]. One that was opened by a service manager keeps its
    /// options until [`Listener::prepare`].
    pub(crate) fn bind(
        address: &Address,
        access: Access,
        is_control: bool,
        config: &Config,
    ) -> io::Result<Listener> {
        let (inner, is_proxied) = inner(address);
        let (socket, file) = open(inner, config)?;
        socket.set_nonblocking(true)?;
        Ok(Listener {
            address: bound(&SockRef::from(&socket), inner, is_proxied)?,
            fd: socket.into(),
            access,
            opened: match inner {
                Address::Inherited(_) => Listening::Inherited { is_control },
                _ => Listening::Here {
                    key: key(address),
                    file: None,
                },
            },
            is_proxied,
            readiness: Readiness::Ready,
            file,
        })
    }
}

/// The address behind `proxy:`, and whether there is that.
fn inner(address: &Address) -> (&Address, bool) {
    match address {
        Address::Proxied(inner) => (inner, true),
        address => (address, false),
    }
}

/// The address to which a socket is bound.
fn bound(socket: &SockRef<'_>, inner: &Address, is_proxied: bool) -> io::Result<Address> {
    let bound = match socket.local_addr()?.as_socket() {
        Some(bound) if matches!(inner, Address::Tcp(_)) => Address::Tcp(bound),
        _ => inner.clone(),
    };
    Ok(match is_proxied {
        true => Address::Proxied(bound.into()),
        false => bound,
    })
}

/// An address as another process is told it: it knows its own addresses by the same texts.
fn key(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.as_os_str().as_bytes().escape_ascii()),
        Address::Proxied(inner) => format!("proxy:{}", key(inner)),
        Address::Tcp(_) | Address::Name { .. } | Address::Inherited(_) => address.to_string(),
    }
}

/// Opens a listening socket, and returns it with the file to be removed with it.
fn open(address: &Address, config: &Config) -> io::Result<(Socket, Option<SocketFile>)> {
    match address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(config.reuse_port)?;
            set_tcp_options(&socket, config.write_timeout)?;
            socket.bind(&SockAddr::from(*address))?;
            socket.listen(BACKLOG)?;
            Ok((socket, None))
        }
        Address::Unix(path) => {
            let (socket, file) = SocketFile::listen(path, config.unix_mode)?;
            Ok((socket, Some(file)))
        }
        Address::Inherited(inherited) => {
            let ip_address = inherit::check(inherited)?;
            // It decides whether the control surface is open to other machines.
            if ip_address != inherited.ip_address() {
                return Err(io::Error::other(
                    "it is bound to another IP address than the given one",
                ));
            }
            let socket = Socket::from(inherited.as_fd().try_clone_to_owned()?);
            Ok((socket, None))
        }
        Address::Proxied(_) => Err(io::Error::other("`proxy:` is given twice")),
        Address::Name { .. } => Err(io::Error::other("a name has more than one address")),
    }
}

/// Sets the options that accepted sockets inherit.
fn set_tcp_options(listener: &Socket, write_timeout: Duration) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    listener.set_keepalive(true)?;
    // With a user timeout the kernel closes the connection at the end of the first interval without
    // a reply, as the last byte is older than the timeout by then.
    let [shortest, longest] = KEEPALIVE_INTERVAL;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(write_timeout.clamp(shortest, longest));
    listener.set_tcp_keepalive(&keepalive)?;
    match listener.set_tcp_user_timeout(Some(write_timeout.min(MAX_USER_TIMEOUT))) {
        // An inherited socket may be of MPTCP, which does not have this option.
        Err(error) if error.raw_os_error() == Some(Errno::NOPROTOOPT.raw_os_error()) => {
            log::warn!(
                "cannot set TCP_USER_TIMEOUT on a listener: {error}; clients that vanish are only \
                 noticed by keep-alive"
            );
            Ok(())
        }
        set => set,
    }
}
