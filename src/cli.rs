//! The command line and the environment: one option per setting, one line per error.
//!
//! Owns the conversion of both to [`Options`], and their precedence. The options, their ranges and
//! their texts come from the library's table of settings. It opens only the files of keys, and never
//! ends the process: it returns an [`Exit`] to `main`.

mod arguments;
mod token;
mod values;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use encke::config::{Options, SETTINGS, Setting};
use encke::producer::stdin::Lines;
use encke::{Config, ConfigError};

use crate::systemd::Sockets;

const KEY: &str = "--publish-key";
const KEY_FILE: &str = "--publish-key-file";

const BAD_OPTION: u8 = 2;

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Command {
    /// The settings of the server, checked.
    pub(crate) config: Config,
    /// How the lines of standard input are published. `None`: standard input is not read.
    pub(crate) stdin: Option<Lines>,
    /// The filter for `env_logger`.
    pub(crate) log: String,
}

/// The reason to exit without running a server.
#[derive(Debug)]
pub(crate) enum Exit {
    /// Help or version was requested.
    Shown(clap::Error),
    /// What was asked for, a line without a line end.
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
            Exit::Printed(line) => match writeln!(std::io::stdout(), "{line}") {
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

/// Parses the command line, which begins with the program name, and the environment. The addresses
/// of `inherited` sockets are added to the given ones, and replace the default one.
pub(crate) fn parse(
    args: impl Iterator<Item = OsString>,
    inherited: Sockets,
) -> Result<Command, Exit> {
    let matches = arguments::command()
        .try_get_matches_from(args)
        .map_err(exit)?;
    if let Some((token::NAME, matches)) = matches.subcommand() {
        let printed = token::token(matches).map(Exit::Printed);
        return Err(printed.unwrap_or_else(|error| Exit::Refused(one_line(&error))));
    }
    let mut options = Options::default();
    let default_listen = std::mem::take(&mut options.config.listen);
    for setting in SETTINGS {
        if let Some(texts) = given(setting, &matches)? {
            setting
                .set(&mut options, &texts, values::resolve)
                .map_err(refused)?;
        }
    }
    let config = &mut options.config;
    config.listen.extend(inherited.listen);
    config.control.extend(inherited.control);
    if config.listen.is_empty() && !inherited.is_any {
        config.listen = default_listen;
    }
    finish(options)
}

/// The texts of a setting from the command line, or else from the environment. An empty variable
/// counts as absent, because compose files and units also set variables without a value.
fn given(setting: &Setting, matches: &ArgMatches) -> Result<Option<Vec<String>>, Exit> {
    let texts: Vec<String> = if let Some(texts) = matches.get_many::<String>(setting.option) {
        texts.cloned().collect()
    } else {
        match std::env::var_os(setting.variable()).filter(|text| !text.is_empty()) {
            None => return Ok(None),
            Some(text) => vec![text.into_string().map_err(|_| {
                let detail = format!("{} is not UTF-8", setting.variable());
                Exit::refused(setting.option, detail)
            })?],
        }
    };
    Ok(Some(match setting.is_list() {
        true => texts
            .iter()
            .flat_map(|text| text.split(','))
            .map(String::from)
            .collect(),
        false => texts,
    }))
}

/// Checks the values that the table does not: the key's file, the filter of the log, the channel of
/// standard input.
fn finish(options: Options) -> Result<Command, Exit> {
    let Options {
        mut config,
        publish_key_file,
        stdin,
        log,
    } = options;
    if let Some(path) = &publish_key_file {
        let refused = |detail| Exit::refused(KEY_FILE, detail);
        if config.publish_key.is_some() {
            return Err(refused(format!(
                "not allowed beside {KEY}; give one of them"
            )));
        }
        config.publish_key = Some(values::key_from_file(path).map_err(refused)?);
    }
    values::check_log_filter(&log).map_err(|detail| Exit::refused("--log", detail))?;
    let stdin = stdin.map(|channel| match &*channel {
        "" => Ok(Lines::Ndjson),
        _ => Lines::to_channel(&channel)
            .map_err(|error| Exit::refused("--stdin", format!("{channel:?}: {error}"))),
    });
    match config.check() {
        Ok(()) => Ok(Command {
            config,
            stdin: stdin.transpose()?,
            log,
        }),
        // The error names the option by which the key was given.
        Err(error) if error.option == KEY && publish_key_file.is_some() => {
            Err(Exit::refused(KEY_FILE, error.detail))
        }
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: ConfigError) -> Exit {
    Exit::Refused(one_line(&error.to_string()))
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
        // The word `serve` is the only argument whose value clap checks.
        (Some(value), Some(reason)) => Exit::refused("argument", format!("{value:?}: {reason}")),
        _ => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or(&text);
            let first = first.strip_prefix("error: ").unwrap_or(first);
            Exit::Refused(one_line(&format!("{first}; see encke --help")))
        }
    }
}

fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use encke::Cors;

    use super::*;

    fn parsed(args: &[&str]) -> Command {
        let args = ["encke"].iter().chain(args).map(OsString::from);
        match parse(args, Sockets::default()) {
            Ok(command) => command,
            Err(exit) => panic!("{exit:?}"),
        }
    }

    #[test]
    fn no_argument_means_the_defaults() {
        for args in [&[][..], &["serve"]] {
            let command = parsed(args);
            let expected = format!("{:?}", Config::default());
            assert_eq!(format!("{:?}", command.config), expected);
            assert_eq!((command.stdin, &*command.log), (None, "info"));
        }
    }

    #[test]
    fn command_definition_is_valid() {
        arguments::command().debug_assert();
    }

    #[test]
    fn every_option_reaches_its_own_setting() {
        let args = "serve --listen=127.0.0.1:1,[::1]:2 --listen=unix:/l --control=127.0.0.1:3 \
            --unix-mode=660 --publish-key=k --cors-origin=https://a --cors-origin=https://b,https://c \
            --no-page --hold=1 --max-hold=2 --heartbeat=3 --max-batch=4 --max-batch-bytes=5 --stream-max-bytes=6 \
            --stream-max-age=7 --history-messages=8 --history-age=9 --history-bytes=10 \
            --history-total-bytes=11K --max-channels=12 --max-connections=13 \
            --max-connections-per-address=14 --max-head-bytes=15K --max-body-bytes=16 \
            --max-buffer-bytes=17K --head-timeout=18 --body-timeout=19 --idle-timeout=20 \
            --write-timeout=21 --queue=22 --drain=23 --drain-delay=24 --log=warn";
        let s = Duration::from_secs;
        let tcp = |text: &str| encke::Address::Tcp(text.parse().unwrap());
        let origins = ["https://a", "https://b", "https://c"];
        let expected = Config {
            listen: vec![
                tcp("127.0.0.1:1"),
                tcp("[::1]:2"),
                encke::Address::Unix("/l".into()),
            ],
            control: vec![tcp("127.0.0.1:3")],
            unix_mode: Some(0o660),
            publish_key: Some("k".into()),
            tokens: encke::tokens::Rules::default(),
            token_cookie: None,
            anonymous: None,
            cors: Cors::Origins(origins.map(String::from).to_vec()),
            page: false,
            hold: s(1),
            max_hold: s(2),
            heartbeat: s(3),
            max_batch: 4,
            max_batch_bytes: 5,
            stream_max_bytes: 6,
            stream_max_age: s(7),
            history: encke::History {
                max_messages: 8,
                max_age: s(9),
                max_bytes: 10,
                max_total_bytes: 11 << 10,
            },
            policies: Vec::new(),
            max_channels: 12,
            max_connections: Some(13),
            max_connections_per_address: Some(14),
            max_head_bytes: 15 << 10,
            max_body_bytes: 16,
            max_buffer_bytes: 17 << 10,
            head_timeout: s(18),
            body_timeout: s(19),
            idle_timeout: s(20),
            write_timeout: s(21),
            queue: 22,
            drain: s(23),
            drain_delay: s(24),
        };
        let command = parsed(&args.split_whitespace().collect::<Vec<_>>());
        assert_eq!(format!("{:?}", command.config), format!("{expected:?}"));
        assert_eq!(command.log, "warn");
    }

    #[test]
    fn stdin_option_selects_the_form_of_lines() {
        assert_eq!(parsed(&["--stdin"]).stdin, Some(Lines::Ndjson));
        assert_eq!(parsed(&["--stdin="]).stdin, Some(Lines::Ndjson));
        assert_eq!(parsed(&["--stdin", "serve"]).stdin, Some(Lines::Ndjson));
        let vmstat = Lines::to_channel("vmstat").unwrap();
        assert_eq!(parsed(&["--stdin=vmstat"]).stdin, Some(vmstat));
    }

    #[test]
    fn no_page_option_disables_the_page() {
        for (arg, page) in [
            ("--no-page", false),
            ("--no-page=no", true),
            ("--no-page=1", false),
        ] {
            assert_eq!(parsed(&[arg]).config.page, page, "{arg}");
        }
        assert!(!parsed(&["--no-page", "serve"]).config.page);
    }

    #[test]
    fn star_allows_every_origin() {
        assert_eq!(parsed(&["--cors-origin=*"]).config.cors, Cors::Any);
        assert_eq!(parsed(&["--cors-origin", "*"]).config.cors, Cors::Any);
    }
}
