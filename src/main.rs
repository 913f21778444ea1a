//! The `encke` binary: options, log, signals, server, and standard input if `--stdin` is given.
//!
//! Owns the process: its exit code, its log and its threads. Everything else is in the library.

mod cli;
mod signals;
mod systemd;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use cli::Command;
use encke::producer::stdin::{self, Lines};
use encke::{Error, Publication, Publisher, Server};
use signals::Signals;

fn main() -> ExitCode {
    let inherited = match systemd::sockets() {
        Ok(inherited) => inherited,
        Err(error) => return fail(&error),
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
    // If standard error is closed, the error cannot be reported.
    let _ = writeln!(io::stderr(), "encke: {error}");
    ExitCode::FAILURE
}

fn run(command: Command) -> Result<(), Error> {
    let max_message_bytes = command.config.max_body_bytes;
    // Before the addresses are bound, because a supervisor may send signals from then on.
    let signals = Signals::catch().map_err(|error| Error::System("cannot catch signals", error))?;
    let mut server = Server::bind(command.config)?;
    signals.serve(&mut server)?;
    if let Some(lines) = command.stdin {
        read_stdin(lines, max_message_bytes, server.publisher())
            .map_err(|error| Error::System("cannot start the thread for standard input", error))?;
    }
    systemd::notify_ready(&mut server);
    server.run()
}

/// Starts the thread that publishes standard input. It is not joined, because it may be blocked in
/// a read when the server ends.
fn read_stdin(lines: Lines, max_message_bytes: usize, publisher: Publisher) -> io::Result<()> {
    thread::Builder::new().name("stdin".into()).spawn(move || {
        stdin::feed(io::stdin().lock(), &lines, max_message_bytes, |draft| {
            publisher.send(Publication::from(draft))
        });
    })?;
    Ok(())
}
