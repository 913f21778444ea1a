//! The publish lane: sends the commands of a node in their order, and gives back the replies in
//! the same order.
//!
//! Owns pipelining: all commands that wait are sent before the first answer is read. A reply to a
//! publish does not wake the reactor at once: the entry, which the follow lane reads at the same
//! moment, does. So a publish wakes it once and not twice. With `--engine-wait` the lane also owns the
//! rule that a reply to a publish is given back only when that many replicas have the entry. Replies
//! to beats and other commands of the node itself are not held back: without them the node would take
//! the server for dead, or no term would be settled.

use std::convert::Infallible;
use std::time::Duration;

use redis::{Value, cmd};

use super::check;
use super::connection::Connection;
use super::fault::{Fault, words};
use super::lane::{End, Event, Job, Line, Service};
use super::wire::{self, Form, Keys, Scripts};
use encke_core::log::cluster::Reply;
use encke_core::log::cluster::command::{ONCE, OPEN};

/// Bytes after which no further command joins those that are sent together.
const PIPELINE_BYTES: usize = 1 << 20;

/// The time for which `WAIT` waits for replicas before it answers how many have confirmed.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(1);

/// The service of the publish lane.
pub(super) struct Publish {
    pub(super) keys: Keys,
    /// The number of replicas that must have an entry.
    pub(super) replicas: u32,
    pub(super) scripts: Option<Scripts>,
    /// Whether the rights of this user were found to be enough.
    pub(super) is_allowed: bool,
    /// Replies to publishes for which there are not enough replicas yet.
    pub(super) held: Vec<(bool, Reply)>,
}

impl Publish {
    pub(super) fn new(keys: Keys, replicas: u32) -> Publish {
        Publish {
            keys,
            replicas,
            scripts: None,
            is_allowed: false,
            held: Vec::new(),
        }
    }
}

impl Service for Publish {
    fn prepare(&mut self, _: &Line, connection: &mut Connection) -> Result<(), Fault> {
        if !self.is_allowed {
            check::rights(connection, &self.keys, self.replicas > 0)?;
            self.is_allowed = true;
        }
        self.scripts = Some(Scripts {
            open: load(connection, OPEN)?,
            once: load(connection, ONCE)?,
        });
        self.held.clear();
        if self.replicas > 0 {
            connection.wait_for(REPLICAS_TIMEOUT)?;
        }
        Ok(())
    }

    fn serve(&mut self, line: &Line, connection: &mut Connection) -> Result<Infallible, End> {
        let mut packed = Vec::new();
        let mut forms = Vec::new();
        loop {
            self.gather(line, &mut packed, &mut forms)?;
            let has_publishes = forms.iter().any(|(_, is_publish)| *is_publish);
            let asks_replicas = self.replicas > 0 && (has_publishes || !self.held.is_empty());
            if asks_replicas {
                let mut wait = cmd("WAIT").take();
                wait.arg(self.replicas)
                    .arg(REPLICAS_TIMEOUT.as_millis() as u64);
                wait.write_packed_command(&mut packed);
            }
            connection.send(&packed)?;
            let mut replies = Vec::new();
            for &(form, is_publish) in &forms {
                let reply = wire::reply(form, connection.receive()?)?;
                match asks_replicas && is_publish {
                    true => self.held.push((is_publish, reply)),
                    false => replies.push((is_publish, reply)),
                }
            }
            let is_read_back = !asks_replicas && has_publishes;
            match is_read_back {
                // The reactor is woken by the entry, which the follow lane has about now.
                true => line.hint(Event::Answered(replies))?,
                false if replies.is_empty() => {}
                false => line.tell(Event::Answered(replies))?,
            }
            if asks_replicas && self.has_replicas(connection)? {
                line.tell(Event::Answered(std::mem::take(&mut self.held)))?;
            }
        }
    }
}

impl Publish {
    /// Packs the commands that wait. If no reply is held back, there is at least one.
    fn gather(
        &mut self,
        line: &Line,
        packed: &mut Vec<u8>,
        forms: &mut Vec<(Form, bool)>,
    ) -> Result<(), End> {
        packed.clear();
        forms.clear();
        // Gives memory back after an unusually large entry.
        packed.shrink_to(PIPELINE_BYTES);
        let mut next = match self.held.is_empty() {
            true => Some(line.next_job_after_hint()?),
            false => line.try_next_job()?,
        };
        while let Some(job) = next {
            match (job, &self.scripts) {
                (Job::Send(command), Some(scripts)) => {
                    let form = wire::pack(&command, &self.keys, scripts, packed);
                    forms.push((form, command.is_publish()));
                }
                (Job::Follow(_) | Job::Look, _) | (_, None) => {
                    debug_assert!(false, "no job of this lane")
                }
            }
            next = match packed.len() < PIPELINE_BYTES {
                true => line.try_next_job()?,
                false => None,
            };
        }
        Ok(())
    }

    /// Handles the answer to `WAIT`.
    fn has_replicas(&self, connection: &mut Connection) -> Result<bool, Fault> {
        match connection.receive()? {
            Ok(Value::Int(count)) => Ok(count >= i64::from(self.replicas)),
            Ok(other) => Err(Fault::unexpected("WAIT", &other)),
            Err(error) => Err(Fault::Refused(words(&error))),
        }
    }
}

/// Loads a script into the server, and returns its name there.
fn load(connection: &mut Connection, script: &str) -> Result<String, Fault> {
    match connection.ask(cmd("SCRIPT").arg("LOAD").arg(script))? {
        Ok(Value::BulkString(name)) => Ok(String::from_utf8_lossy(&name).into_owned()),
        Ok(other) => Err(Fault::unexpected("SCRIPT LOAD", &other)),
        Err(error) => Err(Fault::Refused(check::missing("SCRIPT LOAD", &error))),
    }
}
