//! The commands of a node to the server that keeps the log, and their replies.
//!
//! Owns the commands of the publish lane, their replies, and the two scripts that the server runs.
//! It sends nothing: a thread writes the commands in their order and gives back the replies in the
//! same order.
//!
//! Keys, where `NS` is the namespace: the log is the stream `{NS}:log`, its state the hash
//! `{NS}:meta`, and a message with an idempotency key has the string `{NS}:once:HASH`.

use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use crate::message::{ChannelName, EntryId, IdempotencyKey};

/// How many buckets of channel names there are.
pub const BUCKETS: usize = 4_096;

/// The script of [`Command::Open`].
///
/// A term is the time in milliseconds at which it was opened. Where the clock of the server is behind the terms
/// that were opened before, as it was set, it is the time by a clock that goes on from these:
/// [`Command::Open::not_before`].
///
/// `KEYS` log, meta. `ARGV` the mode ([`OpenMode::as_str`]), the term and the number of
/// [`Command::Open::knows`] in decimal, the salt in hexadecimal, the bytes of the entry,
/// [`Command::Open::not_before`].
///
/// It returns an array of five: the term in decimal (`0` if there is none), the last id of the log
/// from before the call (`0-0` if there is none), the integer 0 (the log goes on), 1 (a term was
/// opened) or 2 (a term is to be opened, which [`OpenMode::Peek`] does not do), the salt in
/// hexadecimal (empty if there is none), and the time of the server in milliseconds since 1970, in
/// decimal. [`Reply::opened`] reads it.
///
/// If the server runs on and its log has less than the node has read, an older log was put in its
/// place. What was appended to that since has ids that other entries have in the history: it is
/// removed with all the rest, and the nodes tell what they have.
pub const OPEN: &str = r"
local info = redis.call('INFO', 'server')
local run = string.match(info, 'run_id:(%x+)') or ''
local meta = redis.call('HMGET', KEYS[2], 'term', 'run', 'salt', 'v')
if meta[4] and meta[4] ~= '1' then
  return redis.error_reply('ENCKEFORMAT the log has format ' .. meta[4] .. ', and this version of '
    .. 'encke has 1: use the other version, or another --engine-namespace')
end
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local x = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #x, 2 do
    if x[i] == 'last-generated-id' then last = x[i + 1] end
  end
end
local last_term, last_number = string.match(last, '^(%d+)-(%d+)$')
last_term, last_number = tonumber(last_term), tonumber(last_number)
local term, known, number = tonumber(meta[1] or '0'), tonumber(ARGV[2]), tonumber(ARGV[3])
local is_changed = term == 0 or last_term ~= term or meta[2] ~= run or term < known
  or (term == known and last_number < number)
local salt = meta[3] or ''
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format('%d', now)
local is_doubt = ARGV[1] == 'doubt'
if not is_changed and ((ARGV[1] ~= 'fence' and not is_doubt) or term > known) then
  return { meta[1], last, 0, salt, now_text }
end
if ARGV[1] == 'peek' then return { meta[1] or '0', last, 2, salt, now_text } end
local is_rolled = (is_doubt and term <= known) or (meta[2] == run and last_term == term and term == known
  and last_number < number)
local opened = string.format('%d', math.max(now, term + 1, last_term + 1, known + 1,
  tonumber(ARGV[6])))
if salt == '' then salt = ARGV[4] end
local from, how = last, is_changed and '' or ' same'
if is_rolled then
  from, how = '0-0', ' rolled'
  redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
end
redis.call('XADD', KEYS[1], opened .. '-*', 'b', ARGV[5] .. from .. ' ' .. run .. how)
redis.call('HSET', KEYS[2], 'term', opened, 'run', run, 'salt', salt, 'v', '1')
return { opened, last, 1, salt, now_text }
";

/// The script of [`Command::Once`].
///
/// `KEYS` log, the key of the message. `ARGV` the term in decimal, [`Command::Once::keep_from`],
/// the age in milliseconds, [`Command::Once::replaces`] or nothing, the bytes of the entry,
/// [`Command::Once::known`] or nothing, 1 if the server is asked for replicas afterwards.
///
/// It returns an array of three: an id, the integer 0 (appended with this id), 1 (the key has
/// the entry of this id) or 2 (there is no log; the id is empty), and, if it is 1, the last id of
/// the log. [`Reply::once`] reads it.
///
/// A server that waits for replicas waits for what the connection has written: the id that a key
/// has is written again, so that they have what was before that too.
pub const ONCE: &str = r"
local first = redis.call('GET', KEYS[2])
local is_kept = first and first ~= ARGV[4]
if not is_kept and ARGV[6] ~= '' then first = ARGV[6] end
if is_kept or ARGV[6] ~= '' then
  if redis.call('EXISTS', KEYS[1]) == 0 then return { '', 2, '' } end
  if not is_kept then
    redis.call('SET', KEYS[2], first, 'PX', ARGV[3])
  elseif ARGV[7] == '1' then
    redis.call('SET', KEYS[2], first, 'KEEPTTL')
  end
  local x, last = redis.call('XINFO', 'STREAM', KEYS[1]), '0-0'
  for i = 1, #x, 2 do
    if x[i] == 'last-generated-id' then last = x[i + 1] end
  end
  return { first, 1, last }
end
local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MINID', '~', ARGV[2],
  ARGV[1] .. '-*', 'b', ARGV[5])
if not id then return { '', 2, '' } end
redis.call('SET', KEYS[2], id, 'PX', ARGV[3])
return { id, 0, '' }
";

/// A connection to the server that keeps the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The one that sends commands, in order, and gives back the replies in order.
    Publish,
    /// The one that reads the log.
    Follow,
}

/// When [`Command::Open`] opens a new term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Never. A node that has just started only looks: nodes that remember more go first.
    Peek,
    /// If the server is another one, was restarted, or has forgotten something.
    Look,
    /// In these cases, and if the term is the one that the node knows: after it, no command of that
    /// term can have an effect any more.
    Fence,
    /// As for a fence. The log of the server is an older one than this node has read: it is emptied.
    Doubt,
}

impl OpenMode {
    /// Its word in the arguments of [`OPEN`].
    pub fn as_str(self) -> &'static str {
        match self {
            OpenMode::Peek => "peek",
            OpenMode::Look => "look",
            OpenMode::Fence => "fence",
            OpenMode::Doubt => "doubt",
        }
    }
}

/// A command of the publish lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Looks at the log, and may open a term. The first command of each connection, and always
    /// answered by [`Reply::Opened`] or [`Reply::Refused`]. `EVALSHA` of [`OPEN`].
    Open {
        /// When to open a term.
        mode: OpenMode,
        /// The newest id that this node knows.
        knows: EntryId,
        /// The salt of the log if it has none yet.
        salt: Salt,
        /// The bytes of the entry that opens the term. The script appends text to them.
        bytes: Vec<u8>,
        /// The term is not lower: the newest that the node knows, and the milliseconds since it knows
        /// it. The server may have forgotten a term that another node knows, which must not be opened
        /// again, and that other node reads no lower one.
        not_before: u64,
    },
    /// Appends an entry: `XADD {NS}:log NOMKSTREAM MINID ~ KEEP_FROM TERM-* b BYTES`.
    Append {
        /// The term to which it is appended, and to no other.
        term: u64,
        /// Entries before this one may be removed.
        keep_from: EntryId,
        /// The entry.
        bytes: Vec<u8>,
        /// Whether a publisher waits for it. Only then the reply may be held until replicas have
        /// the entry; what a node says of itself never waits for them.
        is_publish: bool,
    },
    /// Appends an entry unless its key has one. `EVALSHA` of [`ONCE`].
    Once {
        /// The term to which it is appended, and to no other.
        term: u64,
        /// Entries before this one may be removed.
        keep_from: EntryId,
        /// The hash of channel and key, which names the key in the server, in hexadecimal.
        key: KeyHash,
        /// For how long the server knows the key, in milliseconds, at least 1.
        age_ms: u64,
        /// The entry of the key that is known to be lost, and does not count.
        replaces: Option<EntryId>,
        /// The entry that the key has, which this node has applied: nothing is appended, and the
        /// server learns it if it has forgotten.
        known: Option<EntryId>,
        /// The entry.
        bytes: Vec<u8>,
    },
}

impl Command {
    /// The first entry that is to be kept; `None` where none may be removed.
    pub fn keep_from(&self) -> Option<EntryId> {
        match self {
            Command::Open { .. } => None,
            Command::Append { keep_from, .. } | Command::Once { keep_from, .. } => {
                Some(*keep_from).filter(|&id| id != EntryId::ZERO)
            }
        }
    }

    /// Whether a publisher waits for the entry.
    pub fn is_publish(&self) -> bool {
        match self {
            Command::Open { .. } => false,
            Command::Append { is_publish, .. } => *is_publish,
            Command::Once { .. } => true,
        }
    }
}

/// The hash of a channel and an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 16]);

impl KeyHash {
    /// The hash of a key of a channel.
    pub fn new(channel: &ChannelName<'_>, key: &IdempotencyKey) -> KeyHash {
        // A channel's name has no control characters.
        let hash = Sha256::new()
            .chain_update(channel.as_bytes())
            .chain_update([0])
            .chain_update(key.as_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        KeyHash(bytes)
    }

    /// Its name in the server: 32 hexadecimal digits.
    pub fn to_hex(self) -> String {
        to_hex(self.0)
    }
}

/// The secret by which all nodes put names of channels into the same buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub u64, pub u64);

impl Salt {
    /// The bucket of a channel, below [`BUCKETS`]: its name's keyed hash modulo that, as in the
    /// hub.
    pub fn bucket(self, channel: &str) -> usize {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(channel.as_bytes());
        hasher.finish() as usize % BUCKETS
    }

    /// 32 hexadecimal digits.
    pub fn to_hex(self) -> String {
        to_hex((u128::from(self.0) << 64 | u128::from(self.1)).to_be_bytes())
    }

    /// The reverse of [`Salt::to_hex`].
    pub fn from_hex(text: &str) -> Option<Salt> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Salt((number >> 64) as u64, number as u64))
    }
}

fn to_hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// The reply of the server to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Command::Open`].
    Opened(Opened),
    /// The entry was appended with this id.
    Appended(EntryId),
    /// The key of [`Command::Once`] has an entry.
    Earlier {
        /// Its id.
        id: EntryId,
        /// The last id of the log.
        last: EntryId,
    },
    /// The term is not the newest any more: "equal or smaller than the target stream top item".
    Stale,
    /// There is no log.
    Gone,
    /// The server has no memory for it: `-OOM`.
    Full,
    /// Another error, in the words of the server: a right that is missing, a wrong type.
    Refused(Box<str>),
}

/// The state of the log, as the server of this connection has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The newest term; 0 if there is none.
    pub term: u64,
    /// The last id that the log had before a term was opened now; zero if there is no log.
    pub last: EntryId,
    /// The outcome.
    pub how: Openness,
    /// The salt; `None` if the log has none yet.
    pub salt: Option<Salt>,
    /// The time of the server, in milliseconds since 1970.
    pub time_ms: u64,
}

/// The result of [`Command::Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// The log goes on in its term.
    GoesOn,
    /// A term was opened.
    New,
    /// A term is to be opened, and [`OpenMode::Peek`] did not do so.
    IsDue,
}

impl Reply {
    /// Reads what [`OPEN`] returns; `None` if it is not of that form.
    pub fn opened(term: &str, last: &str, how: i64, salt: &str, time_ms: &str) -> Option<Reply> {
        Some(Reply::Opened(Opened {
            term: term.parse().ok()?,
            last: EntryId::parse(last.as_bytes())?,
            how: match how {
                0 => Openness::GoesOn,
                1 => Openness::New,
                2 => Openness::IsDue,
                _ => return None,
            },
            salt: match salt {
                "" => None,
                salt => Some(Salt::from_hex(salt)?),
            },
            time_ms: time_ms.parse().ok()?,
        }))
    }

    /// Reads what [`ONCE`] returns; `None` if it is not of that form.
    pub fn once(id: &str, how: i64, last: &str) -> Option<Reply> {
        let id = || EntryId::parse(id.as_bytes());
        Some(match how {
            0 => Reply::Appended(id()?),
            1 => Reply::Earlier {
                id: id()?,
                last: EntryId::parse(last.as_bytes())?,
            },
            2 => Reply::Gone,
            _ => return None,
        })
    }

    /// Whether the log ends before an id that was read of it before it was asked: it is not the log
    /// that was read.
    pub(super) fn is_of_less_than(&self, read: EntryId) -> bool {
        match *self {
            Reply::Appended(id) => id.term == read.term && id <= read,
            Reply::Earlier { last, .. } => last < read,
            _ => false,
        }
    }
}
