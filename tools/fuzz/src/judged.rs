//! Polls on the server with seven messages, judged by the oracle.

use encke_core::engine::State;
use encke_oracle::finding::Verdict;
use encke_oracle::id::Id;
use encke_oracle::log::{Batch, Entry, Event, Parked, Receipt, Since, Transport};
use encke_oracle::reader::Reader;
use encke_oracle::run::{Conditions, Outcome, Publish};
use encke_oracle::truth::Truth;
use encke_test_client as client;
use encke_test_client::batch::jsonp;

use crate::server::{Answer, Server};
use crate::wanted::{MESSAGES, Wanted};

/// Has the oracle judge the answer to a poll or long poll.
pub(crate) fn judge(wanted: &Wanted<'_>, answer: &Answer, server: &Server) {
    let hub = server.engine.hub();
    let id = |seq| Id::parse(&format!("{}-{seq}", hub.epoch().as_str())).expect("an id");
    let mut truth = Truth::exact(wanted.names.len() + MESSAGES.len());
    for (seq, name) in (1..).zip(MESSAGES) {
        let channel = number(wanted, name);
        truth.accept(Publish {
            channel,
            number: seq,
            length: 1,
            begun: seq,
            done: seq,
            outcome: Outcome::Accepted(id(seq)),
            ..Publish::default()
        });
        // All of them are in history.
        truth.observe(channel, Some(1), 0);
    }
    let transport = match wanted.way {
        "poll" => Transport::Poll,
        _ => Transport::LongPoll,
    };
    let since = wanted
        .after
        .map_or(Since::Unknown, |seq| Since::After(id(seq)));
    let numbers = (0..wanted.names.len() as u32).collect();
    let hold_ms = 0;
    let events = [
        Event::Begin(numbers),
        Event::Asked {
            transport,
            since,
            hold_ms,
        },
        match answer.state {
            State::Held => Event::Parked(Parked {
                head: id(hub.head().0),
                is_held: true,
                is_writable: true,
                is_empty: false,
            }),
            _ => Event::Batch(batch(wanted, answer)),
        },
    ];
    let entries = (100..).zip(events).map(|(at, event)| Entry {
        client: 0,
        at,
        event,
    });
    let log: Vec<Entry> = entries.collect();
    let (mut reader, mut verdict) = (Reader::default(), Verdict::default());
    for end in 1..=log.len() {
        reader.judge(&log[..end], &truth, &Conditions::TIMELESS, &mut verdict);
    }
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
}

/// The batch with which a poll was answered.
fn batch(wanted: &Wanted<'_>, answer: &Answer) -> Batch {
    let json = match &wanted.callback {
        Some(name) => jsonp(&answer.body, name).expect("a call"),
        None => String::from_utf8(answer.body.clone()).expect("text"),
    };
    let batch = client::Batch::decode(json.as_bytes()).expect("a batch");
    assert!(batch.messages.len() <= wanted.limit);
    let is_idle = wanted.way == "poll" || wanted.after.is_none();
    assert_eq!(
        batch.retry_ms.is_some(),
        batch.messages.is_empty() && is_idle
    );
    let id = |text: &str| Id::parse(text).expect("an id");
    let receipts = batch.messages.iter().map(|message| Receipt {
        id: id(&message.id),
        channel: number(wanted, message.channel.as_deref().unwrap_or_default()),
        number: id(&message.id).seq,
        length: 1,
    });
    Batch {
        tells_ends: batch.end || !batch.ended.is_empty(),
        receipts: receipts.collect(),
        cursor: id(&batch.cursor),
        gap: batch.gap,
        more: batch.more,
    }
}

/// The oracle's number of a channel: its place among those of the request, or one after those.
fn number(wanted: &Wanted<'_>, name: &str) -> u32 {
    let own = wanted.names.iter().position(|own| own == name);
    let other = || MESSAGES.iter().position(|other| *other == name);
    let place = own.or_else(|| other().map(|place| wanted.names.len() + place));
    place.map_or(u32::MAX, |place| place as u32)
}
