//! The options themselves: names, variables, help and groups.
//!
//! Owns what `--help` says. Defaults are taken from [`Config::default`], so that there is one place
//! for them.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser};
use encke::producer::stdin::Lines;
use encke::{Address, Config};

use super::values::{self, Bytes, Span};

const AFTER_HELP: &str = "\
Durations are seconds (30, 0.5) or have a suffix: 500ms, 30s, 2m, 1h. Bytes may have a suffix: K, M,
G (of 1,024). ADDR is host:port, [v6]:port or unix:/path; with proxy: before it, each connection
begins with a PROXY protocol header, version 1 or 2. Sockets that systemd passes take the place of
the default --listen; one named `control` is as if given with --control. Options that may be repeated also take
several values separated by commas. Each option is also the environment variable named with it; the
command line wins.

Examples (more than one channel: news,sport):
  publish    curl -d hello http://127.0.0.1:7711/publish/news
  poll       curl http://127.0.0.1:7711/poll/news
  long poll  curl 'http://127.0.0.1:7711/long-poll/news?since=CURSOR&hold=20'
  stream     curl -N http://127.0.0.1:7711/sse/news

SIGTERM and SIGINT drain; a second one ends at once.
Exit codes: 0 drained, 1 could not run, 2 bad option, 128 + N ended by a second signal N.";

/// A Comet server: polling, long polling and streaming over one set of channels with one cursor.
#[derive(Parser, Debug)]
#[command(
    name = "encke",
    version,
    override_usage = "encke [serve] [OPTIONS]",
    after_help = AFTER_HELP,
    next_line_help = true,
    max_term_width = 100
)]
pub(super) struct Options {
    /// The word `serve` may be said, and changes nothing
    #[arg(value_name = "WORD", value_parser = word, hide = true)]
    serve: Option<()>,
    #[command(flatten)]
    pub(super) listening: Listening,
    #[command(flatten)]
    pub(super) receiving: Receiving,
    #[command(flatten)]
    pub(super) publishing: Publishing,
    #[command(flatten)]
    pub(super) history: History,
    #[command(flatten)]
    pub(super) limits: Limits,
    #[command(flatten)]
    pub(super) lifecycle: Lifecycle,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
pub(super) struct Listening {
    /// Address for receivers and, without --control, for everything; repeatable [default:
    /// 127.0.0.1:7711]
    #[arg(long, env = "ENCKE_LISTEN", value_name = "ADDR", value_delimiter = ',',
        value_parser = values::address)]
    pub(super) listen: Vec<Address>,

    /// Address for everything; publishing, /channels and /metrics are then served on these alone;
    /// repeatable [default: none]
    #[arg(
        long,
        env = "ENCKE_CONTROL",
        value_name = "ADDR",
        value_delimiter = ',',
        value_parser = values::address
    )]
    pub(super) control: Vec<Address>,

    /// Mode of the files of unix sockets, in octal [default: as the umask leaves it]
    #[arg(long, env = "ENCKE_UNIX_MODE", value_name = "MODE", value_parser = values::mode)]
    pub(super) unix_mode: Option<u32>,

    /// Origin whose pages may read answers, such as https://example.org; repeatable, or * for all
    /// [default: none]
    #[arg(
        long,
        env = "ENCKE_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub(super) cors_origin: Vec<String>,

    /// Do not serve the live page at / [default: it is served]
    #[arg(long, env = "ENCKE_NO_PAGE", value_name = "BOOL", value_parser = BoolishValueParser::new(),
        num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", hide_default_value = true)]
    pub(super) no_page: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Receiving")]
pub(super) struct Receiving {
    /// How long a long poll that names no hold is kept waiting, less a random tenth at most
    #[arg(long, env = "ENCKE_HOLD", value_name = "DURATION",
        default_value_t = Span(Config::default().hold))]
    pub(super) hold: Span,

    /// Longest hold that a client may ask for
    #[arg(long, env = "ENCKE_MAX_HOLD", value_name = "DURATION",
        default_value_t = Span(Config::default().max_hold))]
    pub(super) max_hold: Span,

    /// Silence after which a stream gets a heartbeat
    #[arg(long, env = "ENCKE_HEARTBEAT", value_name = "DURATION",
        default_value_t = Span(Config::default().heartbeat))]
    pub(super) heartbeat: Span,

    /// Most messages in one batch
    #[arg(long, env = "ENCKE_MAX_BATCH", value_name = "COUNT", value_parser = values::count,
        default_value_t = Config::default().max_batch)]
    pub(super) max_batch: usize,

    /// Most bytes of messages in one batch; one message always fits
    #[arg(long, env = "ENCKE_MAX_BATCH_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().max_batch_bytes))]
    pub(super) max_batch_bytes: Bytes,

    /// Bytes after which a stream ends and the client comes back, randomised to 80-100 %
    #[arg(long, env = "ENCKE_STREAM_MAX_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().stream_max_bytes as usize))]
    pub(super) stream_max_bytes: Bytes,

    /// Age at which a stream ends and the client comes back, randomised to 80-100 %
    #[arg(long, env = "ENCKE_STREAM_MAX_AGE", value_name = "DURATION",
        default_value_t = Span(Config::default().stream_max_age))]
    pub(super) stream_max_age: Span,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Publishing")]
pub(super) struct Publishing {
    /// Key that publishers send as `Authorization: Bearer KEY`; also guards /channels and
    /// /metrics; not asked for on --control addresses on loopback or a unix socket [default: none]
    #[arg(long, env = "ENCKE_PUBLISH_KEY", value_name = "KEY")]
    pub(super) publish_key: Option<String>,

    /// File that holds the key, so that no list of processes shows it [default: none]
    #[arg(
        long,
        env = "ENCKE_PUBLISH_KEY_FILE",
        value_name = "PATH",
        conflicts_with = "publish_key"
    )]
    pub(super) publish_key_file: Option<PathBuf>,

    /// Publish standard input: each line as it is to CHANNEL; without one, NDJSON lines
    /// {"channel":...,"data":...,"event":...?} [default: off]
    #[arg(long, env = "ENCKE_STDIN", value_name = "CHANNEL", value_parser = stdin_lines,
        num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) stdin: Option<Lines>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "History")]
pub(super) struct History {
    /// Most messages a channel keeps; 0 keeps none beyond delivery
    #[arg(long, env = "ENCKE_HISTORY_MESSAGES", value_name = "COUNT", value_parser = values::count,
        default_value_t = Config::default().history.max_messages)]
    pub(super) history_messages: usize,

    /// Age at which a message is dropped
    #[arg(long, env = "ENCKE_HISTORY_AGE", value_name = "DURATION",
        default_value_t = Span(Config::default().history.max_age))]
    pub(super) history_age: Span,

    /// Most bytes a channel keeps
    #[arg(long, env = "ENCKE_HISTORY_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().history.max_bytes))]
    pub(super) history_bytes: Bytes,

    /// Most bytes of all channels together
    #[arg(long, env = "ENCKE_HISTORY_TOTAL_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().history.max_total_bytes))]
    pub(super) history_total_bytes: Bytes,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// Most channels at once
    #[arg(long, env = "ENCKE_MAX_CHANNELS", value_name = "COUNT", value_parser = values::count,
        default_value_t = Config::default().max_channels)]
    pub(super) max_channels: usize,

    /// Most connections at once [default: as many as the file limit allows]
    #[arg(long, env = "ENCKE_MAX_CONNECTIONS", value_name = "COUNT", value_parser = values::count)]
    pub(super) max_connections: Option<usize>,

    /// Most connections from one IP address [default: no limit]
    #[arg(long, env = "ENCKE_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT",
        value_parser = values::count)]
    pub(super) max_connections_per_address: Option<usize>,

    /// Most bytes of a request's line and headers
    #[arg(long, env = "ENCKE_MAX_HEAD_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().max_head_bytes))]
    pub(super) max_head_bytes: Bytes,

    /// Most bytes of a request's body, and so of a message
    #[arg(long, env = "ENCKE_MAX_BODY_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().max_body_bytes))]
    pub(super) max_body_bytes: Bytes,

    /// Most bytes of all unfinished requests and unsent answers together
    #[arg(long, env = "ENCKE_MAX_BUFFER_BYTES", value_name = "BYTES",
        default_value_t = Bytes(Config::default().max_buffer_bytes))]
    pub(super) max_buffer_bytes: Bytes,

    /// Time to send a request's line and headers
    #[arg(long, env = "ENCKE_HEAD_TIMEOUT", value_name = "DURATION",
        default_value_t = Span(Config::default().head_timeout))]
    pub(super) head_timeout: Span,

    /// Time to send a request's body
    #[arg(long, env = "ENCKE_BODY_TIMEOUT", value_name = "DURATION",
        default_value_t = Span(Config::default().body_timeout))]
    pub(super) body_timeout: Span,

    /// Time a connection may stay open between two requests
    #[arg(long, env = "ENCKE_IDLE_TIMEOUT", value_name = "DURATION",
        default_value_t = Span(Config::default().idle_timeout))]
    pub(super) idle_timeout: Span,

    /// Time after which a client that takes no bytes, or acknowledges none, is closed
    #[arg(long, env = "ENCKE_WRITE_TIMEOUT", value_name = "DURATION",
        default_value_t = Span(Config::default().write_timeout))]
    pub(super) write_timeout: Span,

    /// Messages that may wait between a producer such as --stdin and the server
    #[arg(long, env = "ENCKE_QUEUE", value_name = "COUNT", value_parser = values::count,
        default_value_t = Config::default().queue)]
    pub(super) queue: usize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Lifecycle")]
pub(super) struct Lifecycle {
    /// Time over which a drain releases those who wait, each at a random moment of it
    #[arg(long, env = "ENCKE_DRAIN", value_name = "DURATION",
        default_value_t = Span(Config::default().drain))]
    pub(super) drain: Span,

    /// Time for which a drain still accepts connections: what the load balancer needs to notice
    #[arg(long, env = "ENCKE_DRAIN_DELAY", value_name = "DURATION",
        default_value_t = Span(Config::default().drain_delay))]
    pub(super) drain_delay: Span,

    /// What to log on standard error: off, error, warn, info, debug or trace, or by module such as
    /// warn,encke=debug
    #[arg(long, env = "ENCKE_LOG", value_name = "LEVEL", value_parser = values::log_filter,
        default_value = "info")]
    pub(super) log: String,
}

fn word(text: &str) -> Result<(), String> {
    match text {
        "serve" => Ok(()),
        _ => Err("the only word is serve, all else are --options; \
                  a channel for standard input is given as --stdin=CHANNEL"
            .into()),
    }
}

fn stdin_lines(channel: &str) -> Result<Lines, String> {
    match channel {
        "" => Ok(Lines::Ndjson),
        _ => Lines::to_channel(channel).map_err(|error| error.detail().into()),
    }
}
