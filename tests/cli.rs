//! The binary's command line: its help, and its errors.
//!
//! Each run that could start the server by mistake also gets an address that is in use,
//! so that a mistake ends with exit code 1 and a failed test, not with a test that never ends.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use encke::config::{SETTINGS, Setting};

fn encke() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn variable(option: &str) -> String {
    let mut settings = SETTINGS.iter();
    let setting = settings.find(|setting| setting.option == option);
    setting.expect("it is an option").variable()
}

/// A port that no other process can bind while this value exists.
struct Taken(TcpListener);

impl Taken {
    fn new() -> Taken {
        Taken(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }
}

/// The one line on standard error of a run that ended with `code` and wrote nothing else.
fn line(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let line = stderr
        .strip_suffix('\n')
        .unwrap_or_else(|| panic!("no line: {stderr:?}"));
    assert!(!line.is_empty() && !line.contains('\n'), "{stderr}");
    line.to_owned()
}

/// Options with values that are refused, and a part of the error.
const BAD: &[(&str, &str, &str)] = &[
    ("--config", "/nowhere/encke.toml", "cannot be read"),
    ("--config", "/dev/zero", "longer"),
    ("--config", "-", "names no file"),
    ("--listen", ":7711", "host:port"),
    ("--listen", "7711", "host:port"),
    ("--listen", "", "host:port"),
    ("--listen", "127.0.0.1:65536", "host:port"),
    ("--listen", "unix:relative", "starts with `/`"),
    ("--control", "localhost", "host:port"),
    ("--engine", "localhost:6379", "an engine is redis://"),
    ("--engine", "redis://:sesame@host", "--engine-password-file"),
    ("--engine", "redis+sentinel://a,b", "name of the master"),
    ("--engine-namespace", "{a}", "letters, digits"),
    ("--engine-wait", "101", "0 to 100"),
    ("--engine-patience", "0", "1ms to 30 days"),
    ("--engine-ready", "31d", "a duration is"),
    ("--engine-log-bytes", "0", "1 to"),
    ("--engine-password-file", "/nowhere/key", "cannot be read"),
    ("--node", "a b", "letters, digits"),
    ("--control", "::1:7711", "[v6]:port"),
    ("--listen", "proxy:proxy:127.0.0.1:1", "proxy:"),
    ("--unix-mode", "888", "octal"),
    ("--unix-mode", "1777", "octal"),
    ("--reuse-port", "maybe", "boolean"),
    ("--cors-origin", "null", "scheme://host"),
    ("--cors-origin", "https://example.org/", "scheme://host"),
    ("--cors-origin", "*,https://example.org", "give it alone"),
    ("--no-page", "maybe", "boolean"),
    ("--hold", "soon", "500ms"),
    ("--hold", "-1", "500ms"),
    ("--hold", "", "500ms"),
    ("--hold", "0", "1ms to 30 days"),
    ("--hold", "121", "raise --max-hold too"),
    ("--max-hold", "31d", "500ms"),
    ("--max-hold", "721h", "30 days"),
    ("--heartbeat", "0", "1ms"),
    ("--max-batch", "0", "1 to"),
    ("--max-batch", "many", "whole number"),
    ("--max-batch-bytes", "0", "1 to"),
    ("--max-batch-bytes", "64M", "less than --max-buffer-bytes"),
    ("--stream-max-bytes", "0", "1 to"),
    ("--stream-max-bytes", "4G", "4294967295"),
    ("--stream-max-age", "0", "1ms"),
    ("--publish-key", "", "empty"),
    ("--publish-key", "two words", "visible ASCII"),
    ("--publish-key-file", "/nowhere/key", "cannot be read"),
    ("--publish-key-file", "/dev/zero", "longer"),
    ("--stdin", "a,b", "comma"),
    ("--token-key-file", "/nowhere/key", "cannot be read"),
    ("--token-key-file", "/dev/zero", "longer"),
    ("--token-key-file", "/dev/null", "at least 32"),
    ("--token-audience", "", "empty"),
    ("--token-issuer", "", "empty"),
    ("--token-cookie", "a b", "name of a cookie"),
    ("--anonymous", "a*", "whole segment"),
    ("--history-messages", "-1", "whole number"),
    ("--history-age", "0", "1ms"),
    ("--history-bytes", "1KB", "64K"),
    ("--data-dir", "", "the path is empty"),
    ("--data-sync", "2s", "1s, always, never"),
    ("--data-full", "wait", "refuse, forget"),
    ("--history-total-bytes", "0", "1 to"),
    ("--history-total-bytes", "257G", "1 to"),
    ("--max-channels", "0", "1 to"),
    ("--max-channels", "4294967296", "1 to"),
    ("--max-connections", "0", "1 to"),
    ("--max-connections-per-address", "0", "1 to"),
    ("--max-head-bytes", "511", "512 to 1048576"),
    ("--max-head-bytes", "2M", "512 to 1048576"),
    ("--max-body-bytes", "0", "1 to 1073741824"),
    ("--max-body-bytes", "64M", "less than --max-buffer-bytes"),
    ("--max-buffer-bytes", "99999999999G", "too large"),
    ("--head-timeout", "0", "1ms"),
    ("--body-timeout", "1e3", "500ms"),
    ("--idle-timeout", "NaN", "500ms"),
    ("--write-timeout", "0.0001", "1ms"),
    ("--queue", "0", "1 to"),
    ("--drain", "1000h", "30 days"),
    ("--drain-delay", "-0", "500ms"),
    ("--upgrade-timeout", "0", "1ms"),
    ("--log", "loud", "off, error, warn"),
];

/// Addresses that keep the server from running even if `option` is taken as it is.
fn fence(option: &str, taken: &Taken) -> [String; 2] {
    let fence = if option == "--listen" {
        "--control"
    } else {
        "--listen"
    };
    [fence.to_owned(), taken.address()]
}

#[test]
fn bad_value_is_refused_in_one_line() {
    let taken = Taken::new();
    for &(option, value, word) in BAD {
        let argument = format!("{option}={value}");
        let output = encke()
            .args(fence(option, &taken))
            .arg(argument)
            .output()
            .unwrap();
        let line = line(&output, 2);
        assert!(
            line.contains(&format!("{option}:")),
            "{option}={value}: {line}"
        );
        assert!(line.contains(word), "{option}={value}: {line}");
    }
}

#[test]
fn bad_variable_is_refused_like_its_option() {
    let taken = Taken::new();
    // An empty variable counts as absent.
    for &(option, value, word) in BAD.iter().filter(|(_, value, _)| !value.is_empty()) {
        let mut command = encke();
        command
            .args(fence(option, &taken))
            .env(variable(option), value);
        let line = line(&command.output().unwrap(), 2);
        assert!(
            line.contains(&format!("{option}:")),
            "{option}={value}: {line}"
        );
        assert!(line.contains(word), "{option}={value}: {line}");
    }
}

#[test]
fn bad_values_cover_every_option() {
    for Setting { option, .. } in SETTINGS {
        assert!(BAD.iter().any(|(bad, ..)| bad == option), "{option}");
    }
}

#[test]
fn malformed_arguments_are_refused_in_one_line() {
    let taken = Taken::new();
    let fence = ["--listen".to_owned(), taken.address()];
    for (args, words) in [
        (&["--no-such-option"][..], "--no-such-option"),
        (&["--holds=3"], "--holds"),
        (&["-z"], "-z"),
        (
            &["run"],
            "argument: \"run\": the commands are serve, check and token",
        ),
        (&["serve", "serve"], "serve"),
        (&["--stdin", "news"], "--stdin=CHANNEL"),
        (&["--queue"], "--queue"),
        (&["--hold=a\n\nb"], "--hold: \"a\\n\\nb\""),
        (&["--hold=1", "--hold=2"], "--hold"),
        (
            &["--publish-key=a", "--publish-key-file=/b"],
            "--publish-key-file: not allowed beside",
        ),
        (&["--no\n\nsuch"], "--no"),
    ] {
        let line = line(&encke().args(&fence).args(args).output().unwrap(), 2);
        assert!(line.contains(words), "{args:?}: {line}");
    }
    let not_utf8 = OsStr::from_bytes(b"--hold=\xff");
    let line = line(&encke().args(&fence).arg(not_utf8).output().unwrap(), 2);
    assert!(line.contains("UTF-8"), "{line}");
}

#[test]
fn secret_is_not_shown() {
    let taken = Taken::new();
    let fence = ["--listen".to_owned(), taken.address()];
    let mut command = encke();
    command.args(&fence).env("ENCKE_PUBLISH_KEY", "hidden key");
    let line = line(&command.output().unwrap(), 2);
    assert!(!line.contains("hidden"), "{line}");

    let help = encke()
        .arg("--help")
        .env("ENCKE_PUBLISH_KEY", "hidden")
        .output()
        .unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("hidden"));
}

#[test]
fn key_and_key_file_together_are_refused() {
    let taken = Taken::new();
    let fence = ["--listen".to_owned(), taken.address()];
    let mut command = encke();
    command
        .args(&fence)
        .arg("--publish-key-file=/b")
        .env("ENCKE_PUBLISH_KEY", "a");
    let line = line(&command.output().unwrap(), 2);
    assert!(
        line.contains("--publish-key-file: not allowed beside --publish-key;"),
        "{line}"
    );
}

#[test]
fn control_surface_open_to_a_network_needs_a_key() {
    let taken = Taken::new();
    for args in [
        &["--listen=0.0.0.0:0"][..],
        &["--listen=[::]:0"],
        &["--listen=127.0.0.1:0", "--listen=0.0.0.0:0"],
        &["--control=0.0.0.0:0"],
    ] {
        let fence = ["--listen".to_owned(), taken.address()];
        let line = line(&encke().args(&fence).args(args).output().unwrap(), 2);
        assert!(
            line.contains("0.0.0.0:0") || line.contains("[::]:0"),
            "{line}"
        );
        assert!(line.contains("--publish-key"), "{line}");
    }
}

#[test]
fn port_in_use_is_reported_in_one_line() {
    let taken = Taken::new();
    let address = taken.address();
    for args in [
        &["--listen", &address][..],
        &["serve", "--listen", &address],
        &["--listen", &address, "serve"],
        &["--stdin", "--listen", &address],
        &["--stdin=news", "--listen", &address],
        &[
            "--listen=127.0.0.1:0",
            "--control",
            &address,
            "--hold=0.5",
            "--max-hold=2m",
        ],
        &[
            "--listen=0.0.0.0:0",
            "--publish-key=a",
            "--control",
            &address,
        ],
    ] {
        let output = encke()
            .args(args)
            .env("ENCKE_LOG", "warn")
            .output()
            .unwrap();
        let line = line(&output, 1);
        assert!(line.contains(&address), "{line}");
    }
}

#[test]
fn variable_sets_its_option() {
    let taken = Taken::new();
    let mut command = encke();
    command
        .env("ENCKE_LISTEN", format!("127.0.0.1:0,{}", taken.address()))
        .env("ENCKE_CORS_ORIGIN", "https://a.example,https://b.example")
        .env("ENCKE_STDIN", "news")
        .env("ENCKE_LOG", "warn");
    let line = line(&command.output().unwrap(), 1);
    assert!(line.contains(&taken.address()), "{line}");
}

#[test]
fn empty_variables_are_absent() {
    let empty = || {
        let mut command = encke();
        for setting in SETTINGS {
            command.env(setting.variable(), "");
        }
        command
    };
    let taken = Taken::new();
    let output = empty()
        .args(["--listen", &taken.address(), "--log=warn"])
        .output();
    assert!(line(&output.unwrap(), 1).contains(&taken.address()));
    let output = empty().args(["--listen=x", "--stdin=a"]).output().unwrap();
    assert!(line(&output, 2).contains("--listen:"));
}

#[test]
fn error_of_a_key_file_names_its_option() {
    let path = std::env::temp_dir().join(format!("encke-bad-key-{}", std::process::id()));
    let taken = Taken::new();
    for (key, words) in [
        ("", "empty"),
        ("\n", "empty"),
        ("two words\n", "visible ASCII"),
    ] {
        std::fs::write(&path, key).unwrap();
        let mut command = encke();
        command.args(["--listen", &taken.address()]);
        command.env("ENCKE_PUBLISH_KEY_FILE", &path);
        let line = line(&command.output().unwrap(), 2);
        assert!(line.starts_with("encke: --publish-key-file: "), "{line}");
        assert!(line.contains(words) && !line.contains("two"), "{line}");
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn command_line_overrides_environment() {
    let taken = Taken::new();
    let mut command = encke();
    command
        .args(["--listen", &taken.address(), "--hold=1"])
        .env("ENCKE_HOLD", "9h")
        .env("ENCKE_LISTEN", "0.0.0.0:0")
        .env("ENCKE_LOG", "warn");
    line(&command.output().unwrap(), 1);
}

#[test]
fn help_names_every_option_and_variable() {
    let output = encke().arg("--help").output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let help = String::from_utf8(output.stdout).unwrap();
    for Setting { option, .. } in SETTINGS {
        let shown = help.lines().any(|line| {
            let rest = line.trim_start().strip_prefix(option);
            rest.is_some_and(|rest| rest.starts_with([' ', '[']))
        });
        assert!(shown, "{option} is not in the help");
        let variable = variable(option);
        assert!(
            help.contains(&format!("{variable}]")),
            "{variable} is not in the help"
        );
    }
    for heading in [
        "Configuration:",
        "Listening:",
        "Receiving:",
        "Publishing:",
        "Tokens:",
        "History:",
        "Limits:",
        "Lifecycle:",
    ] {
        assert!(help.lines().any(|line| line == heading), "{heading}");
    }
    let named = help
        .lines()
        .filter(|line| line.trim_start().starts_with("--"));
    let here = SETTINGS.len();
    assert_eq!(
        named.count(),
        here,
        "the help has options that are no settings"
    );
}

#[test]
fn version_is_shown() {
    let output = encke().arg("--version").output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let version = env!("CARGO_PKG_VERSION");
    // The formats of states that it hands over and takes over.
    let expected = format!("encke {version} (state format 2, 1)\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
