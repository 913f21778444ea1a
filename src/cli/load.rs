//! The settings in force: what the command line, the environment, the file and the files of keys
//! say together, and where each value comes from.
//!
//! Owns the precedence: command line, then environment, then file, then default. A list that is
//! given replaces the whole list of a lower level. Every value of the file is checked, also where a
//! higher level overrides it. Of the file and the files of keys nothing is kept, so that a reload
//! reads them again.

use std::fmt;
use std::path::PathBuf;

use encke::config::{File, FileSetting, Options, Resolve, SETTINGS, Setting};
use encke::producer::stdin::Lines;
use encke::tokens::Key;
use encke::{Config, ConfigError};

use super::values::{self, one_line};
use crate::systemd::Sockets;

const CONFIG: &str = "--config";
const LISTEN: &str = "--listen";
const KEY: &str = "--publish-key";
const KEY_FILE: &str = "--publish-key-file";
const TOKEN_KEY_FILE: &str = "--token-key-file";
const ENGINE_PASSWORD_FILE: &str = "--engine-password-file";
const STDIN: &str = "--stdin";
const LOG: &str = "--log";
const POLICIES: &str = "[[channels]]";

/// The arguments of the process. The file of settings and the files of keys are read
/// whenever it is loaded.
#[derive(Debug)]
pub(super) struct Start {
    /// The texts of each setting, in the order of [`SETTINGS`].
    pub(super) given: Vec<Given>,
    /// Sockets that another process opened.
    pub(super) inherited: Sockets,
}

/// Where the text of one setting came from, and the text.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// Nothing.
    Absent,
    /// A variable of the environment.
    Environment(Vec<String>),
    /// The command line.
    CommandLine(Vec<String>),
}

impl Given {
    fn texts(&self) -> Option<&[String]> {
        match self {
            Given::Absent => None,
            Given::Environment(texts) | Given::CommandLine(texts) => Some(texts),
        }
    }
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    /// The file, at this line.
    File(u32),
    Environment,
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(line) => write!(f, "file, line {line}"),
            Source::Environment => f.write_str("environment"),
            Source::CommandLine => f.write_str("command line"),
        }
    }
}

/// The settings in force, checked.
pub(crate) struct Loaded {
    /// All values. The keys of the files are in [`Options::config`].
    pub(crate) options: Options,
    /// How the lines of standard input are published. `None`: standard input is not read.
    pub(crate) stdin: Option<Lines>,
    /// Probable mistakes, each in one line.
    pub(crate) warnings: Vec<String>,
    /// Where each value comes from, in the order of [`SETTINGS`].
    pub(super) sources: Vec<Source>,
    /// The texts of each value that is not the default, in the order of [`SETTINGS`].
    texts: Vec<Option<Vec<String>>>,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// The line of each policy.
    pub(super) policy_lines: Vec<u32>,
    /// The keys of each file of `--token-key-file`.
    pub(super) token_keys: Vec<(String, Vec<Key>)>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options, which hold secrets.
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

impl Start {
    /// Loads the settings: reads the files, and checks everything.
    ///
    /// # Errors
    ///
    /// The error, in one line: `FILE:LINE: key: …` or `--option: …`.
    pub(super) fn load(&self, resolve: Resolve) -> Result<Loaded, String> {
        let mut options = Options::default();
        let default_listen = std::mem::take(&mut options.config.listen);
        let mut loaded = Loaded {
            options,
            stdin: None,
            warnings: Vec::new(),
            sources: vec![Source::Default; SETTINGS.len()],
            texts: vec![None; SETTINGS.len()],
            file: None,
            policy_lines: Vec::new(),
            token_keys: Vec::new(),
        };
        self.take_file(&mut loaded, resolve)?;
        for (place, setting) in SETTINGS.iter().enumerate() {
            let source = match &self.given[place] {
                Given::Absent => continue,
                Given::Environment(_) => Source::Environment,
                Given::CommandLine(_) => Source::CommandLine,
            };
            let texts = self.given[place].texts().unwrap_or_default();
            loaded.sources[place] = source;
            loaded.texts[place] = Some(texts.to_vec());
            setting
                .set(&mut loaded.options, texts, resolve)
                .map_err(|error| one_line(&error.to_string()))?;
        }
        let config = &mut loaded.options.config;
        config.listen.extend(self.inherited.listen.iter().cloned());
        config
            .control
            .extend(self.inherited.control.iter().cloned());
        let is_listen_given = loaded.texts[place(LISTEN)].is_some();
        if config.listen.is_empty() && !self.inherited.is_any && !is_listen_given {
            config.listen = default_listen;
        }
        loaded.finish()?;
        Ok(loaded)
    }

    /// Reads the file of settings, if there is one.
    fn take_file(&self, loaded: &mut Loaded, resolve: Resolve) -> Result<(), String> {
        let Some([path]) = self.given[place(CONFIG)].texts() else {
            return Ok(());
        };
        let refused = |detail: String| one_line(&format!("{CONFIG}: {detail}"));
        let Some((path, text)) = values::config_file(path).map_err(refused)? else {
            return Ok(());
        };
        let in_file = |error| one_line(&format!("{}:{error}", path.display()));
        let file = File::parse(&text).map_err(in_file)?;
        for given in file.settings() {
            self.take_from_file(loaded, given, resolve)
                .map_err(in_file)?;
        }
        let is_in_file = |option| matches!(loaded.source(option), Source::File(_));
        if is_in_file(KEY) && values::is_readable_by_all(&path) {
            loaded.warnings.push(format!(
                "{} can be read by all users, and has publish-key; use publish-key-file",
                path.display()
            ));
        }
        loaded.options.config.policies = file.policies().to_vec();
        loaded.policy_lines = file.policy_lines().to_vec();
        loaded.file = Some(path);
        Ok(())
    }

    fn take_from_file(
        &self,
        loaded: &mut Loaded,
        given: &FileSetting,
        resolve: Resolve,
    ) -> Result<(), encke::config::FileError> {
        let place = place(given.setting().option);
        let is_given = |option| self.given[self::place(option)].texts().is_some();
        let is_overridden = match given.setting().option {
            // They are two ways to give one value.
            KEY | KEY_FILE => is_given(KEY) || is_given(KEY_FILE),
            option => is_given(option),
        };
        if is_overridden {
            return given.set(&mut loaded.options.clone(), values::unresolved);
        }
        loaded.sources[place] = Source::File(given.line());
        loaded.texts[place] = Some(given.texts());
        given.set(&mut loaded.options, resolve)
    }
}

impl Loaded {
    /// The settings of the server.
    pub(crate) fn config(&self) -> &Config {
        &self.options.config
    }

    /// Whether there is a file that a reload reads again.
    pub(crate) fn has_files(&self) -> bool {
        self.options.config_file.is_some()
            || self.options.publish_key_file.is_some()
            || !self.options.token_key_files.is_empty()
    }

    /// Whether a setting was given by the same texts as in `other`.
    pub(crate) fn is_given_as_in(&self, other: &Loaded, setting: &Setting) -> bool {
        let place = place(setting.option);
        self.texts[place] == other.texts[place]
    }

    /// Where the value of an option comes from.
    pub(super) fn source(&self, option: &str) -> Source {
        self.sources[place(option)]
    }

    /// Reads the files of keys, and checks the values that the table does not.
    fn finish(&mut self) -> Result<(), String> {
        if let Some(path) = self.options.publish_key_file.clone() {
            if self.options.config.publish_key.is_some() {
                let detail = format!("not allowed beside {KEY}; give one of them");
                return Err(self.refused(KEY_FILE, &detail));
            }
            let key = values::key_from_file(&path);
            let key = key.map_err(|detail| self.refused(KEY_FILE, &detail))?;
            self.options.config.publish_key = Some(key);
        }
        if let Some(path) = self.options.engine_password_file.clone() {
            let password = values::key_from_file(&path);
            let password =
                password.map_err(|detail| self.refused(ENGINE_PASSWORD_FILE, &detail))?;
            self.options.config.engine.password = Some(password);
            if values::is_readable_by_all(path.as_ref()) {
                let warning = format!("{ENGINE_PASSWORD_FILE}: {path} can be read by all users");
                self.warnings.push(one_line(&warning));
            }
        }
        for path in self.options.token_key_files.clone() {
            let read = values::token_keys(&path);
            let (keys, warnings) = read.map_err(|detail| self.refused(TOKEN_KEY_FILE, &detail))?;
            let warning = |text| format!("{TOKEN_KEY_FILE}: {path}: {text}");
            self.warnings.extend(warnings.into_iter().map(warning));
            let all = &mut self.options.config.tokens.keys;
            all.extend(keys.iter().cloned());
            self.token_keys.push((path, keys));
        }
        values::check_log_filter(&self.options.log).map_err(|detail| self.refused(LOG, &detail))?;
        self.stdin = match self.options.stdin.as_deref() {
            None => None,
            Some("") => Some(Lines::Ndjson),
            Some(channel) => Some(
                Lines::to_channel(channel)
                    .map_err(|error| self.refused(STDIN, &format!("{channel:?}: {error}")))?,
            ),
        };
        self.config()
            .check()
            .map_err(|error| self.refused_config(error))?;
        self.warnings.extend(self.options.config.warnings());
        Ok(())
    }

    /// The line of an error that the checks of all settings together found.
    fn refused_config(&self, error: ConfigError) -> String {
        let ConfigError {
            option,
            beside,
            detail,
        } = error;
        if option == POLICIES {
            // Each of them was checked when it was parsed: there are too many.
            let line = self.policy_lines.last().copied().unwrap_or(1);
            return self.at_line(line, option, &detail);
        }
        // The error names the option by which the key was given.
        let option = match option {
            KEY if self.options.publish_key_file.is_some() => KEY_FILE,
            option => option,
        };
        match (
            self.source(option),
            beside.map(|option| (option, self.source(option))),
        ) {
            (Source::Default, Some((beside, Source::File(line)))) => {
                let name = beside.trim_start_matches('-');
                self.at_line(line, name, &format!("{option}: {detail}"))
            }
            _ => self.refused(option, &detail),
        }
    }

    /// The line of an error: in the name of the option, or of the key and its line in the file.
    fn refused(&self, option: &str, detail: &str) -> String {
        match self.source(option) {
            Source::File(line) => self.at_line(line, option.trim_start_matches('-'), detail),
            _ => one_line(&format!("{option}: {detail}")),
        }
    }

    fn at_line(&self, line: u32, key: &str, detail: &str) -> String {
        let path = self.file.as_deref().unwrap_or("the file".as_ref());
        one_line(&format!("{}:{line}: {key}: {detail}", path.display()))
    }
}

/// The place of an option in [`SETTINGS`].
fn place(option: &str) -> usize {
    let place = SETTINGS.iter().position(|setting| setting.option == option);
    place.expect("it is an option")
}
