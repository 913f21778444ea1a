//! Forged logs: right ones, and one with each kind of fault, so that the judge is known to see it.

mod cluster;
mod delivery;
mod exact;
mod gaps;
mod publishing;
mod timing;

use crate::finding::Kind;
use crate::id::Id;
use crate::judge::check;
use crate::log::{Batch, Entry, Event, Receipt, Since, Transport};
use crate::run::{Deletion, Logs, Outcome, Publish, Rules};
use crate::span::Span;

const SECOND: u64 = 1_000_000;

const RULES: Rules = Rules {
    history_messages: 4,
    history_age: 1_000 * SECOND,
    heartbeat: 2 * SECOND,
    linger: 50_000,
    slack: SECOND,
};

fn id(epoch: u64, seq: u64) -> Id {
    Id::new(epoch, seq)
}

fn receipt(epoch: u64, seq: u64, channel: u32) -> Receipt {
    Receipt {
        id: id(epoch, seq),
        channel,
        number: epoch * 1_000 + seq,
        length: 100,
    }
}

/// A message that was accepted at this time.
fn publish(epoch: u64, seq: u64, channel: u32, at: u64) -> Publish {
    Publish {
        channel,
        number: epoch * 1_000 + seq,
        length: 100,
        begun: at - 10,
        done: at,
        outcome: Outcome::Accepted(id(epoch, seq)),
        ..Publish::default()
    }
}

/// A stretch of time, in milliseconds.
fn span(from: u64, to: u64) -> Span {
    Span {
        from: from * 1_000,
        to: to * 1_000,
    }
}

/// A run: what was published, and one client's log.
struct Run {
    logs: Logs,
}

impl Run {
    /// Messages 1 to `count` on channel 1, a second apart, from second 10; a client follows it.
    fn new(count: u64) -> Run {
        let mut run = Run {
            logs: Logs {
                clients: vec![Vec::new()],
                processes: vec![0],
                client_stops: vec![Vec::new()],
                end: 100 * SECOND,
                ..Logs::default()
            },
        };
        for seq in 1..=count {
            run.publish(publish(1, seq, 1, (9 + seq) * SECOND));
        }
        run.at(0, Event::Begin([1].into()));
        run
    }

    fn publish(&mut self, publish: Publish) -> &mut Run {
        self.logs.publishes.push(publish);
        self
    }

    /// Something happens to the client at a time in milliseconds.
    fn at(&mut self, ms: u64, event: Event) -> &mut Run {
        let at = ms * 1_000;
        let client = 0;
        self.logs.clients[0].push(Entry { client, at, event });
        self
    }

    fn asks(&mut self, ms: u64, transport: Transport, since: Since, hold_ms: u32) -> &mut Run {
        self.at(
            ms,
            Event::Asked {
                transport,
                since,
                hold_ms,
            },
        )
    }

    /// A stream that has been opened at the beginning.
    fn streams(&mut self, ms: u64) -> &mut Run {
        self.asks(ms, Transport::Ndjson, Since::Now, 0)
            .at(ms + 1, Event::Cursor(id(1, 0)))
    }

    fn gets(&mut self, ms: u64, seq: u64) -> &mut Run {
        self.at(ms, Event::Message(receipt(1, seq, 1)))
    }

    fn batch(&mut self, ms: u64, seqs: &[u64], cursor: Id, gap: bool) -> &mut Run {
        let receipts = seqs.iter().map(|&seq| receipt(cursor.epoch, seq, 1));
        self.at(
            ms,
            Event::Batch(Batch {
                tells_ends: false,
                receipts: receipts.collect(),
                cursor,
                gap,
                more: false,
            }),
        )
    }

    fn kinds(&self) -> Vec<Kind> {
        let verdict = check(&self.logs, RULES);
        verdict.by_kind().into_keys().collect()
    }

    #[track_caller]
    fn is_right(&self) {
        let verdict = check(&self.logs, RULES);
        assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
    }

    #[track_caller]
    fn breaks(&self, kind: Kind) {
        let verdict = check(&self.logs, RULES);
        assert_eq!(self.kinds(), [kind], "{:#?}", verdict.findings);
    }
}
