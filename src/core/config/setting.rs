//! The type of a setting: its name, the kind of its values, and how a text is parsed into one.
//!
//! Owns parsing, checking and displaying by kind; the settings themselves are in `table`. It never
//! reads a command line, an environment or a file: the caller passes their texts to
//! [`Setting::set`].
//!
//! Invariant: [`Setting::values`] returns texts from which [`Setting::set`] sets the same value.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::{self, Bytes, Resolve, Span};
use super::{Address, Config, ConfigError, Cors};
use crate::pattern::{Pattern, PatternError};

/// All values that a command line, the environment or a file can set.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub config: Config,
    /// The file of further settings, and of [`Config::policies`].
    pub config_file: Option<String>,
    /// The file that [`EngineConfig::password`](super::EngineConfig::password) is read from.
    pub engine_password_file: Option<String>,
    /// The file that [`Config::publish_key`] is read from.
    pub publish_key_file: Option<String>,
    /// The files that [`Rules::keys`](crate::tokens::Rules::keys) are read from.
    pub token_key_files: Vec<String>,
    /// The channel to which standard input is published. Empty: each line names its channel.
    /// `None`: standard input is not read.
    pub stdin: Option<String>,
    /// The filter of the log: levels, each alone or as `module=level`.
    pub log: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            config: Config::default(),
            config_file: None,
            engine_password_file: None,
            publish_key_file: None,
            token_key_files: Vec::new(),
            stdin: None,
            log: "info".into(),
        }
    }
}

/// One setting.
pub struct Setting {
    /// The name of the option on the command line: `--max-hold`.
    pub option: &'static str,
    /// The heading under which `--help` lists it.
    pub group: Group,
    /// Whether a running server can take a new value.
    pub reload: Reload,
    /// Keeps the running server's value, if it is one of a [`Config`] and cannot change.
    pub(super) keep: Option<Keep>,
    /// The kind of its values, and their field.
    pub kind: Kind,
    /// Its meaning, in one line.
    pub help: &'static str,
}

/// Gives a setting the value that it has in the second; returns whether it differed.
pub(super) type Keep = fn(&mut Config, &Config) -> bool;

/// The headings of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its name")]
pub enum Group {
    Configuration,
    Listening,
    Receiving,
    Publishing,
    Tokens,
    History,
    Nodes,
    Limits,
    Lifecycle,
}

/// Whether a setting can change while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It cannot change: sockets and tables are created from it.
    Fixed,
    /// It can change between two ticks.
    Live,
}

/// The unit of a [`Kind::Number`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain count.
    Count,
    /// Bytes.
    Bytes,
}

/// The kind of a setting's values, and the functions that read and write its field.
#[derive(Debug)]
#[expect(missing_docs, reason = "`get` and `set` are the same for all")]
pub enum Kind {
    /// A duration.
    Duration {
        range: RangeInclusive<Duration>,
        get: fn(&Config) -> Duration,
        set: fn(&mut Config, Duration),
    },
    /// A whole number. Where it may be absent, `unset` describes the default in words.
    Number {
        unit: Unit,
        range: RangeInclusive<u64>,
        unset: &'static str,
        get: fn(&Config) -> Option<u64>,
        set: fn(&mut Config, u64),
    },
    /// A boolean, by default false; `unset` describes that in words.
    Flag {
        unset: &'static str,
        get: fn(&Config) -> bool,
        set: fn(&mut Config, bool),
    },
    /// The permission bits of a file.
    Mode {
        unset: &'static str,
        get: fn(&Config) -> Option<u32>,
        set: fn(&mut Config, u32),
    },
    /// A directory, which may be absent.
    Directory {
        get: fn(&Config) -> Option<&Path>,
        set: fn(&mut Config, PathBuf),
    },
    /// A text with a syntax of its own.
    Parsed {
        /// The name of the value in help: `URL`.
        name: &'static str,
        /// The default, in the syntax of the option or in words.
        default: &'static str,
        /// The value as a text. `None`: it has none.
        get: fn(&Config) -> Option<String>,
        /// Parses and sets. An error is complete, and never contains a secret.
        set: fn(&mut Config, &str) -> Result<(), String>,
    },
    /// One of several words, by its place among them.
    Word {
        words: &'static [&'static str],
        get: fn(&Config) -> usize,
        set: fn(&mut Config, usize),
    },
    /// One address or several.
    Addresses {
        get: fn(&Config) -> &[Address],
        set: fn(&mut Config, Vec<Address>),
    },
    /// Origins, or `*`.
    Origins {
        get: fn(&Config) -> &Cors,
        set: fn(&mut Config, Cors),
    },
    /// Patterns of channel names. Where they may be absent, `unset` describes the default in words.
    Patterns {
        unset: &'static str,
        get: fn(&Config) -> Option<&[Pattern]>,
        set: fn(&mut Config, Vec<Pattern>),
    },
    /// Paths of files, which the caller reads.
    Paths {
        get: fn(&Options) -> &[String],
        set: fn(&mut Options, Vec<String>),
    },
    /// A text. The part of the process that uses it checks its meaning.
    Text {
        /// The name of the value in help: `KEY`.
        name: &'static str,
        default: &'static str,
        form: TextForm,
        get: fn(&Options) -> Option<&str>,
        set: fn(&mut Options, String),
    },
}

/// A further rule for a [`Kind::Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// Nothing.
    Plain,
    /// The option may be given without a value, which is an empty text.
    MayBeBare,
    /// It is never displayed.
    Secret,
}

impl Setting {
    /// Its name without the leading dashes: `max-hold`.
    pub fn name(&self) -> &'static str {
        self.option.trim_start_matches('-')
    }

    /// The name of its environment variable: `ENCKE_MAX_HOLD`.
    pub fn variable(&self) -> String {
        format!("ENCKE_{}", self.name().replace('-', "_").to_uppercase())
    }

    /// The name of its value in help: `DURATION`.
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Duration { .. } => "DURATION",
            Kind::Number {
                unit: Unit::Count, ..
            } => "COUNT",
            Kind::Number {
                unit: Unit::Bytes, ..
            } => "BYTES",
            Kind::Flag { .. } => "BOOL",
            Kind::Mode { .. } => "MODE",
            Kind::Directory { .. } => "DIR",
            Kind::Word { .. } => "WORD",
            Kind::Addresses { .. } => "ADDR",
            Kind::Origins { .. } => "ORIGIN",
            Kind::Patterns { .. } => "PATTERN",
            Kind::Paths { .. } => "PATH",
            Kind::Parsed { name, .. } | Kind::Text { name, .. } => name,
        }
    }

    /// Whether it takes several values: repeated, or separated by commas.
    pub fn is_list(&self) -> bool {
        matches!(
            self.kind,
            Kind::Addresses { .. }
                | Kind::Origins { .. }
                | Kind::Patterns { .. }
                | Kind::Paths { .. }
        )
    }

    /// The text that is used if the option is given without a value. `None`: it requires one.
    pub fn bare(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Flag { .. } => Some("true"),
            Kind::Text {
                form: TextForm::MayBeBare,
                ..
            } => Some(""),
            _ => None,
        }
    }

    /// Whether its value is a secret, which is never displayed.
    pub fn is_secret(&self) -> bool {
        matches!(
            self.kind,
            Kind::Text {
                form: TextForm::Secret,
                ..
            }
        )
    }

    /// Its default, in the syntax of the option or in words.
    pub fn default(&self) -> String {
        let config = Config::default();
        match self.kind {
            Kind::Duration { get, .. } => Span(get(&config)).to_string(),
            Kind::Number {
                unit, unset, get, ..
            } => match get(&config) {
                Some(number) => unit.show(number),
                None => unset.into(),
            },
            Kind::Flag { unset, .. } | Kind::Mode { unset, .. } | Kind::Patterns { unset, .. } => {
                unset.into()
            }
            Kind::Addresses { get, .. } => match get(&config) {
                [] => "none".into(),
                [first, ..] => first.to_string(),
            },
            Kind::Word { words, get, .. } => words[get(&config)].into(),
            Kind::Directory { .. } | Kind::Origins { .. } | Kind::Paths { .. } => "none".into(),
            Kind::Parsed { default, .. } | Kind::Text { default, .. } => default.into(),
        }
    }

    /// Its range, in the syntax of the option, or its words. `None`: it has neither.
    pub fn range(&self) -> Option<String> {
        match &self.kind {
            Kind::Duration { range, .. } => Some(duration_range(range)),
            Kind::Number { unit, range, .. } => Some(unit.range(range)),
            Kind::Word { words, .. } => Some(words.join(", ")),
            _ => None,
        }
    }

    /// Its value in the syntax of the option: one text, or those of a list, of which there may be
    /// none. `None`: it has no value, and its default is described in words.
    pub fn values(&self, options: &Options) -> Option<Vec<String>> {
        let config = &options.config;
        let one = |text: String| vec![text];
        match &self.kind {
            Kind::Duration { get, .. } => Some(one(Span(get(config)).to_string())),
            Kind::Number { unit, get, .. } => get(config).map(|number| one(unit.show(number))),
            Kind::Flag { get, .. } => Some(one(get(config).to_string())),
            Kind::Mode { get, .. } => get(config).map(|mode| one(format!("{mode:03o}"))),
            Kind::Directory { get, .. } => get(config).map(|path| one(path.display().to_string())),
            Kind::Parsed { get, .. } => get(config).map(one),
            Kind::Word { words, get, .. } => Some(one(words[get(config)].into())),
            // An inherited socket is not given as a text.
            Kind::Addresses { get, .. } => {
                let addresses = get(config).iter();
                let given = addresses.filter(|one| !matches!(one, Address::Inherited(_)));
                Some(given.map(Address::to_string).collect())
            }
            Kind::Origins { get, .. } => Some(match get(config) {
                Cors::Any => one("*".into()),
                Cors::Origins(origins) => origins.clone(),
            }),
            Kind::Patterns { get, .. } => {
                let texts =
                    |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect();
                get(config).map(texts)
            }
            Kind::Paths { get, .. } => Some(get(options).to_vec()),
            Kind::Text { get, .. } => get(options).map(|text| one(text.to_owned())),
        }
    }

    /// Parses `texts`, more than one only for a list, and sets the value. `resolve` finds the
    /// addresses of host names.
    ///
    /// # Errors
    ///
    /// The error names the option, the text, and the allowed values. A [`Kind::Text`], which may be
    /// a secret, is accepted unchecked.
    pub fn set(
        &self,
        options: &mut Options,
        texts: &[String],
        resolve: Resolve,
    ) -> Result<(), ConfigError> {
        self.try_set(options, texts, resolve)
            .map_err(|detail| ConfigError::new(self.option, detail))
    }

    fn try_set(
        &self,
        options: &mut Options,
        texts: &[String],
        resolve: Resolve,
    ) -> Result<(), String> {
        let text = texts.last().map_or("", String::as_str);
        let quote = |reason: String| format!("{text:?}: {reason}");
        let config = &mut options.config;
        match &self.kind {
            Kind::Duration { range, set, .. } => {
                let Span(value) = text.parse().map_err(quote)?;
                check_duration(value, range)?;
                set(config, value);
            }
            Kind::Number {
                unit, range, set, ..
            } => {
                let value = unit.parse(text).map_err(quote)?;
                unit.check(value, range)?;
                set(config, value);
            }
            Kind::Flag { set, .. } => set(config, value::flag(text).map_err(quote)?),
            Kind::Mode { set, .. } => set(config, value::mode(text).map_err(quote)?),
            Kind::Directory { set, .. } => {
                if text.is_empty() {
                    return Err("the path is empty; give that of a directory".into());
                }
                set(config, text.into());
            }
            Kind::Word { words, set, .. } => {
                let place = words.iter().position(|word| *word == text);
                set(
                    config,
                    place.ok_or_else(|| quote(format!("one of {}", words.join(", "))))?,
                );
            }
            Kind::Parsed { set, .. } => set(config, text)?,
            Kind::Addresses { set, .. } => {
                let parse = |text: &String| {
                    let address = Address::parse(text, resolve);
                    address.map_err(|reason| format!("{text:?}: {reason}"))
                };
                set(config, texts.iter().map(parse).collect::<Result<_, _>>()?);
            }
            Kind::Origins { set, .. } => set(config, Cors::parse(texts)?),
            Kind::Patterns { set, .. } => {
                let parse = |text: &String| {
                    let pattern = text.parse();
                    pattern.map_err(|error: PatternError| format!("{text:?}: {error}"))
                };
                set(config, texts.iter().map(parse).collect::<Result<_, _>>()?);
            }
            Kind::Paths { set, .. } => set(options, texts.to_vec()),
            Kind::Text { set, .. } => set(options, text.to_owned()),
        }
        Ok(())
    }

    /// Checks that its value in a configuration is in its range.
    pub(super) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let checked = match &self.kind {
            Kind::Duration { range, get, .. } => check_duration(get(config), range),
            Kind::Number {
                unit, range, get, ..
            } => get(config).map_or(Ok(()), |value| unit.check(value, range)),
            _ => Ok(()),
        };
        checked.map_err(|detail| ConfigError::new(self.option, detail))
    }
}

impl Unit {
    pub(super) fn parse(self, text: &str) -> Result<u64, String> {
        match self {
            Unit::Count => value::count(text),
            Unit::Bytes => text.parse().map(|Bytes(bytes)| bytes),
        }
    }

    pub(super) fn show(self, number: u64) -> String {
        match self {
            Unit::Count => number.to_string(),
            Unit::Bytes => Bytes(number).to_string(),
        }
    }

    /// A range in words.
    pub(super) fn range(self, range: &RangeInclusive<u64>) -> String {
        let [min, max] = [range.start(), range.end()].map(|number| self.show(*number));
        format!("{min} to {max}")
    }

    pub(super) fn check(self, value: u64, range: &RangeInclusive<u64>) -> Result<(), String> {
        if range.contains(&value) {
            return Ok(());
        }
        let unit = match self {
            Unit::Count => "",
            Unit::Bytes => " bytes",
        };
        let (min, max) = (range.start(), range.end());
        Err(format!("{value} is not allowed; {min} to {max}{unit}"))
    }
}

pub(super) fn check_duration(
    value: Duration,
    range: &RangeInclusive<Duration>,
) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    let range = duration_range(range);
    Err(format!("{value:?} is not allowed; {range}"))
}

pub(super) fn duration_range(range: &RangeInclusive<Duration>) -> String {
    let days = range.end().as_secs() / (24 * 3_600);
    match range.start() {
        &Duration::ZERO => format!("0s to {days} days"),
        min => format!("{min:?} to {days} days"),
    }
}
