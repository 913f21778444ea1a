//! Whether a request is permitted to receive, to publish, or to use the control surface.
//!
//! Owns the judgement of receiving, publishing and the control surface by identity, listener and
//! rights, and the words of its refusals (RFC 6750, section 3).

use std::fmt::Display;
use std::sync::Arc;

use super::rights::Rights;
use super::route::Names;
use crate::config::{Publish, Subscribe};
use crate::engine::connections::Access;
use crate::engine::response::Problem;
use crate::tokens::{Invalid, Token};

/// The identity that the credential of a request proves.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Identity {
    /// It has none.
    Anonymous,
    /// It has the publish key.
    Publisher,
    /// It has a valid token.
    Token(Arc<Token>),
}

impl Identity {
    /// Whether it proves nothing.
    pub(in crate::engine) fn is_anonymous(&self) -> bool {
        matches!(self, Identity::Anonymous)
    }

    /// The token, if that is the credential.
    pub(in crate::engine) fn token(&self) -> Option<&Token> {
        match self {
            Identity::Token(token) => Some(token),
            Identity::Anonymous | Identity::Publisher => None,
        }
    }
}

const CHALLENGE: &str = "WWW-Authenticate";
const REALM: &str = "Bearer realm=\"encke\"";

/// The refusal of a token that is not valid.
pub(super) fn invalid_token(reason: &Invalid) -> Problem {
    refused_credential("token", reason)
}

/// The refusal of a credential that cannot be a token, where it could be the publish key.
pub(super) fn neither_key_nor_token() -> Problem {
    refused_credential(
        "credential in `Authorization: Bearer`",
        "this is neither the publish key nor a token",
    )
}

/// The refusal of a credential that is wrong. The reason may have the characters of an
/// `error_description` (RFC 6750, section 3).
fn refused_credential(what: &str, reason: impl Display) -> Problem {
    let challenge = format!("{REALM}, error=\"invalid_token\", error_description=\"{reason}\"");
    Problem::new(401, format!("the {what} is refused: {reason}")).with(CHALLENGE, challenge)
}

/// The refusal of a request without credential.
fn unauthorized(detail: String) -> Problem {
    Problem::new(401, detail).with(CHALLENGE, REALM)
}

/// The refusal of a request whose credential does not suffice.
fn forbidden(detail: String) -> Problem {
    Problem::new(403, detail).with(CHALLENGE, format!("{REALM}, error=\"insufficient_scope\""))
}

/// Whether a request may do everything, whatever the rights of channels.
fn may_all(identity: &Identity, access: Access) -> bool {
    access == Access::Trusted || matches!(identity, Identity::Publisher)
}

/// Judges a request to receive from channels. Polls are hot.
#[inline(always)]
pub(in crate::engine) fn receive(
    rights: &Rights,
    identity: &Identity,
    access: Access,
    names: &Names<'_>,
) -> Result<(), Problem> {
    let is_free = may_all(identity, access);
    // The usual case of a server without tokens: it saves the rules of each name.
    if is_free || rights.is_open() {
        return Ok(());
    }
    receive_each(rights, identity, names)
}

fn receive_each(rights: &Rights, identity: &Identity, names: &Names<'_>) -> Result<(), Problem> {
    // fault: second-channel-is-not-judged
    for name in names {
        match (rights.subscribe(name), identity.token()) {
            (Subscribe::Anyone, _) => {}
            (Subscribe::Token, Some(token)) if token.may_subscribe(name) => {}
            (Subscribe::Token, None) => {
                return Err(unauthorized(format!(
                    "receiving from {name} needs a token: send it as `Authorization: Bearer TOKEN` \
                     or as the parameter `token`"
                )));
            }
            (Subscribe::Token, Some(_)) => {
                return Err(forbidden(format!(
                    "the token does not grant to receive from {name}: its claim \
                     `encke.subscribe` has no pattern that matches"
                )));
            }
            (Subscribe::Nobody, _) => {
                return Err(forbidden(format!(
                    "{name} is not for receivers: its policy says `subscribe = \"nobody\"`"
                )));
            }
        }
    }
    Ok(())
}

/// Judges a request to publish to a channel. Where the body names the channels, `name` is `None`:
/// then each of them is judged by [`publish_to`] when the body is here.
pub(super) fn publish(
    rights: &Rights,
    identity: &Identity,
    access: Access,
    name: Option<&str>,
    given: Option<&[u8]>,
) -> Result<(), Problem> {
    if access == Access::Guarded && rights.is_for_publish_key() {
        return control(rights, identity, given);
    }
    match name {
        Some(name) => publish_to(rights, identity, access, name),
        None => publish_anywhere(rights, identity, access),
    }
}

/// Whether publishing is served there at all: a public listener serves it by tokens only.
pub(in crate::engine) fn serves_publishing(rights: &Rights, access: Access) -> bool {
    access != Access::Public || rights.has_token_keys()
}

/// Judges a request to publish to one channel.
pub(in crate::engine) fn publish_to(
    rights: &Rights,
    identity: &Identity,
    access: Access,
    name: &str,
) -> Result<(), Problem> {
    if may_all(identity, access) {
        return Ok(());
    }
    let requires_credential = requires_credential(rights, access);
    match (rights.publish(name), identity.token()) {
        (Publish::Nobody, _) => Err(forbidden(format!(
            "{name} is not for publishers: its policy says `publish = \"nobody\"`"
        ))),
        (Publish::Anyone, _) => Ok(()),
        (Publish::Key | Publish::Token, _) if !requires_credential => Ok(()),
        (Publish::Token, Some(token)) if token.may_publish(name) => Ok(()),
        (Publish::Token, Some(_)) => Err(forbidden(format!(
            "the token does not grant to publish to {name}: its claim `encke.publish` has no \
             pattern that matches"
        ))),
        (Publish::Key, Some(_)) => Err(forbidden(format!(
            "no token may publish to {name}: its policy says `publish = \"key\"`"
        ))),
        (Publish::Key | Publish::Token, None) => Err(no_publisher(rights, access)),
    }
}

/// Judges a request to publish to channels that are not known yet.
fn publish_anywhere(rights: &Rights, identity: &Identity, access: Access) -> Result<(), Problem> {
    let is_free = access == Access::Trusted || !requires_credential(rights, access);
    match is_free || !identity.is_anonymous() || rights.lets_anyone_publish() {
        true => Ok(()),
        false => Err(no_publisher(rights, access)),
    }
}

/// Whether publishers need a credential. A public listener serves them by token alone.
fn requires_credential(rights: &Rights, access: Access) -> bool {
    access == Access::Public || rights.publish_key().is_some()
}

/// Whether a token decides what a request may receive or, with `is_publish`, publish to.
pub(super) fn judges_tokens(rights: &Rights, access: Access, is_publish: bool) -> bool {
    access != Access::Trusted && (!is_publish || requires_credential(rights, access))
}

/// The refusal of a publisher without credential.
fn no_publisher(rights: &Rights, access: Access) -> Problem {
    let takes_key = access != Access::Public;
    let detail = match (takes_key, rights.has_token_keys()) {
        (true, false) => "send the publish key as `Authorization: Bearer KEY`",
        (true, true) => "send a token, or the publish key, as `Authorization: Bearer TOKEN`",
        (false, _) => "send a token as `Authorization: Bearer TOKEN`",
    };
    unauthorized(detail.into())
}

/// Judges a request to the rest of the control surface on a listener that guards it. `given` is
/// the credential in `Authorization: Bearer`.
pub(super) fn control(
    rights: &Rights,
    identity: &Identity,
    given: Option<&[u8]>,
) -> Result<(), Problem> {
    if rights.publish_key().is_none() || matches!(identity, Identity::Publisher) {
        return Ok(());
    }
    Err(unauthorized(match given {
        None => "send the publish key as `Authorization: Bearer KEY`".into(),
        Some(_) => "the key in `Authorization` is not the publish key".into(),
    }))
}
