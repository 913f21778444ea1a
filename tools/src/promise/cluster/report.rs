//! One line a fault, for people.

use std::fmt;

use super::conduct::Done;
use super::fault::Fault;
use super::health::{self, Said};
use encke_oracle::finding::{Kind, Verdict};
use encke_oracle::run::{Logs, Outcome};

/// The heads of the columns.
pub(super) const HEAD: &str = "fault        rounds accepted refused  in doubt delivered   gaps needless lost excused retold terms  back ms (most)  held ms unready s";

/// Lines of a node's log that are shown with findings.
const SHOWN: usize = 40;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Report {
    fault: Fault,
    rounds: u32,
    accepted: u64,
    refused: u64,
    unknown: u64,
    delivered: u64,
    gaps: u64,
    /// Gaps under which nothing known is missing.
    needless: u64,
    /// Messages passed over in silence.
    lost: u64,
    /// Messages missing under gaps.
    excused: u64,
    retold: u64,
    terms: u64,
    /// From the end of a fault until the first message that was accepted after it was received, in
    /// milliseconds: the middle one, and the longest.
    back_ms: (u64, u64),
    /// The longest time until a publisher had the response to an accepted message.
    held_ms: u64,
    /// How long nodes were not ready, in all.
    unready_s: f64,
    findings: usize,
}

impl Report {
    pub(super) fn new(
        fault: Fault,
        done: &Done,
        logs: &Logs,
        verdict: &Verdict,
        (retold, records): (u64, &[Vec<Said>]),
    ) -> Report {
        let count = |wanted: fn(&Outcome) -> bool| {
            let publishes = logs.publishes.iter();
            publishes.filter(|publish| wanted(&publish.outcome)).count() as u64
        };
        let accepted = logs.publishes.iter();
        let accepted = accepted.filter(|publish| matches!(publish.outcome, Outcome::Accepted(_)));
        let held_us = accepted.map(|publish| publish.done - publish.begun).max();
        let kinds = verdict.by_kind();
        let found = |kind: Kind| kinds.get(&kind).copied().unwrap_or(0) as u64;
        Report {
            fault,
            rounds: done.rounds,
            accepted: count(|outcome| matches!(outcome, Outcome::Accepted(_))),
            refused: count(|outcome| *outcome == Outcome::Refused),
            unknown: count(|outcome| *outcome == Outcome::Unknown),
            delivered: verdict.counts.messages,
            gaps: verdict.counts.gaps,
            needless: verdict.counts.empty_gaps,
            lost: found(Kind::Lost) + found(Kind::Undelivered),
            excused: verdict.counts.excused,
            retold,
            terms: verdict.terms.len() as u64,
            back_ms: times_until_delivery(done, logs),
            held_ms: held_us.unwrap_or(0) / 1_000,
            unready_s: health::unready_us(records) as f64 / 1e6,
            findings: verdict.findings.len(),
        }
    }
}

/// See [`Report::back_ms`].
fn times_until_delivery(done: &Done, logs: &Logs) -> (u64, u64) {
    let begun_of = |number: u64| logs.publishes.iter().find(|p| p.number == number);
    let mut times: Vec<u64> = Vec::new();
    for fault in &done.faults {
        let entries = logs.clients.iter().flatten();
        let later = entries.filter(|entry| entry.at >= fault.to);
        let mut first = u64::MAX;
        for entry in later {
            if entry.at >= first {
                continue;
            }
            let is_new = |number| begun_of(number).is_some_and(|p| p.done >= fault.to);
            if entry
                .receipts()
                .iter()
                .any(|receipt| is_new(receipt.number))
            {
                first = entry.at;
            }
        }
        if first < u64::MAX {
            times.push((first - fault.to) / 1_000);
        }
    }
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or(0);
    (middle, times.last().copied().unwrap_or(0))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            rounds,
            accepted,
            refused,
            unknown,
            delivered,
            gaps,
            needless,
            lost,
            excused,
            retold,
            terms,
            back_ms: (middle, most),
            held_ms,
            unready_s,
            findings,
            ..
        } = self;
        write!(
            f,
            "{:12} {rounds:6} {accepted:8} {refused:7} {unknown:9} {delivered:9} {gaps:6} \
             {needless:8} {lost:4} {excused:7} {retold:6} {terms:5} {middle:8} ({most:4}) \
             {held_ms:8} {unready_s:9.1}",
            self.fault.name()
        )?;
        match findings {
            0 => write!(f, "  kept"),
            _ => write!(f, "  {findings} BROKEN"),
        }
    }
}

/// The end of what a node wrote.
pub(super) fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
