use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::policy::{Create, Publish, Subscribe};
use crate::config::setting::{Kind, TextForm, Unit};
use crate::config::value::{Bytes, Span};
use crate::config::{Address, ConfigError};

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let ip = host.parse().map_err(|_| format!("{host} is not known"))?;
    Ok(vec![SocketAddr::new(ip, port)])
}

/// The options that a file sets.
fn options(text: &str) -> Result<Options, FileError> {
    let mut options = Options::default();
    let file = File::parse(text)?;
    for setting in file.settings() {
        setting.set(&mut options, resolve)?;
    }
    options.config.policies = file.policies().to_vec();
    Ok(options)
}

fn refused(text: &str) -> String {
    let error = options(text).expect_err(text).to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
    error
}

/// As in the contract.
const EXAMPLE: &str = r#"
[[channels]]                     # the first whose pattern matches a name applies
match = "chat/**"
history-messages = 500           # and history-age, history-bytes
subscribe = "token"              # anyone | token | nobody        (default: token if there are keys, else anyone; --anonymous, where it is given, wins)
publish = "token"                # key | token | anyone | nobody  (the key always may; default: token)
create = "publisher"             # anyone | publisher: 404 to receivers of a channel that does not exist (rights are judged first)
max-subscribers = 1000           # then 503, /sse/ in its own way
max-message-bytes = "16K"
persist = true                   # false: not in the saved history
latest = true                    # only the newest message is kept and owed; who is behind gets it, and no gap
"#;

#[test]
fn policy_of_the_contract_is_parsed() {
    let policies = options(EXAMPLE).unwrap().config.policies;
    let expected = Policy {
        history_messages: Some(500),
        subscribe: Some(Subscribe::Token),
        publish: Publish::Token,
        create: Create::Publisher,
        max_subscribers: Some(1_000),
        max_message_bytes: Some(16 << 10),
        persist: true,
        latest: true,
        ..Policy::of("chat/**".parse().unwrap())
    };
    assert_eq!(policies, [expected]);
    assert_eq!(File::parse(EXAMPLE).unwrap().policy_lines(), [2]);
}

#[test]
fn numbers_may_be_numbers_or_texts() {
    let file = r#"
        hold = 20
        heartbeat = 0.5
        max-hold = "1m"
        idle-timeout = 0x10
        max-batch = 1_000
        max-batch-bytes = 4096
        max-body-bytes = "64K"
        max-channels = "77"
        unix-mode = 660
        stdin = true
    "#;
    let Options { config, stdin, .. } = options(file).unwrap();
    assert_eq!(config.hold, Duration::from_secs(20));
    assert_eq!(config.heartbeat, Duration::from_millis(500));
    assert_eq!(config.max_hold, Duration::from_secs(60));
    assert_eq!(config.idle_timeout, Duration::from_secs(16));
    assert_eq!((config.max_batch, config.max_batch_bytes), (1_000, 4_096));
    assert_eq!((config.max_body_bytes, config.max_channels), (64 << 10, 77));
    assert_eq!(config.unix_mode, Some(0o660));
    assert_eq!(stdin, Some(String::new()));
    for mode in ["0o660", "\"660\"", "6_6_0"] {
        let config = options(&format!("unix-mode = {mode}")).unwrap().config;
        assert_eq!(config.unix_mode, Some(0o660), "{mode}");
    }
    assert_eq!(options("stdin = false").unwrap().stdin, None);
}

#[test]
fn lists_may_be_lists_or_one_text() {
    for (text, expected) in [
        ("listen = []", &[][..]),
        ("listen = '127.0.0.1:1'", &["127.0.0.1:1"]),
        (
            "listen = [\n'127.0.0.1:1',\n'[::1]:2']",
            &["127.0.0.1:1", "[::1]:2"],
        ),
    ] {
        let listen = options(text).unwrap().config.listen;
        let listen: Vec<String> = listen.iter().map(Address::to_string).collect();
        assert_eq!(listen, expected);
    }
    let keys = options("token-key-file = ['/a', '/b']")
        .unwrap()
        .token_key_files;
    assert_eq!(keys, ["/a", "/b"]);
}

#[test]
fn errors_have_line_and_key() {
    for (text, expected) in [
        (
            "\nhol = 3",
            "2: hol: there is no such key; the nearest is hold",
        ),
        (
            "ENCKE_MAX_HOLD = 3",
            "1: ENCKE_MAX_HOLD: there is no such key; the nearest is max-hold",
        ),
        (
            "history_messages = 3",
            "1: history_messages: there is no such key; the nearest is history-messages",
        ),
        (
            "channel = 3",
            "1: channel: there is no such key; the nearest is channels",
        ),
        (
            "[history]\nmessages = 1",
            "1: history: there is no such key; the nearest is history-age",
        ),
        (
            "hold = true\nhol = 1",
            "1: hold: a boolean is not allowed; a number of seconds, or a text with a unit, such \
             as \"500ms\"",
        ),
        (
            "hold = 'soon'",
            "1: hold: \"soon\": a duration is seconds, such as 30 or 0.5, or has a suffix: 500ms, \
             30s, 2m, 1h",
        ),
        (
            "\n\nhold = 1\nhold = 2",
            "4: hold: given twice; once is allowed",
        ),
        (
            "config = 'x'",
            "1: config: a file cannot name another; give it on the command line",
        ),
        (
            "listen = [\n'127.0.0.1:1',\n'x']",
            "3: listen: \"x\": an address is host:port, [v6]:port or unix:/path, such as \
             127.0.0.1:7711; for every interface: 0.0.0.0:7711 or [::]:7711",
        ),
        (
            "listen = [1]",
            "1: listen: a whole number is not allowed; a list of texts, such as [\"a\", \"b\"], or \
             one text",
        ),
        (
            "max-batch = 99999999999999999999999999999999999999999",
            "1: max-batch: the number is too large; a whole number, such as 1000",
        ),
        (
            "[channels]\nmatch = 'a'",
            "1: channels: a policy begins with a line [[channels]], and its keys follow",
        ),
        (
            "channels = ['a']",
            "1: channels: a policy begins with a line [[channels]], and its keys follow",
        ),
        (
            "\n[[channels]]\nhistory-age = 1",
            "2: channels: `match` is missing; a policy has a pattern, such as match = \"chat/**\"",
        ),
        (
            "[[channels]]\nmatch = 'a/**/b'",
            "2: channels.match: \"a/**/b\": `*` must be a whole segment between `/`, and `**` the \
             last one",
        ),
        (
            "[[channels]]\nmatch = 'a'\nhistory-mesages = 3",
            "3: channels.history-mesages: there is no such key; the nearest is history-messages",
        ),
        (
            "[[channels]]\nmatch = 'a'\n[[channels]]\nmatch = 'b'\npublish = 'all'",
            "5: channels.publish: \"all\": one of key, token, anyone, nobody",
        ),
        (
            "[[channels]]\nmatch = 'a'\nmatch = 'b'",
            "3: match: given twice; once is allowed",
        ),
        (
            "\"a\\n\\u001bb\" = 3",
            "1: a  b: there is no such key; the nearest is max-batch",
        ),
    ] {
        assert_eq!(refused(text), expected);
    }
    // The words are those of the TOML crate.
    for text in [
        "hold",
        "hold =",
        "hold = 3 s",
        "hold = soon",
        "[hold",
        "hold = \"",
    ] {
        let error = refused(text);
        assert!(
            error.starts_with("1: hold: not TOML: ") || error.starts_with("1: TOML: not TOML: "),
            "{error}"
        );
    }
}

#[test]
fn secret_is_in_no_error() {
    for text in [
        "publish-key = hidden",
        "publish-key = [\"hidden\"]",
        "publish-key = \"hidden\"\npublish-key = \"hidden\"",
        "publish-key = \"\"\"\nhidden=\n",
        "publish-key = \"hidden",
        "publish-key = \"hidden\" hidden",
        "publish-key = \"hidden\\q\"",
    ] {
        let error = refused(text);
        assert!(!error.contains("hidden"), "{error}");
    }
    let file = File::parse("publish-key = \"hidden\"").unwrap();
    assert!(!format!("{file:?}").contains("hidden"));
}

/// Values of TOML that a kind of setting refuses, whatever its range.
fn wrong(setting: &Setting) -> Vec<&'static str> {
    let mut wrong = vec!["1979-05-27", "{ a = 1 }"];
    let more: &[&str] = match &setting.kind {
        Kind::Duration { .. } => &[
            "true", "[1]", "-1", "inf", "nan", "1e3", "''", "'1d'", "2592001",
        ],
        Kind::Number { .. } => &["true", "['1']", "1.5", "-1", "''", "'many'", "'1KB'", "1e3"],
        Kind::Flag { .. } => &["1", "'yes'", "[true]"],
        Kind::Mode { .. } => &["true", "888", "1777", "-1", "0x1ff", "'rw'"],
        Kind::Addresses { .. } => &["true", "7711", "['x']", "'x'", "[7711]"],
        Kind::Origins { .. } => &["true", "1", "['*', 'https://a']", "[1]"],
        Kind::Patterns { .. } => &["true", "1", "['a*']", "'a,b'"],
        Kind::Directory { .. } => &["true", "1", "['a']", "''"],
        Kind::Parsed { .. } => &["true", "1.5", "['a']", "''", "'a b'"],
        Kind::Word { .. } => &["true", "1", "['a']", "''", "'other'"],
        Kind::Paths { .. } => &["true", "1", "[1]"],
        Kind::Text {
            form: TextForm::MayBeBare,
            ..
        } => &["1", "['a']"],
        Kind::Text { .. } => &["true", "1", "['a']"],
    };
    wrong.extend(more);
    wrong
}

#[test]
fn every_setting_refuses_every_wrong_value() {
    for setting in SETTINGS {
        for value in wrong(setting) {
            let name = setting.name();
            let error = refused(&format!("# a comment\n{name} = {value}"));
            assert!(
                error.starts_with(&format!("2: {name}: ")),
                "{value}: {error}"
            );
        }
    }
}

#[test]
fn every_key_of_a_policy_refuses_every_wrong_value() {
    for key in POLICY_KEYS {
        let wrong: &[&str] = match key.kind {
            PolicyKind::Pattern => &["true", "1", "['a']", "'a*'", "''", "'a,b'"],
            PolicyKind::Duration { .. } => &["true", "0", "-1", "'31h'x", "2592001", "['1']"],
            PolicyKind::Number { .. } => &["true", "-1", "1.5", "'many'", "999999999999999999"],
            PolicyKind::Flag { .. } => &["1", "'true'"],
            PolicyKind::Word { .. } => &["true", "1", "'everybody'", "['anyone']", "''"],
        };
        for value in wrong {
            let name = key.name;
            let (first, line) = match name {
                "match" => ("", 2),
                _ => ("match = 'a'\n", 3),
            };
            let error = refused(&format!("[[channels]]\n{first}{name} = {value}"));
            let [full, plain] = ["channels.", ""].map(|before| format!("{line}: {before}{name}: "));
            assert!(
                error.starts_with(&full) || error.starts_with(&plain),
                "{value}: {error}"
            );
        }
    }
}

/// A value of a setting from arbitrary numbers and texts.
fn texts(setting: &Setting, number: u64, texts: &[String]) -> Vec<String> {
    let within = |start: u64, end: u64| start + number % (end - start + 1);
    match &setting.kind {
        Kind::Duration { range, .. } => {
            let [start, end] = [range.start(), range.end()].map(|end| end.as_nanos() as u64);
            let value = Duration::from_nanos(within(start, end));
            vec![Span(value).to_string()]
        }
        Kind::Number { unit, range, .. } => {
            let number = within(*range.start(), *range.end());
            vec![match unit {
                Unit::Count => number.to_string(),
                Unit::Bytes => Bytes(number).to_string(),
            }]
        }
        Kind::Flag { .. } => vec![(number.is_multiple_of(2)).to_string()],
        Kind::Mode { .. } => vec![format!("{:o}", number % 0o1000)],
        Kind::Addresses { .. } => {
            let addresses = texts
                .iter()
                .enumerate()
                .map(|(index, text)| match index % 3 {
                    0 => format!("unix:/{text}"),
                    1 => format!("127.0.0.1:{}", number % 65_536),
                    _ => format!("proxy:[::1]:{}", number % 65_536),
                });
            addresses.collect()
        }
        Kind::Patterns { .. } => {
            let is_pattern = |text: &&String| text.parse::<crate::pattern::Pattern>().is_ok();
            let patterns = texts.iter().filter(is_pattern).cloned();
            patterns.chain(["a/*/**".into()]).collect()
        }
        Kind::Origins { .. } => match texts {
            [star] if star == "*" => vec!["*".into()],
            _ => texts.iter().filter(|text| *text != "*").cloned().collect(),
        },
        Kind::Paths { .. } => texts.to_vec(),
        Kind::Word { words, .. } => vec![words[number as usize % words.len()].into()],
        Kind::Directory { .. } => vec![format!("/{number}")],
        Kind::Parsed { name: "URL", .. } => vec![format!("redis://host:{}", number % 65_536)],
        Kind::Parsed { .. } => vec![format!("name-{number}")],
        Kind::Text { .. } => vec![texts.first().cloned().unwrap_or_default()],
    }
}

proptest! {
    #[test]
    fn setting_printed_as_a_line_is_read_as_the_same_value(
        index in 0..SETTINGS.len(),
        number: u64,
        given in prop::collection::vec("\\PC*|[ -~\\x00-\\x1f\\x7f\"\\\\]{0,20}|\\*", 0..4),
    ) {
        let setting = &SETTINGS[index];
        let mut first = Options::default();
        setting.set(&mut first, &texts(setting, number, &given), resolve).unwrap();
        match setting.line(&first) {
            Some(_) if setting.name() == CONFIG => {}
            Some(line) => {
                let second = options(&line).unwrap();
                prop_assert_eq!(setting.values(&second), setting.values(&first), "{}", line);
                // The rest is as before.
                prop_assert_eq!(format!("{second:?}"), format!("{first:?}"));
            }
            None => prop_assert!(setting.is_secret()),
        }
    }

    #[test]
    fn policies_printed_as_lines_are_read_as_the_same(
        patterns in prop::collection::vec("[a-z]{1,5}|[a-z]/\\*|\\*\\*", 0..4),
        numbers in prop::collection::vec(any::<u64>(), POLICY_KEYS.len()),
        given: u16,
    ) {
        let mut policies = Vec::new();
        for pattern in patterns {
            let mut policy = Policy::of(pattern.parse().unwrap());
            for (place, (key, number)) in POLICY_KEYS.iter().zip(&numbers).enumerate() {
                if given & 1 << place == 0 {
                    continue;
                }
                let text = match &key.kind {
                    PolicyKind::Pattern => continue,
                    PolicyKind::Duration { .. } => format!("{}ms", 1 + number % 1_000_000),
                    PolicyKind::Number { range, .. } => {
                        range.end().min(&(range.start() + number % 999_999)).to_string()
                    }
                    PolicyKind::Flag { .. } => (number.is_multiple_of(2)).to_string(),
                    PolicyKind::Word { words, .. } => words[*number as usize % words.len()].into(),
                };
                key.set(&mut policy, &text).unwrap();
            }
            policies.push(policy);
        }
        let lines: Vec<String> = policies.iter().flat_map(Policy::lines).collect();
        let read = options(&lines.join("\n")).unwrap().config;
        prop_assert_eq!(read.check(), Ok(()));
        prop_assert_eq!(read.policies, policies);
    }

    #[test]
    fn any_text_is_parsed_or_refused_in_one_line(text in "(\\PC|[\\[\\]\\n\"'=.,{}#])*") {
        if let Err(error) = options(&text) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }
}

#[test]
fn error_of_a_combination_names_both_options() {
    let config = options("max-hold = 5").unwrap().config;
    let ConfigError { option, beside, .. } = config.check().unwrap_err();
    assert_eq!((option, beside), ("--hold", Some("--max-hold")));
}
