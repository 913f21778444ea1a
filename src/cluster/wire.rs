//! The commands of the publish lane as bytes, and answers as replies.
//!
//! Owns the names of keys, and what each answer of Redis means to a node.

use std::sync::Arc;

use redis::{Cmd, RedisError, Value, cmd};

use super::fault::{Cause, Fault, words};
use encke_core::log::cluster::{Command, Reply};
use encke_core::message::EntryId;

/// The names of the keys of a namespace, which are in one slot.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) log: String,
    pub(super) meta: String,
    pub(super) once: String,
}

impl Keys {
    pub(super) fn new(namespace: &str) -> Keys {
        let key = |name: &str| format!("{{{namespace}}}:{name}");
        Keys {
            log: key("log"),
            meta: key("meta"),
            once: key("once:"),
        }
    }
}

/// The names under which the server of a connection knows the scripts.
pub(super) struct Scripts {
    pub(super) open: String,
    pub(super) once: String,
}

/// The form of the answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Opened,
    Appended,
    Once,
}

/// Appends a command to `packed`, and returns the form of its answer. `waits` says that the server is
/// asked for replicas afterwards.
pub(super) fn pack(
    command: &Command,
    keys: &Keys,
    scripts: &Scripts,
    waits: bool,
    packed: &mut Vec<u8>,
) -> Form {
    let (form, command) = match command {
        Command::Open {
            mode,
            knows,
            salt,
            bytes,
            not_before,
        } => {
            let mut open = call(&scripts.open, &keys.log, &keys.meta);
            open.arg(mode.as_str()).arg(knows.term).arg(knows.number);
            open.arg(salt.to_hex()).arg(bytes).arg(not_before);
            (Form::Opened, open)
        }
        Command::Append {
            term,
            keep_from,
            bytes,
            ..
        } => {
            let mut append = Cmd::with_capacity(9, bytes.len() + keys.log.len() + 128);
            append.arg("XADD").arg(&keys.log).arg("NOMKSTREAM");
            append.arg("MINID").arg("~").arg(keep_from.to_string());
            append.arg(format!("{term}-*")).arg("b").arg(bytes);
            (Form::Appended, append)
        }
        Command::Once {
            term,
            keep_from,
            key,
            age_ms,
            replaces,
            known,
            bytes,
        } => {
            let id = |id: &Option<EntryId>| id.map(|id| id.to_string()).unwrap_or_default();
            let name = format!("{}{}", keys.once, key.to_hex());
            let mut once = call(&scripts.once, &keys.log, &name);
            once.arg(term).arg(keep_from.to_string()).arg(age_ms);
            once.arg(id(replaces)).arg(bytes).arg(id(known));
            once.arg(u8::from(waits));
            (Form::Once, once)
        }
    };
    command.write_packed_command(packed);
    form
}

/// The call of a script with two keys.
fn call(script: &str, first: &str, second: &str) -> Cmd {
    let mut call = cmd("EVALSHA").take();
    call.arg(script).arg(2).arg(first).arg(second);
    call
}

/// The reply that an answer means.
///
/// # Errors
///
/// The answer does not fit the command, or the connection is broken.
pub(super) fn reply(form: Form, answer: Result<Value, RedisError>) -> Result<Reply, Fault> {
    match answer {
        Ok(value) => {
            let reply = match (form, &value) {
                (Form::Appended, Value::Nil) => Some(Reply::Gone),
                (Form::Appended, Value::BulkString(id)) => EntryId::parse(id).map(Reply::Appended),
                (Form::Once, Value::Array(parts)) => once(parts),
                (Form::Opened, Value::Array(parts)) => opened(parts),
                _ => None,
            };
            let command = match form {
                Form::Appended => "XADD",
                Form::Once | Form::Opened => "EVALSHA",
            };
            reply.ok_or_else(|| Fault::unexpected(command, &value))
        }
        Err(error) => refused(form, &error),
    }
}

fn refused(form: Form, error: &RedisError) -> Result<Reply, Fault> {
    let words = words(error);
    let broken = |cause, text: &str| Err(Fault::Broken(cause, text.into()));
    match (error.code(), form) {
        (Some("NOSCRIPT"), _) => broken(Cause::Unexpected, "the engine has forgotten the scripts"),
        // By the next connection another server may be the master, with room.
        (Some("OOM"), Form::Opened) => broken(Cause::Unready, "the memory of the engine is full"),
        // An operator may also give a missing right.
        (Some("NOPERM"), Form::Opened) => Err(Fault::Refused(words)),
        (_, Form::Opened) if words.contains("user executing the script can't") => {
            Err(Fault::Refused(words))
        }
        (Some("OOM"), _) => Ok(Reply::Full),
        (_, Form::Appended | Form::Once) if words.contains("equal or smaller than") => {
            Ok(Reply::Stale)
        }
        _ => Ok(Reply::Refused(words.into())),
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn once(parts: &[Value]) -> Option<Reply> {
    match parts {
        [id, Value::Int(how), last] => Reply::once(text(id)?, *how, text(last)?),
        _ => None,
    }
}

fn opened(parts: &[Value]) -> Option<Reply> {
    match parts {
        [term, last, Value::Int(how), salt, time] => {
            Reply::opened(text(term)?, text(last)?, *how, text(salt)?, text(time)?)
        }
        _ => None,
    }
}

/// An entry that was read: its id and its bytes.
pub(crate) type ReadEntry = (EntryId, Arc<[u8]>);

/// The entries in the answer to `XREAD` of one stream, in order. An entry without the field `b` was
/// not written by a node, and counts as empty.
pub(super) fn entries(answer: Value) -> Result<Vec<ReadEntry>, Fault> {
    if answer == Value::Nil {
        return Ok(Vec::new());
    }
    let unexpected = Fault::unexpected("XREAD", &answer);
    let of_stream = |answer| -> Option<Vec<Value>> {
        let [stream] = list(answer)?.try_into().ok()?;
        let [_, entries]: [Value; 2] = list(stream)?.try_into().ok()?;
        list(entries)
    };
    let entry = |value| -> Option<ReadEntry> {
        let [id, fields]: [Value; 2] = list(value)?.try_into().ok()?;
        let id = EntryId::parse(text(&id)?.as_bytes())?;
        let mut fields = list(fields)?.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            if let (Value::BulkString(name), Value::BulkString(bytes)) = (name, value)
                && name == b"b"
            {
                return Some((id, bytes.into()));
            }
        }
        Some((id, Arc::default()))
    };
    let entries = of_stream(answer).map(|values| values.into_iter().map(entry));
    let entries = entries.and_then(|entries| entries.collect::<Option<Vec<_>>>());
    entries.ok_or(unexpected)
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn stream(entries: Vec<Value>) -> Value {
        Value::Array(vec![Value::Array(vec![bulk("log"), Value::Array(entries)])])
    }

    #[test]
    fn entries_are_read_in_their_order() {
        let entry = |id: &str, fields: &[&str]| {
            let fields = fields.iter().map(|field| bulk(field)).collect();
            Value::Array(vec![bulk(id), Value::Array(fields)])
        };
        let answer = stream(vec![
            entry("5-0", &["b", "one"]),
            entry("5-1", &[]),
            entry("5-2", &["a", "b", "b", "two"]),
            entry("5-3", &["b"]),
        ]);
        let read = entries(answer).expect("entries");
        let read = read.iter().map(|(id, bytes)| (id.number, &bytes[..]));
        let expected = [(0, &b"one"[..]), (1, b""), (2, b"two"), (3, b"")];
        assert!(read.eq(expected));
        assert_eq!(entries(Value::Nil), Ok(Vec::new()));
    }

    #[test]
    fn answers_of_another_form_are_faults() {
        let entry = |id: &str| Value::Array(vec![bulk(id), Value::Array(vec![])]);
        for answer in [
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![bulk("log"), Value::Array(vec![])]),
            stream(vec![bulk("5-0")]),
            stream(vec![entry("5")]),
            stream(vec![entry("")]),
            stream(vec![Value::Array(vec![bulk("5-0"), Value::Nil])]),
        ] {
            let fault = entries(answer).expect_err("a fault");
            assert!(matches!(fault, Fault::Broken(Cause::Unexpected, _)));
        }
        for (form, answer) in [
            (Form::Appended, bulk("5")),
            (Form::Appended, Value::Int(5)),
            (Form::Once, Value::Nil),
            (Form::Once, Value::Array(vec![bulk("5-0"), Value::Int(9)])),
            (Form::Once, Value::Array(vec![bulk("5-0")])),
            (Form::Opened, Value::Array(vec![])),
            (Form::Opened, bulk("5-0")),
        ] {
            let fault = reply(form, Ok(answer)).expect_err("a fault");
            assert!(matches!(fault, Fault::Broken(Cause::Unexpected, _)));
        }
    }
}
