//! A run with one fault: starts everything, does the fault again and again, lets all come to rest,
//! and has the logs judged.
//!
//! Owns the processes, and the order of these steps.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::fault::{Fault, Topology};
use super::health::{self, Health, Said};
use super::nodes::{Node, fake_clock};
use super::{plant, report};
use crate::command::text;
use crate::metrics::Metrics;
use crate::net::now_us;
use crate::promise::clock;
use crate::promise::crowds::{Common, Crowds, STEP};
use crate::promise::operator::ask;
use crate::promise::plan::{Plan, run_number};
use crate::promise::protocol::Command;
use crate::promise::publisher::{self, Memory};
use crate::promise::publishers::publish_during;
use crate::promise::summary;
use encke_oracle::cluster::Cluster;
use encke_oracle::finding::{Finding, Kind, Verdict};
use encke_oracle::judge::check;
use encke_oracle::run::{Logs, Rules};
use encke_oracle::span::Span;
use encke_test_rig::redis::Servers;

/// How long all runs well before the first fault, in microseconds.
const WARM_UP_US: u64 = 4_000_000;

/// How long nodes may take to be ready, at the start and after the last fault, in microseconds.
const READY_WITHIN_US: u64 = 30_000_000;

/// How long messages may be delayed after a fault is over, in microseconds: nodes connect again
/// after a random time, and agree on what is lost.
pub(super) const AFTERMATH_US: u64 = 8_000_000;

/// How long all goes well before logs are falsified, in microseconds.
const PROVEN_US: u64 = 4_000_000;

/// The faults that were done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) rounds: u32,
    /// From the beginning of each fault until its cause was over.
    pub(super) faults: Vec<Span>,
    /// When nodes could not hear Redis.
    pub(super) deaf: Vec<(u32, Span)>,
    /// The findings that they excuse.
    pub(super) cluster: Cluster,
}

/// A run under way.
pub(super) struct Conductor<'a> {
    pub(super) plan: &'a Plan,
    pub(super) fault: Fault,
    pub(super) rng: Rng,
    pub(super) redis: Servers,
    pub(super) redis_clock: std::path::PathBuf,
    pub(super) nodes: Vec<Node>,
    pub(super) done: Done,
    pub(super) published: &'a AtomicU64,
    health: Health,
    crowds: Crowds,
    /// The nodes that new connections go to.
    open: Vec<u32>,
    rules: Rules,
    begun: u64,
}

/// All that is published stays in history, so that no gap has a reason but a fault.
fn rules(plan: &Plan, fault: Fault) -> Rules {
    let hour = 3_600_000_000;
    Rules {
        history_messages: 1_000_000,
        // Clocks that are stepped change ages.
        history_age: match fault.fakes_clocks() {
            (false, false) => hour,
            _ => 24 * 10 * hour,
        },
        ..plan.rules()
    }
}

/// Makes a run with a fault in a directory, and prints its line and what was found; whether every
/// promise was kept.
pub(super) fn run(plan: &Plan, fault: Fault, seed: u64, dir: &Path) -> Result<bool, String> {
    let published = AtomicU64::new(0);
    let conductor = Conductor::start(plan, fault, seed, dir, &published)?;
    conductor.conduct(seed)
}

impl<'a> Conductor<'a> {
    fn start(
        plan: &'a Plan,
        fault: Fault,
        seed: u64,
        dir: &Path,
        published: &'a AtomicU64,
    ) -> Result<Conductor<'a>, String> {
        let rules = rules(plan, fault);
        let redis_clock = dir.join("clock-redis");
        clock::step(&redis_clock, 0)?;
        let count = plan.nodes.unwrap_or(1);
        for number in 0..count {
            clock::step(&dir.join(format!("clock-{number}")), 0)?;
        }
        let prefix = match fault.fakes_clocks() {
            // The allocator of Redis asks for the time before libfaketime can tell it. Where libc
            // comes first, its allocator is used.
            (_, true) => fake_clock(plan, &redis_clock, ":libc.so.6")?,
            _ => Vec::new(),
        };
        let redis = start_redis(fault, prefix)?;
        let nodes = (0..count).map(|number| Node::start(number, fault, (plan, rules), &redis, dir));
        let nodes = nodes.collect::<Result<Vec<Node>, String>>()?;
        let addresses: Vec<_> = nodes.iter().map(|node| node.server.address).collect();
        let health = Health::start(&addresses);
        wait_until_ready(&health, nodes.len(), || {
            nodes.iter().map(|node| node.server.output()).collect()
        })?;
        let begun = now_us();
        let crowds = Crowds::start(&Common {
            plan,
            run: run_number(seed),
            seed,
            servers: addresses.clone(),
            controls: addresses,
            key: None,
            channels: plan.channels(begun),
            dir,
        })?;
        Ok(Conductor {
            plan,
            fault,
            rng: Rng::with_seed(seed),
            redis,
            redis_clock,
            nodes,
            done: Done::default(),
            published,
            health,
            crowds,
            open: Vec::new(),
            rules,
            begun,
        })
    }

    fn conduct(mut self, seed: u64) -> Result<bool, String> {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.server.address).collect();
        let config = publisher::Config {
            run: run_number(seed),
            seed,
            place: 0,
            servers: &addresses,
            channels: self.plan.channels(self.begun),
            rate: self.plan.rate.max(self.fault.min_rate()),
            breaks: true,
            is_cluster: true,
        };
        let published = self.published;
        let memories = publish_during(config, published, || self.trouble())?;
        let end = self.crowds.settle(self.plan, published)?;
        self.judge(end, memories)
    }

    /// Does the fault again and again, until the time is over, and waits for all to be well.
    fn trouble(&mut self) -> Result<(), String> {
        let until = self.begun + self.plan.microseconds();
        self.pause(WARM_UP_US)?;
        while now_us() < until {
            self.act()?;
            self.done.rounds += 1;
            self.pause(self.fault.calm_us())?;
            for node in &mut self.nodes {
                if let Ok(Some(status)) = node.server.ended() {
                    let output = node.server.output();
                    return Err(format!("a node ended by itself: {status}\n{output}"));
                }
            }
        }
        if self.plan.prove && self.fault.may_lose() {
            // Time that no fault excuses, so that what is falsified in it is found.
            self.pause(AFTERMATH_US + self.rules.slack + PROVEN_US)?;
        }
        wait_until_ready(&self.health, self.nodes.len(), Vec::new).or(Ok(()))
    }

    /// Lets time pass, in microseconds.
    pub(super) fn pause(&mut self, time_us: u64) -> Result<(), String> {
        let until = now_us() + time_us;
        loop {
            self.look_around()?;
            let left = until.saturating_sub(now_us());
            if left == 0 {
                return Ok(());
            }
            thread::sleep(STEP.min(Duration::from_micros(left)));
        }
    }

    /// Takes in what processes say, and sends new clients to the nodes that are ready.
    fn look_around(&mut self) -> Result<(), String> {
        self.crowds.listen(self.published)?;
        let ready = self.health.ready();
        if ready != self.open {
            self.crowds.tell(&Command::Nodes(ready.clone()))?;
            self.open = ready;
        }
        Ok(())
    }

    /// Waits until a node is ready, or not any more.
    pub(super) fn wait_for(&mut self, node: u32, is_ready: bool) -> Result<(), String> {
        let until = now_us() + READY_WITHIN_US;
        while self.health.ready().contains(&node) != is_ready {
            if now_us() > until {
                let output = self.nodes[node as usize].server.output();
                return Err(format!(
                    "node {node} has not become ready: {is_ready}\n{output}"
                ));
            }
            self.pause(STEP.as_micros() as u64)?;
        }
        self.look_around()
    }

    /// Waits until all nodes are ready that were started together, and notes since when each is.
    /// `has_forgotten` says whether the engine was rolled back meanwhile.
    pub(super) fn wait_for_start(&mut self, has_forgotten: bool) -> Result<(), String> {
        for number in 0..self.nodes.len() as u32 {
            self.wait_for(number, true)?;
        }
        for (number, node) in (0..).zip(&mut self.nodes) {
            let ready_at = self.health.ready_since(number, node.started_at());
            node.note_ready(ready_at.unwrap_or_else(now_us), has_forgotten);
        }
        Ok(())
    }

    fn judge(mut self, end: u64, memories: Vec<Memory>) -> Result<bool, String> {
        let spans = self.nodes.iter_mut();
        let spans = spans.map(|node| std::mem::take(&mut node.spans));
        self.done.cluster.nodes = spans.collect();
        let mut logs = Logs {
            cluster: Some(self.done.cluster.clone()),
            end,
            ..Logs::default()
        };
        self.crowds.read_logs(&mut logs)?;
        for memory in &memories {
            logs.publishes.extend_from_slice(&memory.publishes);
            logs.deletions.extend_from_slice(&memory.deletions);
        }
        let retold = self.retold();
        let records = self.health.finish();
        let mut verdict = check(&logs, self.rules);
        verdict
            .findings
            .extend(health::judge(&records, &self.done.deaf));
        verdict.findings.extend(panics(&self.nodes));
        verdict.findings.extend(report::stuck(&self.done, &logs));
        let line = report::line(self.fault, &self.done, &logs, &verdict, (retold, &records));
        println!("{line}");
        let is_kept = tell(&verdict, &self.done, &self.nodes);
        if !is_kept {
            report::tell_refusals(&memories);
            report::tell_readiness(&records);
        }
        if !is_kept || !self.plan.prove {
            return Ok(is_kept);
        }
        let judge = |logs: &Logs| check(logs, self.rules);
        Ok(plant::prove(&logs, self.rules.slack, judge) && prove_health(&records, &self.done))
    }

    /// Entries that nodes have told again, as far as those know that run now.
    fn retold(&self) -> u64 {
        let of = |node: &Node| {
            let metrics = ask(node.server.address, "GET", "/metrics").ok()?;
            Metrics::parse(&metrics).get("engine_retold_total")
        };
        self.nodes.iter().filter_map(of).sum::<f64>() as u64
    }
}

/// Starts the servers that a fault needs, to end with this process. `words` come before the command
/// of each.
fn start_redis(fault: Fault, words: Vec<String>) -> Result<Servers, String> {
    let this = std::env::current_exe().map_err(text)?;
    let mut prefix = vec![this.display().to_string(), "launch".into(), "--".into()];
    prefix.extend(words);
    let args = match fault {
        Fault::KillWithLog => &["--appendonly", "yes"][..],
        _ => &[],
    };
    match fault.topology() {
        Topology::Single => Servers::alone(&prefix, args),
        Topology::Pair => Servers::replicated(0, &prefix, args),
        Topology::Sentinel => Servers::replicated(3, &prefix, args),
    }
}

/// Waits until so many nodes are ready; `output` is what they wrote.
fn wait_until_ready(
    health: &Health,
    count: usize,
    output: impl FnOnce() -> Vec<String>,
) -> Result<(), String> {
    let until = now_us() + READY_WITHIN_US;
    while health.ready().len() < count {
        if now_us() > until {
            let output = output().join("\n");
            return Err(format!("only {:?} are ready\n{output}", health.ready()));
        }
        thread::sleep(STEP);
    }
    Ok(())
}

fn panics(nodes: &[Node]) -> Vec<Finding> {
    let outputs = nodes.iter().map(|node| node.server.output());
    let panicked = outputs.filter(|output| output.contains("panicked"));
    panicked
        .map(|output| Finding::of_publish(Kind::Dropped, output))
        .collect()
}

/// Prints what was found; whether nothing was.
fn tell(verdict: &Verdict, done: &Done, nodes: &[Node]) -> bool {
    if verdict.findings.is_empty() {
        return true;
    }
    for (place, term) in verdict.terms.iter().enumerate() {
        println!("term{} is {term}", place + 1);
    }
    for (round, Span { from, to }) in done.faults.iter().enumerate() {
        println!("round {} from {from} to {to}", round + 1);
    }
    summary::print_findings(verdict);
    for (number, node) in nodes.iter().enumerate() {
        println!(
            "node {number} wrote:\n{}",
            report::last_lines(&node.server.output())
        );
    }
    false
}

/// Whether a node that is deaf and says that it is ready would be found.
fn prove_health(records: &[Vec<Said>], done: &Done) -> bool {
    let mut forged = records.to_vec();
    for said in forged.iter_mut().flatten() {
        said.is_ready = true;
    }
    let longest = done.deaf.iter().map(|(_, span)| span.to - span.from).max();
    if longest.is_none_or(|longest| longest < 2 * super::nodes::READY_US + AFTERMATH_US) {
        return true;
    }
    let is_found = !health::judge(&forged, &done.deaf).is_empty();
    println!("planted: a deaf node is ready: {}", plant::found(is_found));
    is_found
}
