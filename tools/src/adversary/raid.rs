//! The attacking processes: their start, the questions for their tallies, and their end.
//!
//! Invariant: a process ends, and with it all of its connections, when its parent closes its standard
//! input or is gone.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::crowd::{Crowd, Tally};
use super::{ALL, Attack, Size};
use crate::driver::Driver;
use crate::lines::{self, drain_input, say, take_line};
use crate::net;

/// Descriptors that a process needs besides its connections'.
const SPARE_FILES: u64 = 32;

/// Source addresses of a process: enough that ports in TIME_WAIT do not run out.
const ADDRESSES: u8 = 32;

/// The first of their addresses' second numbers: those below are the neighbour's.
const FIRST_NET: u8 = 32;

/// The configuration of a process.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    attack: String,
    size: Size,
    server: SocketAddrV4,
    from: Vec<Ipv4Addr>,
    cpu: Option<usize>,
    first: u32,
    count: u32,
}

/// The processes of an attack. Dropped, they and their connections are gone.
pub(super) struct Raid {
    parts: Vec<Raider>,
}

struct Raider {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Raider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Raid {
    /// Begins an attack.
    pub(super) fn begin(
        attack: &Attack,
        size: Size,
        server: SocketAddrV4,
        cpu: Option<usize>,
    ) -> io::Result<Raid> {
        let connections = (attack.connections)(&size);
        let room = net::raise_file_limit().saturating_sub(SPARE_FILES).max(1);
        let count = u64::from(connections).div_ceil(room) as u32;
        let mut parts = Vec::new();
        let mut first = 0;
        for number in 0..count {
            let share = connections / count + u32::from(number < connections % count);
            let from =
                (0..ADDRESSES).map(|last| Ipv4Addr::new(127, FIRST_NET + number as u8, last, 1));
            parts.push(Raider::start(&Order {
                attack: attack.name.to_owned(),
                size,
                server,
                from: from.collect(),
                cpu,
                first,
                count: share,
            })?);
            first += share;
        }
        Ok(Raid { parts })
    }

    /// The outcomes of all connections so far.
    pub(super) fn tally(&mut self) -> io::Result<Tally> {
        let mut all = Tally::default();
        for part in &mut self.parts {
            writeln!(part.stdin)?;
            let mut line = String::new();
            part.stdout.read_line(&mut line)?;
            all.add(&serde_json::from_str(&line)?);
        }
        Ok(all)
    }
}

impl Raider {
    fn start(order: &Order) -> io::Result<Raider> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("raid")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        writeln!(stdin, "{}", serde_json::to_string(order)?)?;
        Ok(Raider {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }
}

/// Attacks as standard input says, until it ends.
pub fn run() -> Result<(), String> {
    match lines::begin::<Order>()? {
        Some((order, input)) => attack(&order, input).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

fn attack(order: &Order, mut input: Vec<u8>) -> io::Result<()> {
    net::be_ordinary();
    let attack = ALL.iter().find(|attack| attack.name == order.attack);
    let attack = attack.ok_or_else(|| io::Error::other("no such attack"))?;
    if let Some(cpu) = order.cpu {
        net::pin(cpu)?;
    }
    let script = |number, visit| (attack.script)(&order.size, order.first + number, visit);
    let seconds = order.size.seconds;
    let mut driver = Driver::new()?;
    lines::watch_input(&mut driver)?;
    let mut crowd = Crowd::new(
        order.server,
        order.from.clone(),
        order.count,
        seconds,
        &script,
    );
    loop {
        crowd.turn(&mut driver)?;
        if std::mem::take(&mut crowd.is_asked) {
            let is_open = drain_input(&mut input)?;
            while take_line(&mut input).is_some() {
                say(&crowd.tally(&driver))?;
            }
            if !is_open {
                return Ok(());
            }
        }
    }
}
