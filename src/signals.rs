//! Signals, as a source of commands to the server.
//!
//! Owns what each signal means. SIGTERM and SIGINT drain; a second one ends the process at once,
//! in the handler itself, so that even a reactor that hangs can be ended. SIGHUP changes nothing:
//! there is no file to read again, and no connection is closed for it.
//!
//! The handler writes to a socket pair that the reactor watches. A thread that waits for signals would be
//! as short, but the process would no longer have one thread, and a command would take two wake-ups.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use encke::{Error, Server};

use crate::systemd;

/// Signals that are caught, and served once there is a server.
pub(crate) struct Signals {
    caught: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Catches signals from here on.
    pub(crate) fn catch() -> io::Result<Signals> {
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first one finds nothing set, and sets it.
            register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_second))?;
            register(signal, Arc::clone(&is_second))?;
        }
        let (read, write) = UnixStream::pair()?;
        let all = [SIGTERM, SIGINT, SIGHUP];
        let caught = SignalDelivery::with_pipe(read, write, SignalOnly, all)?;
        Ok(Signals { caught })
    }

    /// Has the server obey the signals, also those that came before.
    pub(crate) fn serve(mut self, server: &mut Server) -> Result<(), Error> {
        let source = self.caught.get_read().try_clone();
        let source = source.map_err(|error| Error::System("cannot catch signals", error))?;
        let handle = server.handle();
        server.watch(OwnedFd::from(source), move || {
            for signal in self.caught.pending() {
                if signal == SIGHUP {
                    log::info!("SIGHUP: there is nothing to read again; restart to change options");
                } else {
                    log::info!("draining, as told by signal {signal}; a second one ends at once");
                    systemd::notify_stopping();
                    handle.shutdown();
                }
            }
        })
    }
}
