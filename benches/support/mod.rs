//! Shared by the benches: an engine whose sockets accept every byte, and the harness.
//!
//! Owns no bench. Time here is an argument, as everywhere in the engine: it passes only in
//! [`World::pass`].

pub(crate) mod cluster;

use std::fs;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use encke::{Address, Config, Data, Handle, History, Publisher, Server};
use encke_core::base::time::Time;
use encke_core::engine::{Access, ConnId, Engine, Sent, Wire};
use encke_core::log::{self, Identity, LogEnding};
use encke_core::message::{ChannelName, Draft};
use encke_core::tokens::Rules;
use rustix::time::{ClockId, clock_gettime};

/// The channel of every bench that needs one alone.
pub(crate) const CHANNEL: &str = "news";

/// The harness of the benches.
pub(crate) type Bencher = Criterion<ProcessorTime>;

/// Runs benches under criterion, briefly enough that all of them together take some minutes.
pub(crate) fn run(benches: impl FnOnce(&mut Bencher)) {
    let mut criterion = Criterion::default()
        .with_measurement(ProcessorTime::OfThread)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(20)
        .configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}

/// Processor time instead of wall-clock time, so that other processes affect it little.
#[derive(Clone, Copy)]
pub(crate) enum ProcessorTime {
    /// Of this thread.
    OfThread,
    /// Of all threads together.
    OfProcess,
}

impl ProcessorTime {
    /// The time spent so far.
    pub(crate) fn now(self) -> Duration {
        let time = clock_gettime(match self {
            ProcessorTime::OfThread => ClockId::ThreadCPUTime,
            ProcessorTime::OfProcess => ClockId::ProcessCPUTime,
        });
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        self.now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Sockets that take everything, at once.
#[derive(Default)]
pub(crate) struct Sink {
    /// Writes so far.
    pub(crate) writes: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Connections written to, in order, where somebody wants to know.
    pub(crate) answered: Option<Vec<u32>>,
}

impl Wire for Sink {
    fn send(&mut self, connection: u32, slices: &[IoSlice<'_>]) -> Sent {
        self.writes += 1;
        self.bytes += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        if let Some(answered) = &mut self.answered {
            answered.push(connection);
        }
        Sent::All
    }

    fn shutdown(&mut self, _connection: u32) {}

    fn has_unread(&mut self, _: u32) -> bool {
        false
    }
}

/// An engine with its sockets and its clock.
pub(crate) struct World {
    /// The engine.
    pub(crate) engine: Engine,
    /// Its sockets.
    pub(crate) sink: Sink,
    now_ms: u64,
}

impl World {
    /// A world for so many connections. Streams neither end by size nor channels by number.
    pub(crate) fn new(max_connections: usize) -> World {
        World::with_rules(max_connections, Rules::default())
    }

    /// The same, with rules for tokens.
    pub(crate) fn with_rules(max_connections: usize, tokens: Rules) -> World {
        let config = Config {
            tokens,
            ..World::config()
        };
        World::of(&config, max_connections)
    }

    /// A world with these settings.
    pub(crate) fn of(config: &Config, max_connections: usize) -> World {
        let mut world = World {
            engine: Engine::new(config, max_connections, 1),
            sink: Sink::default(),
            now_ms: 0,
        };
        world.pass(1_000);
        world
    }

    /// The same, whose log is saved when [`World::save`] is called.
    pub(crate) fn saved(max_connections: usize) -> World {
        let config = World::config();
        let identity = Identity::new([1, 2, 3]);
        let history = log::History::new(identity, &config, max_connections, 0);
        let engine = Engine::with_history(&config, max_connections, 1, history, LogEnding::Clean);
        World {
            now_ms: engine.now().0,
            engine,
            sink: Sink::default(),
        }
    }

    /// Saves what was published, and answers its publishers.
    pub(crate) fn save(&mut self) {
        if let Some(unsaved) = self.engine.take_unsaved() {
            self.engine.saved(unsaved.up_to, &mut self.sink);
        }
    }

    /// The settings of a world.
    pub(crate) fn config() -> Config {
        Config {
            stream_max_bytes: u32::MAX,
            history: History {
                max_total_bytes: 4 << 30,
                ..History::default()
            },
            ..Config::default()
        }
    }

    /// A world in which so many connections have asked the same.
    pub(crate) fn with_parked(connections: usize, request: &[u8]) -> (World, Vec<ConnId>) {
        World::new(connections).and_parked(connections, request)
    }

    /// The same, in this world.
    pub(crate) fn and_parked(mut self, connections: usize, request: &[u8]) -> (World, Vec<ConnId>) {
        let world = &mut self;
        let ids = (0..connections).map(|_| world.connect(request)).collect();
        (self, ids)
    }

    /// The present time.
    pub(crate) fn now(&self) -> Time {
        Time(self.now_ms)
    }

    /// Lets time pass, and nothing else.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let unix_ms = 1_800_000_000_000 + self.now_ms;
        self.engine.set_now(Time(self.now_ms), unix_ms);
    }

    /// A new connection with its first request.
    pub(crate) fn connect(&mut self, request: &[u8]) -> ConnId {
        let id = self.engine.accept(Access::Trusted);
        let id = id.expect("a world has room for its connections");
        self.ask(id, request);
        id
    }

    /// A request on a connection.
    pub(crate) fn ask(&mut self, id: ConnId, request: &[u8]) {
        self.engine.input(id, request, &mut self.sink);
    }

    /// A client that leaves.
    pub(crate) fn leave(&mut self, id: ConnId) {
        self.engine.eof(id, &mut self.sink);
        while self.engine.next_close().is_some() {}
    }

    /// A message from a producer.
    pub(crate) fn publish(&mut self, channel: &str, data: Data) {
        self.submit(Draft::new(name(channel), data));
    }

    /// Publishes a message whose channel name is already parsed.
    pub(crate) fn submit(&mut self, draft: Draft<'_>) {
        let published = self.engine.submit(draft);
        assert!(published.is_ok(), "a world has room for its messages");
    }

    /// Serves all ready readers.
    pub(crate) fn deliver(&mut self) {
        while self.engine.hub().has_ready() {
            self.engine.deliver(256, &mut self.sink);
        }
    }

    /// Does all that is due.
    pub(crate) fn expire(&mut self) {
        while self.engine.has_work() {
            self.engine.serve_deadlines(256, &mut self.sink);
        }
    }

    /// A request that goes on after the newest message.
    pub(crate) fn next_request(&self, endpoint: &str) -> Vec<u8> {
        let hub = self.engine.hub();
        let since = hub.id(hub.head());
        get(&format!("/{endpoint}/{CHANNEL}?since={since}"))
    }
}

/// The name of a channel.
pub(crate) fn name(name: &str) -> ChannelName<'_> {
    ChannelName::parse(name.as_bytes()).expect("a valid name")
}

/// A request as a program sends it.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:7711\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// The handshake of a WebSocket as a program sends it.
pub(crate) fn handshake(target: &str) -> Vec<u8> {
    let fields = encke_test_client::websocket::HANDSHAKE;
    format!("GET {target} HTTP/1.1\r\nHost: localhost:7711\r\n{fields}\r\n").into_bytes()
}

/// A publish of so many bytes of text.
pub(crate) fn post(target: &str, bytes: usize) -> Vec<u8> {
    let body = "x".repeat(bytes);
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost:7711\r\nContent-Type: text/plain\r\n\
         Content-Length: {bytes}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A request as a browser sends it.
pub(crate) fn browser_get(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\n\
         Host: push.example.org\r\n\
         Connection: keep-alive\r\n\
         sec-ch-ua-platform: \"Linux\"\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/142.0.0.0 Safari/537.36\r\n\
         sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
         sec-ch-ua-mobile: ?0\r\n\
         Accept: text/event-stream\r\n\
         Cache-Control: no-cache\r\n\
         Sec-Fetch-Site: same-origin\r\n\
         Sec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Dest: empty\r\n\
         Referer: https://push.example.org/dashboard\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
         Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark\r\n\r\n"
    )
    .into_bytes()
}

/// A text message of so many bytes.
pub(crate) fn text(bytes: usize) -> Data {
    const LINE: &str = "encke comes back soonest: \"tomorrow\", they say\n";
    let lines = LINE.repeat(bytes / LINE.len() + 1);
    Data::Text(lines[..bytes].into())
}

/// A server that runs on a thread of its own until it is dropped.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Publishes to it.
    pub(crate) publisher: Publisher,
    handle: Handle,
    /// `/proc/PID/task/TID` of its thread.
    task: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a server on a port of the system's choice.
    pub(crate) fn start() -> Running {
        let config = Config {
            listen: vec![Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))],
            stream_max_bytes: u32::MAX,
            drain: Duration::ZERO,
            ..Config::default()
        };
        let server = Server::bind(config).expect("loopback can be listened on");
        let Some(&Address::Tcp(address)) = server.local_addrs().first() else {
            unreachable!("it listens on the address given");
        };
        let (publisher, handle) = (server.publisher(), server.handle());
        let (start, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let task = fs::read_link("/proc/thread-self").expect("a Linux system");
            start
                .send(Path::new("/proc").join(task))
                .expect("the starter waits");
            server.run().expect("the poll works");
        });
        Running {
            address,
            publisher,
            handle,
            task: started.recv().expect("the thread has started"),
            thread: Some(thread),
        }
    }

    /// The processor time that the server spends on what `work` makes it do.
    pub(crate) fn busy(&self, work: impl FnOnce()) -> Duration {
        let before = self.processor_time();
        work();
        self.processor_time() - before
    }

    /// The processor time of the server's thread, read once it sleeps: before, it is not counted
    /// to the end.
    fn processor_time(&self) -> Duration {
        let read = |file| fs::read_to_string(self.task.join(file)).expect("the thread runs");
        while !read("stat")
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('S'))
        {
            thread::yield_now();
        }
        let nanoseconds = read("schedstat").split(' ').next().map(str::parse);
        Duration::from_nanos(nanoseconds.expect("a number").expect("a number"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
