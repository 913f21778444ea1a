//! The `encke` binary: options, log, signals, server, and standard input if it is asked for.
//!
//! Owns the process: its exit code, its log, its signals and its threads. Everything else is the
//! library's.

mod cli;
mod systemd;

use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use cli::Command;
use encke::producer::stdin::{self, Lines};
use encke::{Error, Handle, Publication, Publisher, Server};

fn main() -> ExitCode {
    let inherited = match systemd::sockets() {
        Ok(inherited) => inherited,
        Err(error) => return fail(&format!("a socket that was passed cannot be used: {error}")),
    };
    let command = match cli::parse(std::env::args_os(), inherited) {
        Ok(command) => command,
        Err(exit) => return exit.report(),
    };
    env_logger::Builder::new()
        .parse_filters(&command.log)
        .format_timestamp_millis()
        .init();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell if standard error is gone too.
    let _ = writeln!(io::stderr(), "encke: {error}");
    ExitCode::FAILURE
}

fn run(command: Command) -> Result<(), Error> {
    let max_message_bytes = command.config.max_body_bytes;
    // Caught before anybody can know that there is a server to end.
    let no_signals = |error| Error::System("no signals", error);
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(no_signals)?;
    let mut server = Server::bind(command.config)?;
    handle_signals(signals, server.handle()).map_err(no_signals)?;
    if let Some(lines) = command.stdin {
        read_stdin(lines, max_message_bytes, server.publisher())
            .map_err(|error| Error::System("no thread for standard input", error))?;
    }
    systemd::ready(&mut server);
    server.run()
}

/// SIGTERM and SIGINT drain; a second one ends the process as if it had not been caught. SIGHUP
/// changes nothing: there is no file to read again, and nobody is to be let go for it.
fn handle_signals(mut signals: Signals, server: Handle) -> io::Result<()> {
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut is_draining = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    log::info!("SIGHUP: there is nothing to read again; restart to change options");
                } else if is_draining {
                    process::exit(128 + signal);
                } else {
                    is_draining = true;
                    log::info!("draining, as told by signal {signal}; a second one ends at once");
                    systemd::stopping();
                    server.shutdown();
                }
            }
        })?;
    Ok(())
}

/// The thread is not joined: it may be waiting for its input when the server has ended.
fn read_stdin(lines: Lines, max_message_bytes: usize, publisher: Publisher) -> io::Result<()> {
    thread::Builder::new().name("stdin".into()).spawn(move || {
        stdin::feed(io::stdin().lock(), &lines, max_message_bytes, |line| {
            let publication = Publication::new(line.channel, line.data);
            publisher.send(match line.event {
                Some(event) => publication.event(event),
                None => publication,
            })
        });
    })?;
    Ok(())
}
