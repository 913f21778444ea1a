//! The command line, the environment and the file: one option per setting, one line per error.
//!
//! Owns what the process was told at its start, as [`Arguments`]. The options, their ranges and
//! their texts come from the library's table of settings. It never ends the process: it returns an
//! [`Exit`] to `main`.

mod arguments;
mod check;
mod load;
mod token;
mod values;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use encke::config::{SETTINGS, Setting};

use crate::systemd::Sockets;
use arguments::{MODE, Mode};
pub(crate) use load::Loaded;
use load::{Given, Start};
use values::one_line;

const BAD_OPTION: u8 = 2;

/// The command line, the environment and the inherited sockets.
#[derive(Debug)]
pub(crate) struct Arguments {
    mode: Mode,
    start: Start,
}

/// The reason to exit without running a server.
#[derive(Debug)]
pub(crate) enum Exit {
    /// Help or version was requested.
    Shown(clap::Error),
    /// The output that was requested: whole lines.
    Printed(String),
    /// An error, in one line without a line end.
    Refused(String),
}

impl Exit {
    /// Prints the reason, and returns the exit code of the process.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Exit::Shown(text) => {
                // A closed pipe (`| head`) is not a failure.
                let _ = text.print();
                ExitCode::SUCCESS
            }
            Exit::Printed(lines) => match std::io::stdout().write_all(lines.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            },
            Exit::Refused(line) => {
                let _ = writeln!(std::io::stderr(), "encke: {line}");
                ExitCode::from(BAD_OPTION)
            }
        }
    }

    fn refused(option: &str, detail: impl std::fmt::Display) -> Exit {
        Exit::Refused(one_line(&format!("{option}: {detail}")))
    }
}

impl Arguments {
    /// Parses the command line, which begins with the program name, and the environment. The
    /// addresses of `inherited` sockets are added to the given ones, and replace the default one.
    pub(crate) fn parse(
        args: impl Iterator<Item = OsString>,
        inherited: Sockets,
    ) -> Result<Arguments, Exit> {
        let matches = arguments::command()
            .try_get_matches_from(args)
            .map_err(exit)?;
        if let Some((token::NAME, matches)) = matches.subcommand() {
            return Err(match token::token(matches) {
                Ok(token) => Exit::Printed(token + "\n"),
                Err(error) => Exit::Refused(one_line(&error)),
            });
        }
        let given = SETTINGS
            .iter()
            .map(|setting| given(setting, &matches))
            .collect::<Result<_, _>>()?;
        Ok(Arguments {
            mode: matches.get_one(MODE).copied().unwrap_or_default(),
            start: Start { given, inherited },
        })
    }

    /// Loads the settings for the start of a server.
    ///
    /// # Errors
    ///
    /// The reason to exit instead: an error, or the report of `encke check`.
    pub(crate) fn start(&self) -> Result<Loaded, Exit> {
        let loaded = self.start.load(values::resolve).map_err(Exit::Refused)?;
        match self.mode {
            Mode::Serve => Ok(loaded),
            Mode::Check => Err(Exit::Printed(check::report(&loaded))),
        }
    }

    /// Loads the settings for a reload. Host names are not resolved, as addresses cannot change.
    ///
    /// # Errors
    ///
    /// The error, in one line.
    pub(crate) fn reload(&self) -> Result<Loaded, String> {
        self.start.load(values::unresolved)
    }
}

/// The texts of a setting: of the command line, or else of the environment. An empty variable
/// counts as absent, because compose files and units also set variables without a value.
fn given(setting: &'static Setting, matches: &ArgMatches) -> Result<Given, Exit> {
    if let Some(texts) = matches.get_many::<String>(setting.option) {
        return Ok(Given::CommandLine(split(setting, texts.cloned().collect())));
    }
    let variable = std::env::var_os(setting.variable()).filter(|text| !text.is_empty());
    let Some(text) = variable else {
        return Ok(Given::Absent);
    };
    let text = text.into_string().map_err(|_| {
        let detail = format!("{} is not UTF-8", setting.variable());
        Exit::refused(setting.option, detail)
    })?;
    Ok(Given::Environment(split(setting, vec![text])))
}

/// The texts of a list, which commas separate too.
fn split(setting: &Setting, texts: Vec<String>) -> Vec<String> {
    match setting.is_list() {
        true => {
            let texts = texts.iter().flat_map(|text| text.split(','));
            texts.map(String::from).collect()
        }
        false => texts,
    }
}

/// Converts an error of clap, which has paragraphs, to one line.
fn exit(error: clap::Error) -> Exit {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return Exit::Shown(error);
    }
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    match (context(ContextKind::InvalidValue), reason) {
        // The mode is the only argument whose value clap checks.
        (Some(value), Some(reason)) => Exit::refused("argument", format!("{value:?}: {reason}")),
        _ => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or(&text);
            let first = first.strip_prefix("error: ").unwrap_or(first);
            Exit::Refused(one_line(&format!("{first}; see encke --help")))
        }
    }
}

#[cfg(test)]
mod tests;
