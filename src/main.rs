//! The `encke` binary: options, log, signals, server, and standard input if it is asked for.
//!
//! Owns the process: its exit code, its log and its threads. Everything else is the library's.

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
    // Nobody is left to tell if standard error is gone too.
    let _ = writeln!(io::stderr(), "encke: {error}");
    ExitCode::FAILURE
}

fn run(command: Command) -> Result<(), Error> {
    let max_message_bytes = command.config.max_body_bytes;
    // Caught before anybody can know that there is a server to end.
    let signals = Signals::catch().map_err(|error| Error::System("no signals", error))?;
    let mut server = Server::bind(command.config)?;
    signals.serve(&mut server)?;
    if let Some(lines) = command.stdin {
        read_stdin(lines, max_message_bytes, server.publisher())
            .map_err(|error| Error::System("no thread for standard input", error))?;
    }
    systemd::ready(&mut server);
    server.run()
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
