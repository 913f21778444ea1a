//! The table of settings: one row per setting.
//!
//! Owns the names, ranges and help texts of the options. The command line, the environment, the
//! checks with their error texts, `--help`, the manual and the table in `operating.md` are derived
//! from it. A new setting needs a field of [`Config`](super::Config), a row here, and its use.

use std::time::Duration;

use super::engine::{check_namespace, check_node};
use super::saving::{DataFull, DataSync};
use super::setting::Group::{
    self, Configuration, History, Lifecycle, Limits, Listening, Nodes, Publishing, Receiving,
    Tokens,
};
use super::setting::{Keep, Kind, Reload, Setting, TextForm, Unit};

/// Far below the range of the timers; a longer hold, age or timeout has no use.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The resolution of the engine's clock; anything shorter would round to nothing.
pub(super) const MS: Duration = Duration::from_millis(1);
/// Keeps the number of messages within their `u32` index, however small they are.
pub(super) const MAX_BYTES: u64 = 256 << 30;
/// Tables of this many entries are reserved at the start.
const MAX_TABLE: u64 = 1 << 24;
/// More than any engine has.
const MAX_REPLICAS: u64 = 100;
pub(super) const MAX_COUNT: u64 = u32::MAX as u64;
/// The largest `--max-body-bytes`.
pub(super) const MAX_MESSAGE: u64 = 1 << 30;

const fn live(option: &'static str, group: Group, kind: Kind, help: &'static str) -> Setting {
    Setting {
        option,
        group,
        reload: Reload::Live,
        keep: None,
        kind,
        help,
    }
}

/// One that cannot change, and how a reload gives it the value of the running server.
const fn fixed(
    option: &'static str,
    group: Group,
    keep: Keep,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting {
        keep: Some(keep),
        ..of_process(option, group, kind, help)
    }
}

/// One that cannot change, and that is no part of a [`Config`](super::Config).
const fn of_process(option: &'static str, group: Group, kind: Kind, help: &'static str) -> Setting {
    Setting {
        option,
        group,
        reload: Reload::Fixed,
        keep: None,
        kind,
        help,
    }
}

macro_rules! keep {
    ($($field:ident).+) => {
        |config, running| replace(&mut config.$($field).+, &running.$($field).+)
    };
}

/// Replaces a value, and returns whether it differed.
fn replace<T: Clone + PartialEq>(value: &mut T, running: &T) -> bool {
    let differed = value != running;
    value.clone_from(running);
    differed
}

/// A duration from `$min` to [`MAX_DURATION`].
macro_rules! duration {
    ($min:expr, $($field:ident).+) => {
        Kind::Duration {
            range: $min..=MAX_DURATION,
            get: |config| config.$($field).+,
            set: |config, value| config.$($field).+ = value,
        }
    };
}

macro_rules! number {
    ($unit:ident, $range:expr, $($field:ident).+) => {
        Kind::Number {
            unit: Unit::$unit,
            range: $range,
            unset: "",
            get: |config| Some(config.$($field).+ as u64),
            // Lossless: the range is not wider than the field's type.
            set: |config, value| config.$($field).+ = value as _,
        }
    };
}

/// A count that may be absent.
macro_rules! optional {
    ($range:expr, $field:ident, $unset:literal) => {
        Kind::Number {
            unit: Unit::Count,
            range: $range,
            unset: $unset,
            get: |config| config.$field.map(|value| value as u64),
            set: |config, value| config.$field = Some(value as usize),
        }
    };
}

macro_rules! addresses {
    ($field:ident) => {
        Kind::Addresses {
            get: |config| &config.$field,
            set: |config, value| config.$field = value,
        }
    };
}

/// A text that may be absent.
macro_rules! text {
    ($name:literal, $default:literal, $form:ident, $($field:ident).+) => {
        Kind::Text {
            name: $name,
            default: $default,
            form: TextForm::$form,
            get: |options| options.$($field).+.as_deref(),
            set: |options, text| options.$($field).+ = Some(text),
        }
    };
}

/// All settings, in the order of `--help`.
#[rustfmt::skip] // A table is read by its columns.
pub static SETTINGS: &[Setting] = &[
    of_process("--config", Configuration, text!("PATH", "none", Plain, config_file),
        "File of settings, in TOML, whose keys are these options without dashes; with - before the path \
         (--config=-/PATH), a missing file is no error"),

    fixed("--listen", Listening, keep!(listen), addresses!(listen),
        "Address for receivers and, without --control, for everything; repeatable"),
    fixed("--control", Listening, keep!(control), addresses!(control),
        "Address for everything; /channels, /connections, /nodes, /metrics and publishing without a token are then served \
         only on these; repeatable"),
    fixed("--unix-mode", Listening, keep!(unix_mode),
        Kind::Mode {
            unset: "from the umask",
            get: |config| config.unix_mode,
            set: |config, mode| config.unix_mode = Some(mode),
        },
        "Mode of the files of unix sockets, in octal"),
    fixed("--reuse-port", Listening, keep!(reuse_port),
        Kind::Flag {
            unset: "an address is of one process",
            get: |config| config.reuse_port,
            set: |config, is_shared| config.reuse_port = is_shared,
        },
        "Share the TCP addresses with other processes of the same user that have this option too; the kernel \
         spreads new connections over them"),
    live("--cors-origin", Listening,
        Kind::Origins { get: |config| &config.cors, set: |config, cors| config.cors = cors },
        "Origin whose pages may read responses, such as `https://example.org`; repeatable, or * for all"),
    live("--no-page", Listening,
        Kind::Flag {
            unset: "the page is served",
            get: |config| !config.page,
            set: |config, no| config.page = !no,
        },
        "Do not serve the live page at / and the client at /encke.js"),

    live("--hold", Receiving, duration!(MS, hold),
        "Hold of a long poll without a `hold` parameter, less a random part of at most a tenth"),
    live("--max-hold", Receiving, duration!(MS, max_hold),
        "Longest hold that a client may request"),
    live("--heartbeat", Receiving, duration!(MS, heartbeat),
        "Time without a message after which a stream gets a heartbeat"),
    live("--max-batch", Receiving, number!(Count, 1..=MAX_COUNT, max_batch),
        "Maximum number of messages in one batch"),
    live("--max-batch-bytes", Receiving, number!(Bytes, 1..=MAX_BYTES, max_batch_bytes),
        "Maximum bytes of messages in one batch; one message always fits"),
    live("--stream-max-bytes", Receiving, number!(Bytes, 1..=MAX_COUNT, stream_max_bytes),
        "Bytes after which a stream ends and the client reconnects, randomised to 80-100 %"),
    live("--stream-max-age", Receiving, duration!(MS, stream_max_age),
        "Age at which a stream ends and the client reconnects, randomised to 80-100 %"),

    live("--publish-key", Publishing,
        text!("KEY", "none", Secret, config.publish_key),
        "Key that publishers send as `Authorization: Bearer KEY`; also guards /channels, /connections, /nodes and /metrics; \
         not required on --control addresses on loopback or a unix socket"),
    live("--publish-key-file", Publishing,
        text!("PATH", "none", Plain, publish_key_file),
        "File that contains the key; unlike --publish-key, it is not visible in the list of processes"),
    of_process("--stdin", Publishing,
        Kind::Text {
            name: "CHANNEL",
            default: "off",
            form: TextForm::MayBeBare,
            get: |options| options.stdin.as_deref(),
            set: |options, channel| options.stdin = Some(channel),
        },
        "Publish standard input: each line unchanged to CHANNEL; without CHANNEL, NDJSON lines \
         {\"channel\":...,\"data\":...,\"event\":...?}"),

    live("--token-key-file", Tokens,
        Kind::Paths {
            get: |options| &options.token_key_files,
            set: |options, paths| options.token_key_files = paths,
        },
        "File of a key that verifies tokens: a secret of at least 32 bytes, a PEM public key, or a JWKS; \
         repeatable"),
    live("--token-audience", Tokens, text!("TEXT", "none", Plain, config.tokens.audience),
        "Audience that a token must name in `aud`"),
    live("--token-issuer", Tokens, text!("TEXT", "none", Plain, config.tokens.issuer),
        "Issuer that a token must name in `iss`"),
    live("--token-cookie", Tokens, text!("NAME", "none", Plain, config.token_cookie),
        "Name of the cookie that may contain a token; pages of the origins in --cors-origin may then send it"),
    live("--anonymous", Tokens,
        Kind::Patterns {
            unset: "all channels without token keys, no channels with them",
            get: |config| config.anonymous.as_deref(),
            set: |config, patterns| config.anonymous = Some(patterns),
        },
        "Pattern of channels that anyone may receive, such as news or public/**; repeatable"),

    live("--history-messages", History, number!(Count, 0..=MAX_COUNT, history.max_messages),
        "Maximum number of messages that a channel keeps; 0 keeps none after delivery"),
    live("--history-age", History, duration!(MS, history.max_age),
        "Age at which a message is evicted"),
    live("--history-bytes", History, number!(Bytes, 0..=MAX_BYTES, history.max_bytes),
        "Maximum bytes that a channel keeps"),
    live("--history-total-bytes", History, number!(Bytes, 1..=MAX_BYTES, history.max_total_bytes),
        "Maximum bytes that all channels together keep"),
    fixed("--data-dir", History, keep!(saving.dir),
        Kind::Directory {
            get: |config| config.saving.dir.as_deref(),
            set: |config, path| config.saving.dir = Some(path),
        },
        "Directory in which history is kept over restarts and crashes; of one encke alone"),
    fixed("--data-sync", History, keep!(saving.sync),
        Kind::Word {
            words: DataSync::WORDS,
            get: |config| config.saving.sync as usize,
            set: |config, place| config.saving.sync = DataSync::ALL[place],
        },
        "When messages survive the machine too: within a second, before a publish is answered, or when the \
         system writes them"),
    fixed("--data-full", History, keep!(saving.full),
        Kind::Word {
            words: DataFull::WORDS,
            get: |config| config.saving.full as usize,
            set: |config, place| config.saving.full = DataFull::ALL[place],
        },
        "What to do while the directory cannot be written: refuse to publish, or forget it and keep history in \
         memory"),

    fixed("--engine", Nodes, keep!(engine.url),
        Kind::Parsed {
            name: "URL",
            default: "none",
            get: |config| config.engine.url.as_ref().map(ToString::to_string),
            set: |config, text| {
                config.engine.url = Some(text.parse()?);
                Ok(())
            },
        },
        "Redis or Valkey that several nodes share: redis://HOST:PORT, rediss://HOST:PORT, redis+unix:///PATH or \
         redis+sentinel://HOST,HOST,HOST/NAME"),
    fixed("--engine-password-file", Nodes, keep!(engine.password),
        text!("PATH", "none", Plain, engine_password_file),
        "File that contains the password of the engine"),
    fixed("--engine-namespace", Nodes, keep!(engine.namespace),
        Kind::Parsed {
            name: "NAME",
            default: "encke",
            get: |config| Some(config.engine.namespace.clone()),
            set: |config, text| {
                check_namespace(text).map_err(|detail| format!("{text:?}: {detail}"))?;
                config.engine.namespace = text.into();
                Ok(())
            },
        },
        "Beginning of all keys in the engine; nodes with the same engine and namespace are one cluster"),
    fixed("--engine-wait", Nodes, keep!(engine.wait), number!(Count, 0..=MAX_REPLICAS, engine.wait),
        "Replicas of the engine that must have a message before its publisher is answered"),
    live("--engine-patience", Nodes, duration!(MS, engine.patience),
        "Time for which a publisher waits while the engine is away"),
    live("--engine-ready", Nodes, duration!(Duration::ZERO, engine.ready),
        "Time without an answer through the engine after which this node is not ready; 0: it stays ready"),
    fixed("--engine-log-bytes", Nodes, keep!(engine.log_bytes),
        Kind::Number {
            unit: Unit::Bytes,
            range: 1..=MAX_BYTES,
            unset: "--history-total-bytes",
            get: |config| config.engine.log_bytes,
            set: |config, bytes| config.engine.log_bytes = Some(bytes),
        },
        "Maximum bytes of the log in the engine"),
    fixed("--node", Nodes, keep!(engine.node),
        Kind::Parsed {
            name: "NAME",
            default: "the host name",
            get: |config| config.engine.node.clone(),
            set: |config, text| {
                check_node(text).map_err(|detail| format!("{text:?}: {detail}"))?;
                config.engine.node = Some(text.into());
                Ok(())
            },
        },
        "Name of this node in logs and metrics"),

    fixed("--max-channels", Limits, keep!(max_channels), number!(Count, 1..=MAX_TABLE, max_channels),
        "Maximum number of channels"),
    fixed("--max-connections", Limits, keep!(max_connections),
        optional!(1..=MAX_TABLE, max_connections, "as many as the file limit allows"),
        "Maximum number of connections"),
    live("--max-connections-per-address", Limits,
        optional!(1..=MAX_TABLE, max_connections_per_address, "no limit"),
        "Maximum number of connections from one IP address"),
    live("--max-head-bytes", Limits, number!(Bytes, 512..=1 << 20, max_head_bytes),
        "Maximum bytes of a request line and its headers"),
    live("--max-body-bytes", Limits, number!(Bytes, 1..=MAX_MESSAGE, max_body_bytes),
        "Maximum bytes of a request body, and so of a message"),
    live("--max-buffer-bytes", Limits, number!(Bytes, 1..=MAX_BYTES, max_buffer_bytes),
        "Maximum bytes of all unfinished requests and unsent responses together"),
    live("--head-timeout", Limits, duration!(MS, head_timeout),
        "Time for a client to send a request line and its headers"),
    live("--body-timeout", Limits, duration!(MS, body_timeout),
        "Time for a client to send a request body; with `lines=1`, its next line"),
    live("--idle-timeout", Limits, duration!(MS, idle_timeout),
        "Time for which a connection may stay open between two requests"),
    live("--write-timeout", Limits, duration!(MS, write_timeout),
        "Time after which the connection of a client that reads or acknowledges no bytes is closed"),
    fixed("--queue", Limits, keep!(queue), number!(Count, 1..=1 << 20, queue),
        "Capacity of the queue between producers such as --stdin and the server, in messages"),

    live("--drain", Lifecycle, duration!(Duration::ZERO, drain),
        "Time within which a drain releases the parked connections, each at a random moment"),
    live("--drain-delay", Lifecycle, duration!(Duration::ZERO, drain_delay),
        "Time for which a drain still accepts connections, so that load balancers notice it"),
    live("--upgrade-timeout", Lifecycle, duration!(MS, upgrade_timeout),
        "Time within which a new process must have taken over after SIGUSR2; else the old one serves on"),
    live("--log", Lifecycle,
        Kind::Text {
            name: "LEVEL",
            default: "info",
            form: TextForm::Plain,
            get: |options| Some(&options.log),
            set: |options, filter| options.log = filter,
        },
        "Level of the log on standard error: off, error, warn, info, debug or trace; or per module, such \
         as warn,encke=debug"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Options};

    #[test]
    fn names_are_distinct_and_help_is_one_line_without_an_end() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let Setting { option, help, .. } = setting;
            assert!(option.starts_with("--"), "{option}");
            assert!(!help.ends_with('.') && !help.contains('\n'), "{option}");
            assert!(
                SETTINGS[..index]
                    .iter()
                    .all(|other| other.option != *option)
            );
        }
    }

    #[test]
    fn defaults_and_ranges_read_back() {
        let resolve = |_: &str, _| Err("no name is a default".into());
        for setting in SETTINGS {
            if let Kind::Duration { .. } | Kind::Number { unset: "", .. } = &setting.kind {
                let mut options = Options::default();
                setting
                    .set(&mut options, &[setting.default()], resolve)
                    .unwrap();
                let default = Config::default();
                assert_eq!(format!("{:?}", options.config), format!("{default:?}"));
            }
        }
    }

    /// Asserts that the value is refused, with an error that names the option, the value and the
    /// range.
    fn refused(setting: &Setting, config: &Config, value: &str) {
        let error = setting.check(config).unwrap_err();
        assert_eq!(error.option, setting.option);
        assert!(
            error
                .detail
                .starts_with(&format!("{value} is not allowed; ")),
            "{error}"
        );
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn ends_of_ranges_are_allowed_and_nothing_beyond() {
        let step = Duration::from_nanos(1);
        let config = &mut Config::default();
        for setting in SETTINGS {
            match &setting.kind {
                Kind::Duration { range, set, .. } => {
                    for value in [*range.start(), *range.end()] {
                        set(config, value);
                        assert_eq!(setting.check(config), Ok(()));
                    }
                    set(config, *range.end() + step);
                    refused(setting, config, "2592000.000000001s");
                    if !range.start().is_zero() {
                        set(config, *range.start() - step);
                        refused(setting, config, "999.999µs");
                    }
                }
                Kind::Number {
                    range, get, set, ..
                } => {
                    for value in [*range.start(), *range.end()] {
                        set(config, value);
                        assert_eq!((setting.check(config), get(config)), (Ok(()), Some(value)));
                    }
                    // A type that is as narrow as the range cannot hold a larger value.
                    set(config, range.end() + 1);
                    if get(config) == Some(range.end() + 1) {
                        refused(setting, config, &(range.end() + 1).to_string());
                    }
                    if let Some(below) = range.start().checked_sub(1) {
                        set(config, below);
                        refused(setting, config, &below.to_string());
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn number_beyond_its_range_is_refused_before_it_is_cut_to_a_type() {
        let resolve = |_: &str, _| Err("no name".into());
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.option == "--stream-max-bytes");
        let mut options = Options::default();
        let error = setting
            .unwrap()
            .set(&mut options, &["4G".into()], resolve)
            .unwrap_err();
        assert_eq!(
            error.detail,
            "4294967296 is not allowed; 1 to 4294967295 bytes"
        );
        assert_eq!(
            options.config.stream_max_bytes,
            Config::default().stream_max_bytes
        );
    }
}
