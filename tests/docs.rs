//! The pages for users tell of every option and every transport as it is, of every metric that
//! there is, and of no metric that there is not.
//!
//! Owns the comparison of the pages with the table of settings and with `/metrics`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use encke::config::{POLICY_KEYS, PolicyKey, Reload, SETTINGS, Setting};
use encke::tokens::Invalid;
use encke::{Address, Config, Saving, Server};
use encke_core::transport::Transport;

const OPERATING: &str = include_str!("../src/docs/operating.md");
const HTTP: &str = include_str!("../src/docs/http.md");
const RIGHTS: &str = include_str!("../src/docs/rights.md");

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// If the table differs from the settings, replace it by the text that the failure shows.
#[test]
fn options_table_lists_the_settings() {
    let mut table = String::from("| option | default | range | meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let Setting { option, help, .. } = setting;
        let (default, range) = (setting.default(), setting.range().unwrap_or_default());
        table += &format!("| `{option}` | {default} | {range} | {help} |\n");
    }
    let section = OPERATING
        .split_once("\n## Options\n")
        .expect("a section on options")
        .1;
    assert!(section.contains(&table), "operating.md is to have\n{table}");
}

/// As for the table of options.
#[test]
fn policies_table_lists_the_keys_of_a_policy() {
    let mut table = String::from("| key | values | default | meaning |\n|---|---|---|---|\n");
    for key in POLICY_KEYS {
        let PolicyKey {
            name, unset, help, ..
        } = key;
        table += &format!("| `{name}` | {} | {unset} | {help} |\n", key.allowed());
    }
    let section = OPERATING
        .split_once("\n### Policies\n")
        .expect("a section on policies")
        .1;
    assert!(section.contains(&table), "operating.md is to have\n{table}");
}

#[test]
fn reloading_section_lists_the_settings_that_need_a_restart() {
    let fixed = SETTINGS
        .iter()
        .filter(|setting| setting.reload == Reload::Fixed);
    let names: Vec<String> = fixed
        .map(|setting| format!("`{}`", setting.option))
        .collect();
    let line = format!("\n{}.\n", names.join(", "));
    assert!(OPERATING.contains(&line), "operating.md is to have{line}");
}

#[test]
fn metrics_table_lists_the_exposed_metrics() {
    let page = metrics_of_saved_history() + &metrics_of_a_node();
    let there_are: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP encke_"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let table = OPERATING
        .split_once("\n## Metrics\n")
        .and_then(|(_, rest)| rest.split_once("\n## "))
        .expect("a section on metrics")
        .0;
    let explained: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" | ").next().unwrap_or_default().split(", "))
        .map(|name| name.trim_matches('`').split('{').next().unwrap_or_default())
        .collect();
    assert_eq!(explained, there_are);
}

fn metrics_of_saved_history() -> String {
    let dir = std::env::temp_dir().join(format!("encke-docs-{}", std::process::id()));
    let page = metrics(Config {
        saving: Saving {
            dir: Some(dir.clone()),
            ..Saving::default()
        },
        ..Config::default()
    });
    std::fs::remove_dir_all(dir).expect("it was made");
    page
}

/// Those of a node whose engine is not there.
fn metrics_of_a_node() -> String {
    let mut config = Config::default();
    let url = "redis+unix:/nowhere/redis.sock".parse().expect("a URL");
    config.engine.url = Some(url);
    metrics(config)
}

/// The answer of a server to `GET /metrics`.
fn metrics(config: Config) -> String {
    let config = Config {
        listen: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
        max_connections: Some(10),
        max_channels: 10,
        drain: Duration::ZERO,
        ..config
    };
    let server = Server::bind(config).expect("a free port");
    let [Address::Tcp(address)] = *server.local_addrs() else {
        panic!("one TCP address");
    };
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let request = b"GET /metrics HTTP/1.1\r\nHost: encke\r\nConnection: close\r\n\r\n";
    socket.write_all(request).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    handle.shutdown();
    running.join().expect("no panic").expect("no error");
    answer
}

/// The beginning of each reason, up to what differs between tokens.
#[test]
fn rights_page_explains_every_refusal_of_a_token() {
    let table = RIGHTS
        .split_once("\n## When a request is refused\n")
        .expect("a section on refusals")
        .1;
    let reasons = [
        Invalid::Form(""),
        Invalid::Key,
        Invalid::Signature,
        Invalid::Claim(""),
        Invalid::Expired { ago_ms: 0 },
        Invalid::NotYet { in_ms: 0 },
        Invalid::Audience,
        Invalid::Issuer,
        Invalid::Blocked,
    ];
    let all: BTreeSet<usize> = reasons.iter().map(Invalid::index).collect();
    assert_eq!(all.len(), Invalid::NAMES.len());
    for reason in reasons {
        let text = reason.to_string();
        let begin = text.split([':', ',', '0']).next().unwrap_or_default();
        assert!(table.contains(&format!("`{begin}")), "{begin:?} is missing");
    }
}

/// The path of each transport, and the media type of its responses, as the table of transports
/// says.
#[test]
fn http_page_explains_every_transport() {
    for transport in Transport::ALL {
        let path = format!("`/{}/`", transport.name());
        let content_type = format!("`{}`", transport.describe().content_type);
        let is_row = |line: &str| line.starts_with(&format!("| {path} | {content_type} |"));
        assert!(
            HTTP.lines().any(is_row),
            "http.md is to have | {path} | {content_type} |"
        );
        assert!(OPERATING.contains(&format!("`{}`", transport.name())));
    }
}
