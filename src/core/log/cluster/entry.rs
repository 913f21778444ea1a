//! Entries of a cluster's log, as bytes.
//!
//! Owns the encoding, which nodes of other versions read. An entry is a head and a body:
//!
//! ```text
//! tag u8: must be known (bit 7), version (bits 4 to 6), kind (bits 0 to 3)
//! head    tag | node u64 | nonce | at_ms
//! M       (length, flags u8, channel, [event], [key], data)…  as in `log::entry`; bit 6: and the end
//! T       members | chain | `END RUN` as text, and ` same` or ` rolled` after it
//! B       applied | leaving u8 | connections | digest u64 | chain | name
//! A       remembers u8 | members | departed | chain
//! R       (0, id, length, entry)… or (1, term, first number, last number)…
//! S       loses all u8 | chain
//! L       (length u8, channel)…  none: all channels
//! D       channel
//! C       up to | salt u64 | terms | for each bucket: place of its term, number
//! N       round u8 | ends the round u8 | asks u8 | (key u64, readers)…
//! K       (flags u8, subject, [channel], until_ms)…
//! ```
//!
//! Numbers are LEB128. The text of T is appended by the server that opens the term.
//!
//! Invariants:
//! - *One encoding.* Bytes that are read as an entry are the bytes that it is written as.
//! - *Unknown kinds are skipped*, unless the tag says that they must not be.

mod kick;
mod readers;

pub use kick::Kick;
pub use readers::Readers;

use super::bytes::{
    Bytes, read_name, read_short_name, read_text, write_id, write_list, write_number, write_word,
};
use super::command::BUCKETS;
use super::messages::Messages;
use crate::log::EntryError;
use crate::log::entry::write_short;
use crate::message::{ChannelName, EntryId};

/// The most messages of an entry that are gathered from several publishes.
pub const MAX_GROUP: usize = 512;

/// The most bytes of an entry that are gathered from several publishes.
pub const MAX_GROUP_BYTES: usize = 256 << 10;

/// The most nodes that are remembered.
pub const MAX_MEMBERS: usize = 256;

/// The most nodes that are remembered as no members any more.
pub const MAX_DEPARTED: usize = 32;

/// The most terms in a chain.
pub const MAX_CHAIN: usize = 16;

/// The most bytes of the name of a node.
pub const MAX_NAME_BYTES: usize = 64;

/// The most terms of a checkpoint.
const MAX_TERMS: usize = BUCKETS;

const VERSION: u8 = 1 << 4;
const MANDATORY: u8 = 1 << 7;
const MESSAGES: u8 = MANDATORY | VERSION | 1;
const TERM: u8 = MANDATORY | VERSION | 2;
const BEAT: u8 = VERSION | 3;
const ANSWER: u8 = MANDATORY | VERSION | 4;
const RETOLD: u8 = MANDATORY | VERSION | 5;
const SETTLED: u8 = MANDATORY | VERSION | 6;
const LOST: u8 = MANDATORY | VERSION | 7;
const DELETE: u8 = MANDATORY | VERSION | 8;
const CHECKPOINT: u8 = VERSION | 9;
const READERS: u8 = VERSION | 10;
const KICK: u8 = VERSION | 11;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'e> {
    /// Its author and time.
    pub head: Head,
    /// Its content.
    pub body: Body<'e>,
}

/// The author and the time of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The node: a random number of its process.
    pub node: u64,
    /// The number that it gave to the entry. It never gives one to two.
    pub nonce: u64,
    /// By the clock of the server as the node knows it, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'e> {
    /// Messages are published, in this order; at least one.
    Messages(Messages<'e>),
    /// A term begins.
    Term(Term<'e>),
    /// A sign of life.
    Beat(Beat<'e>),
    /// What a node has, when a term begins.
    Answer(Answer),
    /// Entries that the server may have forgotten, in their order.
    Retold(Vec<Record<'e>>),
    /// A term is settled: it goes on after these.
    Settled(Settled),
    /// Messages of these channels may be lost; of all channels if there are none.
    Lost(Vec<ChannelName<'e>>),
    /// The history of a channel is deleted.
    Delete(ChannelName<'e>),
    /// The newest id of each bucket of names.
    Checkpoint(Checkpoint),
    /// How many readers channels have on this node.
    Readers(Readers),
    /// Connections of subjects end, or their tokens are refused; at least one subject.
    Kick(Vec<Kick<'e>>),
}

/// The beginning of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term<'e> {
    /// The members that its opener knew.
    pub members: Vec<u64>,
    /// The history that its opener knew: terms and their ends.
    pub chain: Vec<EntryId>,
    /// The last id that the log of the server has before it.
    pub end: EntryId,
    /// The run of the server.
    pub run: &'e str,
    /// Whether the server is the one that had the term before, and has lost nothing.
    pub is_same: bool,
    /// Whether the server had an older log in place of the one that was read, and has emptied it.
    pub is_rolled: bool,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat<'e> {
    /// Up to which id the node has read.
    pub applied: EntryId,
    /// Whether it is its last.
    pub is_leaving: bool,
    /// Its parked connections.
    pub connections: u64,
    /// The digest of its settings.
    pub digest: u64,
    /// Its history: terms and their ends.
    pub chain: Vec<EntryId>,
    /// Its name, at most [`MAX_NAME_BYTES`].
    pub name: &'e str,
}

/// What a node has, when a term begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it was ready before: it can tell what was lost.
    pub remembers: bool,
    /// The members that it knows.
    pub members: Vec<u64>,
    /// Nodes that were members, of which it has read all entries.
    pub departed: Vec<u64>,
    /// Its history: terms and their ends, of which the last is what it has applied.
    pub chain: Vec<EntryId>,
}

/// A part of the history that is told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'e> {
    /// An entry.
    Entry {
        /// Its id.
        id: EntryId,
        /// Its bytes.
        bytes: &'e [u8],
    },
    /// Entries that changed nothing.
    Blank {
        /// The first.
        first: EntryId,
        /// The number of the last, of the same term.
        last: u64,
    },
}

/// The end of a census.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether messages of any channel may be lost.
    pub loses_all: bool,
    /// The history that goes on: terms and their ends.
    pub chain: Vec<EntryId>,
}

/// The newest ids of all buckets of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Up to which id its node had read.
    pub up_to: EntryId,
    /// A number of the salt: with another salt the buckets are others.
    pub salt: u64,
    /// [`BUCKETS`] ids.
    pub floors: Box<[EntryId]>,
}

/// The reason for which an entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Its kind is unknown, and it may be skipped.
    Skip,
    /// Its kind is unknown, and it must not be skipped.
    Halt,
    /// It has no bytes: no node has written it.
    Foreign,
    /// It is of a known kind, and not what a node writes.
    Damaged,
}

/// Whether bytes are the beginning of an entry that opens a term, of any version.
pub(super) fn begins_term(bytes: &[u8]) -> bool {
    const KIND: u8 = MANDATORY | (VERSION - 1);
    bytes.first().is_some_and(|tag| tag & KIND == TERM & KIND)
}

/// Appends a head with a tag of a kind.
fn write_head(out: &mut Vec<u8>, tag: u8, head: Head) {
    out.push(tag);
    write_word(out, head.node);
    write_number(out, head.nonce);
    write_number(out, head.at_ms);
}

/// Begins an entry of messages, to which [`write_message`](super::messages::write_message) appends.
pub fn begin_messages(out: &mut Vec<u8>, head: Head) {
    write_head(out, MESSAGES, head);
}

/// Appends a record to an entry that tells again.
pub fn write_record(out: &mut Vec<u8>, record: &Record<'_>) {
    match *record {
        Record::Entry { id, bytes } => {
            out.push(0);
            write_id(out, id);
            write_number(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Record::Blank { first, last } => {
            out.push(1);
            write_id(out, first);
            write_number(out, last);
        }
    }
}

/// Begins an entry that tells again, to which [`write_record`] appends.
pub fn begin_retold(out: &mut Vec<u8>, head: Head) {
    write_head(out, RETOLD, head);
}

impl Body<'_> {
    fn tag(&self) -> u8 {
        match self {
            Body::Messages(_) => MESSAGES,
            Body::Term(_) => TERM,
            Body::Beat(_) => BEAT,
            Body::Answer(_) => ANSWER,
            Body::Retold(_) => RETOLD,
            Body::Settled(_) => SETTLED,
            Body::Lost(_) => LOST,
            Body::Delete(_) => DELETE,
            Body::Checkpoint(_) => CHECKPOINT,
            Body::Readers(_) => READERS,
            Body::Kick(_) => KICK,
        }
    }
}

impl<'e> Entry<'e> {
    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_head(out, self.body.tag(), self.head);
        match &self.body {
            Body::Messages(messages) => out.extend_from_slice(messages.as_bytes()),
            Body::Term(term) => term.write(out),
            Body::Beat(beat) => beat.write(out),
            Body::Answer(answer) => answer.write(out),
            Body::Retold(records) => records.iter().for_each(|record| write_record(out, record)),
            Body::Settled(settled) => settled.write(out),
            Body::Lost(channels) => channels.iter().for_each(|name| write_short(out, name)),
            Body::Delete(channel) => out.extend_from_slice(channel.as_bytes()),
            Body::Checkpoint(checkpoint) => checkpoint.write(out),
            Body::Readers(readers) => readers.write(out),
            Body::Kick(kicks) => kicks.iter().for_each(|kick| kick.write(out)),
        }
    }

    /// Reads an entry, which is all of `bytes`.
    ///
    /// # Errors
    ///
    /// See [`Unreadable`].
    pub fn read(bytes: &'e [u8]) -> Result<Entry<'e>, Unreadable> {
        let mut rest = Bytes(bytes);
        let tag = rest.byte().map_err(|_| Unreadable::Foreign)?;
        let is_known = matches!(
            tag,
            MESSAGES
                | TERM
                | BEAT
                | ANSWER
                | RETOLD
                | SETTLED
                | LOST
                | DELETE
                | CHECKPOINT
                | READERS
                | KICK
        );
        match (is_known, tag & MANDATORY != 0) {
            (true, _) => Entry::read_known(tag, rest).map_err(|_| Unreadable::Damaged),
            (false, true) => Err(Unreadable::Halt),
            (false, false) => Err(Unreadable::Skip),
        }
    }

    fn read_known(tag: u8, mut rest: Bytes<'e>) -> Result<Entry<'e>, EntryError> {
        let head = Head {
            node: rest.word()?,
            nonce: rest.number()?,
            at_ms: rest.number()?,
        };
        let rest = &mut rest;
        let body = match tag {
            MESSAGES => Body::Messages(Messages::read(std::mem::take(&mut rest.0))?),
            TERM => Body::Term(Term::read(rest)?),
            BEAT => Body::Beat(Beat::read(rest)?),
            ANSWER => Body::Answer(Answer::read(rest)?),
            RETOLD => Body::Retold(read_all(rest, Record::read)?),
            SETTLED => Body::Settled(Settled::read(rest)?),
            LOST => Body::Lost(read_all(rest, read_short_name)?),
            DELETE => Body::Delete(read_name(std::mem::take(&mut rest.0))?),
            CHECKPOINT => Body::Checkpoint(Checkpoint::read(rest)?),
            READERS => Body::Readers(Readers::read(rest)?),
            KICK => Body::Kick(read_kicks(rest)?),
            _ => return Err(EntryError::Invalid("tag")),
        };
        match rest.is_empty() {
            true => Ok(Entry { head, body }),
            false => Err(EntryError::Invalid("end")),
        }
    }
}

/// Reads as many as there are.
fn read_all<'e, T>(
    rest: &mut Bytes<'e>,
    read: fn(&mut Bytes<'e>) -> Result<T, EntryError>,
) -> Result<Vec<T>, EntryError> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(read(rest)?);
    }
    Ok(all)
}

fn read_kicks<'e>(rest: &mut Bytes<'e>) -> Result<Vec<Kick<'e>>, EntryError> {
    match read_all(rest, Kick::read)? {
        kicks if kicks.is_empty() => Err(EntryError::Short),
        kicks => Ok(kicks),
    }
}

/// Reads a chain: its terms rise.
fn read_chain(rest: &mut Bytes<'_>) -> Result<Vec<EntryId>, EntryError> {
    let chain = rest.list(MAX_CHAIN, Bytes::id)?;
    match chain.is_sorted_by(|one, next| one.term < next.term) {
        true => Ok(chain),
        false => Err(EntryError::Invalid("chain")),
    }
}

impl<'e> Term<'e> {
    fn write(&self, out: &mut Vec<u8>) {
        write_list(out, &self.members, write_word);
        write_list(out, &self.chain, write_id);
        let how = match (self.is_same, self.is_rolled) {
            (true, _) => " same",
            (false, true) => " rolled",
            (false, false) => "",
        };
        // What is written by the server, in tests by this.
        if !self.run.is_empty() {
            out.extend_from_slice(format!("{} {}{how}", self.end, self.run).as_bytes());
        }
    }

    fn read(rest: &mut Bytes<'e>) -> Result<Term<'e>, EntryError> {
        let members = rest.list(MAX_MEMBERS, Bytes::word)?;
        let chain = read_chain(rest)?;
        let text = read_text(std::mem::take(&mut rest.0))?;
        let invalid = EntryError::Invalid("text of the server");
        let (end, run) = text.split_once(' ').ok_or(invalid)?;
        let (run, is_same, is_rolled) = match run.split_once(' ') {
            Some((run, "same")) => (run, true, false),
            Some((run, "rolled")) => (run, false, true),
            Some(_) => return Err(invalid),
            None => (run, false, false),
        };
        if run.is_empty() || !run.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(invalid);
        }
        Ok(Term {
            members,
            chain,
            end: EntryId::parse(end.as_bytes()).ok_or(invalid)?,
            run,
            is_same,
            is_rolled,
        })
    }
}

impl<'e> Beat<'e> {
    fn write(&self, out: &mut Vec<u8>) {
        write_id(out, self.applied);
        out.push(self.is_leaving.into());
        write_number(out, self.connections);
        write_word(out, self.digest);
        write_list(out, &self.chain, write_id);
        out.extend_from_slice(self.name.as_bytes());
    }

    fn read(rest: &mut Bytes<'e>) -> Result<Beat<'e>, EntryError> {
        Ok(Beat {
            applied: rest.id()?,
            is_leaving: rest.flag()?,
            connections: rest.number()?,
            digest: rest.word()?,
            chain: read_chain(rest)?,
            name: match std::mem::take(&mut rest.0) {
                name if name.len() <= MAX_NAME_BYTES => read_text(name)?,
                _ => return Err(EntryError::Invalid("name")),
            },
        })
    }
}

impl Answer {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.remembers.into());
        write_list(out, &self.members, write_word);
        write_list(out, &self.departed, write_word);
        write_list(out, &self.chain, write_id);
    }

    fn read(rest: &mut Bytes<'_>) -> Result<Answer, EntryError> {
        Ok(Answer {
            remembers: rest.flag()?,
            members: rest.list(MAX_MEMBERS, Bytes::word)?,
            departed: rest.list(MAX_DEPARTED, Bytes::word)?,
            chain: read_chain(rest)?,
        })
    }
}

impl<'e> Record<'e> {
    /// Its first id.
    pub fn first(&self) -> EntryId {
        match *self {
            Record::Entry { id, .. } => id,
            Record::Blank { first, .. } => first,
        }
    }

    /// Its last id.
    pub fn last(&self) -> EntryId {
        match *self {
            Record::Entry { id, .. } => id,
            Record::Blank { first, last } => EntryId::new(first.term, last),
        }
    }

    fn read(rest: &mut Bytes<'e>) -> Result<Record<'e>, EntryError> {
        if !rest.flag()? {
            let id = rest.id()?;
            let length = rest.number()?;
            let bytes = rest.take(length)?;
            return Ok(Record::Entry { id, bytes });
        }
        let (first, last) = (rest.id()?, rest.number()?);
        match first.number <= last {
            true => Ok(Record::Blank { first, last }),
            false => Err(EntryError::Invalid("record")),
        }
    }
}

impl Settled {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.loses_all.into());
        write_list(out, &self.chain, write_id);
    }

    fn read(rest: &mut Bytes<'_>) -> Result<Settled, EntryError> {
        Ok(Settled {
            loses_all: rest.flag()?,
            chain: read_chain(rest)?,
        })
    }
}

impl Checkpoint {
    fn write(&self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.floors.len(), BUCKETS);
        write_id(out, self.up_to);
        write_word(out, self.salt);
        let mut terms: Vec<u64> = self.floors.iter().map(|floor| floor.term).collect();
        terms.sort_unstable();
        terms.dedup();
        write_list(out, &terms, write_number);
        for floor in &self.floors {
            let place = terms.partition_point(|&term| term < floor.term);
            write_number(out, place as u64);
            write_number(out, floor.number);
        }
    }

    fn read(rest: &mut Bytes<'_>) -> Result<Checkpoint, EntryError> {
        let (up_to, salt) = (rest.id()?, rest.word()?);
        let terms = rest.list(MAX_TERMS, Bytes::number)?;
        let mut is_used = vec![false; terms.len()];
        let mut floors = Vec::with_capacity(BUCKETS);
        for _ in 0..BUCKETS {
            let place = usize::try_from(rest.number()?).unwrap_or(usize::MAX);
            let &term = terms.get(place).ok_or(EntryError::Invalid("term"))?;
            is_used[place] = true;
            floors.push(EntryId::new(term, rest.number()?));
        }
        if !terms.is_sorted_by(|one, next| one < next) || is_used.contains(&false) {
            return Err(EntryError::Invalid("terms"));
        }
        Ok(Checkpoint {
            up_to,
            salt,
            floors: floors.into(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
