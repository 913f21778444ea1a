//! The steps of a world, chosen at random.
//!
//! Owns the choice, and the steps by which bytes and time pass. What clients and the server do is in
//! `world`, whether it may be is in the checks.

mod asking;
mod publishing;

use encke_core::engine::{Access, State};

use crate::client::Client;
use crate::rule::ensure;
use crate::world::World;

/// The last millisecond of the year 9999, the last that a date in HTTP has room for.
const LATEST_MS: u64 = 253_402_300_799_999;

impl World {
    /// One thing happens.
    ///
    /// # Panics
    ///
    /// A rule is broken.
    pub fn step(&mut self) {
        self.tally.steps += 1;
        if self.is_saved() && self.chance.u8(..6) == 0 {
            return self.disk_step();
        }
        match self.chance.u8(..100) {
            0..6 => self.accept(),
            6..19 => self.ask(),
            19..22 => self.command(),
            22..43 => self.transfer(),
            43 => self.hand_over(false),
            44..54 => self.read_some(),
            54..62 => self.publish(),
            62..70 => self.tick(),
            70..80 => self.work(),
            80..87 => self.socket(),
            87..94 => self.pass_time(),
            94 => self.leave(),
            95 => match self.chance.bool() {
                true => self.reload(),
                false => self.change_rights(),
            },
            96..98 => self.settle(),
            _ => self.be_quiet(),
        }
    }

    fn accept(&mut self) {
        let access = self
            .chance
            .pick(&[Access::Trusted, Access::Guarded, Access::Public]);
        let Some(id) = self.engine.accept(access) else {
            let (open, most) = (self.engine.connection_count(), self.setup.max_connections);
            ensure!(
                open == most,
                Refused,
                "refused with {open} of {most} connections"
            );
            self.tally.full += 1;
            return;
        };
        let index = id.index;
        self.tally.accepted += 1;
        self.say(|| format!("{index} accepted, {access:?}"));
        let blocks = !self.setup.smooth && self.chance.u8(..6) == 0;
        let room = blocks.then(|| self.chance.usize(..300));
        self.wire.open(index, room);
        let place = index as usize;
        if self.clients.len() <= place {
            self.clients.resize_with(place + 1, || None);
        }
        self.clients[place] = Some(Client::new(id, access, self.now));
    }

    /// Some connection for which `wanted` holds.
    fn some(&mut self, wanted: impl Fn(&Client) -> bool) -> Option<u32> {
        let all = self.indexes(wanted);
        (!all.is_empty()).then(|| self.chance.pick(&all))
    }

    /// So much of what a client wrote arrives in the server's kernel.
    fn send(&mut self, index: u32, most: usize) {
        let client = self.client(index);
        let length = client.unsent.len().min(most);
        let bytes: Vec<u8> = client.unsent.drain(..length).collect();
        client.kernel.extend(bytes);
        client.unread = true;
    }

    /// Bytes travel to the server.
    fn transfer(&mut self) {
        let ready = |client: &Client| !client.unsent.is_empty() && !client.broken;
        let Some(index) = self.some(ready) else {
            return;
        };
        let how = self.chance.u8(..8);
        let some = self.chance.usize(1..200);
        let length = match how {
            0 => 1,
            1 => some,
            _ => usize::MAX,
        };
        self.send(index, length);
        if self.chance.bool() {
            self.read(index, 70_000);
        }
    }

    fn read_some(&mut self) {
        if let Some(index) = self.some(|client| client.unread) {
            let most = self
                .chance
                .pick(&[1, 7, 100, 70_000, 70_000, 70_000, 70_000]);
            self.read(index, most);
        }
    }

    /// One tick of the reactor, with small budgets.
    fn tick(&mut self) {
        for index in self.indexes(|client| client.unread) {
            if self.clients[index as usize].is_some() {
                self.read(index, 70_000);
            }
        }
        self.again();
        self.list_on();
        let budget = self.chance.usize(1..20);
        self.deliver(budget);
        self.expire(budget);
        self.release(budget);
        self.close(budget);
    }

    /// One step of the engine.
    fn work(&mut self) {
        let budget = self.chance.usize(1..4);
        match self.chance.u8(..6) {
            0 | 1 => self.deliver(budget),
            2 => self.expire(budget),
            3 => {
                self.again();
            }
            4 => self.list_on(),
            _ => {
                self.close(budget);
            }
        }
    }

    pub(crate) fn release(&mut self, budget: usize) {
        self.engine.release_drained(budget);
        self.after();
    }

    /// A socket takes more, or less.
    fn socket(&mut self) {
        let Some(index) = self.some(|client| !client.broken) else {
            return;
        };
        let chance = &mut self.chance;
        let socket = self.wire.socket(index);
        let how = chance.u8(..20);
        match how {
            _ if self.setup.smooth => {}
            0 => socket.broken = true,
            1..5 => socket.room = Some(chance.usize(..200)),
            5..9 => socket.room = Some(socket.room.unwrap_or(0) + chance.usize(..2_000)),
            _ => socket.room = None,
        }
        let (is_waiting, room) = (!socket.rest.is_empty(), socket.room);
        self.say(|| format!("{index} takes {room:?} ({how})"));
        if (is_waiting && room != Some(0)) || how == 19 {
            self.writable(index);
        }
    }

    fn pass_time(&mut self) {
        let slow = self.setup.slow_clock;
        let ms = match self.chance.u8(..40) {
            0 if !slow || self.chance.u8(..4) == 0 => self.chance.u64(..10_000_000),
            1..4 if !slow => self.chance.u64(..100_000),
            4..12 if !slow => self.chance.u64(..5_000),
            _ => self.chance.u64(..60),
        };
        self.tally.jumps += u64::from(ms >= 1_000_000);
        if self.chance.u8(..20) == 0 {
            // The calendar is set, back as well as forth: deadlines go by another clock.
            self.wall_ms = match self.chance.u8(..4) {
                0 => self.chance.u64(..LATEST_MS),
                // A step by which some tokens expire, and others are good again.
                _ => self.wall_ms - 20_000 + self.chance.u64(..40_000),
            };
            self.note_wall();
            self.tally.wall_steps += 1;
        }
        self.advance(ms);
    }

    /// A client leaves.
    fn leave(&mut self) {
        let Some(index) = self.some(|client| !client.fin && !client.broken) else {
            return;
        };
        let abrupt = self.chance.bool();
        self.say(|| format!("{index} leaves (abruptly: {abrupt})"));
        let client = self.client(index);
        if !abrupt {
            client.unsent.clear();
            client.fin = true;
            client.unread = true;
            return;
        }
        client.broken = true;
        client.unread = false;
        let id = client.id;
        self.wire.socket(index).broken = true;
        self.engine.broken(id);
        self.after();
    }

    fn states(&self) -> Vec<State> {
        let all = self.indexes(|_| true).into_iter();
        all.map(|index| self.state(index)).collect()
    }

    /// While nothing is due, nothing is sent, whatever is tried.
    fn be_quiet(&mut self) {
        self.settle();
        let due = self.engine.next_due().map(|due| self.world_time(due));
        let until = due.unwrap_or(self.now + 10_000_000);
        if until <= self.now + 1 {
            return;
        }
        let ms = if self.chance.bool() {
            until - 1 - self.now
        } else {
            1
        };
        let sends = self.wire.sends;
        let states = self.states();
        self.say(|| format!("nothing for {ms} ms"));
        self.advance(ms);
        ensure!(
            !self.engine.has_work(),
            Deadline,
            "work before the time that was told"
        );
        self.again();
        self.list_on();
        self.deliver(1_000);
        self.expire(1_000);
        self.release(1_000);
        let closed = self.close(1_000);
        let after = self.states();
        ensure!(
            (self.wire.sends, closed, &after) == (sends, 0, &states),
            Deadline,
            "something happened before it was due: {states:?}, then {after:?}"
        );
        self.tally.quiet += 1;
    }
}
