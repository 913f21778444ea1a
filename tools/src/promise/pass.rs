//! Tokens of clients, signed as an application would, without code of encke.
//!
//! Owns their keys, their times, and what a server may refuse them for.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use ring::hmac;

use crate::net::now_us;

/// How long tokens are good, in milliseconds: less than most streams would last.
const LIFE_MS: std::ops::Range<u64> = 2_000..9_000;

/// How long before its end a client gets a new token, in microseconds.
const EARLY_US: u64 = 500_000;

/// By how much the reading of two clocks may be apart, in microseconds.
const CLOCKS_US: u64 = 2_000;

/// The secret with a number.
pub(super) fn secret(run: u32, number: u64) -> String {
    format!("promise {run}: the secret with number {number}, which is long")
}

/// The subject of a client's tokens.
pub(super) fn subject(client: u32) -> String {
    format!("client-{client}")
}

/// A token.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) text: String,
    /// When it expires, by the clock of the logs, in microseconds.
    pub(super) expires_at: u64,
    /// The number of its key.
    key: u64,
}

impl Pass {
    /// A new token for all channels.
    pub(super) fn new(run: u32, key: u64, client: u32, rng: &mut Rng) -> Pass {
        let now = now_us();
        let date = SystemTime::now().duration_since(UNIX_EPOCH);
        let date = date.map_or(0, |date| date.as_micros() as u64);
        let exp_s = (date / 1_000 + rng.u64(LIFE_MS)) / 1_000;
        let subject = subject(client);
        let claims = format!(
            r#"{{"sub":"{subject}","exp":{exp_s},"encke":{{"subscribe":["promise/**"]}}}}"#
        );
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let mut text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signer = hmac::Key::new(hmac::HMAC_SHA256, secret(run, key).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&signer, text.as_bytes()));
        text = format!("{text}.{signature}");
        Pass {
            text,
            expires_at: (now + exp_s * 1_000_000).saturating_sub(date),
            key,
        }
    }

    /// Whether it is time for a new one.
    pub(super) fn is_old(&self, now: u64) -> bool {
        now + EARLY_US >= self.expires_at
    }

    /// Whether a server may refuse it: it has expired, or there is a newer key, after which its own
    /// may have been removed.
    pub(super) fn may_be_refused(&self, now: u64, newest_key: u64) -> bool {
        now + CLOCKS_US >= self.expires_at || self.key < newest_key
    }
}
