//! From a head to a plan, or to a refusal: all that can be judged before the body is here.
//!
//! Owns the rights of a request: methods, the control surface and its key, origins, and the
//! requests that a drain still accepts. It changes nothing.

use std::borrow::Cow;

use constant_time_eq::constant_time_eq;

use super::params::{Params, decoded, last};
use super::route::{Names, Receive, Route, channel_name, channel_names};
use crate::authority::{Authority, Origin};
use crate::config::Config;
use crate::engine::connections::Access;
use crate::engine::response::{Heads, Problem};
use crate::http1::{Head, Method, status};
use crate::message::{ChannelName, Epoch, EventName, IdempotencyKey};
use crate::transport::Transport;

/// The operation that a request asks for.
pub(in crate::engine) enum Operation<'b> {
    Receive(Receive, Names<'b>, Params<'b>),
    Publish {
        channel: ChannelName<'b>,
        event: Option<EventName>,
        key: Option<IdempotencyKey>,
    },
    PublishLines,
    Channels,
    ShowChannel(ChannelName<'b>),
    ForgetChannel(ChannelName<'b>),
    Healthz,
    Readyz,
    Metrics,
    Page,
    Preflight(Route<'b>),
}

/// Judges requests by their heads.
pub(in crate::engine) struct Authorizer {
    publish_key: Option<String>,
    /// Whether the live page is served.
    has_page: bool,
}

/// The state of the server that a judgement depends on.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Circumstances<'e> {
    /// The rights that the listener gives the connection.
    pub(in crate::engine) access: Access,
    pub(in crate::engine) heads: &'e Heads,
    pub(in crate::engine) epoch: &'e Epoch,
    pub(in crate::engine) is_draining: bool,
}

impl Authorizer {
    pub(in crate::engine) fn new(config: &Config) -> Authorizer {
        Authorizer {
            publish_key: config.publish_key.clone(),
            has_page: config.page,
        }
    }

    /// Judges a request: what it asks for, or why that is refused.
    pub(in crate::engine) fn authorize<'b>(
        &self,
        head: &Head<'b>,
        route: Option<Route<'b>>,
        now: Circumstances<'_>,
    ) -> Result<Operation<'b>, Problem> {
        let access = now.access;
        let route = match route {
            Some(Route::Page) if !self.has_page && head.method != Method::Options => {
                return Err(not_found());
            }
            Some(route) if access != Access::Public || !route.is_control() => route,
            // OPTIONS of anything is answered, `*` included: as for any path that is only read.
            _ if head.method == Method::Options => Route::Healthz,
            _ => return Err(not_found()),
        };
        if !route.allows(head.method) {
            let detail = format!("this endpoint answers {}", route.allow());
            return Err(Problem::new(405, detail).with("Allow", route.allow()));
        }
        self.check_origin(head, now)?;
        if head.method == Method::Options {
            return Ok(Operation::Preflight(route));
        }
        if route.is_control() && access == Access::Guarded {
            self.check_key(head)?;
        }
        self.operation(route, head, now)
    }

    fn operation<'b>(
        &self,
        route: Route<'b>,
        head: &Head<'b>,
        now: Circumstances<'_>,
    ) -> Result<Operation<'b>, Problem> {
        Ok(match route {
            Route::Receive(receive, names) => {
                let names = channel_names(names)?;
                let params = Params::parse(head, receive, now.epoch)?;
                Operation::Receive(receive, names, params)
            }
            Route::Publish(_) | Route::PublishLines if now.is_draining => {
                return Err(Problem::unavailable(
                    "the server is draining; publish to another",
                    1,
                ));
            }
            Route::Publish(_) | Route::PublishLines if head.has_content_coding => {
                let detail = "send the body without Content-Encoding: it is not decoded here";
                return Err(Problem::new(status::UNSUPPORTED_MEDIA_TYPE, detail)
                    .with("Accept-Encoding", "identity"));
            }
            Route::Publish(name) => Operation::Publish {
                channel: channel_name(name)?,
                event: event(head)?,
                key: idempotency_key(head)?,
            },
            Route::PublishLines if head.idempotency_key.is_some() => {
                return Err(Problem::bad(
                    "Idempotency-Key goes with one message: POST /publish/CHANNEL",
                ));
            }
            Route::PublishLines => Operation::PublishLines,
            Route::Channels => Operation::Channels,
            Route::Channel(name) if head.method == Method::Delete => {
                Operation::ForgetChannel(channel_name(name)?)
            }
            Route::Channel(name) => Operation::ShowChannel(channel_name(name)?),
            Route::Healthz => Operation::Healthz,
            Route::Readyz => Operation::Readyz,
            Route::Metrics => Operation::Metrics,
            Route::Page => Operation::Page,
        })
    }

    /// A page of another origin neither reads nor publishes unless it may.
    fn check_origin(&self, head: &Head<'_>, now: Circumstances<'_>) -> Result<(), Problem> {
        let heads = now.heads;
        let Some(origin) = head.origin else {
            return Ok(());
        };
        if self.is_own_origin(head, origin, now.access)
            || self.is_own_page(head, now.access)
            || heads.allows_any()
            || heads.allowed(origin).is_some()
        {
            return Ok(());
        }
        let origin = String::from_utf8_lossy(origin);
        Err(Problem::new(
            403,
            format!("pages of {origin} may not use this server; allow them with --cors-origin"),
        ))
    }

    /// Whether a page of `origin` is one of the server's own, by `Host`.
    fn is_own_origin(&self, head: &Head<'_>, origin: &[u8], access: Access) -> bool {
        let host = head.host.and_then(Authority::parse);
        let Some((origin, host)) = Origin::parse(origin).zip(host) else {
            return false;
        };
        // A page can have its own name resolved to this machine (DNS rebinding), so where no key
        // is required, only an address, or the name that is always ours, is trusted. A trusted
        // listener never requires the key.
        let requires_key = self.publish_key.is_some() && access != Access::Trusted;
        origin.is_at(&host) && (requires_key || origin.is_address_or_localhost())
    }

    /// Whether a browser says that a page of the server's own origin sent the request, and the
    /// request has a credential: behind a proxy that rewrites `Host` nothing else tells.
    ///
    /// The credential is needed because a page can have its own name resolved to this machine (DNS
    /// rebinding): the browser then takes the two for one origin.
    fn is_own_page(&self, head: &Head<'_>, access: Access) -> bool {
        head.is_from_same_origin && self.has_credential(head, access)
    }

    /// Whether the request has a right credential that this listener looks at.
    fn has_credential(&self, head: &Head<'_>, access: Access) -> bool {
        let key = self.publish_key.as_deref();
        let given = head.authorization.and_then(bearer);
        access != Access::Public
            && key
                .zip(given)
                .is_some_and(|(key, given)| constant_time_eq(given, key.as_bytes()))
    }

    fn check_key(&self, head: &Head<'_>) -> Result<(), Problem> {
        let Some(key) = &self.publish_key else {
            return Ok(());
        };
        let given = head.authorization.and_then(bearer);
        if given.is_some_and(|given| constant_time_eq(given, key.as_bytes())) {
            return Ok(());
        }
        let detail = match given {
            None => "send the publish key as `Authorization: Bearer KEY`",
            Some(_) => "the key in `Authorization` is not the publish key",
        };
        Err(Problem::new(401, detail).with("WWW-Authenticate", "Bearer realm=\"encke\""))
    }
}

fn not_found() -> Problem {
    let mut receiving = String::from("/poll/");
    for (place, transport) in Transport::ALL.into_iter().enumerate() {
        let is_last = place + 1 == Transport::ALL.len();
        receiving += if is_last { " and /" } else { ", /" };
        receiving += transport.name();
        receiving.push('/');
    }
    Problem::new(
        404,
        format!(
            "no such endpoint here; there are {receiving} with the names of channels, and on a \
             control listener /publish/ and /channels/"
        ),
    )
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| key.trim_ascii())
}

/// The event name: the header field, or the parameter.
fn event(head: &Head<'_>) -> Result<Option<EventName>, Problem> {
    let named: Cow<'_, [u8]> = match head.encke_event {
        Some(value) => Cow::Borrowed(value),
        // Nearly every publish. It saves the search.
        None if head.query.is_empty() => return Ok(None),
        None => match last(head.query, b"event") {
            Some(raw) => decoded(raw)?,
            None => return Ok(None),
        },
    };
    EventName::parse(&named).map_err(|error| Problem::bad(error.to_string()))
}

fn idempotency_key(head: &Head<'_>) -> Result<Option<IdempotencyKey>, Problem> {
    let key = head.idempotency_key.map(IdempotencyKey::parse).transpose();
    key.map_err(|error| Problem::bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cors;
    use crate::http1;

    #[test]
    fn bearers() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Basic abc"), None);
        assert_eq!(bearer(b"Bearer"), None);
    }

    /// Whether a page of `host` may publish to a listener that is reached by that name.
    fn may_publish(authorizer: &Authorizer, access: Access, host: &str) -> bool {
        let text = format!(
            "POST /publish/x HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
             Authorization: Bearer key\r\nContent-Length: 0\r\n\r\n"
        );
        let mut scan = http1::Scan::default();
        let outcome = http1::parse(text.as_bytes(), &mut scan, 1 << 10);
        let Ok(http1::Outcome::Complete { head, .. }) = outcome else {
            panic!("{text}");
        };
        let now = Circumstances {
            access,
            heads: &Heads::new(Cors::Origins(Vec::new()), 0),
            epoch: &Epoch::from_seed(0),
            is_draining: false,
        };
        let route = Route::of(head.path);
        authorizer.authorize(&head, route, now).is_ok()
    }

    /// A page can have its own name resolved to this machine, and then is of one origin with it.
    #[test]
    fn rebound_name_may_publish_only_where_the_key_is_required() {
        let authorizer = |publish_key: Option<&str>| {
            Authorizer::new(&Config {
                publish_key: publish_key.map(String::from),
                ..Config::default()
            })
        };
        let (keyed, keyless) = (authorizer(Some("key")), authorizer(None));
        for (authorizer, access, expected) in [
            (&keyed, Access::Guarded, true),
            // This listener accepts requests without the key.
            (&keyed, Access::Trusted, false),
            (&keyless, Access::Guarded, false),
            (&keyless, Access::Trusted, false),
        ] {
            let host = "rebound.example:7711";
            let may = may_publish(authorizer, access, host);
            assert_eq!(may, expected, "{access:?}");
            assert!(may_publish(authorizer, access, "127.0.0.1:7711"));
        }
    }
}
