//! One connection to a server, with a deadline for every answer.
//!
//! Owns the deadlines. After a call has failed, the connection cannot be used any more: its owner
//! drops it.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Cmd, IntoConnectionInfo, RedisError, Value};
use socket2::TcpKeepalive;

use super::fault::{Cause, Fault};
use super::target::{Candidate, Target};

/// The longest time for connecting to a server and logging in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time for an answer, beyond the time for which a command makes the server wait.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The keep-alive probes of TCP, for a connection on which nothing is sent, such as that of a
/// publish lane without beats.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A connection to a server.
pub(super) struct Connection {
    inner: redis::Connection,
}

impl Connection {
    /// Connects to a server, and logs in.
    pub(super) fn to(target: &Target, candidate: &Candidate) -> Result<Connection, Fault> {
        let address = candidate.address();
        let at = address.to_string();
        let probes = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(probes);
        let connect = || {
            let info = address.into_connection_info()?;
            let info = info.set_redis_settings(target.login());
            let client = redis::Client::open(info.set_tcp_settings(tcp))?;
            let inner = client.get_connection_with_timeout(CONNECT_TIMEOUT)?;
            inner.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            inner.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(inner)
        };
        match connect() {
            Ok(inner) => Ok(Connection { inner }),
            Err(error) => Err(not_connected(&at, &error)),
        }
    }

    /// Sets the deadline of answers to a command that makes the server wait for this time.
    pub(super) fn wait_for(&self, block: Duration) -> Result<(), Fault> {
        let deadline = block + ANSWER_TIMEOUT;
        self.inner
            .set_read_timeout(Some(deadline))
            .map_err(|error| broken(&error))
    }

    /// Sends commands that are packed.
    pub(super) fn send(&mut self, packed: &[u8]) -> Result<(), Fault> {
        self.inner
            .send_packed_command(packed)
            .map_err(|error| broken(&error))
    }

    /// Receives the next answer. An error of the server that concerns only the command is in the
    /// answer.
    pub(super) fn receive(&mut self) -> Result<Result<Value, RedisError>, Fault> {
        let answer = self.inner.recv_response().and_then(Value::extract_error);
        match answer {
            Ok(value) => Ok(Ok(value)),
            Err(error) => match Fault::of(&error) {
                Some(fault) => Err(fault),
                None => Ok(Err(error)),
            },
        }
    }

    /// Sends a command, and receives its answer.
    pub(super) fn ask(&mut self, command: &Cmd) -> Result<Result<Value, RedisError>, Fault> {
        self.send(&command.get_packed_command())?;
        self.receive()
    }
}

/// The fault of an error that can only be one of the connection.
fn broken(error: &RedisError) -> Fault {
    let closed = || Fault::Broken(Cause::Closed, error.to_string());
    Fault::of(error).unwrap_or_else(closed)
}

/// The fault of a connection that was not established.
fn not_connected(at: &str, error: &RedisError) -> Fault {
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return Fault::Refused(format!(
            "{at} refuses the password or the user: check --engine-password-file, and the user in \
             --engine"
        ));
    }
    match Fault::of(error) {
        Some(Fault::Broken(Cause::Closed, _)) => {
            Fault::Broken(Cause::Unreachable, format!("{at}: {error}"))
        }
        Some(Fault::Broken(cause, text)) => Fault::Broken(cause, format!("{at}: {text}")),
        Some(fault) => fault,
        None => Fault::Refused(format!("{at}: {}", super::fault::words(error))),
    }
}
