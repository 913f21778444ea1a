//! The listening sockets of a server.
//!
//! Owns which addresses are listened on, and what is served at each. A socket that another process
//! hands over is taken where its address is still given.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::handover::Listening;
use crate::reactor::Listener;
use encke_core::config::{Address, Config};
use encke_core::engine::Access;

/// An address that cannot be listened on, and why.
pub(super) type Failed = (Address, io::Error);

/// Listens on all addresses of `config`. Sockets of `others` are taken, and taken out, where they
/// listen there already.
pub(super) fn listen(
    config: &Config,
    others: &mut Vec<(Listening, OwnedFd)>,
) -> Result<Vec<Listener>, Failed> {
    let public = config.listen.iter().map(|address| (address, false));
    let control = config.control.iter().map(|address| (address, true));
    let mut listeners = Vec::new();
    for (address, is_control) in public.chain(control) {
        listen_on(address, is_control, config, others, &mut listeners)?;
    }
    Ok(listeners)
}

/// Listens on an address. For a name, these are the ones that this host has, at least one.
fn listen_on(
    address: &Address,
    is_control: bool,
    config: &Config,
    others: &mut Vec<(Listening, OwnedFd)>,
    listeners: &mut Vec<Listener>,
) -> Result<(), Failed> {
    let before = listeners.len();
    let mut missing = Vec::new();
    for address in address.each() {
        let access = match is_control {
            false if !config.control.is_empty() => Access::Public,
            true if address.is_local() => Access::Trusted,
            _ => Access::Guarded,
        };
        let taken = Listener::of_other(&address, access, others);
        let listener = match taken.map_err(|error| (address.clone(), error))? {
            Some(taken) => {
                listeners.push(taken);
                continue;
            }
            None => Listener::bind(&address, access, is_control, config),
        };
        match listener {
            Ok(listener) => {
                log_listening(&listener.address, access, config);
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) => missing.push((address, error)),
            Err(error) => return Err((address, error)),
        }
    }
    if listeners.len() == before
        && let Some((address, error)) = missing.pop()
    {
        return Err((address, error));
    }
    for (single, error) in missing {
        log::warn!("not listening on {single}, an address of {address}: {error}");
    }
    Ok(())
}

fn log_listening(address: &Address, access: Access, config: &Config) {
    match access {
        Access::Public if config.tokens.keys.is_empty() => {
            log::info!("listening on {address} (receiving only)");
        }
        Access::Public => {
            log::info!("listening on {address} (receiving and publishing, by token)");
        }
        Access::Guarded | Access::Trusted => log::info!("listening on {address}"),
    }
}

/// Whether an error means that this host does not have the address or its family.
fn is_missing(error: &io::Error) -> bool {
    let missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT];
    missing
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}
