//! Metrics, alerts and dashboard, compared with each other.
//!
//! promtool checks the metrics and the rules. Under traffic of every kind each metric must change.
//! Each metric in an alert or on the dashboard must exist, and each metric must be on the
//! dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use encke_test_rig::{Directory, needs};
use serde_json::{Value, json};

use crate::nodes::Nodes;
use crate::traffic::Traffic;
use crate::{file, run};

const ALERTS: &str = "tools/prometheus/alerts.yml";

/// Labels that Prometheus adds, and that of buckets.
const USUAL_LABELS: [&str; 3] = ["instance", "job", "le"];

/// Series that this traffic need not move. A bucket may stay empty, and the sum of durations below
/// its unit is 0, but not the count. Some states are shorter than a turn of the loop. Some refusals
/// take a crowd, or a burst within one turn. Two are of channels with policies, of which this
/// server has none. Some are of a start with history, of faults of a disk, or of upgrades, which
/// have tests of their own.
const EXCUSED: [&str; 15] = [
    "_bucket{",
    "_sum",
    "by_state{",
    "refused_total{cause=\"server\"",
    "refused_total{cause=\"descriptors\"",
    "publishes_busy_total",
    "messages_replaced_total",
    "policy_refusals_total",
    "disk_failing",
    "disk_errors_total",
    "disk_records_replayed",
    "disk_cut_bytes",
    "publishes_unsaved_total",
    "upgrade",
    "connections_handed_over_total",
];

/// Series of a node that its faults need not move. The node is hardly ever behind. Connections that
/// pass nothing on, and each cause of a broken one, take other faults. Nothing is lost here; no entry
/// is of a later version; no command need be under way just when the engine ends; and there is room for all
/// counts.
const EXCUSED_OF_NODES: [&str; 10] = [
    "_bucket{",
    "_sum",
    "engine_lag_entries",
    "engine_reconnects_total{",
    "engine_deaf_total",
    "engine_losses_total{",
    "engine_holes_total",
    "engine_resent_total",
    "engine_skipped_total",
    "engine_uncounted_total",
];

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap()
}

/// The expressions of the dashboard.
fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("tools/grafana/encke.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| target["expr"].as_str());
    expressions.map(|text| text.unwrap().to_owned()).collect()
}

/// The expressions of the alerts, each of which stands between `expr:` and `for:`.
fn alerts() -> Vec<String> {
    let text = read(ALERTS);
    let after = text.split("expr:").skip(1);
    let expressions = after.map(|after| after.split(" for:").next().unwrap());
    let found: Vec<String> = expressions.map(|text| text.trim().to_owned()).collect();
    assert_eq!(found.len(), text.matches("alert:").count());
    found
}

/// The names in an expression, outside of strings and with what follows each.
fn names(expression: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (place, part) in expression.split('"').enumerate() {
        let mut rest = part;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        while let Some(start) = rest.find(is_name).filter(|_| place % 2 == 0) {
            let end = rest[start..].find(|c| !is_name(c));
            let end = end.map_or(rest.len(), |end| start + end);
            found.push((&rest[start..end], &rest[end..]));
            rest = &rest[end..];
        }
    }
    found
}

/// The labels that an expression selects or groups by.
fn labels(expression: &str) -> BTreeSet<&str> {
    let mut labels = BTreeSet::new();
    for (name, after) in names(expression) {
        if ["=", "=~"].contains(&after) {
            labels.insert(name);
        }
        if ["by", "without", "on"].contains(&name) {
            let list = after.trim_start().strip_prefix('(').unwrap_or_default();
            let list = list.split(')').next().unwrap_or_default();
            labels.extend(
                list.split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty()),
            );
        }
    }
    labels
}

/// A metric without what its series have behind its name.
fn base<'n>(name: &'n str, metrics: &BTreeSet<&str>) -> &'n str {
    let suffixes = ["_bucket", "_sum", "_count"].iter();
    let mut bases = suffixes.filter_map(|suffix| name.strip_suffix(suffix));
    match metrics.contains(name) {
        true => name,
        false => bases.next().unwrap_or(name),
    }
}

#[test]
fn promtool_accepts_alerts_and_dashboard() {
    if !needs("promtool", "prometheus") {
        return;
    }
    let alerts = file(ALERTS);
    run("promtool", &["check", "rules", alerts.to_str().unwrap()]);
    let tests = file("tools/prometheus/alerts.test.yml");
    run("promtool", &["test", "rules", tests.to_str().unwrap()]);
    // promtool knows rules and no dashboards; Grafana fills in its variables.
    let rules = dashboard().into_iter().enumerate().map(|(place, text)| {
        let text = text
            .replace("$__rate_interval", "1m")
            .replace("$instance", ".*");
        assert!(!text.contains('$'), "{text}");
        json!({ "record": format!("dashboard:{place}"), "expr": text })
    });
    let rules: Vec<Value> = rules.collect();
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let directory = Directory::new();
    let path = directory.path("rules.yml");
    // JSON is YAML.
    fs::write(&path, groups.to_string()).unwrap();
    run("promtool", &["check", "rules", path.to_str().unwrap()]);
}

#[test]
fn metrics_move_and_are_what_alerts_and_dashboard_refer_to() {
    if !needs("promtool", "prometheus") || !needs("redis-server", "redis-server") {
        return;
    }
    let mut traffic = Traffic::start();
    let one = traffic.run();
    assert_moved(&traffic.highest, "", &EXCUSED);
    assert_linted(&one);
    let mut nodes = Nodes::start();
    let several = nodes.run();
    assert_moved(&nodes.highest, "encke_engine_", &EXCUSED_OF_NODES);
    assert_linted(&several);
    let text = one + &several;

    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let metrics: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let known: BTreeSet<&str> = text.lines().flat_map(labels).chain(USUAL_LABELS).collect();
    let dashboard = dashboard();
    let used = |expression: &'_ str| -> BTreeSet<String> {
        let names = names(expression).into_iter().map(|(name, _)| name);
        let names = names.filter(|name| name.starts_with("encke_"));
        names.map(|name| base(name, &metrics).to_owned()).collect()
    };
    for expression in alerts().iter().chain(&dashboard) {
        let used = used(expression);
        let exist = used.iter().all(|name| metrics.contains(name.as_str()));
        assert!(exist && !used.is_empty(), "{used:?} in {expression}");
        let labels = labels(expression);
        assert!(labels.is_subset(&known), "{labels:?} in {expression}");
    }
    let shown: BTreeSet<String> = dashboard.iter().flat_map(|text| used(text)).collect();
    let hidden: Vec<_> = metrics
        .iter()
        .filter(|name| !shown.contains(**name))
        .collect();
    assert!(hidden.is_empty(), "not on the dashboard: {hidden:?}");
}

/// Asserts that the series of these names were not 0 all the time, but for those that are excused.
fn assert_moved(highest: &BTreeMap<String, f64>, names: &str, excused: &[&str]) {
    let still = highest.iter().filter(|(series, value)| {
        let is_excused = excused.iter().any(|part| series.contains(part));
        **value == 0.0 && !is_excused && series.starts_with(names)
    });
    let still: Vec<_> = still.map(|(series, _)| series).collect();
    assert!(still.is_empty(), "these did not move: {still:?}");
}

/// Asserts that promtool finds nothing wrong with the text of `/metrics`.
fn assert_linted(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    assert!(promtool.wait().unwrap().success());
}
