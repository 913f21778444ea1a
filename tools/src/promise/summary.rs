//! The report of a run, for people.

use encke_oracle::finding::Verdict;
use encke_oracle::log::{Event, Transport};
use encke_oracle::run::{Logs, Outcome, Publish};

/// Findings that are told in full.
const TOLD: usize = 5;

/// Counts of signals and restarts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deeds {
    pub(super) server_stops: u32,
    pub(super) client_stops: u32,
    pub(super) drains: u32,
    pub(super) kills: u32,
    pub(super) upgrades: u32,
    pub(super) clock_steps: u32,
    pub(super) reloads: u32,
    pub(super) rotations: u32,
    pub(super) kicks: u32,
    /// Connections ended by them.
    pub(super) kicked: u64,
}

/// Counts of requests and receipts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) clients: u64,
    pub(super) connections: u64,
    pub(super) unreachable: u64,
    /// Requests by transport, and messages received.
    pub(super) asked: [u64; Transport::ALL.len()],
    pub(super) received: [u64; Transport::ALL.len()],
    pub(super) resumed: u64,
    /// Resumes on another transport than the last one.
    pub(super) moved: u64,
    pub(super) nudged: u64,
    pub(super) left: u64,
    pub(super) lost: u64,
    pub(super) ended: u64,
    pub(super) paused: u64,
    pub(super) refused: u64,
    /// Requests with a token, and responses 401 to them.
    pub(super) by_token: u64,
    pub(super) unauthorized: u64,
    pub(super) gaps: u64,
    /// Polls that were held to their end, without a message.
    pub(super) holds_expired: u64,
}

/// The request under way of a client.
#[derive(Clone, Copy, Default)]
struct Doing {
    transport: Option<Transport>,
    is_held: bool,
}

impl Totals {
    pub(super) fn of(logs: &Logs) -> Totals {
        let mut totals = Totals::default();
        for entries in &logs.clients {
            let mut doing = Doing::default();
            for entry in entries {
                totals.add(&entry.event, &mut doing);
            }
        }
        totals
    }

    fn add(&mut self, event: &Event, doing: &mut Doing) {
        let place = doing.transport.map_or(0, |transport| transport as usize);
        match event {
            Event::Begin(_) => {
                self.clients += 1;
                *doing = Doing::default();
            }
            Event::Connected(_) => self.connections += 1,
            Event::Asked {
                transport,
                since,
                hold_ms,
            } => {
                self.asked[*transport as usize] += 1;
                if matches!(since, encke_oracle::log::Since::After(_)) {
                    self.resumed += 1;
                    let before = doing.transport;
                    self.moved += u64::from(before.is_some_and(|before| before != *transport));
                }
                doing.transport = Some(*transport);
                doing.is_held = transport.is_held() && *hold_ms > 0;
            }
            Event::Nudged => {
                self.nudged += 1;
                doing.is_held = false;
            }
            Event::Batch(batch) => {
                self.received[place] += batch.receipts.len() as u64;
                self.gaps += u64::from(batch.gap);
                // What tells an end comes when there is one, not when the hold is over.
                let is_empty = batch.receipts.is_empty() && !batch.gap && !batch.tells_ends;
                self.holds_expired += u64::from(is_empty && doing.is_held);
            }
            Event::Message(_) => self.received[place] += 1,
            Event::Gap(_) => self.gaps += 1,
            Event::Paused => self.paused += 1,
            Event::Left => self.left += 1,
            Event::Lost => self.lost += 1,
            Event::Ended => self.ended += 1,
            Event::Unreachable(_) => self.unreachable += 1,
            Event::Refused(_) => self.refused += 1,
            Event::Lapses(_) => self.by_token += 1,
            Event::Unauthorized { .. } => self.unauthorized += 1,
            Event::Cursor(_)
            | Event::Beat
            | Event::Closing(_)
            | Event::Resumed
            | Event::Nonsense(_)
            | Event::Parked(_)
            | Event::Blocked
            | Event::Settled(_) => {}
        }
    }
}

/// Prints counts, and what was found.
pub(super) fn print(seed: u64, logs: &Logs, verdict: &Verdict, deeds: &Deeds) {
    let totals = Totals::of(logs);
    let count = |wanted: fn(&Publish) -> bool| {
        let publishes = logs.publishes.iter();
        publishes.filter(|publish| wanted(publish)).count()
    };
    println!("seed {seed}");
    println!(
        "published: {} accepted, {} refused, {} unknown; {} with a key, {} of them sent again; {} channels deleted",
        count(|publish| publish.id().is_some()),
        count(|publish| publish.outcome == Outcome::Refused),
        count(|publish| publish.outcome == Outcome::Unknown),
        count(|publish| publish.keyed),
        count(|publish| publish.again.is_some()),
        logs.deletions.len(),
    );
    println!("{:18} {:>10} {:>12}", "", "requests", "messages");
    for transport in Transport::ALL {
        println!(
            "{:18} {:>10} {:>12}",
            transport.name(),
            totals.asked[transport as usize],
            totals.received[transport as usize],
        );
    }
    println!(
        "clients: {} in {} places, {} connections; left {}, lost {}, unreachable {}, refused {}, paused {}, holds given up {}",
        totals.clients,
        logs.clients.len(),
        totals.connections,
        totals.left,
        totals.lost,
        totals.unreachable,
        totals.refused,
        totals.paused,
        totals.nudged,
    );
    println!(
        "resumed: {}, on another transport {}; gaps: {}, after a restart {}, with nothing known to be missing {}; {} messages missing under gaps",
        totals.resumed,
        totals.moved,
        verdict.counts.gaps,
        verdict.counts.epoch_gaps,
        verdict.counts.empty_gaps,
        verdict.counts.excused,
    );
    println!(
        "server: stopped {}, drained {}, killed {}, upgraded {}, wall clock stepped {}; processes of clients: stopped {}; {} clients had everything at the end",
        deeds.server_stops,
        deeds.drains,
        deeds.kills,
        deeds.upgrades,
        deeds.clock_steps,
        deeds.client_stops,
        verdict.counts.complete,
    );
    println!(
        "tokens: {} requests with one, {} of them 401; {} kicks, {} connections ended by them; {} reloads, {} of them with a new key",
        totals.by_token,
        totals.unauthorized,
        deeds.kicks,
        deeds.kicked,
        deeds.reloads,
        deeds.rotations,
    );
    print_findings(verdict);
}

pub(super) fn print_findings(verdict: &Verdict) {
    if verdict.findings.is_empty() {
        println!("no promise was broken");
        return;
    }
    for (kind, count) in verdict.by_kind() {
        println!("BROKEN: {kind:?}, {count} times");
    }
    let mut findings: Vec<_> = verdict.findings.iter().collect();
    // The first of each kind says most.
    findings.sort_by_key(|finding| (finding.kind, finding.at));
    findings.dedup_by_key(|finding| finding.kind);
    findings.sort_by_key(|finding| finding.at);
    for finding in findings.iter().take(TOLD) {
        println!("{:?} at {}: {}", finding.kind, finding.at, finding.text);
    }
}
