//! The nodes of a cluster: processes of encke with one `--engine`.
//!
//! Owns their settings, processes and proxies, and when each was away or stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{Fault, Topology};
use super::proxy::Proxy;
use crate::command::text;
use crate::net::now_us;
use crate::promise::clock;
use crate::promise::plan::{self, DRAIN, Plan};
use crate::server::{Description, Server};
use encke_oracle::run::Rules;
use encke_oracle::span::Span;
use encke_test_rig::redis::Servers;

/// `--engine-ready`, in microseconds: how long a node that hears nothing is ready.
pub(super) const READY_US: u64 = 3_000_000;

/// `--engine-patience`.
const PATIENCE: &str = "5s";

/// How long a node may answer 503 after its start where all ended together, in microseconds, as
/// `src/docs/nodes.md` says. If the engine has forgotten something: a second for others that open a
/// new term, 4 s for the part of those that ended without a word, and five of its beats until they are
/// taken for gone. Else until it has read the log, with room for a busy machine.
const AWAITED_US: u64 = 9_000_000;
const READING_US: u64 = 2_000_000;

/// How long a drain may take: much longer than its time.
const END_WITHIN: Duration = Duration::from_secs(DRAIN + 10);

/// A node.
pub(super) struct Node {
    pub(super) server: Server,
    /// The proxy between it and Redis, if no Sentinel says where that is.
    pub(super) proxy: Option<Proxy>,
    /// When it was away or stopped.
    pub(super) spans: Vec<Span>,
    /// The file that says by how much its wall clock is wrong.
    pub(super) clock: Option<PathBuf>,
}

impl Node {
    /// Starts the node with this number.
    pub(super) fn start(
        number: u32,
        fault: Fault,
        (plan, rules): (&Plan, Rules),
        redis: &Servers,
        dir: &Path,
    ) -> Result<Node, String> {
        let to = redis.servers[0].address;
        let proxy = match fault.topology() {
            Topology::Single | Topology::Pair => Some(Proxy::start(to).map_err(text)?),
            Topology::Sentinel => None,
        };
        let url = redis.url(proxy.as_ref().map_or(to, |proxy| proxy.address));
        let (fakes_clock, _) = fault.fakes_clocks();
        let clock = fakes_clock.then(|| dir.join(format!("clock-{number}")));
        let prefix = clock.as_ref().map(|clock| fake_clock(plan, clock, ""));
        let prefix = prefix.transpose()?.unwrap_or_default();
        let description = describe(number, fault, rules, &url, prefix)?;
        Ok(Node {
            server: Server::start(description, None, None)?,
            proxy,
            spans: Vec::new(),
            clock,
        })
    }

    /// Kills it, or drains it and waits for its end. Returns when that began.
    pub(super) fn end(&mut self, by_force: bool) -> Result<u64, String> {
        let from = now_us();
        self.server.end(by_force, END_WITHIN)?;
        Ok(from)
    }

    /// When it was started again; 0 if it never was.
    pub(super) fn started_at(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.to)
    }

    /// It became ready at a time, after a start where all ended together: it was away until then, or
    /// for as long as it may be.
    pub(super) fn note_ready(&mut self, at: u64, has_forgotten: bool) {
        if let Some(span) = self.spans.last_mut() {
            *span = away(*span, at, has_forgotten);
        }
    }

    /// Starts it again; it was away since a time.
    pub(super) fn start_again(&mut self, from: u64) -> Result<(), String> {
        self.server.start_again()?;
        let to = now_us();
        self.spans.push(Span { from, to });
        Ok(())
    }
}

/// For how long a node that ended together with all others was away, if it was started again at the end
/// of a span, and ready at a time. `has_forgotten` says whether the engine was rolled back or empty.
fn away(span: Span, ready_at: u64, has_forgotten: bool) -> Span {
    let may_take = match has_forgotten {
        true => AWAITED_US,
        false => READING_US,
    };
    let to = ready_at.min(span.to + may_take);
    Span { to, ..span }
}

/// The words before the command of a process whose wall clock is wrong by what a file says. The
/// library comes before `others`.
pub(super) fn fake_clock(plan: &Plan, file: &Path, others: &str) -> Result<Vec<String>, String> {
    let library = plan.faketime.as_ref();
    let library = library.ok_or("this fault needs --faketime, the library of libfaketime")?;
    Ok(clock::fake(library, file, others))
}

/// encke as a node, with all the history of a run.
fn describe(
    number: u32,
    fault: Fault,
    rules: Rules,
    url: &str,
    prefix: Vec<String>,
) -> Result<Description, String> {
    let mut command = prefix;
    command.push(plan::path_of_encke()?);
    let others = [
        ("--log", "info"),
        ("--history-bytes", "256M"),
        ("--history-total-bytes", "512M"),
        ("--engine", url),
        ("--engine-ready", &plan::seconds(READY_US)),
        ("--engine-patience", PATIENCE),
        ("--engine-log-bytes", fault.log_bytes()),
        // Less than the smallest log, and more than the largest batch.
        ("--max-body-bytes", "900K"),
        ("--node", &format!("node-{number}")),
    ];
    command.extend(plan::options(rules, &others));
    Description::encke(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_away_until_it_is_ready_and_no_longer_than_it_may_be() {
        let second = 1_000_000;
        let span = Span {
            from: 10 * second,
            to: 11 * second,
        };
        let away = |ready_at, has_forgotten| away(span, ready_at * second, has_forgotten).to;
        assert_eq!(away(12, true), 12 * second);
        assert_eq!(away(12, false), 12 * second);
        // The engine has kept everything, so there is nothing to wait for.
        assert_eq!(away(19, false), 13 * second);
        assert_eq!(away(19, true), 19 * second);
        assert_eq!(away(30, true), 20 * second);
    }
}
