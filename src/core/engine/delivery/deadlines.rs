//! Deadlines: holds, heartbeats, pauses, and clients that take too long.
//!
//! Owns the meaning of a deadline: a connection has one, and its state says which it is. A message
//! never loses to a deadline of its own reader: a held poll with pending items is not answered
//! empty, unless its right to receive has ended.

use super::settle::{refuse, settle};
use super::state::Delivery;
use super::{duplex, expired, lines, poll, publishing, stream};
use crate::engine::connections::{Flags, State, Wire};
use crate::engine::response::Problem;
use crate::engine::stats::CloseReason;
use crate::http1::status;
use crate::log::Mark;
use crate::ws::CloseCode;

/// Old messages and unused channels dropped per call.
const SWEEP: usize = 256;

/// Channels that get the policy of a new configuration per call, or messages that are over its
/// limits and evicted.
const RECONFIGURED: usize = 1_024;

/// Handles the deadlines that have passed, of at most `budget` connections. `unsaved` is the end of
/// the log, if that is not saved.
pub(in crate::engine) fn serve_deadlines(
    delivery: &mut Delivery,
    mut budget: usize,
    unsaved: Option<Mark>,
    wire: &mut impl Wire,
) {
    while let Some(index) = delivery.connections.expire(&mut budget) {
        on_deadline(delivery, index, unsaved, wire);
    }
    publishing::expire(delivery, wire);
    delivery.hub.continue_reconfigure(RECONFIGURED);
    delivery.hub.expire_history(SWEEP);
    delivery.hub.forget_idle(SWEEP);
}

fn on_deadline(delivery: &mut Delivery, index: u32, unsaved: Option<Mark>, wire: &mut impl Wire) {
    let now = delivery.now();
    let Delivery {
        connections, hub, ..
    } = delivery;
    let conn = &connections[index];
    if conn.is_blocked() {
        return connections.close(index, CloseReason::Stalled, hub);
    }
    match conn.state() {
        // Input is already buffered; the delay is ours, so the deadline does not apply.
        State::Idle | State::Head | State::Body if conn.flags.contains(Flags::DEFERRED_INPUT) => {
            connections.arm_soon(index);
        }
        State::Idle => close_idle(delivery, index, wire),
        State::Body if conn.line_upload().is_some() => {
            lines::on_deadline(delivery, index, unsaved, wire);
        }
        State::Head if !conn.has_input() => close_idle(delivery, index, wire),
        State::Head => time_out(
            delivery,
            index,
            "the request head was not complete within --head-timeout",
            wire,
        ),
        State::Body => time_out(
            delivery,
            index,
            "the request body was not complete within --body-timeout",
            wire,
        ),
        // The end of the hold was moved since the deadline was set.
        State::Held if conn.ends_at(now) > now => {
            let ends_at = conn.ends_at(now);
            connections.arm(index, ends_at);
        }
        State::Held | State::Streaming if conn.has_expired(now) => {
            expired::end(delivery, index, wire)
        }
        State::Held if conn.has_lingered() => {
            poll::end_linger(delivery, index, wire);
            settle(delivery, index, wire);
        }
        // It has pending items, so it is not answered empty: delivery serves it within its budget.
        // fault: hold-expiry-loses
        State::Held if hub.has_pending(&conn.reader) => connections.arm_soon(index),
        State::Held => {
            poll::expire(delivery, index, wire);
            settle(delivery, index, wire);
        }
        // It ends when the log has answered what its client has published.
        State::Streaming if conn.reached_limit(now) && conn.awaits_log() => {
            connections.arm_soon(index);
        }
        State::Streaming if conn.reached_limit(now) => settle(delivery, index, wire),
        State::Streaming if connections.has_slow_message(index) => {
            let reason = "a message took longer than --body-timeout";
            duplex::close(delivery, index, CloseCode::Refused, reason);
            delivery.flush(index, wire);
            settle(delivery, index, wire);
        }
        State::Streaming if conn.reader.is_paused() => {
            // fault: pause-without-end
            connections.end_pause(index);
            connections.arm_message(index);
            settle(delivery, index, wire);
        }
        // As for a held poll; what is pending may turn out to be nothing, so ask again.
        State::Streaming if hub.has_pending(&conn.reader) => connections.arm_soon(index),
        State::Streaming => {
            stream::send_heartbeat(delivery, index, wire);
            settle(delivery, index, wire);
        }
        State::Closing => connections.close(index, CloseReason::Closed, hub),
        State::Deferred | State::Publishing | State::Gone => {}
    }
}

/// Closes a connection whose idle or head timeout expired. Exception: if its socket has unread
/// data, the process itself was suspended (SIGSTOP, live migration), so the head timeout is
/// restarted. Connections that have already sent part of a request get no second timeout; otherwise
/// a client that sends a byte now and then could extend it forever.
fn close_idle(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let Delivery {
        connections, hub, ..
    } = delivery;
    // fault: silence-taken-on-trust
    match wire.has_unread(index) {
        true => connections.start_head_timeout(index),
        false => connections.close(index, CloseReason::Idle, hub),
    }
}

fn time_out(delivery: &mut Delivery, index: u32, detail: &'static str, wire: &mut impl Wire) {
    let request = delivery.connections[index].request.as_mut();
    let head = request.map_or_else(Vec::new, |request| match request.upload.take() {
        Some(upload) => upload.head.into_vec(),
        None => std::mem::take(&mut request.input),
    });
    let problem = Problem::new(status::REQUEST_TIMEOUT, detail);
    refuse(delivery, index, &problem, &head);
    delivery.flush(index, wire);
    settle(delivery, index, wire);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::time::{Time, millis};
    use crate::base::wheel::SLOT_MS;
    use crate::config::Config;
    use crate::engine::connections::Sink;
    use crate::engine::{Access, Engine};

    #[test]
    fn deferred_requests_outlive_the_idle_timeout() {
        let config = Config::default();
        let mut engine = Engine::new(&config, 1, 0);
        let mut wire = Sink::default();
        let id = engine.accept(Access::Trusted).expect("there is room");
        let requests = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
        engine.input(id, requests.as_bytes(), &mut wire);

        // More than are served in one tick, and the next tick comes late.
        engine.set_now(Time(millis(config.idle_timeout)), 75_000);
        engine.serve_deadlines(1_000, &mut wire);
        while let Some(id) = engine.next_deferred() {
            engine.resume(id, &mut wire);
        }
        assert_eq!(wire.answers(), 100);
        assert_eq!(engine.next_close(), None);
    }

    #[test]
    fn connection_with_unread_request_is_not_idle() {
        let config = Config::default();
        let mut engine = Engine::new(&config, 1, 0);
        let mut wire = Sink {
            has_unread: true,
            ..Sink::default()
        };
        let id = engine.accept(Access::Trusted).expect("there is room");
        let request = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

        // The server was stopped, for its first request and for the one after it.
        let mut now = Time(0);
        for timeout in [config.head_timeout, config.idle_timeout] {
            now = now.after_ms(millis(timeout));
            engine.set_now(now, 75_000);
            engine.serve_deadlines(1_000, &mut wire);
            assert_eq!(engine.next_close(), None);
            engine.input(id, request, &mut wire);
        }
        assert_eq!(wire.answers(), 2);

        wire.has_unread = false;
        engine.set_now(now.after_ms(millis(config.idle_timeout)), 75_000);
        engine.serve_deadlines(1_000, &mut wire);
        assert_eq!(engine.next_close(), Some(id.index));
    }

    #[test]
    fn body_behind_a_blocked_response_has_the_body_timeout() {
        let config = Config {
            write_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            ..Config::default()
        };
        let mut engine = Engine::new(&config, 1, 0);
        let mut wire = Sink {
            is_full: true,
            ..Sink::default()
        };
        let id = engine.accept(Access::Trusted).expect("there is room");
        let requests = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n\
             POST /publish/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na";
        engine.input(id, requests.as_bytes(), &mut wire);
        assert_eq!(engine.state(id), Some(State::Body));

        wire.is_full = false;
        engine.writable(id, &mut wire);
        engine.set_now(Time(millis(config.body_timeout) + SLOT_MS), 0);
        engine.serve_deadlines(1_000, &mut wire);
        assert_eq!(engine.state(id), Some(State::Closing));
    }
}
