//! A Redis Cluster, of which one server has the log.

use encke_test_rig::redis::Clustered;

use super::*;
use crate::cluster::{Fault, probe};

#[test]
fn lanes_follow_the_log_to_the_server_that_has_it() {
    let Some(all) = Clustered::of_test() else {
        return;
    };
    // The second and the third server have nothing.
    let config = config(&all.servers[1]);
    assert_eq!(probe(&config), Ok(vec![]));
    let mut lanes = Lanes::connected(&config);
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1)[0].0, EntryId::new(term, 0));

    let log = "{encke}:log";
    all.move_slot_of(log, 0, 2).expect("it is moved");
    lanes.send(append(term, "a"));
    for lane in [Lane::Publish, Lane::Follow] {
        // As long as no client may know that all is there, there is no connection.
        while lanes.until_broken(lane) != Cause::Replica {}
        lanes.until_connected(lane);
    }
    let opened = lanes.open(OpenMode::Look, EntryId::new(term, 0));
    assert!(opened.term > term);
    assert_eq!(opened.last, EntryId::new(term, 0));
    let length = all.servers[2].ask(&format!("XLEN {log}"));
    assert_eq!(length.expect("it answers"), ":2\r\n");
}

#[test]
fn server_without_a_name_is_found_on_the_same_host() {
    let Some(all) = Clustered::of_test() else {
        return;
    };
    let server = &all.servers[1];
    let set = |kind| {
        let set = format!("CONFIG SET cluster-preferred-endpoint-type {kind}");
        server.tell(&set).expect("OK");
    };
    let mut config = config(server);
    let url = format!("redis://{}", server.address);
    config.url = Some(url.parse().expect("a URL"));
    set("unknown-endpoint");
    assert_eq!(probe(&config), Ok(vec![]));
    set("hostname");
    let Err(Fault::Refused(text)) = probe(&config) else {
        panic!("it has no name");
    };
    assert!(text.contains("cluster-announce-hostname"), "{text}");
}

#[test]
fn log_that_nobody_has_is_waited_for() {
    let Some(all) = Clustered::of_test() else {
        return;
    };
    let server = &all.servers[0];
    let slot = all.slot_of("{encke}:log").expect("it answers");
    server
        .tell(&format!("CLUSTER DELSLOTS {slot}"))
        .expect("OK");
    let Err(Fault::Broken(Cause::Unready, text)) = probe(&config(server)) else {
        panic!("it is not there");
    };
    assert!(text.contains("cluster is down"), "{text}");
}
