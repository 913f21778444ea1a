//! The reactor over real sockets, in processor time of its own thread: the cost of a delivery and
//! of a long poll's cycle, including the kernel's part.
//!
//! Compare with the same bench of `engine`: the difference is the kernel's, and the loop's.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use criterion::{BenchmarkId, Throughput};
use support::{Bencher, CHANNEL, Running, get, text};

const CLIENTS: [usize; 2] = [1, 100];

fn main() {
    support::run(|criterion| {
        deliver(criterion);
        long_poll_cycle(criterion);
        poll(criterion);
    });
}

/// A message goes to so many streams: time for each.
fn deliver(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("loopback/deliver");
    for count in CLIENTS {
        let server = Running::start();
        let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(&server)).collect();
        for client in &mut clients {
            client.ask(&get("/sse/news"));
            // The opening holds the cursor from which this stream goes on.
            client.read_past(b"event: cursor");
        }
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("sse", count), |bencher| {
            bencher
                .iter_custom(|rounds| broadcast(&server, &mut clients, rounds, b"data: ", |_| ()));
        });
    }
}

/// A message goes to so many long polls, and each of them asks again and is parked.
fn long_poll_cycle(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("loopback/long-poll cycle");
    for count in CLIENTS {
        let server = Running::start();
        let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(&server)).collect();
        let request = get("/long-poll/news?since=now");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("plain", count), |bencher| {
            bencher.iter_custom(|rounds| {
                // A tick serves requests before messages, so all are parked by then.
                let ask = |client: &mut Client| client.ask(&request);
                broadcast(&server, &mut clients, rounds, b"}]", ask)
            });
        });
    }
}

/// Rounds of one message to all, each client having done `before`, and taken up to `end` after.
fn broadcast(
    server: &Running,
    clients: &mut [Client],
    rounds: u64,
    end: &[u8],
    before: impl Fn(&mut Client),
) -> Duration {
    server.busy(|| {
        for _ in 0..rounds {
            clients.iter_mut().for_each(&before);
            let published = server.publisher.publish(CHANNEL, text(100));
            published.expect("it runs");
            clients.iter_mut().for_each(|client| client.read_past(end));
        }
    })
}

/// A poll that finds nothing new.
fn poll(criterion: &mut Bencher) {
    let server = Running::start();
    let mut client = Client::connect(&server);
    let request = get("/poll/news?since=now");
    criterion.bench_function("loopback/poll", |bencher| {
        bencher.iter_custom(|rounds| {
            server.busy(|| {
                for _ in 0..rounds {
                    client.ask(&request);
                    client.read_past(b"\"retry\"");
                }
            })
        });
    });
}

/// A client that blocks.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(server: &Running) -> Client {
        let stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Client {
            stream,
            buffer: vec![0; 4_096],
        }
    }

    fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the server reads");
    }

    /// Reads until these bytes have come; each answer comes in one piece or a few.
    fn read_past(&mut self, mark: &[u8]) {
        let mut length = 0;
        loop {
            let read = self
                .stream
                .read(&mut self.buffer[length..])
                .expect("the server answers");
            assert!(read > 0, "the server closed");
            length += read;
            if self.buffer[..length]
                .windows(mark.len())
                .any(|window| window == mark)
            {
                return;
            }
        }
    }
}
