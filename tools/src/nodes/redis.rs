//! A Redis of a run: a process of its own, without persistence, on loopback.

use ::redis::{Client, Connection, RedisError, Value, cmd};

use super::node::describe;
use super::text_of;
use crate::measure;
use crate::server::Server;

/// A Redis that runs, and a connection to it.
pub(super) struct Redis {
    pub(super) server: Server,
    connection: Connection,
}

impl Redis {
    pub(super) fn start(cpu: Option<usize>) -> Result<Redis, String> {
        let words = ["--port", "{port}", "--bind", "127.0.0.1", "--dir", "{dir}"];
        let none = ["--save", "", "--appendonly", "no", "--loglevel", "warning"];
        let words = words.iter().chain(&none).map(ToString::to_string);
        let server = Server::start(describe("redis-server", words.collect())?, cpu, None)?;
        let connection = connect(&server).map_err(text_of)?;
        Ok(Redis { server, connection })
    }

    /// For `--engine`.
    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.server.address)
    }

    /// Connects again, after it was started again.
    pub(super) fn reconnect(&mut self) -> Result<(), String> {
        self.connection = connect(&self.server).map_err(text_of)?;
        Ok(())
    }

    /// The connection.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Nanoseconds for which it ran.
    pub(super) fn cpu_ns(&self) -> u64 {
        measure::cpu_ns(&self.server.processes())
    }

    /// A section of `INFO`.
    fn info(&mut self, section: &str) -> Result<String, String> {
        let answer = cmd("INFO").arg(section).query(&mut self.connection);
        answer.map_err(text_of)
    }

    /// Bytes that it has allocated.
    pub(super) fn memory(&mut self) -> Result<u64, String> {
        let info = self.info("memory")?;
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let used = used.and_then(|number| number.trim().parse().ok());
        used.ok_or_else(|| "Redis does not say its memory".into())
    }

    /// How often a command was called, also by scripts.
    pub(super) fn calls(&mut self, command: &str) -> Result<u64, String> {
        let name = format!("cmdstat_{command}:calls=");
        let info = self.info("commandstats")?;
        let calls = info.lines().find_map(|line| line.strip_prefix(&*name));
        let calls = calls.and_then(|rest| rest.split(',').next()?.parse().ok());
        Ok(calls.unwrap_or(0))
    }

    /// How many commands of nodes it has served: all but those by which this one asks.
    pub(super) fn commands(&mut self) -> Result<u64, String> {
        let names = ["xadd", "xread", "xrange", "evalsha", "get", "publish"];
        let mut sum = 0;
        for name in names {
            sum += self.calls(name)?;
        }
        Ok(sum)
    }

    /// Bytes that it has received and sent.
    pub(super) fn network_bytes(&mut self) -> Result<u64, String> {
        let info = self.info("stats")?;
        let number = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|number| number.trim().parse::<u64>().ok());
            number.ok_or_else(|| format!("Redis does not say {name}"))
        };
        Ok(number("total_net_input_bytes:")? + number("total_net_output_bytes:")?)
    }

    /// Forgets everything.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let done: Result<Value, RedisError> = cmd("FLUSHALL").query(&mut self.connection);
        done.map(drop).map_err(text_of)
    }
}

fn connect(server: &Server) -> Result<Connection, RedisError> {
    Client::open(format!("redis://{}", server.address))?.get_connection()
}
