//! The publish lane: sends the commands of a node in their order, and gives back the replies in
//! the same order.
//!
//! Owns pipelining: all commands that wait are sent before the first answer is read. With
//! `--engine-wait` it also owns the rule that a reply to a publish is given back only when that many
//! replicas have the entry. Replies to beats and other commands of the node itself are not held back:
//! without them the node would take the server for dead, or no term would be settled.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use super::check;
use super::connection::Connection;
use super::fault::{Fault, words};
use super::lane::{End, Event, Job, LaneThread, Service};
use super::wire::{self, Form, Keys, Scripts};
use encke_core::log::cluster::Reply;
use encke_core::log::cluster::command::{ONCE, OPEN};
use encke_core::message::EntryId;

/// Bytes after which no further command joins those that are sent together.
const PIPELINE_BYTES: usize = 1 << 20;

/// The time for which `WAIT` waits for replicas before it answers how many have confirmed.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(1);

/// After this time without a refusal of what the node says of itself, the next one is told again.
const QUIET: Duration = Duration::from_secs(60);

/// A command that was sent.
struct Sent {
    form: Form,
    is_publish: bool,
    keep_from: Option<EntryId>,
    /// Its place in what was packed.
    at: usize,
}

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
    /// The refusals of beats and other commands of the node itself that were logged.
    told: Told,
}

impl Publish {
    pub(super) fn new(keys: Keys, replicas: u32) -> Publish {
        Publish {
            keys,
            replicas,
            scripts: None,
            is_allowed: false,
            held: Vec::new(),
            told: Told::default(),
        }
    }
}

impl Service for Publish {
    fn prepare(&mut self, _: &LaneThread, connection: &mut Connection) -> Result<(), Fault> {
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

    fn serve(&mut self, line: &LaneThread, connection: &mut Connection) -> Result<Infallible, End> {
        let mut packed = Vec::new();
        let mut sent = Vec::new();
        loop {
            self.gather(line, &mut packed, &mut sent)?;
            let has_publishes = sent.iter().any(|one| one.is_publish);
            let asks_replicas = self.replicas > 0 && (has_publishes || !self.held.is_empty());
            if asks_replicas {
                let mut wait = cmd("WAIT").take();
                wait.arg(self.replicas)
                    .arg(REPLICAS_TIMEOUT.as_millis() as u64);
                wait.write_packed_command(&mut packed);
            }
            connection.send(&packed)?;
            let refused = self.take_replies(line, connection, &sent, asks_replicas, true)?;
            // Without the entries that need not be kept there may be memory for those.
            if let Some(again) = refused.and_then(|place| sent.get(place..))
                && let Some(first) = again.first()
            {
                self.trim(connection, again)?;
                connection.send(&packed[first.at..])?;
                self.take_replies(line, connection, again, asks_replicas, false)?;
            }
        }
    }
}

impl Publish {
    /// Takes the replies to commands, and gives them back. If some are to be sent again, because the
    /// server has no memory for them and for none that follow, returns the place of the first.
    fn take_replies(
        &mut self,
        line: &LaneThread,
        connection: &mut Connection,
        sent: &[Sent],
        asks_replicas: bool,
        may_repeat: bool,
    ) -> Result<Option<usize>, End> {
        let mut answers = Vec::with_capacity(sent.len());
        for one in sent {
            answers.push(wire::reply(one.form, connection.receive()?)?);
        }
        let refused = first_refused(&answers).filter(|_| may_repeat);
        answers.truncate(refused.unwrap_or(answers.len()));
        let mut replies = Vec::new();
        for (reply, one) in answers.into_iter().zip(sent) {
            if one.form == Form::Appended && !one.is_publish {
                self.note_own(&reply);
            }
            match asks_replicas && one.is_publish {
                true => self.held.push((one.is_publish, reply)),
                false => replies.push((one.is_publish, reply)),
            }
        }
        if !replies.is_empty() {
            line.tell(Event::Answered(replies))?;
        }
        if asks_replicas && self.has_replicas(connection)? && !self.held.is_empty() {
            line.tell(Event::Answered(std::mem::take(&mut self.held)))?;
        }
        Ok(refused)
    }

    /// Notes the reply to what the node says of itself, without which it is not ready. No publisher is
    /// told if that is refused, so the log has the reason.
    fn note_own(&mut self, reply: &Reply) {
        let why = match reply {
            Reply::Full => "the engine has no memory for more",
            Reply::Refused(why) => why,
            _ => return,
        };
        if self.told.is_news(why, Instant::now()) {
            log::warn!("engine, publishing: the engine takes nothing of this node: {why}");
        }
    }

    /// Has the server remove the entries that need not be kept any more. It does so with every entry
    /// that is appended, but only by blocks, and not while it has no memory for one.
    fn trim(&self, connection: &mut Connection, sent: &[Sent]) -> Result<(), Fault> {
        let Some(keep_from) = sent.iter().filter_map(|one| one.keep_from).max() else {
            return Ok(());
        };
        let mut trim = cmd("XTRIM").take();
        trim.arg(&self.keys.log).arg("MINID");
        // If it refuses, the commands are refused again, and that is told.
        let _ = connection.ask(trim.arg(keep_from.to_string()))?;
        Ok(())
    }

    /// Packs the commands that wait. If no reply is held back, there is at least one.
    fn gather(
        &mut self,
        line: &LaneThread,
        packed: &mut Vec<u8>,
        sent: &mut Vec<Sent>,
    ) -> Result<(), End> {
        packed.clear();
        sent.clear();
        // Gives memory back after an unusually large entry.
        packed.shrink_to(PIPELINE_BYTES);
        let mut next = match self.held.is_empty() {
            true => Some(line.next_job()?),
            false => line.try_next_job()?,
        };
        while let Some(job) = next {
            match (job, &self.scripts) {
                (Job::Send(command), Some(scripts)) => {
                    let at = packed.len();
                    let form = wire::pack(&command, &self.keys, scripts, self.replicas > 0, packed);
                    sent.push(Sent {
                        form,
                        is_publish: command.is_publish(),
                        keep_from: command.keep_from(),
                        at,
                    });
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

/// The last refusal of a command of the node itself. While memory is short, small entries are taken
/// and large ones are not: the same reason is news only after a while without a refusal.
#[derive(Default)]
struct Told {
    why: String,
    at: Option<Instant>,
}

impl Told {
    /// Notes a refusal. Returns whether it is to be logged.
    fn is_news(&mut self, why: &str, now: Instant) -> bool {
        let is_late = self.at.is_none_or(|at| now.duration_since(at) >= QUIET);
        let is_news = is_late || why != self.why;
        why.clone_into(&mut self.why);
        self.at = Some(now);
        is_news
    }
}

/// The place of the first reply from which on the server had no memory for anything. What is sent
/// again from there keeps its order.
fn first_refused(replies: &[Reply]) -> Option<usize> {
    let is_full = |reply: &Reply| *reply == Reply::Full;
    let appended = replies.iter().rposition(|reply| !is_full(reply));
    let first = appended.map_or(0, |place| place + 1);
    (first < replies.len()).then_some(first)
}

/// Loads a script into the server, and returns its name there.
fn load(connection: &mut Connection, script: &str) -> Result<String, Fault> {
    match connection.ask(cmd("SCRIPT").arg("LOAD").arg(script))? {
        Ok(Value::BulkString(name)) => Ok(String::from_utf8_lossy(&name).into_owned()),
        Ok(other) => Err(Fault::unexpected("SCRIPT LOAD", &other)),
        Err(error) => Err(Fault::Refused(check::missing("SCRIPT LOAD", &error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_told_again_after_a_while_without_it() {
        let mut told = Told::default();
        let begun = Instant::now();
        assert!(told.is_news("full", begun));
        // Whatever was taken in between.
        for seconds in [1, 30, 89, 148] {
            assert!(!told.is_news("full", begun + Duration::from_secs(seconds)));
        }
        let later = begun + Duration::from_secs(148) + QUIET;
        assert!(told.is_news("full", later));
        assert!(told.is_news("a right is missing", later));
        assert!(!told.is_news("a right is missing", later));
    }
}
