//! The command line and the environment: one option for each setting, one line for each mistake.
//!
//! Owns the names of the options, their help and how they become a [`Config`]. The defaults and
//! the ranges are the library's. It never opens anything but the file of the publish key, and
//! never ends the process: [`Exit`] says how `main` is to.

mod options;
mod values;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};
use encke::producer::stdin::Lines;
use encke::{Config, Cors};

use crate::systemd::Sockets;
use options::{Options, Publishing};

const BAD_OPTION: u8 = 2;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Command {
    /// The settings of the server, checked.
    pub(crate) config: Config,
    /// What to publish of standard input; `None`: leave it alone.
    pub(crate) stdin: Option<Lines>,
    /// The filter for `env_logger`.
    pub(crate) log: String,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Exit {
    /// Help or version, as asked for.
    Shown(clap::Error),
    /// What is wrong, in one line without an end.
    Refused(String),
}

impl Exit {
    /// Says why, and gives the process's exit code: 0 or 2.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Exit::Shown(text) => {
                // A reader that has seen enough (`| head`) is no failure.
                let _ = text.print();
                ExitCode::SUCCESS
            }
            Exit::Refused(line) => {
                let _ = writeln!(std::io::stderr(), "encke: {line}");
                ExitCode::from(BAD_OPTION)
            }
        }
    }

    fn refused(option: &str, detail: impl std::fmt::Display) -> Exit {
        Exit::Refused(format!("{option}: {detail}"))
    }
}

/// Reads the command line, its program name first, and the environment. Sockets that were
/// `inherited` come beside the addresses given, and instead of the default one.
pub(crate) fn parse(
    args: impl Iterator<Item = OsString>,
    inherited: Sockets,
) -> Result<Command, Exit> {
    let options = Options::command()
        // What the environment holds is not help, and may be secret.
        .mut_args(|arg| arg.hide_env_values(true))
        .mut_args(ignore_empty_variable)
        .try_get_matches_from(args)
        .and_then(|matches| Options::from_arg_matches(&matches))
        .map_err(exit)?;
    command(options, inherited)
}

/// A variable that is set to nothing counts as absent, as compose files and units set what they have
/// no value for. The help still names it.
fn ignore_empty_variable(arg: Arg) -> Arg {
    let Some(name) = arg.get_env().map(OsStr::to_owned) else {
        return arg;
    };
    if std::env::var_os(&name).is_none_or(|value| !value.is_empty()) {
        return arg;
    }
    let help = arg.get_help().cloned().unwrap_or_default();
    arg.help(format!("{help} [env: {}]", name.display()))
        .env(None::<&str>)
}

fn command(options: Options, inherited: Sockets) -> Result<Command, Exit> {
    let stdin = options.publishing.stdin.clone();
    let log = options.lifecycle.log.clone();
    let has_key_file = options.publishing.publish_key_file.is_some();
    let config = config(options, inherited)?;
    match config.check() {
        Ok(()) => Ok(Command { config, stdin, log }),
        Err(error) if has_key_file && error.option == "--publish-key" => {
            Err(Exit::refused("--publish-key-file", error.detail))
        }
        Err(error) => Err(Exit::refused(error.option, error.detail)),
    }
}

/// Names every field, so that none is left without an option.
fn config(options: Options, inherited: Sockets) -> Result<Config, Exit> {
    let has_inherited = !(inherited.listen.is_empty() && inherited.control.is_empty());
    let (receiving, limits) = (options.receiving, options.limits);
    let mut listen = options.listening.listen;
    let mut control = options.listening.control;
    listen.extend(inherited.listen);
    control.extend(inherited.control);
    let stream_max_bytes = receiving.stream_max_bytes.0;
    Ok(Config {
        listen: match listen.is_empty() && !has_inherited {
            true => Config::default().listen,
            false => listen,
        },
        control,
        unix_mode: options.listening.unix_mode,
        publish_key: publish_key(options.publishing)?,
        cors: cors(options.listening.cors_origin)?,
        page: !options.listening.no_page,
        hold: receiving.hold.0,
        max_hold: receiving.max_hold.0,
        heartbeat: receiving.heartbeat.0,
        max_batch: receiving.max_batch,
        max_batch_bytes: receiving.max_batch_bytes.0,
        stream_max_bytes: u32::try_from(stream_max_bytes).map_err(|_| {
            let max = u32::MAX;
            let detail = format!("{stream_max_bytes} is not allowed; 1 to {max} bytes");
            Exit::refused("--stream-max-bytes", detail)
        })?,
        stream_max_age: receiving.stream_max_age.0,
        history: encke::History {
            max_messages: options.history.history_messages,
            max_age: options.history.history_age.0,
            max_bytes: options.history.history_bytes.0,
            max_total_bytes: options.history.history_total_bytes.0,
        },
        max_channels: limits.max_channels,
        max_connections: limits.max_connections,
        max_connections_per_address: limits.max_connections_per_address,
        max_head_bytes: limits.max_head_bytes.0,
        max_body_bytes: limits.max_body_bytes.0,
        max_buffer_bytes: limits.max_buffer_bytes.0,
        head_timeout: limits.head_timeout.0,
        body_timeout: limits.body_timeout.0,
        idle_timeout: limits.idle_timeout.0,
        write_timeout: limits.write_timeout.0,
        queue: limits.queue,
        drain: options.lifecycle.drain.0,
        drain_delay: options.lifecycle.drain_delay.0,
    })
}

fn publish_key(publishing: Publishing) -> Result<Option<String>, Exit> {
    let Some(path) = publishing.publish_key_file else {
        return Ok(publishing.publish_key);
    };
    values::key_from_file(&path)
        .map(Some)
        .map_err(|detail| Exit::refused("--publish-key-file", detail))
}

fn cors(origins: Vec<String>) -> Result<Cors, Exit> {
    match &*origins {
        [origin] if origin == "*" => Ok(Cors::Any),
        _ if origins.iter().any(|origin| origin == "*") => {
            let detail = "* is every origin; it is allowed alone, not beside others";
            Err(Exit::refused("--cors-origin", detail))
        }
        _ => Ok(Cors::Origins(origins)),
    }
}

/// Turns what clap says, in paragraphs, into one line.
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
    let option = context(ContextKind::InvalidArg);
    let name = option.map(|option| match option.split([' ', '=', '[']).next() {
        Some("") | None => "argument",
        Some(name) => name,
    });
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    match (name, context(ContextKind::InvalidValue), reason) {
        // Its value is a secret, or the path of one.
        (Some(name), Some(value), Some(reason)) if !name.starts_with("--publish-key") => {
            Exit::Refused(one_line(&format!("{name}: {value:?}: {reason}")))
        }
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

    use super::*;

    fn parsed(args: &[&str]) -> Command {
        let args = ["encke"].iter().chain(args).map(OsString::from);
        match parse(args, Sockets::default()) {
            Ok(command) => command,
            Err(exit) => panic!("{exit:?}"),
        }
    }

    #[test]
    fn every_option_is_also_a_variable() {
        for arg in Options::command().get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let expected = format!("ENCKE_{}", long.replace('-', "_").to_uppercase());
            let variable = arg.get_env().and_then(|variable| variable.to_str());
            assert_eq!(variable, Some(&*expected), "--{long}");
        }
        Options::command().debug_assert();
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        for args in [&[][..], &["serve"]] {
            let command = parsed(args);
            let expected = format!("{:?}", Config::default());
            assert_eq!(format!("{:?}", command.config), expected);
            assert_eq!((command.stdin, &*command.log), (None, "info"));
        }
    }

    #[test]
    fn the_help_tells_the_true_default_of_listen() {
        let help = <Options as clap::CommandFactory>::command()
            .render_help()
            .to_string();
        let [address] = &*Config::default().listen else {
            panic!("one address is told of");
        };
        let words: Vec<_> = help.split_whitespace().collect();
        assert!(words.join(" ").contains(&format!("[default: {address}]")));
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
    fn standard_input() {
        assert_eq!(parsed(&["--stdin"]).stdin, Some(Lines::Ndjson));
        assert_eq!(parsed(&["--stdin="]).stdin, Some(Lines::Ndjson));
        assert_eq!(parsed(&["--stdin", "serve"]).stdin, Some(Lines::Ndjson));
        let vmstat = Lines::Channel("vmstat".into());
        assert_eq!(parsed(&["--stdin=vmstat"]).stdin, Some(vmstat));
    }

    #[test]
    fn the_page_may_be_left_out() {
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
    fn all_origins() {
        assert_eq!(parsed(&["--cors-origin=*"]).config.cors, Cors::Any);
        assert_eq!(parsed(&["--cors-origin", "*"]).config.cors, Cors::Any);
    }
}
