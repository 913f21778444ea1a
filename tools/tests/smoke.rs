//! The instruments at tiny sizes, on encke and on the floor: everything arrives, and is counted.
//! Nothing timed is asserted.

use std::path::{Path, PathBuf};
use std::process::Command;

use encke_tools::report::Report;

mod support;

const SWARM: &str = env!("CARGO_BIN_EXE_swarm");
const PROMISE: &str = env!("CARGO_BIN_EXE_promise");

fn description(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("servers/{server}.toml"))
}

/// Runs swarm; it ends with an error by itself if anything is lost, twice, late or misrouted.
fn run(server: &str, load: &str) -> Report {
    support::build_encke(SWARM);
    let output = Command::new(SWARM)
        .args(load.split(' '))
        .args(["--seconds", "0.2", "--warm-up", "0.05", "--json"])
        .arg("--server")
        .arg(description(server))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{load} on {server}: {complaint} {text}"
    );
    let report: Report = serde_json::from_str(&text).unwrap();
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
fn promises(options: &str) {
    support::build_encke(PROMISE);
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
}

#[test]
fn a_server_in_trouble_keeps_its_promise() {
    promises("--seconds 3 --restarts 2");
}

#[test]
fn a_soak_accounts_for_everything() {
    promises("--seconds 3 --soak");
}

/// The instrument must notice: without history, what is published while a client is away is lost.
#[test]
fn notices_what_the_floor_loses() {
    support::build_encke(SWARM);
    let output = Command::new(SWARM)
        .args("burst -n 10 --burst 4 -t long-poll --json --patience 1 --warm-up 0".split(' '))
        .arg("--server")
        .arg(description("floor"))
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
}
