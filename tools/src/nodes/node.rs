//! Nodes of a run, and what is asked of them besides the load.

use std::fs;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use encke_test_rig::http;

use super::redis::Redis;
use super::text_of;
pub(super) use crate::load::{PATIENCE, request};
use crate::server::{Description, Server};

/// The options of every node: nothing that is not measured happens meanwhile.
const OPTIONS: [&str; 12] = [
    "--listen",
    "127.0.0.1:{port}",
    "--log",
    "warn",
    "--heartbeat",
    "1h",
    "--idle-timeout",
    "1h",
    "--engine-patience",
    "30s",
    "--drain",
    "0",
];

/// What a program is called, and its arguments.
pub(super) fn describe(program: &str, arguments: Vec<String>) -> Result<Description, String> {
    let words = std::iter::once(program.into()).chain(arguments);
    Ok(Description {
        name: program.into(),
        ..Description::encke(words.collect())?
    })
}

/// A node of a cluster, or one that is alone.
pub(super) fn start(
    name: &str,
    redis: Option<&Redis>,
    cpu: Option<usize>,
    more: &[&str],
) -> Result<Server, String> {
    let options = OPTIONS.iter().chain(more).map(ToString::to_string);
    let mut arguments: Vec<String> = options.collect();
    if let Some(redis) = redis {
        arguments.extend(["--engine", &redis.url(), "--node", name].map(String::from));
    }
    Server::start(describe("encke", arguments)?, cpu, None)
}

/// The same, ready.
pub(super) fn start_ready(
    name: &str,
    redis: Option<&Redis>,
    cpu: Option<usize>,
    more: &[&str],
) -> Result<Server, String> {
    let server = start(name, redis, cpu, more)?;
    until_ready(&server)?;
    Ok(server)
}

/// Waits until a node is ready.
pub(super) fn until_ready(server: &Server) -> Result<(), String> {
    let begun = Instant::now();
    while ask(server.address, "GET", "/readyz", "")?.0 != 200 {
        if begun.elapsed() > PATIENCE {
            return Err(format!("a node is not ready: {}", server.output()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Asks on a connection of its own: the status and the body.
pub(super) fn ask(
    address: SocketAddrV4,
    method: &str,
    target: &str,
    body: &str,
) -> Result<(u16, String), String> {
    http::ask(address, &request(method, target, body), PATIENCE).map_err(text_of)
}

/// The id that an answer to a publish says.
pub(super) fn publish(address: SocketAddrV4, channel: &str, data: &str) -> Result<String, String> {
    let (status, answer) = ask(address, "POST", &format!("/publish/{channel}"), data)?;
    let id = answer.strip_prefix("{\"id\":\"");
    match id.and_then(|rest| rest.split_once('"')) {
        Some((id, _)) if status == 200 => Ok(id.into()),
        _ => Err(format!("a publish was answered {status} {answer}")),
    }
}

/// Nanoseconds for which the first thread of a server ran, which is its reactor.
pub(super) fn reactor_ns(server: &Server) -> u64 {
    let Some(process) = server.processes().first().copied() else {
        return 0;
    };
    let path = format!("/proc/{process}/task/{process}/schedstat");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}
