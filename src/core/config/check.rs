//! The checks of a configuration: ranges, combinations, and the rule that a control surface that
//! can be reached over a network has a key.
//!
//! Owns the combinations; the ranges are in `table`. It never resolves a name or binds an address.
//!
//! Invariant: *tables can be built from a checked configuration*. No number overflows, no table is
//! too large to allocate, and no duration rounds to zero.

use super::address::check_socket_path;
use super::engine::{check_namespace, check_node};
use super::{Address, Config, ConfigError, Cors, POLICY_KEYS, SETTINGS};
use crate::authority::Origin;
use crate::tokens::MAX_KEYS;

/// A channel refers to its policy by one byte.
const MAX_POLICIES: usize = 255;

/// Longer ones are mistakes.
const MAX_PASSWORD_BYTES: usize = 4_096;

/// How an error names the policies.
const CHANNELS: &str = "[[channels]]";

impl Config {
    /// Checks ranges and combinations.
    ///
    /// # Errors
    ///
    /// The error names the option at fault, its value, and the allowed values.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_addresses()?;
        self.check_publish_key()?;
        self.check_cors()?;
        self.check_tokens()?;
        for setting in SETTINGS {
            setting.check(self)?;
        }
        self.check_hold()?;
        self.check_room()?;
        self.check_engine()?;
        self.check_policies()
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        let listen = self.listen.iter().map(|address| ("--listen", address));
        let control = self.control.iter().map(|address| ("--control", address));
        let all: Vec<_> = listen.chain(control).collect();
        if all.is_empty() {
            let detail = "there is no address to listen on; give one here or to --control";
            return Err(ConfigError::new("--listen", detail));
        }
        let single = |(option, address): &(_, &Address)| {
            let each = address.each().into_iter();
            each.map(|address| (*option, address)).collect::<Vec<_>>()
        };
        for (option, address) in &all {
            address
                .check()
                .map_err(|detail| ConfigError::new(option, detail))?;
        }
        let all: Vec<_> = all.iter().flat_map(single).collect();
        for (index, (option, address)) in all.iter().enumerate() {
            let earlier = all[..index].iter().find(|(_, other)| other == address);
            // Port 0 requests a free port, so it may be given several times.
            if let (Some((first, _)), false) = (earlier, address.is_any_port()) {
                let detail = format!("{address} is given twice, first to {first}; once is allowed");
                return Err(ConfigError::new(option, detail));
            }
        }
        Ok(())
    }

    /// Checks that a control surface that can be reached over a network has a key.
    fn check_publish_key(&self) -> Result<(), ConfigError> {
        let (option, serving) = if self.control.is_empty() {
            ("--listen", &self.listen)
        } else {
            ("--control", &self.control)
        };
        match &self.publish_key {
            Some(key) if key.is_empty() => {
                let detail = "the key is empty; one or more visible ASCII characters are allowed";
                Err(ConfigError::new("--publish-key", detail))
            }
            // The key is a secret, so the error does not contain it.
            Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                let detail = "the key may hold visible ASCII characters only, and no space";
                Err(ConfigError::new("--publish-key", detail))
            }
            Some(_) => Ok(()),
            None => match (serving.iter().flat_map(Address::each)).find(|one| !one.is_local()) {
                None => Ok(()),
                Some(open) => Err(ConfigError::new(
                    option,
                    format!(
                        "{open} would let anyone who reaches it publish; give --publish-key or \
                         --publish-key-file, or a --control address on loopback or a unix socket"
                    ),
                )),
            },
        }
    }

    fn check_cors(&self) -> Result<(), ConfigError> {
        let Cors::Origins(origins) = &self.cors else {
            return Ok(());
        };
        let is_origin = |text: &String| {
            let origin = Origin::parse(text.as_bytes());
            origin.is_some_and(|origin| origin.is_of_browser())
        };
        match origins.iter().find(|origin| !is_origin(origin)) {
            None => Ok(()),
            Some(origin) => Err(ConfigError::new(
                "--cors-origin",
                format!(
                    "{origin:?} is not the origin of a page: `scheme://host` or \
                     `scheme://host:port`, in ASCII, without a path; or `*` alone"
                ),
            )),
        }
    }

    fn check_tokens(&self) -> Result<(), ConfigError> {
        let keys = self.tokens.keys.len();
        if keys > MAX_KEYS {
            let detail = format!("{keys} keys are not allowed; at most {MAX_KEYS}");
            return Err(ConfigError::new("--token-key-file", detail));
        }
        let expected = [
            ("--token-audience", &self.tokens.audience),
            ("--token-issuer", &self.tokens.issuer),
        ];
        let is_empty = |(_, text): &(_, &Option<String>)| text.as_deref() == Some("");
        if let Some((option, _)) = expected.into_iter().find(is_empty) {
            let detail = "it is empty; one character or more is allowed";
            return Err(ConfigError::new(option, detail));
        }
        match &self.token_cookie {
            Some(name) if !is_cookie_name(name) => Err(ConfigError::new(
                "--token-cookie",
                format!(
                    "{name:?} is not the name of a cookie: letters, digits and !#$%&'*+-.^_`|~ are \
                     allowed, at least one"
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_policies(&self) -> Result<(), ConfigError> {
        let refused = |detail: String| Err(ConfigError::new(CHANNELS, detail));
        if self.policies.len() > MAX_POLICIES {
            let count = self.policies.len();
            return refused(format!(
                "{count} policies are not allowed; at most {MAX_POLICIES}"
            ));
        }
        for policy in &self.policies {
            for key in POLICY_KEYS {
                if let Err(detail) = key.check(policy) {
                    let (pattern, name) = (&policy.pattern, key.name);
                    return refused(format!("{name} of the policy {pattern}: {detail}"));
                }
            }
        }
        Ok(())
    }

    fn check_hold(&self) -> Result<(), ConfigError> {
        if self.hold <= self.max_hold {
            return Ok(());
        }
        let by_default = if self.max_hold == Config::default().max_hold {
            " (its default); raise --max-hold too"
        } else {
            ""
        };
        let (hold, max_hold) = (self.hold, self.max_hold);
        let detail =
            format!("{hold:?} is not allowed; at most --max-hold, {max_hold:?}{by_default}");
        Err(ConfigError::beside("--hold", "--max-hold", detail))
    }

    fn check_engine(&self) -> Result<(), ConfigError> {
        let engine = &self.engine;
        let refused = |option, detail| ConfigError::new(option, detail);
        check_namespace(&engine.namespace)
            .map_err(|detail| refused("--engine-namespace", detail))?;
        if let Some(node) = &engine.node {
            check_node(node).map_err(|detail| refused("--node", detail))?;
        }
        if let Some(password) = &engine.password
            && !(1..=MAX_PASSWORD_BYTES).contains(&password.len())
        {
            let detail = format!("a password is 1 to {MAX_PASSWORD_BYTES} bytes");
            return Err(refused("--engine-password-file", detail));
        }
        if let Some(bytes) = engine.log_bytes {
            // Lossless: the range of the option is that of a size.
            let log = ("--engine-log-bytes", bytes as usize);
            check_below(("--max-body-bytes", self.max_body_bytes), log)?;
        }
        let Some(url) = &engine.url else {
            return Ok(());
        };
        url.check().map_err(|detail| refused("--engine", detail))?;
        if self.saving.dir.is_some() {
            let detail = "it is not allowed beside --data-dir: the engine and the other nodes keep \
                          the history";
            return Err(ConfigError::beside("--engine", "--data-dir", detail.into()));
        }
        Ok(())
    }

    /// Checks that the largest request, message and batch fit into their memory limits.
    fn check_room(&self) -> Result<(), ConfigError> {
        let buffers = ("--max-buffer-bytes", self.max_buffer_bytes);
        let total = ("--history-total-bytes", self.history.max_total_bytes);
        check_below(("--max-head-bytes", self.max_head_bytes), buffers)?;
        check_below(("--max-body-bytes", self.max_body_bytes), buffers)?;
        check_below(("--max-batch-bytes", self.max_batch_bytes), buffers)?;
        check_below(("--max-body-bytes", self.max_body_bytes), total)
    }
}

impl Address {
    fn is_any_port(&self) -> bool {
        match self {
            Address::Tcp(address) => address.port() == 0,
            Address::Proxied(inner) => inner.is_any_port(),
            Address::Name { .. } | Address::Unix(_) | Address::Inherited(_) => false,
        }
    }

    fn check(&self) -> Result<(), String> {
        let path = match self {
            Address::Unix(path) => path,
            Address::Proxied(inner) if matches!(**inner, Address::Proxied(_)) => {
                return Err(format!("{self}: `proxy:` may be given once"));
            }
            Address::Proxied(inner) => return inner.check(),
            Address::Name { name, addresses } if addresses.is_empty() => {
                return Err(format!("{name} resolves to no address"));
            }
            Address::Name { .. } => return Ok(()),
            Address::Tcp(_) | Address::Inherited(_) => return Ok(()),
        };
        check_socket_path(path).map_err(|detail| format!("{self}: {detail}"))
    }
}

/// Checks that the value of `option` is less than the limit that `other` sets.
fn check_below(
    (option, value): (&'static str, usize),
    (other, limit): (&'static str, usize),
) -> Result<(), ConfigError> {
    if value < limit {
        return Ok(());
    }
    let detail =
        format!("{value} bytes are not allowed; it must be less than {other}, {limit} bytes");
    Err(ConfigError::beside(option, other, detail))
}

/// Whether a text may be the name of a cookie (RFC 6265, section 4.1.1): a token of RFC 9110.
fn is_cookie_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

#[cfg(test)]
mod tests;
