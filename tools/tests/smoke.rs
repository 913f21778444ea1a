//! The instruments at tiny sizes, on encke and on the floor: everything arrives, and is counted.
//! Nothing timed is asserted.

mod support;
mod swarm;

use std::fs;
use std::path::Path;
use std::process::Command;

use encke_tools::report::Report;
use encke_tools::ways::Row;
use swarm::{SWARM, build_encke, description};

const PROMISE: &str = env!("CARGO_BIN_EXE_promise");

/// A run that found nothing wrong.
fn run(server: &str, load: &str) -> Report {
    let report: Report = serde_json::from_str(&swarm::line(server, load)).unwrap();
    assert_eq!(report.server, server);
    assert!(report.cpu_ns > 0 || load.starts_with("idle"));
    report
}

/// Runs a load in which messages are received, on both.
fn receives(load: &str) {
    for server in ["encke", "floor"] {
        let report = run(server, load);
        let counts = report.counts;
        assert!(report.units > 0, "{load} on {server} did nothing");
        assert_eq!(counts.received, report.units, "{load} on {server}");
        assert_eq!(counts.faults(), 0, "{load} on {server}: {counts:?}");
        assert!(report.delays.count >= report.units, "{load} on {server}");
    }
}

#[test]
fn fans_out_over_streams() {
    receives("fan-out -n 50 --workers 2");
}

#[test]
fn fans_out_over_long_polls() {
    for server in ["encke", "floor"] {
        let report = run(server, "fan-out -n 50 -t long-poll --workers 2");
        assert_eq!(report.counts.received, report.units);
        assert_eq!(report.counts.reparked, report.units);
    }
}

#[test]
fn fans_out_over_server_sent_events() {
    let report = run("encke", "fan-out -n 50 -t sse");
    assert_eq!(report.counts.received, report.units);
}

#[test]
fn fans_out_large_messages() {
    receives("fan-out -n 20 --size 30000");
}

#[test]
fn fans_out_over_channels() {
    receives("fan-out -n 50 -c 7");
}

#[test]
fn publishes_at_a_rate() {
    receives("fan-out -n 50 --rate 100");
}

#[test]
fn spreads_over_channels() {
    receives("spread -n 50 -c 10 --rate 500");
}

#[test]
fn encke_loses_nothing_between_long_polls() {
    let report = run("encke", "fan-out -n 50 -t long-poll --rate 300");
    assert_eq!(report.counts.received, report.units);
}

#[test]
fn bursts_arrive_whole_and_in_order() {
    receives("burst -n 50 --burst 8");
}

#[test]
fn churns_streams_and_long_polls() {
    receives("churn -n 20");
    receives("churn -n 20 -t long-poll");
}

#[test]
fn a_herd_comes_back() {
    for how in [
        "",
        " --heed",
        " --renew",
        " --drain 0",
        " --drain 0 --heed --renew",
    ] {
        let report = run("encke", &format!("herd -n 50 -t long-poll{how}"));
        assert_eq!(report.counts.received, report.units, "{how}");
        assert_eq!(report.counts.faults(), 0, "{how}");
        assert!(
            report.back.count > 0 && report.undisturbed.count > 0,
            "{how}"
        );
        assert!(report.counts.reparked >= 50, "{how}");
    }
}

#[test]
fn publishes_one_by_one_and_pipelined() {
    for server in ["encke", "floor"] {
        for load in ["publish", "publish --depth 16"] {
            let report = run(server, load);
            assert!(report.units > 0 && report.units == report.publishes);
            assert!(report.delays.count >= report.units);
            assert_eq!(report.counts.faults(), 0);
        }
    }
}

#[test]
fn polls() {
    for server in ["encke", "floor"] {
        let report = run(server, "poll -n 10");
        assert!(report.units > 0);
        assert_eq!(report.delays.count, report.units);
        assert_eq!(report.counts.faults(), 0);
    }
}

#[test]
fn parks_and_idles() {
    for server in ["encke", "floor"] {
        for load in ["park -n 50", "idle -n 50 -t long-poll"] {
            let report = run(server, load);
            assert!(report.parked.is_some_and(|parked| parked.full.rss > 0));
        }
    }
}

/// Nothing here is timed but by the checker, which allows for a machine that stands still.
fn promises(options: &str) -> String {
    build_encke();
    let output = Command::new(PROMISE)
        .args(options.split(' '))
        .args(["--clients", "60", "--processes", "2", "--slack", "100"])
        .args(["--settle", "2"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint} {text}");
    assert!(text.contains("no promise was broken"), "{text}");
    text.into_owned()
}

#[test]
fn a_server_in_trouble_keeps_its_promise() {
    let text = promises("--seconds 3 --restarts 2");
    assert!(text.contains("\ntokens: "), "{text}");
    for nothing in ["tokens: 0 requests", "; 0 kicks", "; 0 reloads"] {
        assert!(!text.contains(nothing), "{text}");
    }
}

#[test]
fn a_soak_accounts_for_everything() {
    promises("--seconds 3 --soak");
}

/// Each technique loses nothing, and requests are what they should be for it.
#[test]
fn sets_the_ways_beside_each_other() {
    build_encke();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("three-ways");
    let load = "--no-build --rates 100 -n 8 -c 2 --seconds 0.3 \
        --techniques poll-0.05 long-poll early sse frame";
    let output = Command::new(env!("CARGO_BIN_EXE_three-ways"))
        .args(load.split_whitespace())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = std::fs::read_to_string(out.join("rows.jsonl")).unwrap();
    let rows: Vec<Row> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<String> = rows.iter().map(|row| row.technique.to_string()).collect();
    let expected = "nobody poll-0.05 long-poll early sse frame".split(' ');
    assert_eq!(names, expected.collect::<Vec<_>>());
    for row in &rows[1..] {
        assert!(row.received > 0 && row.cpu_ns > 0, "{row:?}");
        assert_eq!(row.delays.count, row.received, "{row:?}");
        assert_eq!(row.requests == 0, row.up == 0, "{row:?}");
    }
    let asks = [true, true, true, false, false];
    for (row, asks) in rows[1..].iter().zip(asks) {
        assert_eq!(row.requests > 0, asks, "{row:?}");
    }
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| long-poll |"), "{table}");
    let plot = std::fs::read_to_string(out.join("plot.svg")).unwrap();
    assert!(plot.contains("</svg>"));
}

/// A profile needs a program that may be missing: it says so before it builds anything.
#[test]
fn profile_names_missing_programs() {
    let output = Command::new(env!("CARGO_BIN_EXE_profile"))
        .env("PATH", "")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    let advice = "apt-get install linux-perf";
    assert!(complaint.contains(advice), "{complaint}");
}

/// The instrument must notice: without history, what is published while a client is away is lost.
#[test]
fn notices_what_the_floor_loses() {
    build_encke();
    let output = Command::new(SWARM)
        .args("burst -n 10 --burst 4 -t long-poll --json --patience 1 --warm-up 0".split(' '))
        .arg("--server")
        .arg(description("floor"))
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn publishes_that_are_not_to_be_pipelined_wait_for_each_other() {
    build_encke();
    let text = fs::read_to_string(description("encke")).unwrap();
    let one_by_one = text.replace("pipelined = true", "");
    assert_ne!(one_by_one, text);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one-by-one.toml");
    fs::write(&path, one_by_one).unwrap();
    let output = Command::new(SWARM)
        .args("burst -n 10 --burst 4 --seconds 0.2 --warm-up 0 --server".split(' '))
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = Command::new(SWARM)
        .args("publish --depth 4 --server".split(' '))
        .arg(&path)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("one publish at a time"), "{output:?}");
}

#[test]
fn what_a_server_cannot_do_is_refused_with_the_reason() {
    let output = Command::new(SWARM)
        .args("poll --server".split(' '))
        .arg(description("pushpin"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(complaint.contains("passes polls on"), "{output:?}");
}

/// Where Redis is installed, as it must be in CI.
#[test]
fn nodes_keep_their_promise_while_redis_is_killed() {
    build_encke();
    if !encke_test_rig::needs("redis-server", "redis-server") {
        return;
    }
    let options = "--nodes 2 --engine redis --fault f1 --prove --seconds 8 --channels 64";
    let text = promises(options);
    assert!(text.contains("\nf1 "), "{text}");
    // Some are planted inside the fault too, where that is possible.
    let is_found = |line: &&str| line.ends_with(": found") && !line.contains(" in a fault");
    assert_eq!(text.lines().filter(is_found).count(), 6, "{text}");
}
