//! The file that describes a server.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::process::find_program;

/// The way to start a server and to talk to it.
///
/// In `command`, `application`, `files` and `version`: `{port}`, `{port2}` and `{port3}` are free
/// ports, `{dir}` a directory of this run, `{drain}` the seconds over which it drains. In requests:
/// `{channel}` is the channel's name, `{index}` its number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Its name in tables.
    pub name: String,
    /// Program and arguments; a program of this workspace needs no path.
    #[serde(default)]
    pub command: Vec<String>,
    /// Its address, if it runs already and is not to be started.
    pub address: Option<SocketAddrV4>,
    /// The application that it needs behind it, as `command`. It runs where the driver runs, and
    /// is not part of what the server costs.
    #[serde(default)]
    pub application: Vec<String>,
    /// A command that prints its version in one line.
    #[serde(default)]
    pub version: Vec<String>,
    /// Files without which it is not installed.
    #[serde(default)]
    pub needs: Vec<PathBuf>,
    /// The way to install it.
    #[serde(default)]
    pub install: String,
    /// Reasons why it cannot do something: by mode, by transport, or by both with a space between.
    #[serde(default)]
    pub cannot: BTreeMap<String, String>,
    /// Files to write before it is started, by path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Whether messages are kept, so that none is lost between two long polls.
    #[serde(default)]
    pub keeps_history: bool,
    /// For a server that may close connections that it has just accepted: milliseconds after the
    /// last arrival until all are counted. Closed ones connect again, as a browser does. 0: it does
    /// not.
    #[serde(default)]
    pub settle_ms: u64,
    /// Most connections that may be in the making at once.
    #[serde(default = "many")]
    pub connecting: usize,
    /// A request that succeeds once all of it has started; without one, all of it has when it
    /// accepts connections.
    pub ready: Option<Request>,
    /// Publishing.
    pub publish: Request,
    /// An answer that comes at once.
    pub poll: Option<Request>,
    /// The question how many are parked on a channel.
    pub parked: Option<Request>,
    /// Receiving, by transport: `ndjson`, `sse`, `long-poll` and whatever else it has.
    pub receive: BTreeMap<String, Request>,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The target.
    pub path: String,
    /// Header lines.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The body; `{message}` is the message to publish.
    pub body: Option<String>,
    /// A poll's target once there was an answer, with `{answer.NAME}` for its header fields and
    /// `{cursor}` for the cursor in its batch.
    pub next_path: Option<String>,
    /// Header lines besides `headers` once there was an answer.
    #[serde(default)]
    pub next_headers: Vec<String>,
    /// The text right before the number of parked subscribers.
    pub before_count: Option<String>,
    /// Whether further requests may be sent before the answer.
    #[serde(default)]
    pub pipelined: bool,
    /// Whether it goes to `{port2}`.
    #[serde(default)]
    pub second_port: bool,
}

fn many() -> usize {
    64
}

fn get() -> String {
    "GET".into()
}

impl Description {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Description, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Description::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads what such a file holds.
    pub fn parse(text: &str) -> Result<Description, String> {
        let description: Description = toml::from_str(text).map_err(|error| error.to_string())?;
        if description.command.is_empty() == description.address.is_none() {
            return Err("exactly one of command and address is needed".into());
        }
        Ok(description)
    }

    /// encke, started by this command.
    pub fn encke(command: Vec<String>) -> Result<Description, String> {
        let text = include_str!("../../servers/encke.toml");
        Ok(Description {
            command,
            ..Description::parse(text)?
        })
    }

    /// The version that it prints.
    pub fn version(&self) -> String {
        let Some((program, arguments)) = self.version.split_first() else {
            return String::new();
        };
        let output = Command::new(find_program(program)).args(arguments).output();
        let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or_default().trim().into()
    }

    /// The file that it needs and lacks, if there is one, and the way to install it.
    pub fn missing(&self) -> Option<String> {
        let missing = self.needs.iter().find(|path| !path.exists())?;
        Some(format!(
            "not installed, {} is missing: {}",
            missing.display(),
            self.install
        ))
    }

    /// The reason why it cannot do this, if it cannot.
    pub fn reason_against(&self, mode: &str, transport: &str) -> Option<&str> {
        let keys =
            [mode, transport, &format!("{mode} {transport}")].map(|key| self.cannot.get(key));
        keys.into_iter().flatten().next().map(String::as_str)
    }

    /// The transport of this name; `stream` is the first of its streams.
    pub fn receiving(&self, transport: &str) -> Result<&Request, String> {
        let names = match transport {
            "stream" => &["ndjson", "sse", "raw"][..],
            name => &[name][..],
        };
        let found = names.iter().find_map(|name| self.receive.get(*name));
        found.ok_or_else(|| format!("{} has no transport {transport}", self.name))
    }
}

impl Request {
    /// The text of the first request.
    pub fn first(&self, host: SocketAddrV4) -> String {
        self.text(host, &self.path, &[])
    }

    /// The text of the requests after it.
    pub fn next(&self, host: SocketAddrV4) -> String {
        let path = self.next_path.as_ref().unwrap_or(&self.path);
        self.text(host, path, &self.next_headers)
    }

    fn text(&self, host: SocketAddrV4, path: &str, more: &[String]) -> String {
        let mut text = format!("{} {path} HTTP/1.1\r\nHost: {host}\r\n", self.method);
        for line in self.headers.iter().chain(more) {
            text += line;
            text += "\r\n";
        }
        if self.body.is_some() {
            text += "Content-Length: {length}\r\n";
        }
        text += "\r\n";
        text
    }
}
