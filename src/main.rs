//! The `encke` binary: options, log, signals, server, and standard input if `--stdin` is given.
//!
//! Owns the process: its exit code, its log and its threads. Everything else is in the library.

mod cli;
mod logging;
mod reload;
mod signals;
mod systemd;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use cli::{Arguments, Loaded};
use encke::producer::stdin::{self, Lines};
use encke::{Error, Publication, Publisher, Server};
use logging::Logger;
use reload::Reloader;
use signals::Signals;

fn main() -> ExitCode {
    let inherited = match systemd::sockets() {
        Ok(inherited) => inherited,
        Err(error) => return fail(&error),
    };
    let arguments = match Arguments::parse(std::env::args_os(), inherited) {
        Ok(arguments) => arguments,
        Err(exit) => return exit.report(),
    };
    let loaded = match arguments.start() {
        Ok(loaded) => loaded,
        Err(exit) => return exit.report(),
    };
    let logger = Logger::install(&loaded.options.log);
    match run(arguments, loaded, logger) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // If standard error is closed, the error cannot be reported.
    let _ = writeln!(io::stderr(), "encke: {error}");
    ExitCode::FAILURE
}

fn run(arguments: Arguments, loaded: Loaded, logger: &'static Logger) -> Result<(), Error> {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    // Before the addresses are bound, because a supervisor may send signals from then on.
    let signals = Signals::catch().map_err(|error| Error::System("cannot catch signals", error))?;
    let mut server = Server::bind(loaded.config().clone())?;
    let lines = loaded.stdin.clone();
    let reloader = Reloader::new(arguments, loaded, server.handle(), logger);
    signals.serve(&mut server, reloader)?;
    if let Some(lines) = lines {
        read_stdin(lines, server.publisher())
            .map_err(|error| Error::System("cannot start the thread for standard input", error))?;
    }
    systemd::notify_ready(&mut server);
    server.run()
}

/// Starts the thread that publishes standard input. It is not joined, because it may be blocked in
/// a read when the server ends.
fn read_stdin(lines: Lines, publisher: Publisher) -> io::Result<()> {
    thread::Builder::new().name("stdin".into()).spawn(move || {
        let max_message_bytes = || publisher.max_message_bytes();
        stdin::feed(io::stdin().lock(), &lines, max_message_bytes, |draft| {
            publisher.send(Publication::from(draft))
        });
    })?;
    Ok(())
}
