//! The errors of a connection to Redis, and their meaning.
//!
//! Owns the classification of errors: a broken connection, which is tried again, a log that is at
//! another server, or a refusal, which lasts until an operator changes something.

use std::fmt;
use std::io;

use redis::{RedisError, ServerErrorKind, Value};

pub(crate) use encke_core::engine::ReconnectCause as Cause;

/// The reason for which there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is broken; a new one may work.
    Broken(Cause, String),
    /// The server is one of a Redis Cluster, and names the one that has the log: `HOST:PORT`.
    Moved(String),
    /// The server refuses, until its settings or those of this process change. The text is one line
    /// that says what to do.
    Refused(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Broken(_, text) | Fault::Refused(text) => f.write_str(text),
            Fault::Moved(at) => write!(f, "the log is at {at}"),
        }
    }
}

impl Fault {
    /// The fault of a connection that cannot be opened to a server.
    pub(super) fn unreachable(at: &str, error: &io::Error) -> Fault {
        Fault::Broken(Cause::Unreachable, format!("{at}: {error}"))
    }

    /// The cause that is counted for it.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Fault::Broken(cause, _) => *cause,
            Fault::Moved(_) => Cause::Replica,
            Fault::Refused(_) => Cause::Unready,
        }
    }

    /// The fault of an answer that does not fit the command.
    pub(super) fn unexpected(command: &str, answer: &Value) -> Fault {
        // The answer is not in the text: it may be long, and contain messages.
        let kind = match answer {
            Value::Nil => "nil",
            Value::Int(_) => "a number",
            Value::BulkString(_) | Value::SimpleString(_) => "a text",
            Value::Array(_) => "a list",
            Value::Okay => "OK",
            _ => "another type",
        };
        let text = format!("the server has answered {kind} to {command}");
        Fault::Broken(Cause::Unexpected, text)
    }

    /// The fault of an error of the connection, or of an error that the server has answered.
    /// `None`: the error concerns only the command.
    pub(super) fn of(error: &RedisError) -> Option<Fault> {
        let broken = |cause, text: &str| Some(Fault::Broken(cause, text.into()));
        match error.kind() {
            redis::ErrorKind::Server(kind) => match kind {
                ServerErrorKind::ReadOnly => broken(Cause::Replica, "the server is a replica"),
                ServerErrorKind::BusyLoading => broken(Cause::Unready, "the server is loading"),
                ServerErrorKind::MasterDown => {
                    broken(Cause::Unready, "the server has lost its master")
                }
                ServerErrorKind::ClusterDown => {
                    broken(Cause::Unready, "the server's cluster is down")
                }
                ServerErrorKind::Moved => {
                    let (at, _) = error.redirect_node()?;
                    Some(Fault::Moved(one_line(at)))
                }
                // Its slot is on the way, and not all keys of a command are here. Only when all are
                // there is the other server its master.
                ServerErrorKind::Ask | ServerErrorKind::TryAgain => {
                    broken(Cause::Unready, "the log is being moved to another server")
                }
                _ => None,
            },
            redis::ErrorKind::Extension => match error.code() {
                Some("UNBLOCKED") => broken(Cause::Replica, "the server has become a replica"),
                _ => None,
            },
            _ if error.is_timeout() => broken(Cause::Silent, "the server does not answer"),
            _ => {
                let text = format!("the connection has ended: {error}");
                Some(Fault::Broken(Cause::Closed, one_line(&text)))
            }
        }
    }
}

/// The text of an error that the server has answered, in one line: `NOPERM this user …`.
pub(super) fn words(error: &RedisError) -> String {
    let code = error.code().unwrap_or("ERR");
    one_line(&format!("{code} {}", error.detail().unwrap_or_default()))
}

/// At most 300 characters of a text, in one line.
fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(printable).take(300).collect()
}
