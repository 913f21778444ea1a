//! The judgement of requests in a state that is handed over.
//!
//! Owns its form, and what new settings mean for what was judged by the old ones.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::Authorizer;
use crate::config::Config;
use crate::engine::routing::rights::{FrozenRights, Rights};
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::tokens::Tokens;

#[derive(Serialize, Deserialize)]
struct FrozenAuthorizer<'a> {
    #[serde(borrow)]
    rights: FrozenRights<'a>,
    token_cookie: Option<&'a str>,
    changes: u32,
}

/// Writes the rights in force, the counts of tokens, and the blocked subjects.
pub(in crate::engine) fn freeze<W: Write>(
    authorizer: &Authorizer,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    state.put(&FrozenAuthorizer {
        rights: FrozenRights::from(&authorizer.rights),
        token_cookie: authorizer.token_cookie.as_deref(),
        changes: authorizer.changes,
    })?;
    authorizer.tokens.freeze(state)
}

/// Reads what [`freeze`] wrote, and returns the rights that were in force if they have changed.
/// `seed` keys the hash of tokens.
pub(in crate::engine) fn thaw<R: Read>(
    config: &Config,
    seed: (u64, u64),
    state: &mut Thawer<R>,
) -> Result<(Authorizer, Option<Rights>), ThawError> {
    let frozen: FrozenAuthorizer<'_> = state.take()?;
    let earlier = Rights::try_from(frozen.rights)?;
    let mut authorizer = Authorizer::new(config, seed);
    // fault: change-of-rights-is-not-noticed
    let has_changed = earlier != authorizer.rights;
    let is_the_same = !has_changed && frozen.token_cookie == config.token_cookie.as_deref();
    // What was judged before is judged again.
    authorizer.changes = frozen.changes.wrapping_add(u32::from(!is_the_same));
    authorizer.tokens = Tokens::thaw(config.tokens.clone(), seed, state)?;
    Ok((authorizer, has_changed.then_some(earlier)))
}
