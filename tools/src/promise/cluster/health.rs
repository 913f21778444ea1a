//! Whether each node says that it is ready, all the time.
//!
//! Owns the questions to `/readyz` and their answers, and the judgement on them: a node that cannot
//! hear Redis is not ready, and one that can is.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::nodes::READY_US;
use crate::net::now_us;
use encke_oracle::finding::{Finding, Kind};
use encke_oracle::span::Span;
use encke_test_rig::http::{self, request};

/// How often a node is asked.
const EVERY: Duration = Duration::from_millis(100);

/// How long a node may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// A node that was ready at one of so many last questions is ready: one answer may be late.
const LAST: usize = 20;

/// How long a deaf node may be ready beyond `--engine-ready`, in microseconds: a second, and what a
/// busy machine adds.
const SLACK_US: u64 = 2_000_000;

/// An answer of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) at: u64,
    pub(super) is_ready: bool,
}

/// The answers of one node, in the order of time.
type Record = Arc<Mutex<Vec<Said>>>;

/// The questions to all nodes.
pub(super) struct Health {
    records: Vec<Record>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Health {
    pub(super) fn start(nodes: &[SocketAddrV4]) -> Health {
        let stop = Arc::new(AtomicBool::new(false));
        let records: Vec<Record> = nodes.iter().map(|_| Record::default()).collect();
        let threads = nodes.iter().zip(&records).map(|(&address, record)| {
            let (record, stop) = (Arc::clone(record), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let is_ready = is_ready(address);
                    let at = now_us();
                    let said = Said { at, is_ready };
                    lock(&record).push(said);
                    thread::sleep(EVERY);
                }
            })
        });
        Health {
            threads: threads.collect(),
            records,
            stop,
        }
    }

    /// The nodes that were ready when they were asked last.
    pub(super) fn ready(&self) -> Vec<u32> {
        let is_ready = |record: &Record| {
            let said = lock(record);
            said.last().is_some_and(|said| said.is_ready)
        };
        let numbers = (0..).zip(&self.records);
        let ready = numbers.filter(|(_, record)| is_ready(record));
        ready.map(|(number, _)| number).collect()
    }

    /// When a node said first that it was ready, after a time.
    pub(super) fn ready_since(&self, node: u32, after: u64) -> Option<u64> {
        first_ready(&lock(self.records.get(node as usize)?), after)
    }

    /// Stops to ask. Returns what each node answered.
    pub(super) fn finish(self) -> Vec<Vec<Said>> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread that panicked has recorded less, and that is seen.
            let _ = thread.join();
        }
        let records = self.records.iter();
        records.map(|record| lock(record).clone()).collect()
    }
}

/// What a thread recorded that panicked counts, too.
fn lock(record: &Record) -> MutexGuard<'_, Vec<Said>> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_ready(record: &[Said], after: u64) -> Option<u64> {
    let mut said = record.iter().filter(|said| said.at > after);
    said.find(|said| said.is_ready).map(|said| said.at)
}

fn is_ready(address: SocketAddrV4) -> bool {
    let request = request("GET", "/readyz", "Connection: close\r\n", "");
    http::ask(address, &request, ANSWER_TIME).is_ok_and(|(status, _)| status == 200)
}

/// Judges what nodes answered: none is ready that was deaf for longer than it may be, and at the
/// end all are ready. `deaf` are the stretches in which a node could not hear Redis.
pub(super) fn judge(records: &[Vec<Said>], deaf: &[(u32, Span)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &(node, span) in deaf {
        let from = span.from + READY_US + SLACK_US;
        let record = records.get(node as usize).map_or(&[][..], Vec::as_slice);
        let mut asked = record
            .iter()
            .filter(|said| from < said.at && said.at < span.to);
        if let Some(said) = asked.find(|said| said.is_ready) {
            let deaf_us = said.at - span.from;
            let text = format!("node {node} was ready when it had been deaf for {deaf_us} us");
            findings.push(Finding {
                kind: Kind::Deadline,
                at: said.at,
                text,
            });
        }
    }
    for (node, record) in records.iter().enumerate() {
        let last = &record[record.len().saturating_sub(LAST)..];
        if let Some(said) = last
            .last()
            .filter(|_| last.iter().all(|said| !said.is_ready))
        {
            findings.push(Finding {
                kind: Kind::Refused,
                at: said.at,
                text: format!("node {node} is not ready, long after the last fault"),
            });
        }
    }
    findings
}

/// How long nodes said that they were not ready, in all, in microseconds.
pub(super) fn unready_us(records: &[Vec<Said>]) -> u64 {
    let of = |record: &Vec<Said>| -> u64 {
        let pairs = record.windows(2).filter(|pair| !pair[0].is_ready);
        pairs.map(|pair| pair[1].at - pair[0].at).sum()
    };
    records.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn record(unready: std::ops::Range<u64>) -> Vec<Said> {
        let at_all = (0..600).map(|tenth| tenth * SECOND / 10);
        let said = at_all.map(|at| Said {
            at,
            is_ready: !unready.contains(&at),
        });
        said.collect()
    }

    fn deaf(node: u32, from: u64, to: u64) -> (u32, Span) {
        let (from, to) = (from * SECOND, to * SECOND);
        (node, Span { from, to })
    }

    #[test]
    fn deaf_node_must_not_be_ready() {
        let good = vec![record(14 * SECOND..30 * SECOND), record(0..0)];
        assert!(judge(&good, &[deaf(0, 10, 30)]).is_empty());
        // Too short to be noticed.
        assert!(judge(&good, &[deaf(1, 10, 14)]).is_empty());
        let findings = judge(&good, &[deaf(0, 10, 30), deaf(1, 10, 30)]);
        let kinds: Vec<Kind> = findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [Kind::Deadline]);
        assert_eq!(unready_us(&good), 16 * SECOND);
    }

    #[test]
    fn first_answer_after_a_start_says_when_a_node_was_ready() {
        let record = record(10 * SECOND..30 * SECOND);
        assert_eq!(first_ready(&record, 12 * SECOND), Some(30 * SECOND));
        assert_eq!(
            first_ready(&record, 59 * SECOND + SECOND / 2),
            Some(596 * SECOND / 10)
        );
        assert_eq!(first_ready(&record, 70 * SECOND), None);
    }

    #[test]
    fn node_that_stays_unready_is_found() {
        let findings = judge(&[record(40 * SECOND..70 * SECOND)], &[]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].kind, Kind::Refused);
    }
}
