//! What is done to a cluster, fault by fault.
//!
//! Owns the order of signals and commands of each fault, and the record of it: when it was, which
//! nodes were deaf, and what may be lost by it.

use std::net::SocketAddrV4;
use std::time::Duration;

use rustix::process::Signal;

use super::conduct::{AFTERMATH_US, Conductor};
use super::fault::Fault;
use super::proxy::Manner;
use crate::command::text;
use crate::net::now_us;
use crate::promise::clock;
use encke_oracle::cluster::Loss;
use encke_oracle::span::Span;

/// How long before a fault a message may have been acknowledged that only the killed knew, in
/// microseconds.
const IN_FLIGHT_US: u64 = 1_000_000;

/// How long Redis is stopped, one after the other, in microseconds.
const STOPS_US: [u64; 3] = [1_000_000, 4_000_000, 15_000_000];

/// How long connections are troubled, in microseconds: long enough for a deaf node to be unready.
const TROUBLE_US: u64 = 9_000_000;

/// How old a snapshot is that Redis starts with, in microseconds.
const SNAPSHOT_AGE_US: u64 = 3_000_000;

/// How long the replica has missed everything when the master is killed, in microseconds.
const TAIL_US: u64 = 200_000;

/// Ends what keeps a replica away.
const LET_IN: &str = "CONFIG SET masterauth \"\"";

/// How long two servers are masters, in microseconds.
const SPLIT_US: u64 = 10_000_000;

/// How long a node is stopped while the log is trimmed, and while the log passes it.
const TRIM_STOP_US: u64 = 2_000_000;
const LONG_STOP_US: u64 = 25_000_000;

/// How long an upgrade of a node may take.
const UPGRADE_WITHIN: Duration = Duration::from_secs(20);

/// Until the next question whether a node is ready has found that it is gone, in microseconds.
const NOTICED_US: u64 = 300_000;

/// Deletes the key of the log, or trims it to ten entries; whatever its name is.
const DELETE_LOG: &str =
    "EVAL \"for _,k in ipairs(redis.call('keys','*:log')) do redis.call('del',k) end return 1\" 0";
const TRIM_LOG: &str = "EVAL \"for _,k in ipairs(redis.call('keys','*:log')) do \
    redis.call('xtrim',k,'maxlen',10) end return 1\" 0";

/// Appends an entry as an operator does by hand, and puts an older copy in the place of the log.
const WRITE_LOG: &str = "XADD {encke}:log * field value";
const COPY_LOG: &str = "COPY {encke}:log {encke}:older REPLACE";
const PUT_BACK: &str = "COPY {encke}:older {encke}:log REPLACE";

/// How long Redis refuses something, in microseconds.
const REFUSE_US: u64 = 8_000_000;

/// What Redis is told so that it refuses, and so that it does not any more: a right of all users, and
/// the format of the log, at which nodes look when they connect.
const REFUSALS: [(&[&str], &str); 2] = [
    (&["ACL SETUSER default -xadd"], "ACL SETUSER default +xadd"),
    (
        &["HSET {encke}:meta v 9", "CLIENT KILL TYPE normal"],
        "HSET {encke}:meta v 1",
    ),
];

impl Conductor<'_> {
    /// Does the fault once, and records it. Returns when its cause is over.
    pub(super) fn act(&mut self) -> Result<(), String> {
        let from = now_us();
        match self.fault {
            Fault::None => {}
            Fault::Kill | Fault::KillWithLog => self.kill_redis()?,
            Fault::RollBack => {
                self.redis.servers[0].tell("SAVE")?;
                self.pause(SNAPSHOT_AGE_US)?;
                self.kill_redis()?;
            }
            Fault::Stop => self.stop_redis()?,
            Fault::LoseMaster => self.lose_master()?,
            Fault::Promote => self.promote()?,
            Fault::Split => self.split()?,
            Fault::KillNode => {
                let node = self.turn();
                self.restart_node(node, true)?;
            }
            Fault::RollNodes => {
                for node in 0..self.nodes.len() {
                    self.restart_node(node, false)?;
                }
            }
            Fault::Upgrade => {
                for node in &mut self.nodes {
                    node.server.upgrade(UPGRADE_WITHIN)?;
                }
            }
            Fault::KillBoth => self.kill_both()?,
            Fault::Cut => self.trouble_connections(Manner::Cut)?,
            Fault::Delay => self.trouble_connections(Manner::Delay)?,
            Fault::HalfOpen => self.trouble_connections(Manner::HalfOpen)?,
            Fault::Slow => self.trouble_connections(Manner::Slow)?,
            Fault::Flush => self.redis.servers[0].tell("FLUSHALL")?,
            Fault::DeleteLog => self.redis.servers[0].tell(DELETE_LOG)?,
            Fault::Trim => self.stop_node(TRIM_STOP_US, Some(TRIM_LOG))?,
            Fault::WriteLog => self.redis.servers[0].tell(WRITE_LOG)?,
            Fault::OlderLog => {
                self.redis.servers[0].tell(COPY_LOG)?;
                self.pause(SNAPSHOT_AGE_US)?;
                self.redis.servers[0].tell(PUT_BACK)?;
            }
            Fault::StopNode => self.stop_node(LONG_STOP_US, None)?,
            Fault::NodeClocks => self.step_node_clocks()?,
            Fault::RedisClock => {
                let seconds = self.rng.i64(-86_400..=86_400);
                clock::step(&self.redis_clock, seconds)?;
            }
            Fault::Refuse => self.refuse()?,
            Fault::KillNodes => self.kill_nodes(false)?,
            Fault::RollBackAll => self.kill_nodes(true)?,
        }
        let to = now_us();
        self.done.faults.push(Span { from, to });
        let to = to + AFTERMATH_US;
        self.done.cluster.delays.push(Span { from, to });
        Ok(())
    }

    /// The node whose turn it is.
    fn turn(&self) -> usize {
        self.done.rounds as usize % self.nodes.len()
    }

    /// No node could hear Redis since a time.
    fn note_deaf(&mut self, from: u64) {
        let to = now_us();
        let all = 0..self.nodes.len() as u32;
        let deaf = all.map(|node| (node, Span { from, to }));
        self.done.deaf.extend(deaf);
    }

    fn kill_redis(&mut self) -> Result<(), String> {
        let from = now_us();
        self.redis.servers[0].kill()?;
        let away_us = self.rng.u64(100_000..3_000_000);
        self.pause(away_us)?;
        self.redis.servers[0].start_again()?;
        self.note_deaf(from);
        Ok(())
    }

    fn stop_redis(&mut self) -> Result<(), String> {
        let from = now_us();
        self.redis.servers[0].signal(Signal::STOP)?;
        let time_us = STOPS_US[self.done.rounds as usize % STOPS_US.len()];
        let paused = self.pause(time_us);
        self.redis.servers[0].signal(Signal::CONT)?;
        self.note_deaf(from);
        paused
    }

    fn lose_master(&mut self) -> Result<(), String> {
        let master = self.redis.master()?;
        let replica = 1 - master;
        self.keep_away(master, replica)?;
        let from = now_us();
        self.redis.servers[master].kill()?;
        self.redis.servers[replica].tell(LET_IN)?;
        self.redis.wait_for_master(replica)?;
        self.note_deaf(from);
        self.redis.servers[master].start_again()?;
        self.redis.wait_for_replica(master)
    }

    /// Has a replica miss the last messages of its master, until it is told to come in again.
    fn keep_away(&mut self, master: usize, replica: usize) -> Result<(), String> {
        // A wrong password does it.
        self.redis.servers[replica].tell("CONFIG SET masterauth wrong")?;
        self.redis.servers[master].tell("CLIENT KILL TYPE replica")?;
        self.pause(TAIL_US)
    }

    /// Promotes the replica, which misses the last messages, while its master goes on. One node
    /// stays with the old master until that becomes the replica; the others change at once.
    fn split(&mut self) -> Result<(), String> {
        let master = self.redis.master()?;
        let (replica, stays) = (1 - master, self.turn());
        let address = self.redis.servers[replica].address;
        let from = now_us().saturating_sub(IN_FLIGHT_US);
        self.keep_away(master, replica)?;
        self.redis.servers[replica].tell("REPLICAOF NO ONE")?;
        self.lead_nodes(address, |node| node != stays);
        let split = self.pause(SPLIT_US);
        self.lead_nodes(address, |node| node == stays);
        let to = now_us();
        self.lose(Span { from, to }, None);
        let to = to + AFTERMATH_US;
        self.done.cluster.splits.push(Span { from, to });
        self.redis.servers[replica].tell(LET_IN)?;
        self.redis.follow(master, replica)?;
        split
    }

    fn lead_nodes(&self, address: SocketAddrV4, is_meant: impl Fn(usize) -> bool) {
        let nodes = self.nodes.iter().enumerate();
        let meant = nodes.filter(|(number, _)| is_meant(*number));
        let proxies = meant.filter_map(|(_, node)| node.proxy.as_ref());
        proxies.for_each(|proxy| proxy.lead_to(address));
    }

    fn promote(&mut self) -> Result<(), String> {
        let master = self.redis.master()?;
        self.redis.fail_over()?;
        self.redis.wait_for_master(1 - master)?;
        self.redis.wait_for_replica(master)
    }

    /// Has Redis refuse what nodes need, for some time.
    fn refuse(&mut self) -> Result<(), String> {
        let (refuse, allow) = REFUSALS[self.done.rounds as usize % REFUSALS.len()];
        let from = now_us();
        for command in refuse {
            self.redis.servers[0].tell(command)?;
        }
        let paused = self.pause(REFUSE_US);
        self.redis.servers[0].tell(allow)?;
        self.note_deaf(from);
        paused
    }

    /// Ends a node, and starts it again when clients have been sent elsewhere.
    fn restart_node(&mut self, node: usize, by_force: bool) -> Result<(), String> {
        let from = self.nodes[node].end(by_force)?;
        self.pause(NOTICED_US)?;
        self.nodes[node].start_again(from)?;
        self.wait_for(node as u32, true)
    }

    fn kill_both(&mut self) -> Result<(), String> {
        let node = self.turn();
        let from = now_us();
        self.nodes[node].server.signal(Signal::KILL).map_err(text)?;
        self.redis.servers[0].kill()?;
        self.nodes[node].end(true)?;
        self.pause(NOTICED_US)?;
        self.redis.servers[0].start_again()?;
        self.nodes[node].start_again(from)?;
        self.note_deaf(from);
        self.wait_for(node as u32, true)?;
        let (from, to) = (from.saturating_sub(IN_FLIGHT_US), now_us());
        self.lose(Span { from, to }, None);
        Ok(())
    }

    fn lose(&mut self, span: Span, node: Option<u32>) {
        self.done.cluster.losses.push(Loss { span, node });
    }

    /// Troubles the connections of one node, or, each second time, of all.
    fn trouble_connections(&mut self, manner: Manner) -> Result<(), String> {
        let round = self.done.rounds as usize;
        let nodes = match round % 2 {
            0 => {
                let node = round / 2 % self.nodes.len();
                node..node + 1
            }
            _ => 0..self.nodes.len(),
        };
        let from = now_us();
        self.set_proxies(nodes.clone(), manner);
        let paused = self.pause(TROUBLE_US);
        self.set_proxies(nodes.clone(), Manner::Open);
        let to = now_us();
        if matches!(manner, Manner::Cut | Manner::HalfOpen) {
            let deaf = nodes.map(|node| (node as u32, Span { from, to }));
            self.done.deaf.extend(deaf);
        }
        paused
    }

    fn set_proxies(&self, nodes: std::ops::Range<usize>, manner: Manner) {
        let proxies = self.nodes[nodes]
            .iter()
            .filter_map(|node| node.proxy.as_ref());
        proxies.for_each(|proxy| proxy.set(manner));
    }

    /// Stops a node, and sends Redis a command before it goes on.
    fn stop_node(&mut self, time_us: u64, command: Option<&str>) -> Result<(), String> {
        let node = self.turn();
        let from = now_us();
        self.nodes[node].server.signal(Signal::STOP).map_err(text)?;
        let stopped = self.pause(time_us);
        let told = command.map(|command| self.redis.servers[0].tell(command));
        self.nodes[node].server.signal(Signal::CONT).map_err(text)?;
        let to = now_us();
        let span = Span { from, to };
        self.nodes[node].spans.push(span);
        // An entry may have been under way when it was stopped.
        let from = from.saturating_sub(IN_FLIGHT_US);
        self.lose(Span { from, to }, Some(node as u32));
        stopped.and(told.unwrap_or(Ok(())))
    }

    fn step_node_clocks(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            let seconds = self.rng.i64(-86_400..=86_400);
            if let Some(clock) = &node.clock {
                clock::step(clock, seconds)?;
            }
        }
        Ok(())
    }

    /// Kills all nodes; with `is_rolled_back`, Redis too, which then starts with a snapshot.
    fn kill_nodes(&mut self, is_rolled_back: bool) -> Result<(), String> {
        let saved = now_us();
        if is_rolled_back {
            self.redis.servers[0].tell("SAVE")?;
            self.pause(SNAPSHOT_AGE_US)?;
        }
        let away = now_us();
        for node in &self.nodes {
            node.server.signal(Signal::KILL).map_err(text)?;
        }
        if is_rolled_back {
            self.redis.servers[0].kill()?;
        }
        for node in &mut self.nodes {
            node.end(true)?;
        }
        self.pause(NOTICED_US)?;
        if is_rolled_back {
            self.redis.servers[0].start_again()?;
        }
        for node in &mut self.nodes {
            node.start_again(away)?;
        }
        self.wait_for_start(is_rolled_back)?;
        if is_rolled_back {
            let (from, to) = (saved.saturating_sub(IN_FLIGHT_US), now_us());
            self.lose(Span { from, to }, None);
        }
        Ok(())
    }
}
