//! The attacking processes: their start, the questions for their tallies, and their end.
//!
//! Invariant: a process ends, and with it all of its connections, when its parent closes its
//! standard input or is gone.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use super::crowd::{Crowd, Tally};
use super::{ALL, Attack, Size};
use crate::driver::Driver;
use crate::lines::{self, Process, drain_input, say, take_line};
use crate::net;

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
    processes: Vec<Process>,
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
        let shares = lines::shares(connections, 1).into_iter().zip(FIRST_NET..);
        let processes = shares.map(|((first, count), net)| {
            let order = Order {
                attack: attack.name.to_owned(),
                size,
                server,
                from: lines::addresses(net),
                cpu,
                first,
                count,
            };
            Process::start("raid", &order)
        });
        Ok(Raid {
            processes: processes.collect::<io::Result<_>>()?,
        })
    }

    /// The outcomes of all connections so far.
    pub(super) fn tally(&mut self) -> io::Result<Tally> {
        let mut all = Tally::default();
        for process in &mut self.processes {
            process.tell(&())?;
            let tally = loop {
                match process.hear()? {
                    Some(tally) => break tally,
                    None => process.read()?,
                }
            };
            all.add(&tally);
        }
        Ok(all)
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
