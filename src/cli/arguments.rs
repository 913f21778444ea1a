//! The command line for clap, derived from the table of settings.
//!
//! Owns the layout of `--help`. Each argument is a text, which the table of settings parses.
//! `tools/manual` compiles this file too, for the manual and the completions, so it uses nothing
//! else of its crate.

use clap::{Arg, ArgAction, Command, ValueHint};
use encke::config::{Group, SETTINGS, Setting};
use encke::handover::FORMATS;

const AFTER_HELP: &str = "\
Durations are seconds (30, 0.5) or have a suffix: 500ms, 30s, 2m, 1h. Bytes may have a suffix: K, M,
G (of 1,024). ADDR is host:port, [v6]:port or unix:/path; with proxy: before it, each connection
begins with a PROXY protocol header, version 1 or 2. Sockets that systemd passes replace the default
address; one named `control` counts as given with --control. Repeatable options also accept several
values separated by commas. Each option can also be set by the environment variable shown with it, or by
its key in the file of --config; the command line overrides the environment, which overrides the file. An
empty variable counts as absent.

encke check shows the settings that these options would give a server, and where each comes from, and
does not listen. It exits with 0, or with 2 and the error.

Examples (more than one channel: news,sport):
  publish    curl -d hello http://127.0.0.1:7711/publish/news
  poll       curl http://127.0.0.1:7711/poll/news
  long poll  curl 'http://127.0.0.1:7711/long-poll/news?since=CURSOR&hold=20'
  stream     curl -N http://127.0.0.1:7711/sse/news

SIGTERM and SIGINT begin a drain; a second signal ends the process at once. SIGHUP reads the file of
settings and the files of keys again; if anything is wrong, the old settings stay. SIGUSR2 starts the
program at the path of this one, which takes over every connection; if it does not, this one serves on.
Exit codes: 0 drained, 1 could not run, 2 bad option, 128 + N ended by a second signal N.";

/// The argument for the mode.
pub(super) const MODE: &str = "mode";

/// The task of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Run a server: the default.
    #[default]
    Serve,
    /// Show the settings in force.
    Check,
}

/// The command line: `serve` or `check`, and one option per setting; or `token`, and its own
/// options.
pub(super) fn command() -> Command {
    let mode = Arg::new(MODE)
        .value_name("COMMAND")
        .value_parser(mode)
        .hide(true);
    Command::new("encke")
        .version(version())
        .about(
            "A Comet server: polling, long polling and streaming over one set of channels with one \
             cursor",
        )
        .override_usage(
            "encke [serve | check] [OPTIONS]\n       encke token --key-file FILE [OPTIONS]",
        )
        .after_help(AFTER_HELP)
        .next_line_help(true)
        .max_term_width(100)
        .disable_help_subcommand(true)
        .args_conflicts_with_subcommands(true)
        .subcommand(token())
        .arg(mode)
        .args(SETTINGS.iter().map(arg))
}

/// The version, and the formats of the state that it can hand over and take over.
fn version() -> &'static str {
    let formats: Vec<String> = FORMATS.iter().map(u32::to_string).collect();
    let version = format!(
        "{} (state format {})",
        env!("CARGO_PKG_VERSION"),
        formats.join(", ")
    );
    // Once in a process.
    version.leak()
}

const AFTER_TOKEN_HELP: &str = "\
PATTERN is the name of a channel whose segments, between /, may be *, for one segment, and whose
last may be **, for one or more. Repeatable options also accept several values separated by commas.

Example:
  encke token --key-file secret --sub user-42 --subscribe 'user/42/**' --expires 5m";

/// The command that prints a token.
fn token() -> Command {
    let text = |name: &'static str, value, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let several = |arg: Arg| arg.action(ArgAction::Append).value_delimiter(',');
    let key_file = "File with the key that signs: a secret of at least 32 bytes (HS256), or a private \
                    key in PEM: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256)";
    Command::new("token")
        .about("Prints a token for a server that has the key in --token-key-file")
        .after_help(AFTER_TOKEN_HELP)
        .max_term_width(100)
        .arg(
            text("key-file", "PATH", key_file)
                .required(true)
                .value_hint(ValueHint::FilePath),
        )
        .arg(text(
            "sub",
            "TEXT",
            "Subject, by which its connections can be ended",
        ))
        .arg(several(text(
            "subscribe",
            "PATTERN",
            "Channels to receive from. Repeatable",
        )))
        .arg(several(text(
            "publish",
            "PATTERN",
            "Channels to publish to. Repeatable",
        )))
        .arg(text("expires", "DURATION", "Time until it expires: 90, 5m, 12h").default_value("1h"))
        .arg(text(
            "kid",
            "TEXT",
            "Name of the key in the JWK set of the server",
        ))
        .arg(text(
            "audience",
            "TEXT",
            "Audience, if the server has --token-audience",
        ))
        .arg(text(
            "issuer",
            "TEXT",
            "Issuer, if the server has --token-issuer",
        ))
}

fn arg(setting: &'static Setting) -> Arg {
    let Setting { option, help, .. } = setting;
    let (variable, default) = (setting.variable(), setting.default());
    let arg = Arg::new(*option)
        .long(setting.name())
        .value_name(setting.value_name())
        .help(format!("{help}\n[env: {variable}] [default: {default}]"))
        .help_heading(heading(setting.group))
        .action(match setting.is_list() {
            true => ArgAction::Append,
            false => ArgAction::Set,
        });
    let arg = match setting.value_name() {
        "PATH" => arg.value_hint(ValueHint::FilePath),
        "DIR" => arg.value_hint(ValueHint::DirPath),
        _ => arg,
    };
    match setting.bare() {
        Some(text) => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(text),
        None => arg,
    }
}

fn heading(group: Group) -> &'static str {
    match group {
        Group::Configuration => "Configuration",
        Group::Listening => "Listening",
        Group::Receiving => "Receiving",
        Group::Publishing => "Publishing",
        Group::Tokens => "Tokens",
        Group::History => "History",
        Group::Nodes => "Several nodes",
        Group::Limits => "Limits",
        Group::Lifecycle => "Lifecycle",
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "serve" => Ok(Mode::Serve),
        "check" => Ok(Mode::Check),
        _ => Err(
            "the commands are serve, check and token; everything else is an --option; \
                  give a channel for standard input as --stdin=CHANNEL"
                .into(),
        ),
    }
}
