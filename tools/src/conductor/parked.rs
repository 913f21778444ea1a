//! Questions to a server, one at a time: how many subscribers are parked, whether it is ready.
//!
//! Owns a connection of its own and blocks; the requests are in the server's description.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use encke_test_client::ResponseReader;
use encke_test_rig::http::{Outcome, read_response};

use super::plan::Plan;
use crate::server::{Description, Filling, Request, Template};

/// Waits until all subscribers of a plan are parked, where they are long polls: a long poll does
/// not show that the server has received it.
pub(super) fn wait_until_parked(
    description: &Description,
    plan: &Plan,
    run: u32,
    server: SocketAddrV4,
    patience: Duration,
) -> Result<(), String> {
    let is_long_poll = matches!(plan.transport.as_str(), "long-poll" | "early");
    let request = description.parked.as_ref().or(description.poll.as_ref());
    let Some(request) = request.filter(|_| is_long_poll && plan.mode.is_parking()) else {
        return Ok(());
    };
    let Plan {
        subscribers,
        channels,
        ..
    } = *plan;
    let deadline = Instant::now() + patience;
    let mut asker = Asker::connect(request, run, server)?;
    let Some(before) = &request.before_count else {
        // Each answer comes after what was in the poll before it; accepting, reading and answering
        // are one turn each.
        return (0..3).try_for_each(|_| asker.ask(0, deadline).map(|_| ()));
    };
    for channel in 0..channels {
        let wanted = subscribers / channels + u32::from(channel < subscribers % channels);
        while number_after(&asker.ask(channel, deadline)?.body, before) < Some(wanted.into()) {
            if Instant::now() > deadline {
                return Err(format!("channel {channel} never had {wanted} parked"));
            }
            // So that the questions themselves cost the server next to nothing.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// The answer to a question.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A kept connection for questions of one kind.
pub(crate) struct Asker {
    stream: TcpStream,
    request: Template,
    responses: ResponseReader,
}

impl Asker {
    /// Connects to ask this.
    pub(crate) fn connect(
        request: &Request,
        run: u32,
        server: SocketAddrV4,
    ) -> Result<Asker, String> {
        let stream = TcpStream::connect(server).map_err(|error| error.to_string())?;
        Ok(Asker {
            stream,
            request: Template::new(&request.first(server), run),
            responses: ResponseReader::default(),
        })
    }

    /// Asks about a channel, and waits for the answer until the deadline.
    pub(crate) fn ask(&mut self, channel: u32, deadline: Instant) -> Result<Answer, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a question failed: {error}");
        let mut request = Vec::new();
        let filling = Filling {
            channel,
            ..Filling::default()
        };
        self.request.fill(&mut request, filling);
        self.stream
            .write_all(&request)
            .map_err(|error| failed(&error))?;
        let mut body = Vec::new();
        let stream = &self.stream;
        let mut answer = Until { stream, deadline };
        let outcome = read_response(&mut answer, &mut self.responses, &mut body);
        let Outcome { status, .. } = outcome.map_err(|error| failed(&error))?;
        Ok(Answer { status, body })
    }
}

/// Reads from a stream until a deadline, however many reads that takes.
struct Until<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// The number after a text, if both are there.
fn number_after(bytes: &[u8], before: &str) -> Option<u64> {
    let at = memchr::memmem::find(bytes, before.as_bytes())?;
    let digits = bytes[at + before.len()..].trim_ascii_start();
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_comes_after_the_deadline_is_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        other.write_all(b"ab").unwrap();
        let mut buffer = [0; 1];
        let mut read = |deadline| {
            let stream = &stream;
            Until { stream, deadline }.read(&mut buffer)
        };
        let now = Instant::now();
        assert_eq!(read(now + Duration::from_secs(60)).unwrap(), 1);
        assert_eq!(read(now).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
