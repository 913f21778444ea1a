//! The operator of a server with tokens: new keys and settings, and connections that are ended.
//!
//! Owns the files that the server reads again at SIGHUP, and the requests to its control surface.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::pass::{secret, subject};
use crate::command::text;
use crate::metrics::Metrics;
use crate::net::now_us;
use crate::server::Server;
use encke_oracle::run::Rules;
use encke_test_rig::http::{self, request};

/// How long the server may take for a reload or a request, in microseconds, and as a time.
const PATIENCE_US: u64 = 20_000_000;
const PATIENCE: Duration = Duration::from_micros(PATIENCE_US);

/// The settings in force.
pub(super) struct Operator {
    run: u32,
    dir: PathBuf,
    rules: Rules,
    /// The newest key; the one before it is good too.
    pub(super) newest_key: u64,
    /// Whether channels keep more than the rules ask for.
    keeps_more: bool,
}

/// The file of settings in a directory.
pub(super) fn settings(dir: &Path) -> PathBuf {
    dir.join("settings.toml")
}

impl Operator {
    /// Writes the files for a server.
    pub(super) fn new(run: u32, dir: &Path, rules: Rules) -> Result<Operator, String> {
        let operator = Operator {
            run,
            dir: dir.to_owned(),
            rules,
            newest_key: 1,
            keeps_more: false,
        };
        operator.write()?;
        Ok(operator)
    }

    fn write(&self) -> Result<(), String> {
        let mut keys = Vec::new();
        for number in [self.newest_key - 1, self.newest_key] {
            let file = self.dir.join(format!("key-{number}"));
            fs::write(&file, secret(self.run, number)).map_err(text)?;
            keys.push(format!("{file:?}"));
        }
        let messages = self.rules.history_messages * if self.keeps_more { 2 } else { 1 };
        let settings_text = format!(
            "token-key-file = [{}]\n[[channels]]\nmatch = \"promise/**\"\nhistory-messages = {messages}\n",
            keys.join(", ")
        );
        fs::write(settings(&self.dir), settings_text).map_err(text)
    }

    /// Changes the history that channels keep, and the keys if they are to be `rotated`, and has
    /// the server read that.
    pub(super) fn reload(&mut self, server: &Server, is_rotated: bool) -> Result<(), String> {
        self.keeps_more = !self.keeps_more;
        self.newest_key += u64::from(is_rotated);
        self.write()?;
        let before = reloads(server.second)?;
        server.signal(Signal::HUP).map_err(text)?;
        let deadline = now_us() + PATIENCE_US;
        while reloads(server.second)? == before {
            if now_us() > deadline {
                return Err(format!("no reload came of SIGHUP\n{}", server.output()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends the connections of a client; how many.
    pub(super) fn kick(&self, server: &Server, client: u32) -> Result<u64, String> {
        let target = format!("/connections?sub={}", subject(client));
        let body = ask(server.second, "DELETE", &target)?;
        let ended = body.strip_prefix("{\"ended\":");
        let ended = ended.and_then(|rest| rest.strip_suffix('}')?.parse().ok());
        ended.ok_or_else(|| format!("{target} was answered {body}"))
    }
}

/// How often the server has taken new settings.
fn reloads(control: SocketAddrV4) -> Result<u64, String> {
    let metrics = Metrics::parse(&ask(control, "GET", "/metrics")?);
    let count = |result: &str| {
        let name = format!("config_reloads_total{{result=\"{result}\"}}");
        let found = metrics.get(&name).map(|count| count as u64);
        found.ok_or_else(|| format!("no {name} in the metrics"))
    };
    match count("failed")? {
        0 => count("done"),
        failed => Err(format!("{failed} reloads failed")),
    }
}

pub(super) fn ask(control: SocketAddrV4, method: &str, target: &str) -> Result<String, String> {
    let request = request(method, target, "", "");
    match http::ask(control, &request, PATIENCE).map_err(text)? {
        (200, body) => Ok(body),
        (status, _) => Err(format!("{method} {target} was answered {status}")),
    }
}
