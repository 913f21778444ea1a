//! One line a fault, for people.

use std::collections::{BTreeMap, HashMap};

use super::conduct::Done;
use super::fault::Fault;
use super::health::{self, Said};
use crate::promise::publisher::Memory;
use encke_oracle::finding::{Counts, Finding, Kind, Verdict};
use encke_oracle::run::{Logs, Outcome, Publish};

/// The heads of the columns. Needless are gaps under which nothing known is missing, lost messages
/// that were passed over in silence, excused those that are missing under gaps. Held is the longest
/// time until a publisher had the response to an accepted message, unready how long nodes were not
/// ready, in all.
pub(super) const HEAD: &str = "fault        rounds accepted refused  in doubt delivered   gaps needless lost excused retold terms  back ms (most)  held ms unready s";

/// Lines of a node's log that are shown with findings.
const SHOWN: usize = 40;

/// The line of a run.
pub(super) fn line(
    fault: Fault,
    done: &Done,
    logs: &Logs,
    verdict: &Verdict,
    (retold, records): (u64, &[Vec<Said>]),
) -> String {
    let count = |wanted: Outcome| {
        let publishes = logs.publishes.iter();
        publishes
            .filter(|publish| publish.outcome == wanted)
            .count()
    };
    let (refused, unknown) = (count(Outcome::Refused), count(Outcome::Unknown));
    let held_us = accepted(logs).map(|publish| publish.done - publish.begun);
    let held_ms = held_us.max().unwrap_or(0) / 1_000;
    let kinds = verdict.by_kind();
    let found = |kind: Kind| kinds.get(&kind).copied().unwrap_or(0);
    let lost = found(Kind::Lost) + found(Kind::Undelivered);
    let Counts {
        messages,
        gaps,
        empty_gaps,
        excused,
        ..
    } = verdict.counts;
    let (middle, most) = times_until_delivery(done, logs);
    let unready_s = health::unready_us(records) as f64 / 1e6;
    let outcome = match verdict.findings.len() {
        0 => "kept".to_owned(),
        findings => format!("{findings} BROKEN"),
    };
    format!(
        "{:12} {:6} {:8} {refused:7} {unknown:9} {messages:9} {gaps:6} {empty_gaps:8} {lost:4} \
         {excused:7} {retold:6} {:5} {middle:8} ({most:4}) {held_ms:8} {unready_s:9.1}  {outcome}",
        fault.name(),
        done.rounds,
        accepted(logs).count(),
        verdict.terms.len(),
    )
}

fn accepted(logs: &Logs) -> impl Iterator<Item = &Publish> {
    let publishes = logs.publishes.iter();
    publishes.filter(|publish| publish.id().is_some())
}

/// From the end of a fault until the first message that was accepted after it was received, in
/// milliseconds: the middle one, and the longest.
fn times_until_delivery(done: &Done, logs: &Logs) -> (u64, u64) {
    let times = done.faults.iter().zip(first_deliveries(done, logs));
    let times = times.filter_map(|(fault, first)| Some((first? - fault.to) / 1_000));
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or(0);
    (middle, times.last().copied().unwrap_or(0))
}

/// For each fault, when the first message was received that was accepted after it.
fn first_deliveries(done: &Done, logs: &Logs) -> Vec<Option<u64>> {
    let accepted_at: HashMap<u64, u64> = accepted(logs).map(|p| (p.number, p.done)).collect();
    let mut firsts = vec![None; done.faults.len()];
    for entry in logs.clients.iter().flatten() {
        let newest = entry.receipts().iter();
        let newest = newest.filter_map(|receipt| accepted_at.get(&receipt.number));
        let Some(&newest) = newest.max() else {
            continue;
        };
        for (first, fault) in firsts.iter_mut().zip(&done.faults) {
            let is_earlier = first.is_none_or(|first| entry.at < first);
            if is_earlier && entry.at >= fault.to && newest >= fault.to {
                *first = Some(entry.at);
            }
        }
    }
    firsts
}

/// The faults after which nothing arrived that was published, before the next one.
pub(super) fn stuck(done: &Done, logs: &Logs) -> Vec<Finding> {
    let next = done.faults.iter().skip(1).map(|fault| fault.from);
    let ends = next.chain([logs.end]);
    let rounds = done
        .faults
        .iter()
        .zip(first_deliveries(done, logs))
        .zip(ends);
    let stuck = rounds.filter(|((_, first), end)| first.is_none_or(|first| first > *end));
    stuck
        .map(|((fault, first), _)| Finding {
            kind: Kind::Stuck,
            at: fault.to,
            text: format!("nothing new arrived before the next fault, but at {first:?}"),
        })
        .collect()
}

/// Prints which responses of servers that could not serve publishers had, how often, and when last.
/// Those that differ in numbers alone are one.
pub(super) fn tell_refusals(memories: &[Memory]) {
    let mut all: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (text, (count, last)) in memories.iter().flat_map(|memory| &memory.refusals) {
        let digits = |each: &str| match each.parse::<u64>() {
            Ok(_) if each.len() != 3 => "N".to_owned(),
            _ => each.to_owned(),
        };
        let words: Vec<String> = text.split(' ').map(digits).collect();
        let (counts, newest) = all.entry(words.join(" ")).or_default();
        (*counts, *newest) = (*counts + count, (*newest).max(*last));
    }
    for (text, (count, last)) in all {
        println!("publishers had {count} times, the last at {last}: {text}");
    }
}

/// Prints when each node began and ceased to be ready.
pub(super) fn tell_readiness(records: &[Vec<Said>]) {
    for (node, record) in records.iter().enumerate() {
        let changes = record
            .windows(2)
            .filter(|two| two[0].is_ready != two[1].is_ready);
        let changes = changes.map(|two| match two[1].is_ready {
            true => format!("ready {}", two[1].at),
            false => format!("not {}", two[1].at),
        });
        println!("node {node}: {}", changes.collect::<Vec<_>>().join(", "));
    }
}

/// The end of what a node wrote.
pub(super) fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
