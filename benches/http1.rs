//! Request heads: the cost of parsing that every request has.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;
use support::Bencher;

use std::hint::black_box;

use criterion::Throughput;
use encke_core::http1::{Decoder, Framing, Outcome, Scan, parse};

const MAX_HEAD_BYTES: usize = 16 << 10;

fn main() {
    support::run(|criterion| {
        whole(criterion);
        byte_by_byte(criterion);
        chunked(criterion);
    });
}

/// A head that comes in one piece, as nearly all do.
fn whole(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("http1/parse");
    for (name, head) in [
        ("small", support::get("/long-poll/news?since=0000001z-1042")),
        ("browser", support::browser_get("/sse/news")),
    ] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let outcome = parse(black_box(&head), &mut Scan::default(), MAX_HEAD_BYTES);
                assert!(matches!(outcome, Ok(Outcome::Complete { .. })));
            });
        });
    }
}

/// A browser's head that comes one byte at a time, as from an attacker: must stay linear.
fn byte_by_byte(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("http1/parse");
    let head = support::browser_get("/sse/news");
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("browser, one byte at a time", |bencher| {
        bencher.iter(|| {
            let mut scan = Scan::default();
            for length in 1..=head.len() {
                black_box(parse(black_box(&head[..length]), &mut scan, MAX_HEAD_BYTES).is_ok());
            }
        });
    });
}

/// A published body of 64 KB in chunks of 4 KB.
fn chunked(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("http1/body");
    let mut body = Vec::new();
    for _ in 0..16 {
        body.extend_from_slice(b"1000\r\n");
        body.extend_from_slice(&[b'x'; 0x1000]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("chunked, 64 KB", |bencher| {
        let mut out = Vec::new();
        bencher.iter(|| {
            out.clear();
            let mut decoder = Decoder::new(Framing::Chunked);
            let progress = decoder.decode(black_box(&body), &mut out, 1 << 20);
            assert!(progress.is_ok_and(|progress| progress.done));
        });
    });
}
