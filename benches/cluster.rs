//! A node of a cluster without its connections: what it reads and applies, and what it publishes.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;
use support::cluster::Clustered;
use support::{Bencher, post};

use std::sync::Arc;

use criterion::{BatchSize, Throughput};

fn main() {
    support::run(|criterion| {
        apply(criterion);
        publish(criterion);
    });
}

/// A node applies entries that another node has written. Their channels have no readers, and full
/// histories.
fn apply(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("cluster: apply an entry");
    for messages in [1, 100] {
        let mut node = Clustered::new(1);
        for _ in 0..20_000 / messages {
            let entry = node.entry(messages);
            node.read(entry);
        }
        let entry = node.entry(messages);
        let name = format!("of {messages}");
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || Arc::from(&entry[..]),
                |entry| node.read(entry),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Sixteen publishes that came at once, with their way through the log and their responses.
fn publish(criterion: &mut Bencher) {
    let mut node = Clustered::new(1);
    let request = post("/publish/news", 100);
    let id = node.world.connect(&request);
    let request = request.repeat(16);
    node.serve();
    let mut group = criterion.benchmark_group("cluster: publish");
    group.throughput(Throughput::Elements(16));
    group.bench_function("pipelined", |bencher| {
        bencher.iter(|| {
            node.world.ask(id, &request);
            node.serve();
        });
    });
    group.finish();
}
