//! A run: starts everything, troubles it, lets it come to rest, and has the logs judged.
//!
//! Owns what is done to processes, and when. It neither publishes nor receives.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::clock;
use super::crowds::{Common, Crowds, STEP};
use super::operator::{self, Operator};
use super::plan::{DRAIN, Plan, describe, run_number};
use super::protocol::Command;
use super::publisher::{self, Memory};
use super::publishers::publish_during;
use super::soak::Watch;
use super::summary::{self, Deeds};
use super::upgrades::Upgrades;
use crate::command::text;
use crate::net::now_us;
use crate::server::Server;
use encke_oracle::finding::{Finding, Kind};
use encke_oracle::judge::check;
use encke_oracle::run::{Logs, Rules};
use encke_oracle::span::Span;
use encke_test_rig::Directory;

/// Something that is stopped, and until when.
#[derive(Clone, Copy)]
struct Stop {
    begun: u64,
    until: u64,
}

struct Conductor {
    plan: Plan,
    rules: Rules,
    rng: Rng,
    server: Server,
    crowds: Crowds,
    begun: u64,
    /// The operator, if there are tokens.
    operator: Option<Operator>,
    next_kick: u64,
    next_reload: u64,
    /// When the last process of clients was let go.
    crowds_run_since: u64,
    server_stop: Option<Stop>,
    crowd_stop: Option<(usize, Stop)>,
    next_server_stop: u64,
    next_crowd_stop: u64,
    next_clock_step: u64,
    upgrades: Upgrades,
    /// The file that says by how much the server's wall clock is wrong.
    clock: PathBuf,
    deeds: Deeds,
    logs: Logs,
    findings: Vec<Finding>,
    watch: Option<Watch>,
}

/// Makes a run and prints what came of it; whether every promise was kept.
pub(super) fn run(plan: &Plan) -> Result<bool, String> {
    let (seed, dir) = (plan.seed(), Directory::new());
    Conductor::start(plan, seed, dir.root())?.conduct(seed)
}

impl Conductor {
    fn start(plan: &Plan, seed: u64, dir: &Path) -> Result<Conductor, String> {
        let rules = plan.rules();
        let clock = dir.join("clock");
        clock::step(&clock, 0)?;
        let run = run_number(seed);
        let operator = plan.has_tokens().then(|| Operator::new(run, dir, rules));
        let operator = operator.transpose()?;
        let settings = operator.as_ref().map(|_| operator::settings(dir));
        let description = describe(
            rules,
            plan.faketime.as_deref(),
            &clock,
            settings.as_deref(),
            plan.data_dir,
        )?;
        let server = Server::start(description, None, None)?;
        let begun = now_us();
        let channels = plan.channels(begun);
        let control = match operator {
            Some(_) => server.second,
            None => server.address,
        };
        let crowds = Crowds::start(&Common {
            plan,
            run,
            seed,
            servers: vec![server.address],
            controls: vec![control],
            key: operator.as_ref().map(|operator| operator.newest_key),
            channels,
            dir,
        })?;
        let mut conductor = Conductor {
            plan: plan.clone(),
            rules,
            rng: Rng::with_seed(seed),
            server,
            crowds,
            begun,
            operator,
            next_kick: begun + 1_000_000,
            next_reload: begun + 1_000_000,
            crowds_run_since: begun,
            server_stop: None,
            crowd_stop: None,
            next_server_stop: begun + 8_000_000,
            next_crowd_stop: begun + 5_000_000,
            next_clock_step: begun + 3_000_000,
            upgrades: Upgrades::new(plan.upgrade_every, begun),
            clock,
            deeds: Deeds::default(),
            logs: Logs {
                keeps_history: plan.data_dir,
                ..Logs::default()
            },
            findings: Vec::new(),
            watch: None,
        };
        if plan.soak {
            let pid = conductor.server.processes()[0];
            let watch = Watch::new(pid, conductor.server.address, plan.samples.as_deref())?;
            conductor.watch = Some(watch);
        }
        Ok(conductor)
    }

    /// Where no token is asked for.
    fn control(&self) -> std::net::SocketAddrV4 {
        match self.operator {
            Some(_) => self.server.second,
            None => self.server.address,
        }
    }

    fn conduct(mut self, seed: u64) -> Result<bool, String> {
        let total = AtomicU64::new(0);
        let servers = [self.control()];
        let config = publisher::Config {
            run: run_number(seed),
            seed,
            place: 0,
            servers: &servers,
            channels: self.plan.channels(self.begun),
            rate: self.plan.rate,
            breaks: !self.plan.soak,
            is_cluster: false,
        };
        let memories = publish_during(config, &total, || self.trouble(&total))?;
        self.logs.end = self.crowds.settle(&self.plan, &total)?;
        self.judge(seed, memories)
    }

    /// Does what it does until the time is over.
    fn trouble(&mut self, total: &AtomicU64) -> Result<(), String> {
        let length = self.plan.microseconds();
        let restarts = match self.plan.kills {
            _ if self.plan.soak => 0,
            0 => self.plan.restarts,
            kills => kills,
        };
        let mut next_restart = 0;
        while now_us() < self.begun + length {
            thread::sleep(STEP);
            let now = now_us();
            self.crowds.listen(total)?;
            self.stop_and_go(now)?;
            if self.server_stop.is_none() {
                self.operate(now)?;
                self.upgrade_if_due(now)?;
            }
            let due = self.begun
                + length * (2 * u64::from(next_restart) + 1) / (2 * u64::from(restarts).max(1));
            if next_restart < restarts && now >= due {
                self.restart(self.plan.kills > 0 || next_restart % 2 == 1)?;
                next_restart += 1;
            }
            if let Some(status) = self.server.ended().map_err(text)? {
                let output = self.server.output();
                return Err(format!("encke ended by itself: {status}\n{output}"));
            }
            // A server that is stopped would not answer, and only this thread continues it.
            if let Some(watch) = self.watch.as_mut().filter(|_| self.server_stop.is_none()) {
                watch.sample_if_due(now)?;
            }
        }
        self.let_all_go()
    }

    /// Stops the server or a process of clients for a while, and lets it go on.
    fn stop_and_go(&mut self, now: u64) -> Result<(), String> {
        if self.server_stop.is_some_and(|stop| now >= stop.until) {
            self.let_server_go()?;
        } else if self.server_stop.is_none() && now >= self.next_server_stop {
            self.server.signal(Signal::STOP).map_err(text)?;
            let until = now + self.rng.u64(100_000..2_000_000);
            self.server_stop = Some(Stop { begun: now, until });
            self.next_server_stop = until + self.rng.u64(2_000_000..12_000_000);
            self.deeds.server_stops += 1;
        }
        if self.crowd_stop.is_some_and(|(_, stop)| now >= stop.until) {
            self.let_crowd_go()?;
        } else if self.crowd_stop.is_none() && now >= self.next_crowd_stop {
            let place = self.rng.usize(0..self.crowds.count());
            self.crowds.signal(place, Signal::STOP)?;
            let until = now + self.rng.u64(200_000..4_000_000);
            self.crowd_stop = Some((place, Stop { begun: now, until }));
            self.next_crowd_stop = until + self.rng.u64(500_000..5_000_000);
            self.deeds.client_stops += 1;
        }
        if self.plan.faketime.is_some() && now >= self.next_clock_step {
            clock::step(&self.clock, self.rng.i64(-86_400..=86_400))?;
            self.next_clock_step = now + self.rng.u64(500_000..4_000_000);
            self.deeds.clock_steps += 1;
        }
        Ok(())
    }

    /// Ends the connections of a client, or changes the settings.
    fn operate(&mut self, now: u64) -> Result<(), String> {
        let Some(operator) = &mut self.operator else {
            return Ok(());
        };
        if now >= self.next_kick {
            let client = self.rng.u32(0..self.plan.clients) & !1;
            self.deeds.kicked += operator.kick(&self.server, client)?;
            self.deeds.kicks += 1;
            self.next_kick = now + self.rng.u64(10_000..200_000);
        }
        if now >= self.next_reload {
            // Every process has to know a key before the one before it is removed.
            let are_awake = self.crowd_stop.is_none() && now >= self.crowds_run_since + 1_000_000;
            operator.reload(&self.server, are_awake)?;
            self.deeds.reloads += 1;
            self.deeds.rotations += u32::from(are_awake);
            self.crowds.tell(&Command::Key(operator.newest_key))?;
            self.next_reload = now + self.rng.u64(1_000_000..4_000_000);
        }
        Ok(())
    }

    fn let_server_go(&mut self) -> Result<(), String> {
        if let Some(stop) = self.server_stop.take() {
            self.server.signal(Signal::CONT).map_err(text)?;
            self.logs.server_stops.push(Span {
                from: stop.begun,
                to: now_us(),
            });
        }
        Ok(())
    }

    fn let_crowd_go(&mut self) -> Result<(), String> {
        if let Some((place, stop)) = self.crowd_stop.take() {
            self.crowds.signal(place, Signal::CONT)?;
            let span = Span {
                from: stop.begun,
                to: now_us(),
            };
            self.crowds.note_stop(place, span);
            self.crowds_run_since = now_us();
        }
        Ok(())
    }

    fn let_all_go(&mut self) -> Result<(), String> {
        self.let_server_go()?;
        self.let_crowd_go()
    }

    /// Drains the server, or kills it, and starts it again.
    fn restart(&mut self, by_force: bool) -> Result<(), String> {
        self.let_server_go()?;
        let from = now_us();
        let patience = (DRAIN + 1) * 1_000_000 + self.rules.slack;
        let patience = Duration::from_micros(patience);
        let status = self.server.end(by_force, patience)?;
        if !by_force && !status.success() {
            let output = self.server.output();
            let text = format!("a drain ended with {status}\n{output}");
            self.findings.push(Finding::of_publish(Kind::Dropped, text));
        }
        // Somebody else may be quicker to come back than the server.
        let away_ms = if self.plan.kills > 0 { 50 } else { 500 };
        thread::sleep(Duration::from_millis(self.rng.u64(0..away_ms)));
        self.server.start_again()?;
        self.upgrades.restarted();
        let to = now_us();
        self.logs.outages.push(Span { from, to });
        match by_force {
            true => self.deeds.kills += 1,
            false => self.deeds.drains += 1,
        }
        Ok(())
    }

    /// Has another process take over from the server.
    fn upgrade_if_due(&mut self, now: u64) -> Result<(), String> {
        if !self.upgrades.is_due(now) {
            return Ok(());
        }
        let control = self.control();
        let wrong = self.upgrades.upgrade(&mut self.server, control, now)?;
        let findings = wrong.into_iter();
        self.findings
            .extend(findings.map(|text| Finding::of_publish(Kind::Miscounted, text)));
        self.deeds.upgrades = self.upgrades.done;
        Ok(())
    }

    fn judge(mut self, seed: u64, memories: Vec<Memory>) -> Result<bool, String> {
        self.crowds.read_logs(&mut self.logs)?;
        for memory in &memories {
            self.logs.publishes.extend_from_slice(&memory.publishes);
            self.logs.deletions.extend_from_slice(&memory.deletions);
        }
        let output = self.server.output();
        if output.contains("panicked") {
            self.findings
                .push(Finding::of_publish(Kind::Dropped, output));
        }
        let mut verdict = check(&self.logs, self.rules);
        verdict.findings.extend(self.findings);
        summary::print(seed, &self.logs, &verdict, &self.deeds);
        let is_flat = match self.watch {
            Some(watch) => watch.finish(&self.logs, &memories)?,
            None => true,
        };
        Ok(verdict.findings.is_empty() && is_flat)
    }
}
