//! A node of a cluster, as publishers and readers see it.
//!
//! Owns the nodes of these tests, and the requests that most of them make.

mod ahead;
mod publishing;
mod state;

use super::redis::Redis;
use super::support::{Server, config, get, status};
use crate::config::Config;
use crate::engine::{Access, State};
use crate::log::cluster::Settings;

fn node(name: &str, seed: u64) -> Server {
    node_with(&config(), name, seed)
}

pub(super) fn node_with(config: &Config, name: &str, seed: u64) -> Server {
    Server::of_cluster(config, settings(name), seed)
}

/// The settings of a node that need not wait for others when it starts.
pub(super) fn settings(name: &str) -> Settings {
    Settings {
        name: name.into(),
        newcomer_ms: 0,
        ..Settings::default()
    }
}

/// A server of the log, and a node that is ready.
pub(super) fn ready() -> (Redis, Server) {
    let mut redis = Redis::default();
    let mut one = node("one", 1);
    redis.connect(&mut one);
    redis.pass(&mut one, 5_000);
    assert_eq!(status(&poll(&mut one, "/readyz")), "200");
    (redis, one)
}

/// The same, and another node.
pub(super) fn pair() -> (Redis, Server, Server) {
    let (mut redis, mut one) = ready();
    let mut two = node("two", 2);
    redis.connect(&mut two);
    // A node is ready when the others know of it.
    for _ in 0..50 {
        redis.pass(&mut one, 100);
        redis.pass(&mut two, 100);
    }
    assert_eq!(status(&poll(&mut two, "/readyz")), "200");
    (redis, one, two)
}

/// Asks, which is answered when the log has answered.
pub(super) fn ask_log(redis: &mut Redis, server: &mut Server, request: &str) -> String {
    let (id, answer) = server.ask(Access::Trusted, request);
    assert_eq!(answer, "", "it waits");
    assert!(matches!(
        server.engine.state(id),
        Some(State::Publishing | State::Body)
    ));
    redis.serve(server);
    server.take(id)
}

pub(super) fn poll(server: &mut Server, target: &str) -> String {
    server.ask(Access::Trusted, &get(target)).1
}

/// The value of a text member of JSON, the last of this name.
pub(super) fn member(answer: &str, name: &str) -> String {
    let at = answer.rfind(&format!("\"{name}\":\"")).expect(answer) + name.len() + 4;
    answer[at..].split('"').next().unwrap().to_owned()
}

/// The ids in an answer.
pub(super) fn ids(answer: &str) -> Vec<String> {
    let ids = answer.split("\"id\":\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}
