//! From a head to a plan, or to a refusal: all that can be judged before the body is here.
//!
//! Owns who may do what: methods, the control surface and its key, origins, and what a drain
//! still takes. It changes nothing.

use std::borrow::Cow;

use super::Engine;
use super::conn::{Access, Flags, State};
use super::heads::{Ending, Manner, Persistence, field};
use super::params::{Params, callback_of};
use super::problem::Problem;
use super::route::{Receive, Route, channel_name, channel_names};
use crate::encode;
use crate::http1::{Head, Method};

/// What a request comes to.
pub(super) enum Plan<'b> {
    Receive(Receive, Vec<String>, Params<'b>),
    Publish {
        channel: String,
        event: Option<Cow<'b, str>>,
        idempotency_key: Option<&'b str>,
    },
    PublishLines,
    Channels,
    ShowChannel(String),
    ForgetChannel(String),
    Healthz,
    Readyz,
    Metrics,
    Page,
    Preflight(Route<'b>),
}

/// How one request is answered, without what the engine owns.
pub(super) struct Ask<'b> {
    pub(super) persistence: Persistence,
    pub(super) head_only: bool,
    pub(super) origin: Option<u16>,
    pub(super) callback: Option<Cow<'b, str>>,
}

impl Ask<'_> {
    /// The same for an answer that is no JSONP.
    pub(super) fn plain(&self) -> Ask<'static> {
        Ask {
            callback: None,
            ..*self
        }
    }
}

const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

impl Engine {
    /// Serves one whole request: its answer is written, or it is parked.
    pub(super) fn perform(&mut self, index: u32, head: &Head<'_>, body: &[u8]) {
        let ask = self.ask(index, head);
        let planned = self.admit(index, head);
        let done = planned.and_then(|plan| self.carry_out(index, head, plan, body, &ask));
        if let Err(problem) = done {
            return self.refuse_request(index, head, problem);
        }
        self.stats.requests.count(endpoint(head), 200);
        let conn = self.conn(index);
        if !conn.is_waiting() && conn.state() != State::Closing {
            conn.become_state(State::Idle);
        }
    }

    /// Refuses a request whose framing is sound.
    pub(super) fn refuse_request(&mut self, index: u32, head: &Head<'_>, problem: Problem) {
        let is_receive = matches!(Route::of(head.path), Some(Route::Receive(..)));
        let mut ask = self.ask(index, head);
        ask.callback = callback_of(head).filter(|_| is_receive);
        let manner = manner(&ask, &self.heads);
        problem.write(&self.heads, &mut self.scratch.out, &manner);
        self.stats.requests.count(endpoint(head), problem.status);
        self.conn(index).become_state(State::Idle);
    }

    /// Judges a request by its head.
    pub(super) fn admit<'b>(&self, index: u32, head: &Head<'b>) -> Result<Plan<'b>, Problem> {
        let access = self.conns[index as usize].access;
        let route = match Route::of(head.path) {
            Some(Route::Page) if self.page.is_none() && head.method != Method::Options => {
                return Err(not_found());
            }
            Some(route) if access != Access::Public || !route.is_control() => route,
            // OPTIONS of anything is answered, `*` included: as for any path that is only read.
            None if head.method == Method::Options => Route::Healthz,
            _ => return Err(not_found()),
        };
        if !route.allows(head.method) {
            let detail = format!("this endpoint answers {}", route.allow());
            return Err(Problem::new(405, detail).with("Allow", route.allow()));
        }
        self.judge_origin(head)?;
        if head.method == Method::Options {
            return Ok(Plan::Preflight(route));
        }
        if route.is_control() && access == Access::Guarded {
            self.judge_key(head)?;
        }
        self.plan(route, head)
    }

    fn plan<'b>(&self, route: Route<'b>, head: &Head<'b>) -> Result<Plan<'b>, Problem> {
        Ok(match route {
            Route::Receive(receive, names) => {
                let names = channel_names(names)?;
                let params = Params::parse(head, receive, self.hub.epoch())?;
                Plan::Receive(receive, names, params)
            }
            Route::Publish(_) | Route::PublishLines if self.drain.is_some() => {
                return Err(Problem::unavailable(
                    "the server is draining; publish to another",
                    1,
                ));
            }
            Route::Publish(name) => Plan::Publish {
                channel: channel_name(name)?,
                event: event(head)?,
                idempotency_key: idempotency_key(head)?,
            },
            Route::PublishLines => Plan::PublishLines,
            Route::Channels => Plan::Channels,
            Route::Channel(name) if head.method == Method::Delete => {
                Plan::ForgetChannel(channel_name(name)?)
            }
            Route::Channel(name) => Plan::ShowChannel(channel_name(name)?),
            Route::Healthz => Plan::Healthz,
            Route::Readyz => Plan::Readyz,
            Route::Metrics => Plan::Metrics,
            Route::Page => Plan::Page,
        })
    }

    /// A page of another origin neither reads nor publishes unless it may.
    fn judge_origin(&self, head: &Head<'_>) -> Result<(), Problem> {
        let Some(origin) = head.origin else {
            return Ok(());
        };
        let is_same_host = origin
            .splitn(3, |&byte| byte == b'/')
            .nth(2)
            .is_some_and(|host| Some(host) == head.host);
        if is_same_host || self.heads.allows_any() || self.heads.allowed(origin).is_some() {
            return Ok(());
        }
        let origin = String::from_utf8_lossy(origin);
        Err(Problem::new(
            403,
            format!("pages of {origin} may not use this server; allow them with --cors-origin"),
        ))
    }

    fn judge_key(&self, head: &Head<'_>) -> Result<(), Problem> {
        let Some(key) = &self.settings.publish_key else {
            return Ok(());
        };
        let given = head.authorization.and_then(bearer);
        if given.is_some_and(|given| is_equal(given, key.as_bytes())) {
            return Ok(());
        }
        let detail = match given {
            None => "send the publish key as `Authorization: Bearer KEY`",
            Some(_) => "the key in `Authorization` is not the publish key",
        };
        Err(Problem::new(401, detail).with("WWW-Authenticate", "Bearer realm=\"encke\""))
    }

    fn ask<'b>(&self, index: u32, head: &Head<'b>) -> Ask<'b> {
        let allowed = head.origin.and_then(|origin| self.heads.allowed(origin));
        Ask {
            persistence: self.persistence(index),
            head_only: head.method == Method::Head,
            origin: allowed.map(|(place, _)| place),
            callback: None,
        }
    }

    /// What becomes of a connection after the present answer.
    pub(super) fn persistence(&self, index: u32) -> Persistence {
        let flags = self.conns[index as usize].flags;
        match (flags.has(Flags::CLOSE), flags.has(Flags::HTTP10)) {
            (true, _) => Persistence::Close,
            (false, true) => Persistence::Told,
            (false, false) => Persistence::Implied,
        }
    }

    fn carry_out(
        &mut self,
        index: u32,
        head: &Head<'_>,
        plan: Plan<'_>,
        body: &[u8],
        ask: &Ask<'_>,
    ) -> Result<(), Problem> {
        match plan {
            Plan::Receive(receive, names, params) => {
                return self.receive(index, receive, &names, params, ask);
            }
            Plan::Publish {
                channel,
                event,
                idempotency_key,
            } => {
                let event = event.as_deref();
                let answer =
                    self.publish_one(&channel, event, idempotency_key, head.content_type, body)?;
                self.answer_json(ask, &answer);
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
            Plan::Preflight(route) => self.answer_preflight(ask, head, route),
        }
        Ok(())
    }

    pub(super) fn answer_json(&mut self, ask: &Ask<'_>, body: &[u8]) {
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
        let may_read = manner.origin.is_some() || self.heads.allows_any();
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

/// The manner of an answer, with the origin looked up.
pub(super) fn manner<'a>(ask: &'a Ask<'_>, heads: &'a super::heads::Heads) -> Manner<'a> {
    Manner {
        persistence: ask.persistence,
        head_only: ask.head_only,
        origin: ask.origin.and_then(|place| heads.origin(place)),
        callback: ask.callback.as_deref(),
    }
}

/// The name of the endpoint asked for.
fn endpoint(head: &Head<'_>) -> &'static str {
    Route::of(head.path).map_or("other", |route| route.name())
}

fn not_found() -> Problem {
    Problem::new(
        404,
        "no such endpoint here; there are /poll/, /long-poll/, /sse/, /ndjson/ and /frame/ with \
         the names of channels, and on a control listener /publish/ and /channels/",
    )
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| key.trim_ascii())
}

/// Compares in a time that tells nothing of where the first difference is.
fn is_equal(given: &[u8], key: &[u8]) -> bool {
    let differences = given.iter().zip(key).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0 && given.len() == key.len()
}

/// The event name: the header field, or the parameter.
fn event<'b>(head: &Head<'b>) -> Result<Option<Cow<'b, str>>, Problem> {
    let parameter = crate::http1::parameters(head.query).find(|&(name, _)| name == b"event");
    let named: Cow<'b, [u8]> = match (head.encke_event, parameter) {
        (Some(value), _) => Cow::Borrowed(value),
        (None, Some((_, raw))) => crate::http1::decode(raw)
            .ok_or_else(|| Problem::bad("`%` in the query must be followed by two hex digits"))?,
        (None, None) => return Ok(None),
    };
    let name = encode::check_event(&named).map_err(|error| Problem::bad(error.detail()))?;
    Ok(name.map(|name| Cow::Owned(name.to_owned())))
}

fn idempotency_key<'b>(head: &Head<'b>) -> Result<Option<&'b str>, Problem> {
    let Some(key) = head.idempotency_key else {
        return Ok(None);
    };
    match std::str::from_utf8(key) {
        Ok(key) if !key.is_empty() && key.len() <= MAX_IDEMPOTENCY_KEY_BYTES => Ok(Some(key)),
        _ => Err(Problem::bad(
            "Idempotency-Key must be 1 to 255 bytes of UTF-8",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole() {
        assert!(is_equal(b"secret", b"secret"));
        for wrong in [&b""[..], b"secre", b"secretX", b"Xecret", b"secrex"] {
            assert!(!is_equal(wrong, b"secret"), "{wrong:?}");
        }
    }

    #[test]
    fn bearers() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Basic abc"), None);
        assert_eq!(bearer(b"Bearer"), None);
    }
}
