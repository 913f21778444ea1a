//! From a head to a plan, or to a refusal: all that can be judged before the body is here.
//!
//! Owns the order in which a request is judged: its endpoint, its method, its credential, its
//! origin, its rights, and the requests that a drain still accepts. It changes nothing but the
//! cache and the counters of tokens.

mod frozen;

pub(in crate::engine) use frozen::{freeze, thaw};

use std::sync::Arc;

use constant_time_eq::constant_time_eq;

use super::credential::{self, bearer};
use super::handshake::Handshake;
use super::params::Params;
use super::permit::{self, Identity};
use super::publication::{PublishParams, idempotency_key, key_of_lines};
use super::rights::Rights;
use super::route::{Names, Receive, Route, channel_name, channel_names};
use crate::config::Config;
use crate::engine::connections::{Access, CredentialRef};
use crate::engine::response::{Heads, Problem};
use crate::http1::{Head, Method, status};
use crate::message::{ChannelName, EventName, IdempotencyKey, Numbering};
use crate::tokens::{Invalid, Token, Tokens};
use crate::transport::Transport;

/// The operation that a request asks for.
pub(in crate::engine) enum Operation<'b> {
    Receive {
        receive: Receive,
        names: Names<'b>,
        params: Params<'b>,
        identity: Identity,
    },
    Publish {
        channel: ChannelName<'b>,
        event: Option<EventName>,
        key: Option<IdempotencyKey>,
        /// The channel ends with this message, or without one if there is no body.
        end: bool,
    },
    /// The channels are named in the body, and judged when it is here.
    PublishLines(Identity),
    /// Each line is published as it comes.
    PublishByLines {
        /// `None`: each line names its own, which is judged when it is here.
        channel: Option<ChannelName<'b>>,
        event: Option<EventName>,
        key: Option<IdempotencyKey>,
        end: bool,
        ack: bool,
        identity: Identity,
    },
    Channels,
    ShowChannel(ChannelName<'b>),
    DeleteHistory(ChannelName<'b>),
    CountConnections,
    EndConnections,
    Nodes,
    Healthz,
    Readyz,
    Metrics,
    Page,
    Client,
    Cursor,
    Preflight(Route<'b>),
}

/// Judges requests by their heads.
pub(in crate::engine) struct Authorizer {
    rights: Rights,
    tokens: Tokens,
    /// The cookie that may carry a token.
    token_cookie: Option<String>,
    /// Whether the live page and the JavaScript client are served.
    has_page: bool,
    /// Counts the changes of settings.
    changes: u32,
}

/// The state of the server that a judgement depends on.
#[derive(Clone, Copy)]
pub(in crate::engine) struct AuthorizationContext<'e> {
    /// The rights that the listener gives the connection.
    pub(in crate::engine) access: Access,
    pub(in crate::engine) heads: &'e Heads,
    pub(in crate::engine) numbering: &'e Numbering,
    pub(in crate::engine) is_draining: bool,
    /// The Unix time, in milliseconds.
    pub(in crate::engine) unix_ms: u64,
}

impl Authorizer {
    /// `seed` keys the hash of tokens.
    pub(in crate::engine) fn new(config: &Config, seed: (u64, u64)) -> Authorizer {
        Authorizer {
            rights: Rights::new(config),
            tokens: Tokens::new(config.tokens.clone(), seed),
            token_cookie: config.token_cookie.clone(),
            has_page: config.page,
            changes: 0,
        }
    }

    /// Takes new settings, and returns the rights that were in force before.
    pub(in crate::engine) fn reconfigure(&mut self, config: &Config) -> Rights {
        self.tokens.replace(config.tokens.clone());
        self.token_cookie.clone_from(&config.token_cookie);
        self.has_page = config.page;
        self.changes = self.changes.wrapping_add(1);
        std::mem::replace(&mut self.rights, Rights::new(config))
    }

    /// The rights in force.
    pub(in crate::engine) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// A number that changes with the settings by which requests are judged.
    pub(in crate::engine) fn changes(&self) -> u32 {
        self.changes
    }

    /// The verified tokens and the blocked subjects.
    pub(in crate::engine) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// As [`Authorizer::tokens`], to block a subject.
    pub(in crate::engine) fn tokens_mut(&mut self) -> &mut Tokens {
        &mut self.tokens
    }

    /// Judges a request: what it asks for, or why that is refused.
    #[inline(always)]
    pub(in crate::engine) fn authorize<'b>(
        &mut self,
        head: &Head<'b>,
        route: Option<Route<'b>>,
        context: AuthorizationContext<'_>,
    ) -> Result<Operation<'b>, Problem> {
        let access = context.access;
        let route = match route {
            Some(route) if route.is_page() && !self.has_page && head.method != Method::Options => {
                return Err(not_found());
            }
            Some(route) if access != Access::Public || !route.is_control() => route,
            Some(route)
                if route.is_publish() && permit::serves_publishing(&self.rights, access) =>
            {
                route
            }
            // OPTIONS of anything is answered, `*` included: as for any path that is only read.
            _ if head.method == Method::Options => Route::Healthz,
            _ => return Err(not_found()),
        };
        if !route.allows(head.method) {
            let detail = format!("this endpoint answers {}", route.allow());
            return Err(Problem::new(405, detail).with("Allow", route.allow()));
        }
        let identity = match head.method {
            // Browsers send no credential with a preflight.
            Method::Options => Identity::Anonymous,
            _ => self.identify(head, &route, context)?,
        };
        // The client is the same for everyone: a page of any origin may load it.
        if route != Route::Client {
            self.check_origin(head, &route, context, &identity)?;
        }
        if head.method == Method::Options {
            return Ok(Operation::Preflight(route));
        }
        self.operation(route, head, context, identity)
    }

    fn operation<'b>(
        &self,
        route: Route<'b>,
        head: &Head<'b>,
        context: AuthorizationContext<'_>,
        identity: Identity,
    ) -> Result<Operation<'b>, Problem> {
        if route.is_publish() {
            return self.publication(route, head, context, identity);
        }
        if route.is_control() && context.access == Access::Guarded {
            permit::control(&self.rights, &identity, head.authorization.and_then(bearer))?;
        }
        Ok(match route {
            Route::Receive(receive, names) => {
                let names = channel_names(names)?;
                permit::receive(&self.rights, &identity, context.access, &names)?;
                let mut params = Params::parse(head, receive, context.numbering)?;
                if receive.is_duplex() {
                    params.handshake = Some(Handshake::of(head, &names, params.options)?.into());
                }
                Operation::Receive {
                    receive,
                    names,
                    params,
                    identity,
                }
            }
            Route::Channels => Operation::Channels,
            Route::Channel(name) if head.method == Method::Delete => {
                Operation::DeleteHistory(channel_name(name)?)
            }
            Route::Channel(name) => Operation::ShowChannel(channel_name(name)?),
            Route::Connections if head.method == Method::Delete => Operation::EndConnections,
            Route::Connections => Operation::CountConnections,
            Route::Nodes => Operation::Nodes,
            Route::Healthz => Operation::Healthz,
            Route::Readyz => Operation::Readyz,
            Route::Metrics => Operation::Metrics,
            Route::Page => Operation::Page,
            Route::Client => Operation::Client,
            Route::Cursor => Operation::Cursor,
            Route::Publish(_) | Route::PublishLines => unreachable!("returned above"),
        })
    }

    /// The operation of a request to publish.
    fn publication<'b>(
        &self,
        route: Route<'b>,
        head: &Head<'b>,
        context: AuthorizationContext<'_>,
        identity: Identity,
    ) -> Result<Operation<'b>, Problem> {
        let channel = match route {
            Route::Publish(name) => Some(channel_name(name)?),
            _ => None,
        };
        let given = head.authorization.and_then(bearer);
        permit::publish(
            &self.rights,
            &identity,
            context.access,
            channel.as_deref(),
            given,
        )?;
        if context.is_draining {
            return Err(Problem::unavailable(
                "the server is draining; publish to another",
                1,
            ));
        }
        if head.has_content_coding {
            let detail = "send the body without Content-Encoding: it is not decoded here";
            return Err(Problem::new(status::UNSUPPORTED_MEDIA_TYPE, detail)
                .with("Accept-Encoding", "identity"));
        }
        let params = PublishParams::parse(head, channel.is_some())?;
        if params.lines {
            return Ok(Operation::PublishByLines {
                channel,
                event: params.event,
                key: key_of_lines(head)?,
                end: params.end,
                ack: params.ack,
                identity,
            });
        }
        let key = idempotency_key(head)?;
        match channel {
            Some(channel) => Ok(Operation::Publish {
                channel,
                event: params.event,
                key,
                end: params.end,
            }),
            None if key.is_some() => Err(Problem::bad(
                "Idempotency-Key goes with one message: POST /publish/CHANNEL",
            )),
            None if params.end => Err(Problem::bad(
                "end=1 goes with one channel: POST /publish/CHANNEL, or \"end\":true in a line",
            )),
            None => Ok(Operation::PublishLines(identity)),
        }
    }

    /// The identity that the credential of a request proves.
    ///
    /// # Errors
    ///
    /// 401 for a token that is not valid, also where none is needed: a client that sends a
    /// credential is never treated as anonymous.
    fn identify(
        &mut self,
        head: &Head<'_>,
        route: &Route<'_>,
        context: AuthorizationContext<'_>,
    ) -> Result<Identity, Problem> {
        if self.has_publish_key(head, context.access) {
            return Ok(Identity::Publisher);
        }
        if !self.tokens.has_keys() || !route.takes_token() {
            return Ok(Identity::Anonymous);
        }
        let cookie_name = self.token_cookie.as_deref();
        match credential::token(head, cookie_name, context.heads.allows_any()) {
            None => Ok(Identity::Anonymous),
            Some(token) => match self.tokens.verify(&token, context.unix_ms) {
                Ok(token) => Ok(Identity::Token(token)),
                Err(_) if self.is_meant_as_key(head, context.access) => {
                    Err(permit::neither_key_nor_token())
                }
                Err(reason) => Err(permit::invalid_token(&reason)),
            },
        }
    }

    /// The identity that the credential of a parked connection proves now. `token` is the one that
    /// was kept of it.
    ///
    /// # Errors
    ///
    /// 401 for a token that is accepted no more.
    pub(in crate::engine) fn identify_parked(
        &mut self,
        credential: CredentialRef<'_>,
        token: Option<&Arc<Token>>,
        unix_ms: u64,
    ) -> Result<Identity, Problem> {
        let verified = match (credential, token) {
            (CredentialRef::Anonymous, _) => return Ok(Identity::Anonymous),
            (CredentialRef::Publisher, _) => return Ok(Identity::Publisher),
            (CredentialRef::Token { .. }, None) => Err(Invalid::Key),
            (CredentialRef::Token { .. }, Some(token)) => {
                self.tokens.verify_again(token, unix_ms).map(|()| token)
            }
        };
        match verified {
            Ok(token) => Ok(Identity::Token(Arc::clone(token))),
            Err(reason) => Err(permit::invalid_token(&reason)),
        }
    }

    /// Whether the request has the publish key, on a listener that looks at it.
    fn has_publish_key(&self, head: &Head<'_>, access: Access) -> bool {
        self.key_and_given(head, access)
            .is_some_and(|(key, given)| constant_time_eq(given, key.as_bytes()))
    }

    /// Whether the credential of a request may be a wrong publish key: it has no dot, as every
    /// token has, and the listener looks at the publish key.
    fn is_meant_as_key(&self, head: &Head<'_>, access: Access) -> bool {
        self.key_and_given(head, access)
            .is_some_and(|(_, given)| !given.contains(&b'.'))
    }

    /// The publish key and the credential to compare with it, on a listener that looks at the key.
    fn key_and_given<'b>(&self, head: &Head<'b>, access: Access) -> Option<(&str, &'b [u8])> {
        let given = head.authorization.filter(|_| access != Access::Public);
        self.rights.publish_key().zip(given.and_then(bearer))
    }

    /// Whether the credential decides what the request may do. On a listener that requires no
    /// token, a token decides nothing: a page that sends one would get the rights of any local
    /// client.
    fn is_proof(&self, route: &Route<'_>, access: Access, identity: &Identity) -> bool {
        match identity {
            Identity::Anonymous => false,
            Identity::Publisher => true,
            Identity::Token(_) => {
                let may_publish = route.is_publish() || route.is_duplex();
                permit::judges_tokens(&self.rights, access, may_publish)
            }
        }
    }

    /// A page of another origin neither reads nor publishes unless it may.
    fn check_origin(
        &self,
        head: &Head<'_>,
        route: &Route<'_>,
        context: AuthorizationContext<'_>,
        identity: &Identity,
    ) -> Result<(), Problem> {
        let heads = context.heads;
        let Some(origin) = head.origin else {
            return Ok(());
        };
        // Behind a proxy that rewrites `Host` only the browser knows that a page of the server's
        // own origin sent the request. The credential is needed because a page can have its own
        // name resolved to this machine (DNS rebinding): the browser then takes the two for one
        // origin.
        let is_proof = self.is_proof(route, context.access, identity);
        let is_own_page = head.is_from_same_origin && is_proof;
        let has_token = is_proof && identity.token().is_some();
        if is_own_page
            || self.is_own_origin(head, origin, context.access, has_token)
            || heads.allows(origin)
        {
            return Ok(());
        }
        let origin = String::from_utf8_lossy(origin);
        Err(Problem::new(
            403,
            format!("pages of {origin} may not use this server; allow them with --cors-origin"),
        ))
    }

    /// Whether a page of `origin` is one of the server's own, by `Host`. `has_token`: it gets its
    /// rights by a token.
    fn is_own_origin(
        &self,
        head: &Head<'_>,
        origin: &[u8],
        access: Access,
        has_token: bool,
    ) -> bool {
        let Some(origin) = credential::origin_of_host(head, origin) else {
            return false;
        };
        // A page can have its own name resolved to this machine (DNS rebinding), so where no
        // credential is required, only an address, or the name that is always ours, is trusted. A
        // trusted listener never requires one.
        let requires_key = self.rights.publish_key().is_some() && access != Access::Trusted;
        let is_guarded = requires_key && !self.rights.lets_anyone_publish();
        is_guarded || has_token || origin.is_address_or_localhost()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1;
    use crate::message::Epoch;

    /// Whether a page of `host` may publish to a listener that is reached by that name.
    fn may_publish(authorizer: &mut Authorizer, access: Access, host: &str) -> bool {
        let text = format!(
            "POST /publish/x HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
             Authorization: Bearer key\r\nContent-Length: 0\r\n\r\n"
        );
        let mut scan = http1::Scan::default();
        let outcome = http1::parse(text.as_bytes(), &mut scan, 1 << 10);
        let Ok(http1::Outcome::Complete { head, .. }) = outcome else {
            panic!("{text}");
        };
        let context = AuthorizationContext {
            access,
            heads: &Heads::new(&Config::default()),
            numbering: &Numbering::Single(Epoch::from_seed(0)),
            is_draining: false,
            unix_ms: 0,
        };
        let route = Route::of(head.path);
        authorizer.authorize(&head, route, context).is_ok()
    }

    /// A page can have its own name resolved to this machine, and then is of one origin with it.
    #[test]
    fn rebound_name_may_publish_only_where_the_key_is_required() {
        let authorizer = |publish_key: Option<&str>| {
            let config = Config {
                publish_key: publish_key.map(String::from),
                ..Config::default()
            };
            Authorizer::new(&config, (0, 0))
        };
        for (key, access, expected) in [
            (Some("key"), Access::Guarded, true),
            // This listener accepts requests without the key.
            (Some("key"), Access::Trusted, false),
            (None, Access::Guarded, false),
            (None, Access::Trusted, false),
        ] {
            let mut authorizer = authorizer(key);
            let host = "rebound.example:7711";
            let may = may_publish(&mut authorizer, access, host);
            assert_eq!(may, expected, "{access:?}");
            assert!(may_publish(&mut authorizer, access, "127.0.0.1:7711"));
        }
    }
}
