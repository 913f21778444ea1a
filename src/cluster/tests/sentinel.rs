//! The master that Sentinels name, over a failover.

use super::redis::Watched;
use super::*;

fn config(watched: &Watched) -> EngineConfig {
    EngineConfig {
        url: Some(watched.url().parse().expect("a URL")),
        ..EngineConfig::default()
    }
}

#[test]
fn lanes_follow_a_failover() {
    if !redis::is_installed() {
        return;
    }
    let mut watched = Watched::start();
    let mut lanes = Lanes::connected(&config(&watched));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1)[0].0, EntryId::new(term, 0));
    watched.until_replicated("{encke}:log");

    watched.master.kill();
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
    if !redis::is_installed() {
        return;
    }
    let watched = Watched::start();
    let mut config = config(&watched);
    let url = watched.url().replace("/main", "/other");
    config.url = Some(url.parse().expect("a URL"));
    let Err(crate::cluster::Fault::Broken(Cause::Unreachable, text)) = super::super::probe(&config)
    else {
        panic!("it is not found");
    };
    assert!(text.contains("it knows no master named other"), "{text}");
}
