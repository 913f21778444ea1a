//! Encoding of messages for each transport: paid once per message and transport, however
//! many receive it.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;
use support::Bencher;

use std::hint::black_box;

use criterion::{BenchmarkId, Throughput};
use encke::Data;
use encke_core::encode::{Ends, Envelope, batch, jsonp, object};
use encke_core::message::{Epoch, MessageId, MessageRef, Seq};
use encke_core::transport::{Event, Options, Transport};

const SIZES: [usize; 3] = [100, 2 << 10, 64 << 10];

/// The transports that a message is encoded for, and its object alone (`None`).
const ENCODERS: [(&str, Option<Transport>, Options); 8] = [
    ("object", None, Options::empty()),
    ("sse", Some(Transport::Sse), Options::empty()),
    ("sse envelope", Some(Transport::Sse), Options::ENVELOPE),
    ("ndjson", Some(Transport::Ndjson), Options::empty()),
    ("frame", Some(Transport::Frame), Options::empty()),
    ("ws", Some(Transport::WebSocket), Options::empty()),
    ("ws raw", Some(Transport::WebSocket), Options::RAW),
    ("long-poll", Some(Transport::LongPoll), Options::empty()),
];

fn main() {
    support::run(|criterion| {
        messages(criterion);
        wrapped(criterion);
        accepted(criterion);
    });
}

fn id() -> MessageId {
    MessageId {
        epoch: Epoch::from_seed(1),
        seq: Seq(1_042),
    }
}

fn envelope(cursor: MessageId) -> Envelope<'static> {
    Envelope {
        cursor,
        more: false,
        gap: false,
        ends: Ends::None,
        retry_ms: None,
        spread_ms: None,
    }
}

/// A message of each kind, of so many bytes: text with quotes and line ends, a JSON list, bytes.
fn samples(bytes: usize) -> [(&'static str, Data); 3] {
    let list = format!("[{}0]", "1234567,".repeat(bytes / 8));
    let noise = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    [
        ("text", support::text(bytes)),
        ("json", Data::json(list).expect("JSON")),
        ("binary", Data::Binary(noise)),
    ]
}

/// A message is encoded for a transport for the first time.
fn messages(criterion: &mut Bencher) {
    for (name, transport, options) in ENCODERS {
        let mut group = criterion.benchmark_group(format!("encode/{name}"));
        for bytes in SIZES {
            for (kind, data) in samples(bytes) {
                let content = MessageRef {
                    id: id(),
                    channel: support::CHANNEL,
                    event: None,
                    data: &data,
                };
                group.throughput(Throughput::Bytes(data.len() as u64));
                group.bench_function(BenchmarkId::new(kind, bytes), |bencher| {
                    bencher.iter(|| {
                        let mut out = Vec::new();
                        let content = black_box(&content);
                        let spread_ms = None;
                        match transport {
                            Some(transport) => {
                                let message = Event::Message { content, spread_ms };
                                transport.encode(&message, options, &mut out);
                            }
                            None => object(&mut out, content),
                        }
                        out
                    });
                });
            }
        }
    }
}

/// A batch of a hundred messages, plain and as JSONP: for clients that resume.
fn wrapped(criterion: &mut Bencher) {
    let message = format!(
        "{{\"id\":\"0000001z-1042\",\"data\":\"{}\"}}",
        "x".repeat(100)
    );
    let objects = vec![message.as_bytes(); 100];
    let mut group = criterion.benchmark_group("encode/batch of 100");
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::new();
            batch(&mut out, &envelope(id()), objects.iter().copied());
            out
        });
    });
    group.bench_function("jsonp", |bencher| {
        bencher.iter(|| {
            let (mut body, mut out) = (Vec::new(), Vec::new());
            batch(&mut body, &envelope(id()), objects.iter().copied());
            jsonp(&mut out, "parent.on_events", &body);
            out
        });
    });
}

/// A published body is checked by its content type.
fn accepted(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("encode/accept");
    for bytes in SIZES {
        let list = format!("[{}0]", "1234567,".repeat(bytes / 8));
        group.throughput(Throughput::Bytes(list.len() as u64));
        for (kind, content_type) in [("text", "text/plain"), ("json", "application/json")] {
            group.bench_function(BenchmarkId::new(kind, bytes), |bencher| {
                bencher.iter(|| Data::accept(Some(content_type.as_bytes()), list.as_bytes()));
            });
        }
    }
}
