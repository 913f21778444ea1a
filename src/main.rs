//! The `encke` binary: options, log, signals, server, standard input if `--stdin` is given, and
//! upgrades.
//!
//! Owns the process: its exit code, its log and its threads. Everything else is in the library.

mod cli;
mod logging;
mod reload;
mod signals;
mod systemd;

use std::io::{self, Write};
use std::process::ExitCode;

use cli::{Arguments, Exit, Loaded};
use encke::handover::{Program, TakeOver};
use encke::{Error, Server};
use logging::Logger;
use reload::Reloader;
use signals::{EarlyUpgrade, Signals};

fn main() -> ExitCode {
    let early = match EarlyUpgrade::catch() {
        Ok(early) => early,
        Err(error) => return fail(&Error::System("cannot catch signals", error)),
    };
    // Before anything else reads standard input.
    let take_over = match TakeOver::is_wanted().then(TakeOver::from_stdin).transpose() {
        Ok(take_over) => take_over,
        Err(error) => return fail(&error),
    };
    let inherited = match &take_over {
        Some(take_over) => systemd::Sockets::of(take_over.inherited()),
        None => match systemd::sockets() {
            Ok(inherited) => inherited,
            Err(error) => return fail(&error),
        },
    };
    let arguments = Arguments::parse(std::env::args_os(), inherited);
    let loaded = arguments.and_then(|arguments| Ok((arguments.start()?, arguments)));
    let (loaded, arguments) = match loaded {
        Ok(loaded) => loaded,
        Err(exit) => {
            if let (Some(take_over), Exit::Refused(reason)) = (&take_over, &exit) {
                take_over.refuse(reason);
            }
            return exit.report();
        }
    };
    let logger = Logger::install(&loaded.options.log);
    match run(arguments, loaded, logger, early, take_over) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // If standard error is closed, the error cannot be reported.
    let _ = writeln!(io::stderr(), "encke: {error}");
    ExitCode::FAILURE
}

fn run(
    arguments: Arguments,
    loaded: Loaded,
    logger: &'static Logger,
    early: EarlyUpgrade,
    take_over: Option<TakeOver>,
) -> Result<(), Error> {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let program = Program::of_this_process();
    let program =
        program.map_err(|error| Error::System("cannot find the program that runs", error))?;
    // Before the addresses are bound, because a supervisor may send signals from then on.
    let signals = Signals::catch(early);
    let signals = signals.map_err(|error| Error::System("cannot catch signals", error))?;
    let is_upgrade = take_over.is_some();
    let mut server = match take_over {
        Some(take_over) => Server::take_over(take_over, loaded.config().clone())?,
        None => Server::bind(loaded.config().clone())?,
    };
    let lines = loaded.stdin.clone();
    let reloader = Reloader::new(arguments, loaded, server.handle(), logger);
    signals.serve(&mut server, reloader.clone())?;
    if let Some(lines) = lines {
        server.read_stdin(lines)?;
    }
    server.upgrade_to(program, systemd::notify_upgrade);
    systemd::watch_over(&mut server);
    match is_upgrade {
        false => systemd::notify_ready(),
        // The manager takes no notice of this process before the old one has named it.
        true => server.when_taken_over(move |reload| {
            systemd::notify_taken_over();
            if reload {
                reloader.request();
            }
        }),
    }
    server.run()
}
