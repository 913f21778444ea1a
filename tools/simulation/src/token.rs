//! Tokens as clients send them, and where in a request.
//!
//! Owns the keys of a world, the claims of its tokens as they were signed, and the three places of
//! a credential. Whether a token is good is judged in `rights`.

use std::rc::Rc;
use std::sync::LazyLock;

use encke_core::tokens::{Key, Signer, SystemRandom};

use crate::chance::Chance;

/// The secrets that tokens are signed with. A server never has the last.
const SECRETS: [&str; 4] = [
    "the first secret of a world, long",
    "the second secret of a world, long",
    "the third secret of a world, longer",
    "the secret of a forger, which is no key",
];

/// How many keys a server may have.
pub(crate) const KEYS: usize = SECRETS.len() - 1;

/// The audience that a server may ask for.
pub(crate) const AUDIENCE: &str = "here";

/// The cookie that may carry a token.
pub(crate) const COOKIE: &str = "t";

/// The subjects of tokens, and none.
pub(crate) const SUBJECTS: [Option<&str>; 4] = [Some("ann"), Some("bob"), Some("c d&e"), None];

/// A key of a server.
pub(crate) fn key(number: usize) -> Key {
    static ALL: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let one = |secret: &&str| Key::parse(secret.as_bytes()).expect("a secret").0;
        SECRETS[..KEYS].iter().flat_map(one).collect()
    });
    ALL[number].clone()
}

fn sign(number: usize, claims: &str) -> String {
    static ALL: LazyLock<Vec<Signer>> = LazyLock::new(|| {
        let one = |secret: &&str| Signer::parse(secret.as_bytes(), SystemRandom::new());
        let all = SECRETS.iter().map(one);
        all.collect::<Result<_, _>>().expect("secrets")
    });
    ALL[number].sign(claims, None).expect("claims")
}

/// A token, and what was signed in it.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// The number of the key that signed it; `None`: it is forged, or no token at all.
    pub(crate) key: Option<usize>,
    pub(crate) subject: Option<&'static str>,
    pub(crate) exp_s: u64,
    pub(crate) nbf_s: u64,
    pub(crate) audience: Option<&'static str>,
    pub(crate) subscribe: Vec<String>,
    pub(crate) publish: Vec<String>,
}

impl Token {
    /// A token of a moment, mostly good for all channels.
    pub(crate) fn by_chance(
        chance: &mut Chance,
        names: &[String],
        wall_ms: u64,
        keys: &[usize],
    ) -> Token {
        let now_s = wall_ms / 1_000;
        let exp_s = match chance.u8(..16) {
            0 => now_s.saturating_sub(chance.u64(..1_000)),
            1..6 => now_s + chance.u64(1..6),
            6..9 => now_s + chance.u64(6..400),
            _ => now_s + chance.u64(400..10_000_000),
        };
        let mut token = Token {
            text: String::new(),
            key: Some(match keys {
                [_, ..] if chance.u8(..6) > 0 => chance.pick(keys),
                _ => chance.usize(..KEYS),
            }),
            subject: chance.pick(&SUBJECTS),
            exp_s,
            nbf_s: match chance.u8(..16) {
                0 => now_s + chance.u64(..12),
                _ => 0,
            },
            audience: match chance.u8(..12) {
                0 => Some("there"),
                1 => None,
                _ => Some(AUDIENCE),
            },
            subscribe: grants(chance, names),
            publish: grants(chance, names),
        };
        let claims = token.claims();
        token.text = match chance.u8(..24) {
            0 => {
                token.key = None;
                sign(KEYS, &claims)
            }
            1 => {
                token.key = None;
                "a.b.c".to_owned()
            }
            _ => sign(token.key.expect("it has one"), &claims),
        };
        token
    }

    fn claims(&self) -> String {
        let mut claims = serde_json::json!({
            "exp": self.exp_s,
            "encke": {"subscribe": self.subscribe, "publish": self.publish},
        });
        let optional = [("sub", self.subject), ("aud", self.audience)];
        for (name, value) in optional {
            if let Some(value) = value {
                claims[name] = value.into();
            }
        }
        if self.nbf_s > 0 {
            claims["nbf"] = self.nbf_s.into();
        }
        claims.to_string()
    }
}

/// Patterns that a token grants: mostly all channels.
fn grants(chance: &mut Chance, names: &[String]) -> Vec<String> {
    match chance.u8(..4) {
        0 => (0..chance.usize(..3))
            .map(|_| pattern(chance, names))
            .collect(),
        _ => vec!["**".to_owned()],
    }
}

/// A pattern that matches some of the names.
pub(crate) fn pattern(chance: &mut Chance, names: &[String]) -> String {
    match chance.u8(..3) {
        0 => chance.pick(&["*", "**", "x/*", "x/**"]).to_owned(),
        _ => names[chance.usize(..names.len())].clone(),
    }
}

/// A credential.
#[derive(Clone, Debug)]
pub(crate) enum Card {
    /// The publish key, or what is meant to be it.
    Key(&'static str),
    Token(Rc<Token>),
    Empty,
}

impl Card {
    pub(crate) fn text(&self) -> &str {
        match self {
            Card::Key(key) => key,
            Card::Token(token) => &token.text,
            Card::Empty => "",
        }
    }
}

/// The credentials of a request, by place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cards {
    pub(crate) bearer: Option<Card>,
    pub(crate) query: Option<Card>,
    pub(crate) cookie: Option<Card>,
}

impl Cards {
    /// The publish key that settings mostly have.
    pub(crate) fn publisher() -> Cards {
        Cards {
            bearer: Some(Card::Key("secret")),
            ..Cards::default()
        }
    }

    /// The fields of a head that carry them.
    pub(crate) fn fields(&self) -> String {
        let mut fields = String::new();
        if let Some(card) = &self.bearer {
            fields += &format!("Authorization: Bearer {}\r\n", card.text());
        }
        if let Some(card) = &self.cookie {
            fields += &format!("Cookie: other=1; {COOKIE}={}\r\n", card.text());
        }
        fields
    }

    /// The parameter that carries one.
    pub(crate) fn parameter(&self) -> Option<String> {
        let card = self.query.as_ref()?;
        Some(format!("token={}", card.text()))
    }

    /// The one that counts: the header before the parameter before the cookie, where empty ones
    /// count in the header alone.
    pub(crate) fn shown(&self, takes_cookie: bool) -> Option<&Card> {
        let is_there = |card: &&Card| !card.text().is_empty();
        let query = self.query.as_ref().filter(is_there);
        let cookie = self.cookie.as_ref().filter(|_| takes_cookie);
        let cookie = cookie.filter(is_there);
        self.bearer.as_ref().or(query).or(cookie)
    }
}
