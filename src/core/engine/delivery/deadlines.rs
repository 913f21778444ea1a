//! What becomes due: holds, heartbeats, and everyone who takes too long.
//!
//! Owns the meaning of a deadline: a connection has one, and its state says which it is. A
//! message never loses to its own timeout: a held poll that is owed something is not answered
//! empty.

use crate::base::wheel::TICK_MS;
use crate::engine::Engine;
use crate::engine::connections::conn::{Flags, State};
use crate::engine::connections::wire::Wire;
use crate::engine::response::problem::Problem;
use crate::engine::stats::End;

/// Old messages and unused channels dropped in one go.
const SWEEP: usize = 256;

impl Engine {
    /// Does what is due, for at most `budget` connections.
    pub fn expire(&mut self, mut budget: usize, wire: &mut impl Wire) {
        while let Some(index) = self.wheel.expire(self.now.0, &mut budget) {
            self.due(index, wire);
        }
        self.hub.expire_history(SWEEP);
        self.hub.forget_idle(SWEEP);
    }

    fn due(&mut self, index: u32, wire: &mut impl Wire) {
        let now = self.now;
        let conn = &self.conns[index as usize];
        if conn.is_blocked() {
            return self.end(index, End::Stalled);
        }
        let has_gathered = conn.wish().is_some_and(|wish| !wish.gathered.is_empty());
        let is_late = conn.state() == State::Held && conn.ends_at(now) > now;
        match conn.state() {
            // What is here already waits for its turn and not for the client.
            State::Idle | State::Head | State::Body if conn.flags.has(Flags::QUEUED) => {
                self.arm_ms(index, TICK_MS);
            }
            State::Idle => self.hang_up(index, wire),
            State::Head if !conn.has_input() => self.hang_up(index, wire),
            State::Head => self.time_out(index, "the head of the request took too long", wire),
            State::Body => self.time_out(index, "the body of the request took too long", wire),
            State::Held if is_late => {
                let ends_at = conn.ends_at(now);
                self.arm(index, ends_at);
            }
            State::Held if has_gathered => {
                self.hub.unlist(&mut self.conns[index as usize].reader);
                self.answer_held(index, &[], false);
                self.flush(index, wire);
                self.rest(index, wire);
            }
            State::Held if self.hub.is_owed(&conn.reader) => {
                self.arm_ms(index, TICK_MS);
            }
            State::Held => self.answer_empty(index, wire),
            State::Streaming if conn.is_over(now) => self.end_stream(index, wire),
            // What it is owed may turn out to be nothing to be said.
            State::Streaming if self.hub.is_owed(&conn.reader) => {
                self.arm_ms(index, TICK_MS);
            }
            State::Streaming => self.beat(index, wire),
            State::Closing => self.end(index, End::Closed),
            State::Listing | State::Gone => {}
        }
    }

    /// Ends a connection for its silence, unless it has spoken meanwhile, and it is the server that
    /// was away: stopped, or moved to another host. Who has begun a head or a body is no such case:
    /// a trickle would never end.
    fn hang_up(&mut self, index: u32, wire: &mut impl Wire) {
        match wire.has_unread(index) {
            true => self.arm_ms(index, self.settings.head_timeout_ms),
            false => self.end(index, End::Idle),
        }
    }

    fn time_out(&mut self, index: u32, detail: &'static str, wire: &mut impl Wire) {
        self.refuse(index, Problem::new(408, detail), false);
        self.flush(index, wire);
        self.rest(index, wire);
    }
}

#[cfg(test)]
mod tests {
    use crate::base::time::{Time, millis};
    use crate::config::Config;
    use crate::engine::connections::wire::Sink;
    use crate::engine::{Access, Engine};

    #[test]
    fn requests_that_are_here_outlive_the_deadline_before_them() {
        let config = Config::default();
        let mut engine = Engine::new(&config, 1, 0);
        let mut wire = Sink::default();
        let id = engine.accept(Access::Trusted).expect("there is room");
        let requests = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
        engine.input(id, requests.as_bytes(), &mut wire);

        // More than are served in one go, and the next turn comes late.
        engine.set_now(Time(millis(config.idle_timeout)), 75);
        engine.expire(1_000, &mut wire);
        while let Some(id) = engine.next_again() {
            engine.proceed(id, &mut wire);
        }
        assert_eq!(wire.answers(), 100);
        assert_eq!(engine.next_close(), None);
    }

    #[test]
    fn nobody_is_silent_whose_request_is_here_unread() {
        let config = Config::default();
        let mut engine = Engine::new(&config, 1, 0);
        let mut wire = Sink::default();
        wire.has_unread = true;
        let id = engine.accept(Access::Trusted).expect("there is room");
        let request = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

        // The server was stopped, for its first request and for the one after it.
        let mut now = Time(0);
        for timeout in [config.head_timeout, config.idle_timeout] {
            now = now.after_ms(millis(timeout));
            engine.set_now(now, 75);
            engine.expire(1_000, &mut wire);
            assert_eq!(engine.next_close(), None);
            engine.input(id, request, &mut wire);
        }
        assert_eq!(wire.answers(), 2);

        wire.has_unread = false;
        engine.set_now(now.after_ms(millis(config.idle_timeout)), 75);
        engine.expire(1_000, &mut wire);
        assert_eq!(engine.next_close(), Some(id.index));
    }
}
