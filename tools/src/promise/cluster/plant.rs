//! Falsified logs, to see that the judge finds what is wrong with them.
//!
//! Owns the falsifications: each takes the logs of a run that kept its promises, and does to them
//! what a node with a certain fault would have done.

use std::collections::HashSet;

use encke_oracle::finding::{Kind, Verdict};
use encke_oracle::id::Id;
use encke_oracle::log::{Entry, Event, Receipt};
use encke_oracle::run::{Logs, Publish};
use encke_oracle::span::Span;

/// Where logs are falsified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// After all that a fault excuses: after the last loss, and the slack.
    Calm,
    /// While messages are delayed or lost by a fault.
    Trouble,
    /// In the first half of a split: later the next one may have begun.
    Split,
}

impl Where {
    /// All stretches of time of a run that are meant.
    fn spans(self, logs: &Logs, slack_us: u64) -> Vec<Span> {
        let Some(cluster) = &logs.cluster else {
            return Vec::new();
        };
        match self {
            Where::Calm => {
                let losses = cluster.losses.iter().map(|loss| loss.span.to);
                let splits = cluster.splits.iter().map(|split| split.to);
                let from = losses.chain(splits).max().map_or(0, |end| end + slack_us);
                vec![Span { from, to: u64::MAX }]
            }
            Where::Trouble => cluster.delays.clone(),
            Where::Split => {
                let splits = cluster.splits.iter();
                let half = |&Span { from, to }: &Span| from + (to - from) / 2;
                splits
                    .map(|split| Span {
                        to: half(split),
                        ..*split
                    })
                    .collect()
            }
        }
    }
}

/// A falsification: its name, what does it, where, and what the judge must find.
type Plant = (&'static str, Change, Where, Kind);

/// Changes the logs in a stretch of time; false if the run has nothing there that can be changed so.
type Change = fn(&mut Logs, Span) -> bool;

const PLANTS: [Plant; 10] = {
    use Kind::{Groundless, Lost, OneIdForTwo, OutOfOrder, PublishedTwice, Twice};
    use Where::{Calm, Split, Trouble};
    [
        ("a node skips an entry", skip, Calm, Lost),
        ("a node applies an entry twice", repeat, Calm, Twice),
        ("a node has another order", swap, Calm, OutOfOrder),
        (
            "an id has another content on one node",
            exchange,
            Calm,
            OneIdForTwo,
        ),
        ("a key is forgotten", forget_key, Calm, PublishedTwice),
        ("a gap where nothing is lost", tell_gap, Calm, Groundless),
        (
            "a node applies an entry twice in a fault",
            repeat,
            Trouble,
            Twice,
        ),
        (
            "a node has another order in a fault",
            swap,
            Trouble,
            OutOfOrder,
        ),
        (
            "an id has another content on one node in a fault",
            exchange,
            Trouble,
            OneIdForTwo,
        ),
        (
            "a node on the side that is kept skips an entry",
            skip_of_new_term,
            Split,
            Lost,
        ),
    ]
};

/// How many of the falsifications may be impossible in a run that proves something.
const IMPOSSIBLE: usize = 1;

/// The description of a falsification, in one line.
pub(super) fn found(is_found: bool) -> &'static str {
    match is_found {
        true => "found",
        false => "NOT FOUND",
    }
}

/// Falsifies the logs of a run in every way, and prints whether the judge found it; whether it
/// always did, and nearly all ways were possible.
pub(super) fn prove(logs: &Logs, slack_us: u64, judge: impl Fn(&Logs) -> Verdict) -> bool {
    let (mut are_found, mut impossible) = (true, 0);
    let is_split = logs
        .cluster
        .iter()
        .any(|cluster| !cluster.splits.is_empty());
    let is_meant = |(_, _, place, _): &Plant| is_split || *place != Where::Split;
    for (name, change, place, kind) in PLANTS.into_iter().filter(is_meant) {
        let mut spans = place.spans(logs, slack_us).into_iter();
        let mut forged = logs.clone();
        if !spans.any(|span| change(&mut forged, span)) {
            println!("planted: {name}: not possible in this run");
            impossible += 1;
            continue;
        }
        let is_found = judge(&forged).by_kind().contains_key(&kind);
        println!("planted: {name}: {}", found(is_found));
        are_found &= is_found;
    }
    if impossible > IMPOSSIBLE {
        println!("planted: {impossible} were not possible, which proves too little");
    }
    are_found && impossible <= IMPOSSIBLE
}

fn message(entry: &Entry) -> Option<&Receipt> {
    match &entry.event {
        Event::Message(receipt) => Some(receipt),
        _ => None,
    }
}

/// The first client, and place in its log, with two messages in a stretch of time that follow each
/// other, of which something holds.
fn pair(
    logs: &Logs,
    span: Span,
    is_it: impl Fn(&Receipt, &Receipt) -> bool,
) -> Option<(usize, usize)> {
    logs.clients.iter().enumerate().find_map(|(client, log)| {
        let place = log.windows(2).position(|two| {
            let pair = message(&two[0]).zip(message(&two[1]));
            let is_in = span.touches(two[0].at, two[0].at) && two[1].at <= span.to;
            is_in && pair.is_some_and(|(one, next)| is_it(one, next))
        })?;
        Some((client, place))
    })
}

/// The ids that publishers were answered of what they sent in a stretch of time.
fn answered(logs: &Logs, span: Span) -> HashSet<Id> {
    let publishes = logs.publishes.iter();
    let sent = publishes.filter(|publish| span.touches(publish.begun, publish.begun));
    sent.filter_map(Publish::id).collect()
}

fn skip(logs: &mut Logs, span: Span) -> bool {
    let answered = answered(logs, span);
    leave_out(logs, &answered)
}

/// Skips a message of a term that was begun after the first message of a split.
fn skip_of_new_term(logs: &mut Logs, split: Span) -> bool {
    let mut answered = answered(logs, split);
    let given_up = answered.iter().map(|id| id.epoch).min();
    answered.retain(|id| Some(id.epoch) > given_up);
    leave_out(logs, &answered)
}

/// Leaves the first of two messages of a channel out of the log of each client that has such two,
/// where both are of these. Of a single one it may be that nobody was owed it.
fn leave_out(logs: &mut Logs, ids: &HashSet<Id>) -> bool {
    let mut has_skipped = false;
    for log in &mut logs.clients {
        let place = log.windows(2).position(|two| {
            let pair = message(&two[0]).zip(message(&two[1]));
            pair.is_some_and(|(one, next)| {
                one.channel == next.channel && ids.contains(&one.id) && ids.contains(&next.id)
            })
        });
        if let Some(place) = place {
            log.remove(place);
            has_skipped = true;
        }
    }
    has_skipped
}

fn repeat(logs: &mut Logs, span: Span) -> bool {
    let Some((client, place)) = pair(logs, span, |_, _| true) else {
        return false;
    };
    let entry = logs.clients[client][place].clone();
    logs.clients[client].insert(place + 1, entry);
    true
}

fn swap(logs: &mut Logs, span: Span) -> bool {
    let Some((client, place)) = pair(logs, span, |one, next| one.id != next.id) else {
        return false;
    };
    let log = &mut logs.clients[client];
    let (one, next) = (log[place].event.clone(), log[place + 1].event.clone());
    (log[place].event, log[place + 1].event) = (next, one);
    true
}

/// Gives a message the content of the next one.
fn exchange(logs: &mut Logs, span: Span) -> bool {
    // The id of a message that nobody was answered for is known by its content alone.
    let answered = answered(logs, span);
    let is_it =
        |one: &Receipt, next: &Receipt| one.number != next.number && answered.contains(&one.id);
    let Some((client, place)) = pair(logs, span, is_it) else {
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
fn forget_key(logs: &mut Logs, span: Span) -> bool {
    let Some(newest) = logs.publishes.iter().filter_map(Publish::id).max() else {
        return false;
    };
    let is_deleted = |channel: u32| {
        let mut deletions = logs.deletions.iter();
        deletions.any(|deletion| deletion.channel == channel)
    };
    let place = logs.publishes.iter().position(|publish| {
        let is_accepted = publish.id().is_some();
        span.from < publish.begun && publish.keyed && is_accepted && !is_deleted(publish.channel)
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
fn tell_gap(logs: &mut Logs, span: Span) -> bool {
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
            span.from < two[0].at && are_messages && is_calm(&followed(client, place))
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
    use encke_oracle::judge::check;
    use encke_oracle::log::{Since, Transport};
    use encke_oracle::run::{Outcome, Rules};

    const SECOND: u64 = 1_000_000;

    const RULES: Rules = Rules {
        history_messages: 1_000,
        history_age: 1_000 * SECOND,
        heartbeat: 2 * SECOND,
        linger: 50_000,
        slack: SECOND,
    };

    const WHOLE: Span = Span {
        from: 0,
        to: 5 * SECOND,
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
                keyed: true,
                outcome: Outcome::Accepted(id),
                ..Publish::default()
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
            cluster: Some(Cluster {
                delays: vec![WHOLE],
                ..Cluster::default()
            }),
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
        for (name, change, _, kind) in PLANTS {
            let mut forged = logs.clone();
            assert!(change(&mut forged, WHOLE), "{name}");
            let kinds = judge(&forged).by_kind();
            assert!(kinds.contains_key(&kind), "{name}: {kinds:?}");
        }
        assert!(prove(&logs, SECOND, judge));
        // Logs in which hardly anything can be falsified prove nothing.
        let mut empty = logs.clone();
        empty.clients[0].truncate(4);
        assert!(!prove(&empty, SECOND, judge));
        // A judge that finds nothing does not pass.
        assert!(!prove(&logs, SECOND, |_| Verdict::default()));
    }
}
