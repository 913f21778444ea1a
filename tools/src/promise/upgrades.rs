//! Upgrades: another process takes over from the server, and counts on.
//!
//! Owns when that is, and what the counters were before. That no client notices is seen by the
//! clients.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::operator::ask;
use crate::metrics::Metrics;
use crate::server::Server;

/// How long an upgrade may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The upgrades of a run.
pub(super) struct Upgrades {
    every_us: u64,
    next: u64,
    /// All of the run.
    pub(super) done: u32,
    /// Those since the server was last started anew, which its counters know.
    counted: u32,
}

impl Upgrades {
    /// One every so many seconds; none if that is 0.
    pub(super) fn new(every_s: f64, begun: u64) -> Upgrades {
        let every_us = (every_s * 1e6) as u64;
        Upgrades {
            every_us,
            next: begun + every_us,
            done: 0,
            counted: 0,
        }
    }

    /// The server was started anew.
    pub(super) fn restarted(&mut self) {
        self.counted = 0;
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.every_us > 0 && now >= self.next
    }

    /// Upgrades the server. Returns what is wrong with the counters of the new process.
    pub(super) fn upgrade(
        &mut self,
        server: &mut Server,
        control: SocketAddrV4,
        now: u64,
    ) -> Result<Vec<String>, String> {
        self.next = now + self.every_us;
        let before = Counters::read(control)?;
        let upgraded = server.upgrade(PATIENCE);
        upgraded.map_err(|error| format!("{error}\n{}", server.output()))?;
        self.done += 1;
        self.counted += 1;
        let after = Counters::read(control)?;
        Ok(after.compare(&before, f64::from(self.counted)))
    }
}

/// The values of all series that only grow, by their names.
#[derive(Debug, Default)]
struct Counters(BTreeMap<String, f64>);

impl Counters {
    fn read(control: SocketAddrV4) -> Result<Counters, String> {
        let text = ask(control, "GET", "/metrics")?;
        Ok(Counters::parse(&text))
    }

    fn parse(text: &str) -> Counters {
        let metrics = Metrics::parse(text);
        let counters = metrics.samples().filter(|(name, _)| {
            let name = name.split_once('{').map_or(*name, |(name, _)| name);
            ["_total", "_count", "_sum", "_bucket"]
                .iter()
                .any(|end| name.ends_with(end))
        });
        let counters = counters.map(|(name, value)| (name.to_owned(), value));
        Counters(counters.collect())
    }

    /// The faults of these counters, after this many upgrades since `before`.
    fn compare(&self, before: &Counters, upgrades: f64) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, &value) in &before.0 {
            match self.0.get(name) {
                Some(&now) if now >= value => {}
                now => wrong.push(format!(
                    "{name} was {value} and is {now:?} after an upgrade"
                )),
            }
        }
        let done = "upgrades_total{result=\"done\"}";
        if self.0.get(done) != Some(&upgrades) {
            let found = self.0.get(done);
            wrong.push(format!("{done} is {found:?} after {upgrades} upgrades"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_begin_again_are_noticed() {
        let text = |published, upgrades| {
            Counters::parse(&format!(
                "# TYPE encke_published counter\nencke_published_total {published}\n\
                 encke_channels 7\nencke_upgrades_total{{result=\"done\"}} {upgrades}\n"
            ))
        };
        assert_eq!(text(5, 1).compare(&text(5, 0), 1.0), Vec::<String>::new());
        assert_eq!(text(4, 1).compare(&text(5, 0), 1.0).len(), 1);
        assert_eq!(text(5, 0).compare(&text(5, 0), 1.0).len(), 1);
        assert_eq!(Counters::default().compare(&text(5, 0), 0.0).len(), 3);
    }
}
