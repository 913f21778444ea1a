//! The report of `encke check`: what is in force, and where it comes from.
//!
//! Owns its form: a file of settings that would give the same, with comments. It shows no secret.

use std::fmt::Write;

use encke::config::{Address, Reload, SETTINGS, Setting};
use encke::tokens::{Algorithm, Key};

use super::load::{Loaded, Source};

/// The column at which the comments begin that say where a value comes from.
const COMMENT_COLUMN: usize = 48;

const PUBLISH_KEY: &str = "--publish-key";
const PUBLISH_KEY_FILE: &str = "--publish-key-file";

/// The report of settings, which are checked.
pub(super) fn report(loaded: &Loaded) -> String {
    let mut report = Report(String::new());
    report.comment(&format!(
        "encke {}: the settings in force, as a file",
        env!("CARGO_PKG_VERSION")
    ));
    report.settings(loaded);
    report.section("Addresses", addresses(loaded));
    report.section("Keys", keys(loaded));
    report.policies(loaded);
    report.section("Warnings", loaded.warnings.clone());
    report.0
}

struct Report(String);

impl Report {
    /// A line, and behind it where it comes from.
    fn line(&mut self, line: &str, from: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line:COMMENT_COLUMN$} # {from}");
    }

    fn comment(&mut self, text: &str) {
        self.0 += "# ";
        self.0 += text;
        self.0.push('\n');
    }

    fn section(&mut self, heading: &str, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        self.0.push('\n');
        self.comment(&format!("{heading}:"));
        for line in lines {
            self.comment(&format!("  {line}"));
        }
    }

    fn settings(&mut self, loaded: &Loaded) {
        let mut group = None;
        for setting in SETTINGS {
            if group.replace(setting.group) != Some(setting.group) {
                self.0.push('\n');
            }
            let source = loaded.source(setting.option);
            let from = match (source, setting.reload) {
                (Source::Default, _) | (_, Reload::Live) => source.to_string(),
                (_, Reload::Fixed) => format!("{source}; a change needs a restart"),
            };
            self.line(&line(setting, loaded), &from);
        }
    }

    fn policies(&mut self, loaded: &Loaded) {
        let lines = loaded.policy_lines.iter();
        for (policy, line) in loaded.config().policies.iter().zip(lines) {
            self.0.push('\n');
            let mut from = Source::File(*line).to_string();
            for line in policy.lines() {
                match from.is_empty() {
                    true => self.0 += &(line + "\n"),
                    false => self.line(&line, &std::mem::take(&mut from)),
                }
            }
        }
    }
}

/// The line of a file that sets a value; a comment where there is none.
fn line(setting: &Setting, loaded: &Loaded) -> String {
    let is_given = loaded.source(setting.option) != Source::Default;
    match setting.line(&loaded.options) {
        // A file does not name itself.
        Some(line) if setting.option == "--config" => format!("# {line}"),
        Some(line) => line,
        None if setting.is_secret() && is_given => {
            format!("# {} is given, and not shown", setting.name())
        }
        None => format!("# {}: {}", setting.name(), setting.default()),
    }
}

/// The endpoints that each address serves.
fn addresses(loaded: &Loaded) -> Vec<String> {
    let config = loaded.config();
    let has_tokens = !config.tokens.keys.is_empty();
    let everything = match (config.publish_key.is_some(), has_tokens) {
        (true, true) => "everything; receiving and publishing need the publish key or a token",
        (true, false) => "everything; publishing needs the publish key",
        (false, true) => "everything; receiving needs a token, the rest no key",
        (false, false) => "everything; no key is needed",
    };
    let receiving = match has_tokens {
        true => "receiving and publishing, both by token",
        false => "receiving",
    };
    let listen = config.listen.iter().map(|address| {
        let what = match config.control.is_empty() {
            true => everything,
            false => receiving,
        };
        format!("{address}: {what}")
    });
    let control = config.control.iter().map(|address| {
        let what = match address.each().iter().all(Address::is_local) {
            true => "everything; no key is needed",
            false => everything,
        };
        format!("{address}: {what}")
    });
    listen.chain(control).collect()
}

/// The keys, without their secrets.
fn keys(loaded: &Loaded) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(path) = &loaded.options.publish_key_file {
        lines.push(format!("publish key: from {path}"));
    } else if loaded.config().publish_key.is_some() {
        let source = loaded.source(PUBLISH_KEY);
        lines.push(format!(
            "publish key: {source}; {PUBLISH_KEY_FILE} hides it better"
        ));
    }
    if let Some(path) = &loaded.options.engine_password_file {
        lines.push(format!("engine password: from {path}"));
    }
    for (path, keys) in &loaded.token_keys {
        let keys: Vec<String> = keys.iter().map(describe).collect();
        lines.push(format!("tokens: from {path}: {}", keys.join(", ")));
    }
    lines
}

fn describe(key: &Key) -> String {
    let kind = match key.algorithms() {
        [Algorithm::Hs256] => "secret",
        [Algorithm::EdDsa] => "Ed25519 key",
        [Algorithm::Es256] => "P-256 key",
        _ => "RSA key",
    };
    let algorithms: Vec<&str> = key.algorithms().iter().map(|one| one.name()).collect();
    let algorithms = algorithms.join(", ");
    match key.kid() {
        Some(kid) => format!("{kind} with kid {kid:?} ({algorithms})"),
        None => format!("{kind} ({algorithms})"),
    }
}
