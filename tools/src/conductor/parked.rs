//! Asking a server who is parked.
//!
//! Owns the questions; what they are is in the server's description.

use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::plan::Plan;
use super::publisher::Publisher;
use crate::net::Poll;
use crate::receipt::number_after;
use crate::server::Description;

/// A long poll does not say that it was let in: asks a server, if it can say so.
pub(super) fn wait_until_parked(
    description: &Description,
    plan: &Plan,
    run: u32,
    server: SocketAddrV4,
    patience: Duration,
) -> Result<(), String> {
    if plan.transport != "long-poll" || !plan.mode.is_parking() {
        return Ok(());
    }
    let (subscribers, channels) = (plan.subscribers, plan.channels);
    wait(description, run, server, subscribers, channels, patience)
}

/// Waits until so many subscribers, subscriber N on channel N modulo the channels, are parked.
/// Returns at once if the server has no way to say so.
pub(crate) fn wait(
    description: &Description,
    run: u32,
    server: SocketAddrV4,
    subscribers: u32,
    channels: u32,
    patience: Duration,
) -> Result<(), String> {
    let Some(request) = description.parked.as_ref().or(description.poll.as_ref()) else {
        return Ok(());
    };
    let before = request.before_count.clone();
    let mut asker = Publisher::connect(request, run, server).map_err(text)?;
    let deadline = Instant::now() + patience;
    for channel in 0..channels {
        let wanted = subscribers / channels + u32::from(channel < subscribers % channels);
        let mut answers = 0;
        loop {
            let count = ask(&mut asker, channel, deadline)?;
            answers += 1;
            let is_parked = match &before {
                Some(before) => number_after(&count, before) >= Some(wanted.into()),
                // Each answer comes after what was in the poll before it; accepting, reading and
                // answering are one turn each.
                None => answers == 3,
            };
            if is_parked {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("channel {channel} never had {wanted} parked"));
            }
            // So that the questions themselves cost the server next to nothing.
            std::thread::sleep(Duration::from_millis(1));
        }
        if before.is_none() {
            break;
        }
    }
    Ok(())
}

/// Asks one question and waits for the answer.
pub(crate) fn ask(
    asker: &mut Publisher,
    channel: u32,
    deadline: Instant,
) -> Result<Vec<u8>, String> {
    let mut poll = Poll::new(1).map_err(text)?;
    poll.add(&asker.fd, 0, EventFlags::IN | EventFlags::OUT)
        .map_err(text)?;
    poll.wait(Some(deadline.saturating_duration_since(Instant::now())))
        .map_err(text)?;
    poll.modify(&asker.fd, 0, EventFlags::IN).map_err(text)?;
    asker.add_question(channel);
    asker.send().map_err(text)?;
    while asker.open() > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || asker.is_closed {
            return Err("the server does not say who is parked".into());
        }
        poll.wait(Some(left)).map_err(text)?;
        asker.receive();
    }
    Ok(std::mem::take(&mut asker.last))
}

fn text(error: io::Error) -> String {
    error.to_string()
}
