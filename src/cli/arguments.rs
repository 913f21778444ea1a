//! The command line for clap, derived from the table of settings.
//!
//! Owns the layout of `--help`. Each argument is a text, which the table of settings parses.
//! `tools/manual` compiles this file too, for the manual and the completions, so it uses nothing
//! else of its crate.

use clap::{Arg, ArgAction, Command, ValueHint};
use encke::config::{Group, SETTINGS, Setting};

const AFTER_HELP: &str = "\
Durations are seconds (30, 0.5) or have a suffix: 500ms, 30s, 2m, 1h. Bytes may have a suffix: K, M,
G (of 1,024). ADDR is host:port, [v6]:port or unix:/path; with proxy: before it, each connection
begins with a PROXY protocol header, version 1 or 2. Sockets that systemd passes replace the default
address; one named `control` counts as given with --control. Repeatable options also accept several
values separated by commas. Each option can also be set by the environment variable shown with it; the
command line overrides the environment, and an empty variable counts as absent.

Examples (more than one channel: news,sport):
  publish    curl -d hello http://127.0.0.1:7711/publish/news
  poll       curl http://127.0.0.1:7711/poll/news
  long poll  curl 'http://127.0.0.1:7711/long-poll/news?since=CURSOR&hold=20'
  stream     curl -N http://127.0.0.1:7711/sse/news

SIGTERM and SIGINT begin a drain; a second signal ends the process at once.
Exit codes: 0 drained, 1 could not run, 2 bad option, 128 + N ended by a second signal N.";

/// The command: the word `serve`, and one option per setting.
pub(super) fn command() -> Command {
    let serve = Arg::new("serve")
        .value_name("WORD")
        .value_parser(serve)
        .hide(true);
    Command::new("encke")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "A Comet server: polling, long polling and streaming over one set of channels with one \
             cursor",
        )
        .override_usage("encke [serve] [OPTIONS]")
        .after_help(AFTER_HELP)
        .next_line_help(true)
        .max_term_width(100)
        .arg(serve)
        .args(SETTINGS.iter().map(arg))
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
        Group::Listening => "Listening",
        Group::Receiving => "Receiving",
        Group::Publishing => "Publishing",
        Group::History => "History",
        Group::Limits => "Limits",
        Group::Lifecycle => "Lifecycle",
    }
}

/// Parses the word `serve`, which is accepted for symmetry with other servers and has no effect.
fn serve(text: &str) -> Result<(), String> {
    match text {
        "serve" => Ok(()),
        _ => Err(
            "the only word allowed is serve, everything else is an --option; \
                  give a channel for standard input as --stdin=CHANNEL"
                .into(),
        ),
    }
}
