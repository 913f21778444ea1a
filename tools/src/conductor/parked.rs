//! Questions to a server, one at a time: how many subscribers are parked, whether it is ready.
//!
//! Owns a connection of its own and blocks; the requests are in the server's description.

use std::io::Write;
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
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let set = self.stream.set_read_timeout(Some(left));
        set.map_err(|error| failed(&error))?;
        let mut body = Vec::new();
        let outcome = read_response(&mut self.stream, &mut self.responses, &mut body);
        let Outcome { status, .. } = outcome.map_err(|error| failed(&error))?;
        Ok(Answer { status, body })
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
