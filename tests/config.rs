//! The file of settings, its precedence, and `encke check`, of the binary.
//!
//! What a file may contain is tested beside its parser, in `src/core/config/file/tests.rs`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use encke::config::{Kind, SETTINGS, Setting, TextForm};

/// A file of a test, removed at its end.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> TempFile {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("encke-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        TempFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn encke() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn check(file: &TempFile) -> Command {
    let mut command = encke();
    command.args(["check", "--config", file.path()]);
    command
}

/// What a check prints that finds nothing wrong.
fn report(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on standard error of a run that ended with exit code 2 and wrote nothing else.
fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let line = stderr.strip_suffix('\n').unwrap();
    assert!(
        line.starts_with("encke: ") && !line.contains('\n'),
        "{stderr}"
    );
    line["encke: ".len()..].to_owned()
}

/// The line of a report that begins with `start`, its spaces reduced to single ones.
fn line(report: &str, start: &str) -> String {
    let line = report.lines().find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("no {start}: {report}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value of a setting that is not its default and needs no other, as texts of its option.
fn other_value(setting: &Setting, key_file: &Path) -> Vec<String> {
    let texts: &[&str] = match (setting.name(), &setting.kind) {
        ("max-hold", _) => &["7m"],
        (_, Kind::Duration { .. }) => &["7s"],
        ("history-total-bytes" | "max-buffer-bytes" | "engine-log-bytes", _) => &["33M"],
        ("engine-wait", _) => &["77"],
        (_, Kind::Number { .. }) => &["777"],
        (_, Kind::Flag { .. }) => &["true"],
        (_, Kind::Mode { .. }) => &["604"],
        ("listen", _) => &["127.0.0.1:7", "unix:/a/b"],
        (_, Kind::Addresses { .. }) => &["[::1]:7"],
        (_, Kind::Origins { .. }) => &["https://a.example", "https://b.example"],
        (_, Kind::Patterns { .. }) => &["a", "b/**"],
        (_, Kind::Word { words, .. }) => return vec![words[1].into()],
        (_, Kind::Directory { .. }) => &["other"],
        (_, Kind::Paths { .. }) => return vec![key_file.to_str().unwrap().into()],
        ("log", _) => &["warn,encke=debug"],
        ("engine", _) => &["redis://other:6379"],
        (_, Kind::Text { .. } | Kind::Parsed { .. }) => &["other"],
    };
    texts.iter().map(ToString::to_string).collect()
}

/// The line of a file for texts of an option.
fn file_line(setting: &Setting, texts: &[String]) -> String {
    let value = match setting.kind {
        Kind::Flag { .. } => texts[0].clone(),
        _ if setting.is_list() => format!("{texts:?}"),
        _ => format!("{:?}", texts[0]),
    };
    format!("{} = {value}\n", setting.name())
}

/// Each setting from each source, and from two: the higher one wins, and lists are replaced.
#[test]
fn command_line_overrides_environment_and_that_the_file() {
    let key = TempFile::new(&"k".repeat(32));
    for setting in SETTINGS {
        let name = setting.name();
        if matches!(name, "config" | "publish-key-file" | "engine-password-file") {
            continue;
        }
        let [low, high] = match &setting.kind {
            // Their values are read by the checks, or cannot differ.
            Kind::Paths { .. } | Kind::Flag { .. } => {
                let value = other_value(setting, &key.0);
                [value.clone(), value]
            }
            Kind::Text {
                form: TextForm::Secret,
                ..
            } => [vec!["low".into()], vec!["high".into()]],
            _ => {
                let value = other_value(setting, &key.0);
                let last = value.last().unwrap().clone();
                let low = match &setting.kind {
                    Kind::Addresses { .. } => vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()],
                    Kind::Origins { .. } => vec!["https://low.example".into()],
                    Kind::Patterns { .. } => vec!["low".into(), "lower".into()],
                    Kind::Duration { .. } if name == "max-hold" => vec!["9m".into()],
                    Kind::Duration { .. } => vec!["9s".into()],
                    Kind::Number { .. } if last == "33M" => vec!["99M".into()],
                    Kind::Number { .. } if last == "77" => vec!["99".into()],
                    Kind::Number { .. } => vec!["999".into()],
                    Kind::Parsed { name: "URL", .. } => vec!["redis://low:6379".into()],
                    Kind::Mode { .. } => vec!["600".into()],
                    Kind::Word { words, .. } => vec![words[0].into()],
                    _ if name == "log" => vec!["error".into()],
                    _ => vec!["low".into()],
                };
                [low, value]
            }
        };
        let file = TempFile::new(&file_line(setting, &low));
        let option = |texts: &[String]| format!("{}={}", setting.option, texts.join(","));
        let shown = |texts: &[String]| match setting.is_secret() {
            true => format!("# {name} is given, and not shown"),
            false => file_line(setting, texts).trim_end().to_owned(),
        };
        let source = |text: &str| match setting.reload {
            encke::config::Reload::Live => text.to_owned(),
            encke::config::Reload::Fixed => format!("{text}; a change needs a restart"),
        };
        let mut in_file = check(&file);
        let mut in_environment = check(&file);
        in_environment.env(setting.variable(), high.join(","));
        let mut on_command_line = check(&file);
        on_command_line
            .env(setting.variable(), low.join(","))
            .arg(option(&high));
        for (command, texts, from) in [
            (&mut in_file, &low, "file, line 1"),
            (&mut in_environment, &high, "environment"),
            (&mut on_command_line, &high, "command line"),
        ] {
            let report = report(command);
            let expected = format!("{} # {}", shown(texts), source(from));
            assert!(
                report.lines().any(|line| {
                    line.split_whitespace().collect::<Vec<_>>().join(" ") == expected
                }),
                "no {expected}: {report}"
            );
        }
    }
}

/// The report of the defaults, and of every setting, is a file that gives the same report.
#[test]
fn report_is_a_file_of_the_same_settings() {
    let key = TempFile::new(&"k".repeat(32));
    let of_all = SETTINGS.iter().filter(|setting| {
        // The first is not in a file, the second not shown, the third not allowed beside data-dir.
        !matches!(setting.name(), "config" | "publish-key" | "engine")
    });
    let of_all = of_all.map(|setting| match setting.name() {
        name @ ("publish-key-file" | "engine-password-file") => {
            format!("{name} = {:?}\n", key.path())
        }
        _ => file_line(setting, &other_value(setting, &key.0)),
    });
    let policies = "[[channels]]\nmatch = 'a/**'\nhistory-age = '1h'\nlatest = true\n\
                    [[channels]]\nmatch = 'b'\nsubscribe = 'nobody'\n";
    for text in [String::new(), of_all.collect::<String>() + policies] {
        let first = report(&mut check(&TempFile::new(&text)));
        let second = report(&mut check(&TempFile::new(&first)));
        let values = |report: &str| -> Vec<String> {
            let lines = report.lines().filter(|line| !line.starts_with('#'));
            let values = lines.map(|line| line.split(" # ").next().unwrap().trim().to_owned());
            values.filter(|value| !value.is_empty()).collect()
        };
        assert_eq!(values(&first), values(&second));
        let settings = values(&first)
            .iter()
            .filter(|line| line.contains(" = "))
            .count();
        assert!(settings > 20, "{first}");
    }
}

#[test]
fn report_says_where_values_come_from_and_shows_no_secret() {
    let publish_key = TempFile::new("hidden\n");
    let secret = "hidden-secret-of-at-least-32-bytes";
    let token_key = TempFile::new(secret);
    let file = TempFile::new(&format!(
        "listen = '0.0.0.0:7'\ncontrol = '127.0.0.1:8'\npublish-key-file = {:?}\n\n\
         token-key-file = {:?}\n[[channels]]\nmatch = 'chat/**'\nsubscribe = 'token'\n\
         history-messages = 3\n[[channels]]\nmatch = 'chat/7'\n",
        publish_key.path(),
        token_key.path(),
    ));
    let report = report(&mut check(&file));
    assert!(!report.contains("hidden"), "{report}");
    for (start, expected) in [
        (
            "listen",
            "listen = [\"0.0.0.0:7\"] # file, line 1; a change needs a restart",
        ),
        ("hold", "hold = \"30s\" # default"),
        (
            "# max-connections:",
            "# max-connections: as many as the file limit allows # default",
        ),
        (
            "#   0.0.0.0:7",
            "# 0.0.0.0:7: receiving and publishing, both by token",
        ),
        (
            "#   127.0.0.1:8",
            "# 127.0.0.1:8: everything; no key is needed",
        ),
        ("[[channels]]", "[[channels]] # file, line 6"),
        ("match", "match = \"chat/**\""),
        ("history-messages = \"3\"", "history-messages = \"3\""),
        (
            "#   the policy chat/7",
            "# the policy chat/7 is never reached: chat/** before it matches the same names",
        ),
    ] {
        assert_eq!(line(&report, start), expected);
    }
    let key = line(&report, "#   publish key");
    assert_eq!(key, format!("# publish key: from {}", publish_key.path()));
    let key = line(&report, "#   tokens");
    assert!(
        key.starts_with(&format!("# tokens: from {}: ", token_key.path())),
        "{key}"
    );
}

#[test]
fn error_in_a_file_has_file_line_and_key() {
    for (text, words) in [
        (
            "\nhol = 3",
            "2: hol: there is no such key; the nearest is hold",
        ),
        ("hold = 'soon'", "1: hold: \"soon\": a duration is seconds"),
        (
            "[[channels]]\nmatch = 1",
            "2: channels.match: a whole number is not allowed; a text",
        ),
        (
            "# a\nmax-hold = 5",
            "2: max-hold: --hold: 30s is not allowed; at most --max-hold, 5s",
        ),
        (
            "hold = 300",
            "1: hold: 300s is not allowed; at most --max-hold, 120s",
        ),
        ("log = 'loud'", "1: log: \"loud\": a level is off, error"),
        ("stdin = 'a,b'", "1: stdin: \"a,b\": "),
        ("publish-key = ''", "1: publish-key: the key is empty"),
        (
            "publish-key-file = '/nowhere/key'",
            "1: publish-key-file: /nowhere/key cannot be read",
        ),
        (
            "\ntoken-key-file = ['/dev/null']",
            "2: token-key-file: /dev/null: the key is a secret of 0 bytes",
        ),
        (
            "token-cookie = 'a b'",
            "1: token-cookie: \"a b\" is not the name of a cookie",
        ),
        (
            "anonymous = ['a', '*b']",
            "1: anonymous: \"*b\": `*` must be a whole segment",
        ),
        (
            "publish-key = 'a'\npublish-key-file = 'b'",
            "2: publish-key-file: not allowed beside",
        ),
        (
            "listen = '0.0.0.0:1'",
            "1: listen: 0.0.0.0:1 would let anyone who reaches it publish",
        ),
        ("listen = []", "1: listen: there is no address to listen on"),
        (
            "max-body-bytes = '64M'",
            "1: max-body-bytes: 67108864 bytes are not allowed; it must be less than",
        ),
        ("config = '/a'", "1: config: a file cannot name another"),
    ] {
        let file = TempFile::new(text);
        let line = refusal(&check(&file).output().unwrap());
        let expected = format!("{}:{words}", file.path());
        assert!(line.starts_with(&expected), "{line} is not {expected}");
        // A server would not start with it.
        let mut server = encke();
        server.args(["--config", file.path()]);
        assert_eq!(refusal(&server.output().unwrap()), line);
    }
}

#[test]
fn policies_are_limited() {
    let policies = |count| "[[channels]]\nmatch = 'a'\n".repeat(count);
    report(&mut check(&TempFile::new(&policies(255))));
    let file = TempFile::new(&policies(256));
    let line = refusal(&check(&file).output().unwrap());
    let expected = "511: [[channels]]: 256 policies are not allowed; at most 255";
    assert_eq!(line, format!("{}:{expected}", file.path()));
}

#[test]
fn wrong_value_in_a_file_is_refused_even_if_it_is_overridden() {
    let file = TempFile::new("hold = 'soon'");
    let mut command = check(&file);
    command.arg("--hold=3");
    assert!(refusal(&command.output().unwrap()).contains(":1: hold: "));
    // A host name that is not used is not looked for.
    let file = TempFile::new("listen = 'no-such-host.invalid:1'");
    let mut command = check(&file);
    command.arg("--listen=127.0.0.1:2");
    assert!(report(&mut command).contains("\nlisten = [\"127.0.0.1:2\"]"));
}

#[test]
fn key_of_a_higher_level_replaces_the_key_file_of_a_file() {
    let file = TempFile::new("publish-key-file = '/nowhere/key'");
    let mut command = check(&file);
    command.arg("--publish-key=a");
    let report = report(&mut command);
    assert!(report.contains("# publish-key-file: none "), "{report}");
    assert!(report.contains("# publish-key is given, and not shown"));
}

#[test]
fn file_that_may_be_missing_may_be_missing() {
    let missing = std::env::temp_dir().join("encke-config-that-is-not-there");
    let optional = format!("-{}", missing.display());
    let mut command = encke();
    command.arg("check").env("ENCKE_CONFIG", &optional);
    assert!(report(&mut command).contains("hold = \"30s\""));
    let file = TempFile::new("hold = 7");
    let mut command = encke();
    command
        .arg("check")
        .env("ENCKE_CONFIG", format!("-{}", file.path()));
    assert!(report(&mut command).contains("hold = \"7s\""));
}

#[test]
fn key_in_a_file_that_all_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;

    let file = TempFile::new("publish-key = 'a'");
    for (mode, is_warned) in [(0o644, true), (0o640, false)] {
        std::fs::set_permissions(&file.0, PermissionsExt::from_mode(mode)).unwrap();
        let report = report(&mut check(&file));
        assert_eq!(
            report.contains("can be read by all users"),
            is_warned,
            "{report}"
        );
    }
}

#[test]
fn check_binds_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = encke();
    command.args(["check", "--listen", &address]);
    assert!(report(&mut command).contains(&address));
}
