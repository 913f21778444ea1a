//! Signals, as a source of commands to the server.
//!
//! Owns the meaning of each signal. SIGTERM and SIGINT begin a drain; a second one ends the process
//! at once, in the signal handler, so that it also ends a reactor that hangs. SIGHUP reloads the
//! settings, SIGUSR2 begins an upgrade.
//!
//! SIGUSR2 would end a process that has only begun to start: it is caught first, and noted.
//!
//! The handler writes to a socket pair that the reactor watches. A thread that waits for signals
//! would take as little code, but each signal would take two wake-ups.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use encke::{Error, Server};

use crate::reload::Reloader;
use crate::systemd;

/// Requests of an upgrade while the process starts. The other signals end a process that starts.
pub(crate) struct EarlyUpgrade {
    is_requested: Arc<AtomicBool>,
    handler: SigId,
}

impl EarlyUpgrade {
    /// Notes them from here on.
    pub(crate) fn catch() -> io::Result<EarlyUpgrade> {
        let is_requested = Arc::new(AtomicBool::new(false));
        let handler = register(SIGUSR2, Arc::clone(&is_requested))?;
        Ok(EarlyUpgrade {
            is_requested,
            handler,
        })
    }
}

/// Caught signals, which a server handles later.
pub(crate) struct Signals {
    caught: SignalDelivery<UnixStream, SignalOnly>,
    is_upgrade_requested: bool,
}

impl Signals {
    /// Catches signals from here on.
    pub(crate) fn catch(early: EarlyUpgrade) -> io::Result<Signals> {
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: at the first signal the flag is not set yet when the shutdown checks
            // it.
            register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_second))?;
            register(signal, Arc::clone(&is_second))?;
        }
        // A file that would exceed the limit of the process is an error of its write. By default
        // the signal ends the process.
        register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let (read, write) = UnixStream::pair()?;
        let all = [SIGTERM, SIGINT, SIGHUP, SIGUSR2];
        let caught = SignalDelivery::with_pipe(read, write, SignalOnly, all)?;
        // One that comes in between is noted twice, and asks for one upgrade.
        signal_hook::low_level::unregister(early.handler);
        Ok(Signals {
            caught,
            is_upgrade_requested: early.is_requested.load(Ordering::Relaxed),
        })
    }

    /// Lets the server handle the signals, including those that were caught before.
    pub(crate) fn serve(mut self, server: &mut Server, reloader: Reloader) -> Result<(), Error> {
        let source = self.caught.get_read().try_clone();
        let source = source.map_err(|error| Error::System("cannot catch signals", error))?;
        let handle = server.handle();
        if self.is_upgrade_requested {
            handle.upgrade();
        }
        server.watch(OwnedFd::from(source), move || {
            for signal in self.caught.pending() {
                match signal {
                    SIGHUP => {
                        handle.note_reload();
                        reloader.request();
                    }
                    SIGUSR2 => handle.upgrade(),
                    _ => {
                        log::info!(
                            "signal {signal}: draining; a second signal ends the process at once"
                        );
                        systemd::notify_stopping();
                        handle.shutdown();
                    }
                }
            }
        })
    }
}
