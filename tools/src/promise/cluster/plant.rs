//! Falsified logs, to see that the judge finds what is wrong with them.
//!
//! Owns the falsifications: each takes the logs of a run that kept its promises, and does to them
//! what a node with a certain fault would have done.

use std::collections::HashSet;

use encke_oracle::finding::{Kind, Verdict};
use encke_oracle::id::Id;
use encke_oracle::log::{Entry, Event, Receipt};
use encke_oracle::run::{Logs, Outcome};

/// A falsification: its name, what does it, and what the judge must find.
struct Plant {
    name: &'static str,
    /// Changes the logs after a time; false if the run has nothing there that can be changed so.
    change: fn(&mut Logs, u64) -> bool,
    kind: Kind,
}

const PLANTS: [Plant; 6] = [
    Plant {
        name: "a node skips an entry",
        change: skip,
        kind: Kind::Lost,
    },
    Plant {
        name: "a node applies an entry twice",
        change: repeat,
        kind: Kind::Twice,
    },
    Plant {
        name: "a node has another order",
        change: swap,
        kind: Kind::OutOfOrder,
    },
    Plant {
        name: "an id has another content on one node",
        change: exchange,
        kind: Kind::OneIdForTwo,
    },
    Plant {
        name: "a key is forgotten",
        change: forget_key,
        kind: Kind::PublishedTwice,
    },
    Plant {
        name: "a gap where nothing is lost",
        change: tell_gap,
        kind: Kind::Groundless,
    },
];

/// The description of a falsification, in one line.
pub(super) fn found(is_found: bool) -> &'static str {
    match is_found {
        true => "found",
        false => "NOT FOUND",
    }
}

/// Falsifies the logs of a run in every way, and prints whether the judge found it; whether it
/// always did. They are falsified after all that a fault excuses: after the last loss, and `slack_us`.
pub(super) fn prove(logs: &Logs, slack_us: u64, judge: impl Fn(&Logs) -> Verdict) -> bool {
    let cluster = logs.cluster.iter();
    let excused = cluster.flat_map(|cluster| {
        let losses = cluster.losses.iter().map(|loss| loss.span.to);
        losses.chain(cluster.splits.iter().map(|split| split.to))
    });
    let after = excused.max().map_or(0, |end| end + slack_us);
    let mut are_found = true;
    for plant in PLANTS {
        let mut forged = logs.clone();
        if !(plant.change)(&mut forged, after) {
            println!("planted: {}: not possible in this run", plant.name);
            continue;
        }
        let is_found = judge(&forged).by_kind().contains_key(&plant.kind);
        println!("planted: {}: {}", plant.name, found(is_found));
        are_found &= is_found;
    }
    are_found
}

fn message(entry: &Entry) -> Option<&Receipt> {
    match &entry.event {
        Event::Message(receipt) => Some(receipt),
        _ => None,
    }
}

/// The first client, and place in its log, with two messages after a time that follow each other, of
/// which something holds.
fn pair(
    logs: &Logs,
    after: u64,
    is_it: impl Fn(&Receipt, &Receipt) -> bool,
) -> Option<(usize, usize)> {
    logs.clients.iter().enumerate().find_map(|(client, log)| {
        let place = log.windows(2).position(|two| {
            let pair = message(&two[0]).zip(message(&two[1]));
            two[0].at > after && pair.is_some_and(|(one, next)| is_it(one, next))
        })?;
        Some((client, place))
    })
}

/// Leaves the first of two messages of a channel out of the log of each client that has such two,
/// where a publisher was answered for it. Of a single one it may be that nobody was owed it.
fn skip(logs: &mut Logs, after: u64) -> bool {
    let answered = logs
        .publishes
        .iter()
        .filter_map(|publish| match publish.outcome {
            Outcome::Accepted(id) if publish.begun > after => Some(id),
            _ => None,
        });
    let answered: HashSet<Id> = answered.collect();
    let mut has_skipped = false;
    for log in &mut logs.clients {
        let place = log.windows(2).position(|two| {
            let pair = message(&two[0]).zip(message(&two[1]));
            pair.is_some_and(|(one, next)| {
                one.channel == next.channel && answered.contains(&one.id)
            })
        });
        if let Some(place) = place {
            log.remove(place);
            has_skipped = true;
        }
    }
    has_skipped
}

fn repeat(logs: &mut Logs, after: u64) -> bool {
    let Some((client, place)) = pair(logs, after, |_, _| true) else {
        return false;
    };
    let entry = logs.clients[client][place].clone();
    logs.clients[client].insert(place + 1, entry);
    true
}

fn swap(logs: &mut Logs, after: u64) -> bool {
    let Some((client, place)) = pair(logs, after, |one, next| one.id != next.id) else {
        return false;
    };
    let log = &mut logs.clients[client];
    let (one, next) = (log[place].event.clone(), log[place + 1].event.clone());
    (log[place].event, log[place + 1].event) = (next, one);
    true
}

/// Gives a message the content of the next one.
fn exchange(logs: &mut Logs, after: u64) -> bool {
    let Some((client, place)) = pair(logs, after, |one, next| one.number != next.number) else {
        return false;
    };
    let next = message(&logs.clients[client][place + 1]).copied();
    if let (Event::Message(receipt), Some(next)) = (&mut logs.clients[client][place].event, next) {
        *receipt = Receipt {
            id: receipt.id,
            ..next
        };
    }
    true
}

/// Has a publish with a key answered with another id when it is repeated.
fn forget_key(logs: &mut Logs, after: u64) -> bool {
    let newest = logs
        .publishes
        .iter()
        .filter_map(|publish| match publish.outcome {
            Outcome::Accepted(id) => Some(id),
            _ => None,
        });
    let Some(newest) = newest.max() else {
        return false;
    };
    let is_deleted = |channel: u32| {
        let mut deletions = logs.deletions.iter();
        deletions.any(|deletion| deletion.channel == channel)
    };
    let place = logs.publishes.iter().position(|publish| {
        let is_accepted = matches!(publish.outcome, Outcome::Accepted(_));
        publish.begun > after && publish.keyed && is_accepted && !is_deleted(publish.channel)
    });
    let Some(place) = place else {
        return false;
    };
    let mut other = newest;
    other.seq += 1_000;
    logs.publishes[place].again = Some(other);
    true
}

/// Has a stream told a gap between two messages of one channel that was never deleted.
fn tell_gap(logs: &mut Logs, after: u64) -> bool {
    let followed = |client: usize, place: usize| {
        let log = &logs.clients[client][..place];
        let channels = log.iter().rev().find_map(|entry| match &entry.event {
            Event::Begin(channels) => Some(channels.clone()),
            _ => None,
        });
        channels.unwrap_or_default()
    };
    let is_calm = |channels: &[u32]| {
        let mut deletions = logs.deletions.iter();
        !deletions.any(|deletion| channels.contains(&deletion.channel))
    };
    let found = (0..logs.clients.len()).find_map(|client| {
        let log = &logs.clients[client];
        let place = log.windows(2).enumerate().position(|(place, two)| {
            let are_messages = two.iter().all(|entry| message(entry).is_some());
            two[0].at > after && are_messages && is_calm(&followed(client, place))
        })?;
        Some((client, place))
    });
    let Some((client, place)) = found else {
        return false;
    };
    let mut entry = logs.clients[client][place].clone();
    if let Event::Message(receipt) = &entry.event {
        entry.event = Event::Gap(receipt.id);
    }
    logs.clients[client].insert(place + 1, entry);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke_oracle::cluster::Cluster;
    use encke_oracle::id::Id;
    use encke_oracle::judge::check;
    use encke_oracle::log::{Since, Transport};
    use encke_oracle::run::{Publish, Rules};

    const SECOND: u64 = 1_000_000;

    const RULES: Rules = Rules {
        history_messages: 1_000,
        history_age: 1_000 * SECOND,
        heartbeat: 2 * SECOND,
        linger: 50_000,
        slack: SECOND,
    };

    /// Four messages with keys on one channel, in two terms, and a client that streams them.
    fn logs() -> Logs {
        let mut log = vec![
            (1, Event::Begin([7].into())),
            (2, Event::Connected(1)),
            (
                3,
                Event::Asked {
                    transport: Transport::Sse,
                    since: Since::Now,
                    hold_ms: 0,
                },
            ),
            (4, Event::Cursor(Id::new(40, 0))),
        ];
        let ids = [(40, 1), (40, 2), (50, 1), (50, 2)].map(|(term, entry)| Id::new(term, entry));
        let mut publishes = Vec::new();
        for (number, id) in (1..).zip(ids) {
            let at = number * SECOND;
            publishes.push(Publish {
                channel: 7,
                number,
                length: 100,
                begun: at - 10,
                done: at,
                batch: 0,
                keyed: true,
                outcome: Outcome::Accepted(id),
                again: None,
                node: 0,
            });
            let receipt = Receipt {
                id,
                channel: 7,
                number,
                length: 100,
            };
            log.push((at, Event::Message(receipt)));
        }
        let entries = log.into_iter().map(|(at, event)| Entry {
            client: 0,
            at,
            event,
        });
        Logs {
            clients: vec![entries.collect()],
            processes: vec![0],
            client_stops: vec![Vec::new()],
            publishes,
            cluster: Some(Cluster::default()),
            end: 5 * SECOND,
            ..Logs::default()
        }
    }

    #[test]
    fn each_falsification_is_found_and_changes_a_good_run() {
        let logs = logs();
        let judge = |logs: &Logs| check(logs, RULES);
        let verdict = judge(&logs);
        assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
        assert_eq!(verdict.terms, ["00000014", "0000001e"]);
        for plant in PLANTS {
            let mut forged = logs.clone();
            assert!((plant.change)(&mut forged, 0), "{}", plant.name);
            let kinds = judge(&forged).by_kind();
            assert!(kinds.contains_key(&plant.kind), "{}: {kinds:?}", plant.name);
        }
        assert!(prove(&logs, SECOND, judge));
        // A judge that finds nothing does not pass.
        assert!(!prove(&logs, SECOND, |_| Verdict::default()));
    }
}
