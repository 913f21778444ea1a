//! What saved history costs: encke with a directory beside encke without one, measured in turn in
//! one run; and what a start with much history takes.
//!
//! Owns the loads of publishers and the ratios. What each server is given, and for how long, is the
//! same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;

use crate::comparison::median;
use crate::load::{Load, PATIENCE, request};
use crate::measure;
use crate::server::{Description, Server};

/// Publishers of encke with and without a directory.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Rounds of each load; the two servers take turns
    #[arg(long, default_value_t = 8)]
    pub rounds: u32,
    /// Length of each, in seconds
    #[arg(long, default_value_t = 0.5)]
    pub seconds: f64,
    /// Where the directory is, on the disk that is to be measured
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// `--data-sync` of the server with a directory
    #[arg(long, default_value = "1s")]
    pub data_sync: String,
    /// History with which the start is measured, in MB; 0: it is not measured
    #[arg(long, default_value_t = 256)]
    pub start_mb: u64,
}

/// A way to publish: its name, the least ratio that is wanted of it, how many requests are unanswered
/// at a time, and how many messages are in each.
const WAYS: [(&str, f64, usize, u64); 3] = [
    ("publishes/s, one at a time", 0.8, 1, 1),
    ("publishes/s, 16 at a time", 0.9, 16, 1),
    ("publishes/s, batches of 100", 0.9, 1, 100),
];

/// Bytes of the data of a message.
const DATA_BYTES: usize = 100;

/// How much later the 99th percentile may be answered, in milliseconds.
const P99_MARK_MS: f64 = 2.0;

/// How long a start may take.
const START_MARK: Duration = Duration::from_secs(2);

/// Runs everything and prints it; whether all marks are reached.
pub fn run(plan: &Plan) -> Result<bool, String> {
    let dir = plan.data_dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = dir.join(format!("encke-saved-{}", std::process::id()));
    let outcome = compare(plan, &dir).and_then(|is_good| {
        let starts = plan.start_mb == 0 || start(plan, &dir)?;
        Ok(is_good && starts)
    });
    let _ = fs::remove_dir_all(&dir);
    outcome
}

fn describe(plan: &Plan, dir: Option<&Path>, more: &[&str]) -> Result<Description, String> {
    let mut command: Vec<String> = vec!["encke".into()];
    let words = [
        "--listen",
        "127.0.0.1:{port}",
        "--log",
        "warn",
        "--drain",
        "0",
    ];
    command.extend(words.iter().chain(more).map(ToString::to_string));
    if let Some(dir) = dir {
        command.extend(["--data-dir".into(), dir.display().to_string()]);
        command.extend(["--data-sync".into(), plan.data_sync.clone()]);
    }
    Description::encke(command)
}

/// Publishes for so long, with so many requests unanswered at a time and messages in each; how many
/// messages were answered.
fn publish(load: &mut Load, depth: usize, messages: u64, length: Duration) -> Result<u64, String> {
    let data = "x".repeat(DATA_BYTES);
    let request = match messages {
        1 => request("POST", "/publish/news", &data),
        _ => {
            let line = format!("{{\"channel\":\"news\",\"data\":\"{data}\"}}\n");
            request("POST", "/publish", &line.repeat(messages as usize))
        }
    };
    let until = Instant::now() + length;
    let before = load.answered();
    load.pipelined(depth, || (Instant::now() < until).then(|| request.clone()))?;
    Ok((load.answered() - before) * messages)
}

/// A load with one publisher.
fn publisher(server: &Server) -> Result<Load, String> {
    let mut load = Load::new()?;
    load.publishers(server.address, 1)?;
    Ok(load)
}

fn compare(plan: &Plan, dir: &Path) -> Result<bool, String> {
    let memory = Server::start(describe(plan, None, &[])?, None, None)?;
    let saved = Server::start(describe(plan, Some(dir), &[])?, None, None)?;
    let servers = [&memory, &saved];
    let mut loads = [publisher(&memory)?, publisher(&saved)?];
    let length = Duration::from_secs_f64(plan.seconds);
    let mut is_good = true;
    println!(
        "{:36} {:>11} {:>11} {:>7} {:>6}",
        "", "memory", "directory", "ratio", "mark"
    );
    for (name, mark, depth, messages) in WAYS {
        for load in &mut loads {
            publish(load, depth, messages, length / 4)?;
        }
        // The median over rounds of the ratio within a round: what disturbs a round disturbs both.
        let mut ratios = Vec::new();
        let mut sums = [0.0; 2];
        let mut costs = [(0, 0); 2];
        for round in 0..plan.rounds {
            let mut rates = [0.0; 2];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for place in order {
                let begun = Instant::now();
                let busy = processor_time(servers[place]);
                let count = publish(&mut loads[place], depth, messages, length)?;
                rates[place] = count as f64 / begun.elapsed().as_secs_f64();
                sums[place] += rates[place];
                costs[place].0 += processor_time(servers[place]).saturating_sub(busy);
                costs[place].1 += count;
            }
            ratios.push(rates[1] / rates[0]);
        }
        let ratio = median(ratios).unwrap_or(0.0);
        let [memory, saved] = sums.map(|sum| sum / f64::from(plan.rounds));
        println!("{name:36} {memory:11.0} {saved:11.0} {ratio:7.3} {mark:>5.2}+");
        let [memory, saved] = costs.map(|(time, count)| time as f64 / count.max(1) as f64 / 1e3);
        let name = "  processor time each, us";
        println!(
            "{name:36} {memory:11.2} {saved:11.2} {:7.3}",
            saved / memory
        );
        is_good &= ratio >= mark;
    }
    is_good &= delays(plan, servers)?;
    Ok(is_good)
}

/// Answers and deliveries at 1,000 messages a second.
fn delays(plan: &Plan, servers: [&Server; 2]) -> Result<bool, String> {
    let mut loads = [publisher(servers[0])?, publisher(servers[1])?];
    for (load, server) in loads.iter_mut().zip(servers) {
        load.subscribe(server.address, 1, 1, None)?;
    }
    let mut sent = 0;
    for _ in 0..plan.rounds {
        let length = Duration::from_secs_f64(plan.seconds);
        let counts = loads
            .iter_mut()
            .map(|load| load.publish_paced(1_000.0, 1, 1, length));
        sent += counts.sum::<Result<u64, String>>()? / 2;
    }
    for load in &mut loads {
        load.until_received(sent)?;
    }
    let ms = |times: &Histogram<u64>, part| times.value_at_quantile(part) as f64 / 1e6;
    let [memory, saved] = loads.each_ref().map(|load| ms(load.answer_times(), 0.99));
    let more = saved - memory;
    println!(
        "{:36} {memory:11.3} {saved:11.3} {more:+7.3} {P99_MARK_MS:>5}-",
        "p99 of an answer at 1,000/s, ms"
    );
    for (name, part) in [("median delivery delay, ms", 0.5), ("p99 of it, ms", 0.99)] {
        let [memory, saved] = loads.each_ref().map(|load| ms(load.delays(), part));
        let ratio = saved / memory;
        println!("{name:36} {memory:11.3} {saved:11.3} {ratio:7.3}");
    }
    Ok(more <= P99_MARK_MS)
}

/// The bytes and the memory of much history, and the time of a start with it.
fn start(plan: &Plan, dir: &Path) -> Result<bool, String> {
    let dir = dir.with_extension("start");
    let limit = format!("{}M", plan.start_mb);
    let more = [
        "--history-total-bytes",
        &limit,
        "--history-bytes",
        &limit,
        "--history-messages",
        "4000000",
    ];
    let mut server = Server::start(describe(plan, Some(&dir), &more)?, None, None)?;
    let mut load = publisher(&server)?;
    let bound = (2 * plan.start_mb + 32) << 20;
    let mut most = 0;
    // Over the limit three times, so that segments come and go.
    let total = (3 * plan.start_mb) << 20;
    let mut sent = 0;
    while sent < total {
        sent += publish(&mut load, 1, 100, Duration::from_millis(200))? * 200;
        most = most.max(size(&dir));
    }
    let before = resident(&server);
    drop(load);
    server.end(true, PATIENCE)?;
    let begun = Instant::now();
    server.start_again()?;
    let took = begun.elapsed();
    let after = resident(&server);
    let mb = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "start with {} MB of history: {took:?} (mark: {START_MARK:?})",
        plan.start_mb
    );
    println!(
        "most on disk: {:.1} MB (mark: {:.1} MB)",
        mb(most),
        mb(bound)
    );
    println!(
        "resident before {:.1} MB, after the start {:.1} MB",
        mb(before),
        mb(after)
    );
    drop(server);
    let _ = fs::remove_dir_all(&dir);
    let is_small = after as f64 <= (plan.start_mb << 20) as f64 * 1.1 + f64::from(32 << 20);
    Ok(took <= START_MARK && most <= bound && is_small)
}

/// Nanoseconds for which the threads of a server ran.
fn processor_time(server: &Server) -> u64 {
    measure::cpu_ns(&server.processes())
}

fn resident(server: &Server) -> u64 {
    measure::Memory::read(&server.processes()).rss
}

/// The bytes of the files in a directory.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}
