//! Requests carried out: each plan comes to its answer, or is parked.
//!
//! Owns the way from a plan to the endpoint that serves it, and the word of it in counters and log.

use crate::engine::Engine;
use crate::engine::connections::conn::State;
use crate::engine::requests::authorize::Plan;
use crate::engine::requests::params::callback_of;
use crate::engine::requests::route::{Endpoint, Route};
use crate::engine::response::context::{Ask, manner};
use crate::engine::response::heads::{Ending, field};
use crate::engine::response::problem::Problem;
use crate::http1::Head;

impl Engine {
    /// Serves one whole request: its answer is written, or it is parked.
    pub(in crate::engine) fn perform(&mut self, index: u32, head: &Head<'_>, body: &[u8]) {
        let ask = self.ask(index, head);
        let route = Route::of(head.path);
        let planned = self.admit(index, head, route);
        let done = planned.and_then(|plan| self.carry_out(index, head, plan, body, &ask));
        let status = match done {
            Ok(status) => status,
            Err(problem) => return self.refuse_request(index, head, route, problem),
        };
        self.stats.requests.count(endpoint(route), status);
        log_access(index, head, status);
        let conn = self.conn(index);
        if !conn.is_waiting() && conn.state() != State::Closing {
            self.enter(index, State::Idle);
        }
    }

    /// Refuses a request whose framing is sound.
    pub(in crate::engine) fn refuse_request(
        &mut self,
        index: u32,
        head: &Head<'_>,
        route: Option<Route<'_>>,
        problem: Problem,
    ) {
        let mut ask = self.ask(index, head);
        let takes_callback = route.is_some_and(|route| route.takes_callback());
        ask.callback = callback_of(head).filter(|_| takes_callback);
        let manner = manner(&ask, &self.heads);
        problem.write(&self.heads, &mut self.scratch.out, &manner);
        self.stats.requests.count(endpoint(route), problem.status);
        log_access(index, head, problem.status);
        self.enter(index, State::Idle);
    }

    /// Does what was planned; the status that was answered, or will be.
    fn carry_out(
        &mut self,
        index: u32,
        head: &Head<'_>,
        plan: Plan<'_>,
        body: &[u8],
        ask: &Ask<'_>,
    ) -> Result<u16, Problem> {
        match plan {
            Plan::Receive(receive, names, params) => {
                self.receive(index, receive, &names, params, ask)?;
            }
            Plan::Publish {
                channel,
                event,
                idempotency_key,
            } => {
                let event = event.as_deref();
                let published =
                    self.publish_one(&channel, event, idempotency_key, head.content_type, body)?;
                self.answer_published(ask, &channel, published);
            }
            Plan::PublishLines => {
                let answer = self.publish_lines(body)?;
                self.answer_json(ask, &answer);
            }
            Plan::Channels => self.list_channels(index, head.query, ask)?,
            Plan::ShowChannel(name) => {
                let answer = self.show_channel(&name)?;
                self.answer_json(ask, &answer);
            }
            Plan::ForgetChannel(name) => {
                self.forget_channel(&name)?;
                let manner = manner(ask, &self.heads);
                self.heads.begin(&mut self.scratch.out, &manner, 204);
                self.heads.end(&mut self.scratch.out, Ending::None);
                return Ok(204);
            }
            Plan::Healthz => self.answer_text(ask, "ok\n"),
            Plan::Readyz if self.drain.is_some() => {
                return Err(Problem::unavailable("the server is draining", 1));
            }
            Plan::Readyz => self.answer_text(ask, "ready\n"),
            Plan::Metrics => {
                let text = self.metrics();
                let manner = manner(ask, &self.heads);
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                let out = &mut self.scratch.out;
                self.heads.answer(out, &manner, 200, kind, text.as_bytes());
            }
            Plan::Page => self.answer_page(ask),
            Plan::Preflight(route) => {
                self.answer_preflight(ask, head, route);
                return Ok(204);
            }
        }
        Ok(200)
    }

    pub(in crate::engine) fn answer_json(&mut self, ask: &Ask<'_>, body: &[u8]) {
        let manner = manner(ask, &self.heads);
        let out = &mut self.scratch.out;
        self.heads
            .answer(out, &manner, 200, "application/json", body);
    }

    fn answer_text(&mut self, ask: &Ask<'_>, text: &str) {
        let manner = manner(ask, &self.heads);
        let (out, kind) = (&mut self.scratch.out, "text/plain; charset=utf-8");
        self.heads.answer(out, &manner, 200, kind, text.as_bytes());
    }

    /// OPTIONS, and the CORS preflight (Fetch standard, section 3.2).
    fn answer_preflight(&mut self, ask: &Ask<'_>, head: &Head<'_>, route: Route<'_>) {
        let manner = manner(ask, &self.heads);
        let out = &mut self.scratch.out;
        self.heads.begin(out, &manner, 204);
        field(out, "Allow", route.allow());
        let allowed = head.origin.and_then(|origin| self.heads.allowed(origin));
        let may_read = allowed.is_some() || self.heads.allows_any();
        if head.preflight_method.is_some() && may_read {
            field(out, "Access-Control-Allow-Methods", route.allow());
            field(
                out,
                "Access-Control-Allow-Headers",
                "Authorization, Content-Type, Encke-Event, Idempotency-Key, Last-Event-ID",
            );
            field(out, "Access-Control-Max-Age", "86400");
        }
        self.heads.end(out, Ending::None);
    }
}

/// The access log: at debug level, as a line a request is too much for production.
fn log_access(index: u32, head: &Head<'_>, status: u16) {
    log::debug!(
        target: "encke::access",
        "connection {index}: {:?} {} {status}",
        head.method,
        head.path.escape_ascii(),
    );
}

/// What a request is counted for.
fn endpoint(route: Option<Route<'_>>) -> Endpoint {
    route.map_or(Endpoint::Other, |route| route.endpoint())
}
