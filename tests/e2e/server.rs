//! A server in this process, on a port of its own.
//!
//! Owns its thread: when a test ends, the server is drained and joined, and an error of the server
//! fails the test.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use encke::{Address, Config, Handle, Publisher};
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::eventually;
use crate::stream::Stream;

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) addresses: Vec<Address>,
    pub(crate) publisher: Publisher,
    pub(crate) handle: Handle,
    thread: Option<JoinHandle<Result<(), encke::Error>>>,
}

/// Settings for tests: a port of the system's choice, small tables, and a drain of no time.
pub(crate) fn config() -> Config {
    Config {
        listen: vec![any_port()],
        max_connections: Some(4_000),
        max_channels: 1_000,
        drain: Duration::ZERO,
        ..Config::default()
    }
}

pub(crate) fn any_port() -> Address {
    Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Server {
        let mut config = config();
        change(&mut config);
        Server::run(encke::Server::bind(config).expect("the server is bound"))
    }

    /// Runs a server that is bound.
    pub(crate) fn run(server: encke::Server) -> Server {
        let addresses = server.local_addrs().to_vec();
        let tcp = addresses.iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            _ => None,
        });
        Server {
            address: tcp.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            addresses,
            publisher: server.publisher(),
            handle: server.handle(),
            thread: Some(std::thread::spawn(move || server.run())),
        }
    }

    /// The address of the listener with this index.
    pub(crate) fn tcp(&self, index: usize) -> SocketAddr {
        match &self.addresses[index] {
            Address::Tcp(address) => *address,
            other => panic!("{other} is no TCP address"),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.client().get(target)
    }

    /// Publishes text, and returns its id.
    pub(crate) fn publish(&self, channel: &str, text: &str) -> String {
        let answer = self.client().post(&format!("/publish/{channel}"), "", text);
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Begins a long poll.
    pub(crate) fn hold(&self, target: &str) -> Client {
        let mut client = self.client();
        client.ask("GET", target, "");
        client
    }

    /// Begins a long poll and waits until it is parked on its channel, alone.
    pub(crate) fn parked(&self, channel: &str, query: &str) -> Client {
        let client = self.hold(&format!("/long-poll/{channel}?{query}"));
        self.wait_subscribers(channel, 1);
        client
    }

    pub(crate) fn stream(&self, target: &str) -> Stream {
        Stream::open(self.client(), target, "")
    }

    /// The state of a channel, if it is known.
    pub(crate) fn channel(&self, channel: &str) -> Option<Value> {
        let answer = self.get(&format!("/channels/{channel}"));
        match answer.status() {
            404 => None,
            _ => Some(answer.json()),
        }
    }

    pub(crate) fn subscribers(&self, channel: &str) -> u64 {
        self.channel(channel).map_or(0, |state| {
            state["subscribers"]["total"].as_u64().expect("a number")
        })
    }

    pub(crate) fn wait_subscribers(&self, channel: &str, count: u64) {
        eventually(&format!("{count} subscribers of {channel}"), || {
            self.subscribers(channel) == count
        });
    }

    /// The value of a metric: see [`metric`].
    pub(crate) fn metric(&self, name: &str) -> u64 {
        metric(self.get("/metrics").text(), name)
    }

    /// Drains the server, and returns the result of `run`.
    pub(crate) fn stop(&mut self) -> Result<(), encke::Error> {
        self.handle.shutdown();
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("the reactor does not panic")
    }
}

/// The value of a metric with these labels, or the sum over all labels where none is named.
pub(crate) fn metric(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.split_once("} ")?.1,
            None => rest.strip_prefix(' ')?,
        };
        Some(value.parse::<f64>().expect("a number"))
    });
    let values: Vec<f64> = values.collect();
    assert!(!values.is_empty(), "there is no {name}: {text}");
    values.iter().sum::<f64>() as u64
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        let stopped = self.stop();
        if !std::thread::panicking() {
            stopped.expect("the reactor ran to its end");
        }
    }
}
