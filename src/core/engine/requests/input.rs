//! From bytes to requests: heads, bodies, pipelines, and clients that leave.
//!
//! Owns the order of requests on a connection: the next one is looked at only when the answer to
//! the one before has left, or waits to leave. It never decides what a request means.

use crate::engine::ConnId;
use crate::engine::Engine;
use crate::engine::connections::conn::{Flags, State};
use crate::engine::connections::request_state::Upload;
use crate::engine::connections::wire::Wire;
use crate::engine::requests::route::{Endpoint, Route};
use crate::engine::response::heads::{Manner, Persistence};
use crate::engine::response::problem::Problem;
use crate::engine::stats::End;
use crate::http1::{self, Decoder, Framing, Head, Method, Outcome, Scan, Version};

/// Requests served of one connection in one go.
const PIPELINE_BUDGET: usize = 32;

/// Answers gathered before they are sent in one write.
const FLUSH_BYTES: usize = 64 << 10;

/// Bytes that may arrive on a stream, where there is nothing to be said, before it is closed.
const STRAY_BYTES: usize = 8 << 10;

impl Engine {
    /// Bytes arrived.
    pub fn input(&mut self, id: ConnId, bytes: &[u8], wire: &mut impl Wire) {
        let Some(index) = self.find(id) else { return };
        let conn = self.conn(index);
        if matches!(
            conn.state(),
            State::Streaming | State::Closing | State::Gone
        ) {
            return self.stray(index, bytes.len());
        }
        let has_room = self.buffers.has_room(bytes.len());
        let work = self.conn(index).work.as_mut();
        match work.filter(|work| !work.input.is_empty()) {
            None => {
                let served = self.serve(index, bytes, wire);
                self.stash(index, &bytes[served..], wire);
            }
            Some(_) if !has_room => self.end(index, End::NoRoom),
            Some(work) => {
                work.input.extend_from_slice(bytes);
                self.serve_stashed(index, wire);
            }
        }
        self.flush(index, wire);
        self.rest(index, wire);
    }

    /// The client ended its side.
    pub fn eof(&mut self, id: ConnId, wire: &mut impl Wire) {
        let Some(index) = self.find(id) else { return };
        let conn = self.conn(index);
        conn.flags.put(Flags::EOF, true);
        let owes_answers =
            conn.is_blocked() || conn.flags.has(Flags::QUEUED) || conn.state() == State::Listing;
        if conn.is_parked() || !owes_answers {
            let why = match conn.state() {
                State::Closing => End::Closed,
                _ => End::Left,
            };
            self.end(index, why);
        } else {
            self.rest(index, wire);
        }
    }

    /// The connection broke.
    pub fn broken(&mut self, id: ConnId) {
        if let Some(index) = self.find(id) {
            self.end(index, End::Broken);
        }
    }

    /// The next connection with requests left to serve; [`Engine::proceed`] serves them.
    pub fn next_again(&mut self) -> Option<ConnId> {
        while let Some(index) = self.again.pop_front() {
            let Some(conn) = self.conns.get_mut(index as usize) else {
                continue;
            };
            if conn.flags.has(Flags::QUEUED) {
                conn.flags.put(Flags::QUEUED, false);
                return Some(ConnId {
                    index,
                    generation: conn.generation,
                });
            }
        }
        None
    }

    /// Serves requests that arrived earlier.
    pub fn proceed(&mut self, id: ConnId, wire: &mut impl Wire) {
        let Some(index) = self.find(id) else { return };
        self.serve_stashed(index, wire);
        self.flush(index, wire);
        self.rest(index, wire);
    }

    pub(in crate::engine) fn queue(&mut self, index: u32) {
        let conn = self.conn(index);
        if !conn.flags.has(Flags::QUEUED) {
            conn.flags.put(Flags::QUEUED, true);
            self.again.push_back(index);
        }
    }

    /// Serves the requests in `input`; how many bytes of it are done with.
    fn serve(&mut self, index: u32, input: &[u8], wire: &mut impl Wire) -> usize {
        let mut done = 0;
        for _ in 0..PIPELINE_BUDGET {
            if self.scratch.out.len() >= FLUSH_BYTES {
                // Large answers are one in a turn, so that they delay nobody by more.
                self.flush(index, wire);
                break;
            }
            let conn = self.conn(index);
            if conn.is_blocked() || conn.state() == State::Listing {
                return done;
            }
            if conn.state() == State::Idle && conn.flags.has(Flags::CLOSE) {
                return input.len();
            }
            let rest = &input[done..];
            let taken = match conn.state() {
                State::Body => self.feed(index, rest),
                State::Idle | State::Head | State::Held if !rest.is_empty() => {
                    self.next_request(index, rest)
                }
                State::Streaming | State::Closing | State::Gone => {
                    self.stray(index, rest.len());
                    return input.len();
                }
                State::Idle | State::Head | State::Held | State::Listing => None,
            };
            match taken {
                Some(taken) => done += taken,
                None if self.conn(index).state() == State::Body => return input.len(),
                None => return done,
            }
        }
        self.queue(index);
        done
    }

    fn serve_stashed(&mut self, index: u32, wire: &mut impl Wire) {
        let work = self.conn(index).work.as_mut();
        let input = work.map_or_else(Vec::new, |work| std::mem::take(&mut work.input));
        let served = self.serve(index, &input, wire);
        let conn = self.conn(index);
        let Some(work) = conn.work.as_mut().filter(|_| served < input.len()) else {
            return self.stash(index, &input[served..], wire);
        };
        // The usual case is a head that grows: its buffer is kept.
        work.input = input;
        work.input.drain(..served);
        work.recount();
    }

    /// Keeps bytes that are not served yet; where there is no room for them, the connection ends
    /// after the answers it has: what cannot be read whole cannot be answered in its endpoint's way.
    fn stash(&mut self, index: u32, rest: &[u8], wire: &mut impl Wire) {
        let conn = &mut self.conns[index as usize];
        if rest.is_empty() {
            if let Some(work) = conn.work.as_mut() {
                work.recount();
            }
            return;
        }
        if conn.state() == State::Gone {
            return;
        }
        if !self.buffers.has_room(rest.len()) {
            self.flush(index, wire);
            return self.end(index, End::NoRoom);
        }
        let work = conn.work(&self.buffers);
        work.input.extend_from_slice(rest);
        work.recount();
    }

    /// Bytes arrived where nothing is to be said.
    fn stray(&mut self, index: u32, bytes: usize) {
        let conn = &mut self.conns[index as usize];
        if bytes == 0 || conn.state() != State::Streaming {
            return;
        }
        let work = conn.work(&self.buffers);
        work.stray_bytes += bytes;
        if work.stray_bytes > STRAY_BYTES {
            self.end(index, End::Stray);
        }
    }

    /// Serves the next request, if its head is whole; the bytes it took.
    fn next_request(&mut self, index: u32, bytes: &[u8]) -> Option<usize> {
        let conn = self.conn(index);
        let mut scan = conn
            .work
            .as_ref()
            .map_or_else(Scan::default, |work| work.scan);
        let outcome = http1::parse(bytes, &mut scan, self.settings.max_head_bytes);
        if let Ok(Outcome::Partial) = outcome {
            let conn = &mut self.conns[index as usize];
            conn.work(&self.buffers).scan = scan;
            return None;
        }
        if let Some(work) = self.conn(index).work.as_mut() {
            work.scan = Scan::default();
        }
        if self.conn(index).state() == State::Held {
            self.give_up_hold(index);
            if self.conn(index).flags.has(Flags::CLOSE) {
                return Some(bytes.len());
            }
        }
        match outcome {
            Ok(Outcome::Complete { head, length }) => {
                let (raw, rest) = bytes.split_at(length);
                Some(length + self.request(index, &head, raw, rest))
            }
            Err(error) => {
                self.refuse(index, error.into(), is_head(bytes));
                Some(bytes.len())
            }
            Ok(Outcome::Partial) => unreachable!("returned above"),
        }
    }

    /// A head is whole: performs the request if its body is too; the bytes of body taken.
    fn request(&mut self, index: u32, head: &Head<'_>, raw: &[u8], rest: &[u8]) -> usize {
        let is_draining = self.drain.is_some();
        let conn = self.conn(index);
        conn.flags
            .put(Flags::HTTP10, head.version == Version::Http10);
        conn.flags
            .put(Flags::CLOSE, !head.keep_alive || is_draining);
        match head.framing {
            Framing::None => {
                self.perform(index, head, &[]);
                0
            }
            Framing::Length(length)
                if length <= rest.len().min(self.settings.max_body_bytes) as u64 =>
            {
                self.perform(index, head, &rest[..length as usize]);
                length as usize
            }
            framing => self.begin_upload(index, head, raw, rest, framing),
        }
    }

    fn begin_upload(
        &mut self,
        index: u32,
        head: &Head<'_>,
        raw: &[u8],
        rest: &[u8],
        framing: Framing,
    ) -> usize {
        let route = Route::of(head.path);
        let mut upload = Upload {
            head: Box::default(),
            decoder: Decoder::new(framing),
            // Nobody else looks at a body.
            body: route.filter(Route::is_publish).map(|_| Vec::new()),
        };
        match upload.take(rest, self.settings.max_body_bytes) {
            Err(error) => {
                self.refuse(index, error.into(), head.method == Method::Head);
                rest.len()
            }
            Ok(progress) if progress.done => {
                self.perform(index, head, upload.body());
                progress.consumed
            }
            Ok(progress) => {
                // What will be refused anyway is refused before its body comes.
                if let Err(problem) = self.admit(index, head, route) {
                    self.conn(index).flags.put(Flags::CLOSE, true);
                    self.refuse_request(index, head, route, problem);
                    return rest.len();
                }
                if head.expect_continue && rest.is_empty() {
                    self.scratch
                        .out
                        .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                upload.head = raw.into();
                let conn = &mut self.conns[index as usize];
                conn.become_state(State::Body, &mut self.states);
                let work = conn.work(&self.buffers);
                work.upload = Some(upload);
                work.recount();
                self.arm_ms(index, self.settings.body_timeout_ms);
                progress.consumed
            }
        }
    }

    /// Continues a body; the bytes taken, or `None` when all were and more must come.
    fn feed(&mut self, index: u32, bytes: &[u8]) -> Option<usize> {
        let work = self.conn(index).work.as_mut();
        let mut upload = work
            .and_then(|work| work.upload.take())
            .expect("a body has its upload");
        match upload.take(bytes, self.settings.max_body_bytes) {
            Err(error) => {
                self.refuse(index, error.into(), is_head(&upload.head));
                Some(bytes.len())
            }
            Ok(progress) if progress.done => {
                let mut scan = Scan::default();
                match http1::parse(&upload.head, &mut scan, self.settings.max_head_bytes) {
                    Ok(Outcome::Complete { head, .. }) => self.perform(index, &head, upload.body()),
                    _ => unreachable!("a head that was whole before"),
                }
                Some(progress.consumed)
            }
            Ok(_) if !self.buffers.has_room(bytes.len()) => {
                self.refuse(index, no_room(), is_head(&upload.head));
                Some(bytes.len())
            }
            Ok(_) => {
                let work = self.conn(index).work.as_mut().expect("seen above");
                work.upload = Some(upload);
                work.recount();
                None
            }
        }
    }

    /// Refuses what cannot be continued after: the answer is the connection's last.
    pub(in crate::engine) fn refuse(&mut self, index: u32, problem: Problem, head_only: bool) {
        let manner = Manner {
            persistence: Persistence::Close,
            head_only,
            ..Manner::SHARED
        };
        problem.write(&self.heads, &mut self.scratch.out, &manner);
        self.stats.requests.count(Endpoint::Other, problem.status);
        self.enter(index, State::Closing);
        let conn = self.conn(index);
        conn.flags.put(Flags::CLOSE, true);
        if let Some(work) = conn.work.as_mut() {
            work.input = Vec::new();
            work.upload = None;
            work.recount();
        }
    }
}

/// Whether bytes begin a HEAD request, whose answer has no body even where it cannot be read.
fn is_head(bytes: &[u8]) -> bool {
    let is_empty_line = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let empty_lines = bytes.iter().take_while(is_empty_line).count();
    bytes[empty_lines..].starts_with(b"HEAD ")
}

fn no_room() -> Problem {
    Problem::unavailable(
        "the memory for unfinished requests is spent; try again shortly",
        1,
    )
}
