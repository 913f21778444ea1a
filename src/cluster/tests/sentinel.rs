//! The master that Sentinels name, over a failover.

use encke_test_rig::free_ports;
use encke_test_rig::redis::Servers;

use super::*;

/// The first Sentinel does not answer, so that the next one is asked.
fn config(watched: &Servers, name: &str) -> EngineConfig {
    let [nobody] = free_ports().expect("a port");
    let url = watched.url(nobody).replace("//", &format!("//{nobody},"));
    let url = url.replace("/main", name);
    EngineConfig {
        url: Some(url.parse().expect("a URL")),
        ..EngineConfig::default()
    }
}

#[test]
fn lanes_follow_a_failover() {
    let Some(mut watched) = Servers::of_test() else {
        return;
    };
    let mut lanes = Lanes::connected(&config(&watched, "/main"));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1)[0].0, EntryId::new(term, 0));
    watched.wait_for_key("{encke}:log").expect("it comes");

    watched.servers[0].kill().expect("it is ours");
    lanes.send(append(term, "a"));
    for lane in [Lane::Publish, Lane::Follow] {
        assert_eq!(lanes.until_broken(lane), Cause::Closed);
    }
    for lane in [Lane::Publish, Lane::Follow] {
        lanes.until_connected(lane);
    }
    // The replica is another server, so the log is opened anew, and goes on.
    let opened = lanes.open(OpenMode::Look, EntryId::new(term, 0));
    assert!(opened.term > term);
    assert_eq!(opened.last, EntryId::new(term, 0));
    let id = EntryId::new(opened.term, 1);
    assert_eq!(
        lanes.reply_to(append(opened.term, "b")),
        Reply::Appended(id)
    );
}

#[test]
fn master_of_an_unknown_name_is_not_found() {
    let Some(watched) = Servers::of_test() else {
        return;
    };
    let config = config(&watched, "/other");
    let Err(crate::cluster::Fault::Broken(Cause::Unreachable, text)) = super::super::probe(&config)
    else {
        panic!("it is not found");
    };
    assert!(text.contains("it knows no master named other"), "{text}");
}
