//! Which settings encke runs with: ranges, combinations, and the rule that the control surface is
//! never open by accident.
//!
//! Owns the ranges. It never resolves, opens or binds anything: whether an address can be had is
//! known only when it is bound.
//!
//! Invariant: *what passes is safe to build tables from*. No later code meets a number that
//! overflows, a table that cannot be allocated, or a duration that rounds to nothing.

use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::{Address, Config, ConfigError, Cors, History};
use crate::authority::Origin;

/// Far below the range of the timers, and no hold, age or timeout is worth more.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The resolution of the engine's clock; anything shorter would round to nothing.
const MIN_DURATION: Duration = Duration::from_millis(1);
const MAX_BODY_BYTES: u64 = 1 << 30;
/// Keeps the number of messages within the `u32` that names them, however small they are.
const MAX_TOTAL_BYTES: u64 = 256 << 30;
/// Room for these tables is made at the start.
const MAX_TABLE: u64 = 1 << 24;
const MAX_QUEUE: u64 = 1 << 20;
/// `sun_path` of unix(7), less its final NUL.
const MAX_UNIX_PATH_BYTES: usize = 107;

impl Config {
    /// Checks ranges and combinations.
    ///
    /// # Errors
    ///
    /// Names the option at fault, its value and what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_addresses()?;
        self.check_publish_key()?;
        self.check_cors()?;
        self.check_durations()?;
        self.check_counts()?;
        self.check_bytes()
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        let listen = self.listen.iter().map(|address| ("--listen", address));
        let control = self.control.iter().map(|address| ("--control", address));
        let all: Vec<_> = listen.chain(control).collect();
        if all.is_empty() {
            let detail = "no address is left to serve; give one here or to --control";
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
            // Port 0 asks for a free port, another one each time.
            if let (Some((first, _)), false) = (earlier, address.is_any_port()) {
                let detail = format!("{address} is given twice, first to {first}; once is allowed");
                return Err(ConfigError::new(option, detail));
            }
        }
        Ok(())
    }

    /// Never open by accident: whoever can reach the control surface over a network needs a key.
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
            // A secret: not shown.
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

    fn check_durations(&self) -> Result<(), ConfigError> {
        for (option, value) in [
            ("--hold", self.hold),
            ("--max-hold", self.max_hold),
            ("--heartbeat", self.heartbeat),
            ("--stream-max-age", self.stream_max_age),
            ("--history-age", self.history.max_age),
            ("--head-timeout", self.head_timeout),
            ("--body-timeout", self.body_timeout),
            ("--idle-timeout", self.idle_timeout),
            ("--write-timeout", self.write_timeout),
        ] {
            check_duration(option, value, MIN_DURATION)?;
        }
        check_duration("--drain", self.drain, Duration::ZERO)?;
        check_duration("--drain-delay", self.drain_delay, Duration::ZERO)?;
        self.check_hold()
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
        Err(ConfigError::new("--hold", detail))
    }

    fn check_counts(&self) -> Result<(), ConfigError> {
        let any = u64::from(u32::MAX);
        for (option, value, min, max) in [
            ("--max-batch", Some(self.max_batch), 1, any),
            (
                "--history-messages",
                Some(self.history.max_messages),
                0,
                any,
            ),
            ("--max-channels", Some(self.max_channels), 1, MAX_TABLE),
            ("--max-connections", self.max_connections, 1, MAX_TABLE),
            (
                "--max-connections-per-address",
                self.max_connections_per_address,
                1,
                MAX_TABLE,
            ),
            ("--queue", Some(self.queue), 1, MAX_QUEUE),
        ] {
            if let Some(value) = value {
                check_number(option, value as u64, min..=max, "")?;
            }
        }
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), ConfigError> {
        let History {
            max_bytes,
            max_total_bytes,
            ..
        } = self.history;
        for (option, value, min, max) in [
            ("--max-head-bytes", self.max_head_bytes as u64, 512, 1 << 20),
            (
                "--max-body-bytes",
                self.max_body_bytes as u64,
                1,
                MAX_BODY_BYTES,
            ),
            (
                "--max-buffer-bytes",
                self.max_buffer_bytes as u64,
                1,
                MAX_TOTAL_BYTES,
            ),
            (
                "--max-batch-bytes",
                self.max_batch_bytes as u64,
                1,
                MAX_TOTAL_BYTES,
            ),
            (
                "--stream-max-bytes",
                u64::from(self.stream_max_bytes),
                1,
                u64::from(u32::MAX),
            ),
            ("--history-bytes", max_bytes as u64, 0, MAX_TOTAL_BYTES),
            (
                "--history-total-bytes",
                max_total_bytes as u64,
                1,
                MAX_TOTAL_BYTES,
            ),
        ] {
            check_number(option, value, min..=max, " bytes")?;
        }
        let buffers = ("--max-buffer-bytes", self.max_buffer_bytes);
        let total = ("--history-total-bytes", max_total_bytes);
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
                return Err(format!("{self} is not allowed; one `proxy:` is"));
            }
            Address::Proxied(inner) => return inner.check(),
            Address::Name { name, addresses } if addresses.is_empty() => {
                return Err(format!("{name} resolves to no address"));
            }
            Address::Name { .. } => return Ok(()),
            Address::Tcp(_) | Address::Inherited(_) => return Ok(()),
        };
        let bytes = path.as_os_str().as_bytes();
        if bytes.first() != Some(&b'/') || bytes.contains(&0) {
            return Err(format!("{self} is not allowed; the path starts with `/`"));
        }
        if bytes.len() > MAX_UNIX_PATH_BYTES {
            let len = bytes.len();
            return Err(format!(
                "{self}: {len} bytes of path; at most {MAX_UNIX_PATH_BYTES} are allowed"
            ));
        }
        Ok(())
    }
}

impl ConfigError {
    fn new(option: &'static str, detail: impl Into<String>) -> ConfigError {
        ConfigError {
            option,
            detail: detail.into(),
        }
    }
}

fn check_duration(option: &'static str, value: Duration, min: Duration) -> Result<(), ConfigError> {
    if (min..=MAX_DURATION).contains(&value) {
        return Ok(());
    }
    let detail = format!("{value:?} is not allowed; {min:?} to 30 days");
    Err(ConfigError::new(option, detail))
}

fn check_number(
    option: &'static str,
    value: u64,
    allowed: RangeInclusive<u64>,
    unit: &str,
) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (min, max) = allowed.into_inner();
    let detail = format!("{value} is not allowed; {min} to {max}{unit}");
    Err(ConfigError::new(option, detail))
}

/// Checks that one number of bytes leaves room in another.
fn check_below(
    (option, value): (&'static str, usize),
    (other, limit): (&'static str, usize),
) -> Result<(), ConfigError> {
    if value < limit {
        return Ok(());
    }
    let detail = format!("{value} bytes are not allowed; less than {other}, {limit} bytes");
    Err(ConfigError::new(option, detail))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    fn unix(path: impl Into<PathBuf>) -> Address {
        Address::Unix(path.into())
    }

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    fn allowed(change: impl FnOnce(&mut Config)) {
        assert_eq!(check(change), Ok(()));
    }

    /// Refused in the name of `option`, in words that hold `words`.
    fn refused(option: &str, words: &str, change: impl FnOnce(&mut Config)) {
        let error = check(change).unwrap_err();
        assert_eq!(error.option, option, "{error}");
        assert!(error.detail.contains(words), "{error} lacks {words:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn defaults_are_allowed() {
        allowed(|_| ());
    }

    fn check_range(option: &str, min: Duration, set: impl Fn(&mut Config, Duration)) {
        for value in [min, MAX_DURATION] {
            allowed(|config| {
                // Out of the way of the other rule about these two.
                config.hold = MIN_DURATION;
                config.max_hold = MAX_DURATION;
                set(config, value);
            });
        }
        let step = Duration::from_nanos(1);
        refused(option, "2592000.000000001s is not allowed", |c| {
            set(c, MAX_DURATION + step);
        });
        if let Some(below) = min.checked_sub(step) {
            refused(option, "1ms to 30 days", |c| set(c, below));
            refused(option, "0ns is not", |c| set(c, Duration::ZERO));
        }
    }

    #[test]
    fn durations() {
        check_range("--hold", MIN_DURATION, |c, d| c.hold = d);
        check_range("--max-hold", MIN_DURATION, |c, d| c.max_hold = d);
        check_range("--heartbeat", MIN_DURATION, |c, d| c.heartbeat = d);
        check_range("--stream-max-age", MIN_DURATION, |c, d| {
            c.stream_max_age = d
        });
        check_range("--history-age", MIN_DURATION, |c, d| c.history.max_age = d);
        check_range("--head-timeout", MIN_DURATION, |c, d| c.head_timeout = d);
        check_range("--body-timeout", MIN_DURATION, |c, d| c.body_timeout = d);
        check_range("--idle-timeout", MIN_DURATION, |c, d| c.idle_timeout = d);
        check_range("--write-timeout", MIN_DURATION, |c, d| c.write_timeout = d);
        check_range("--drain", Duration::ZERO, |c, d| c.drain = d);
        check_range("--drain-delay", Duration::ZERO, |c, d| c.drain_delay = d);
    }

    #[test]
    fn hold_is_at_most_max_hold() {
        let s = Duration::from_secs;
        allowed(|c| (c.hold, c.max_hold) = (s(120), s(120)));
        allowed(|c| (c.hold, c.max_hold) = (s(300), s(300)));
        refused(
            "--hold",
            "300s is not allowed; at most --max-hold, 120s",
            |c| c.hold = s(300),
        );
        refused("--hold", "(its default); raise --max-hold too", |c| {
            c.hold = s(121)
        });
        let error = check(|c| (c.hold, c.max_hold) = (s(9), s(8))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--hold: 9s is not allowed; at most --max-hold, 8s"
        );
        // Only --max-hold was given: the message still names both.
        refused(
            "--hold",
            "30s is not allowed; at most --max-hold, 20s",
            |c| c.max_hold = s(20),
        );
    }

    fn check_count(option: &str, min: usize, max: u64, set: impl Fn(&mut Config, usize)) {
        allowed(|config| set(config, min));
        allowed(|config| set(config, max as usize));
        let range = format!("not allowed; {min} to {max}");
        refused(option, &range, |config| set(config, max as usize + 1));
        if let Some(below) = min.checked_sub(1) {
            refused(option, &range, |config| set(config, below));
        }
    }

    #[test]
    fn counts() {
        let any = u32::MAX.into();
        check_count("--max-batch", 1, any, |c, n| c.max_batch = n);
        check_count("--history-messages", 0, any, |c, n| {
            c.history.max_messages = n
        });
        check_count("--max-channels", 1, MAX_TABLE, |c, n| c.max_channels = n);
        check_count("--max-connections", 1, MAX_TABLE, |c, n| {
            c.max_connections = Some(n);
        });
        check_count("--max-connections-per-address", 1, MAX_TABLE, |c, n| {
            c.max_connections_per_address = Some(n);
        });
        check_count("--queue", 1, MAX_QUEUE, |c, n| c.queue = n);
    }

    #[test]
    fn bytes() {
        allowed(|c| c.max_head_bytes = 512);
        allowed(|c| c.max_head_bytes = 1 << 20);
        refused(
            "--max-head-bytes",
            "511 is not allowed; 512 to 1048576 bytes",
            |c| {
                c.max_head_bytes = 511;
            },
        );
        refused("--max-head-bytes", "1048577 is", |c| {
            c.max_head_bytes = (1 << 20) + 1
        });

        let roomy = |c: &mut Config, body| {
            c.max_body_bytes = body;
            c.max_buffer_bytes = 2 << 30;
            c.history.max_total_bytes = 2 << 30;
        };
        allowed(|c| c.max_body_bytes = 1);
        allowed(|c| roomy(c, 1 << 30));
        refused(
            "--max-body-bytes",
            "0 is not allowed; 1 to 1073741824 bytes",
            |c| roomy(c, 0),
        );
        refused("--max-body-bytes", "1073741825 is", |c| {
            roomy(c, (1 << 30) + 1)
        });

        allowed(|c| c.max_batch_bytes = 1);
        refused("--max-batch-bytes", "0 is not", |c| c.max_batch_bytes = 0);
        allowed(|c| c.stream_max_bytes = 1);
        refused("--stream-max-bytes", "0 is not", |c| c.stream_max_bytes = 0);
        refused("--max-buffer-bytes", "0 is not", |c| c.max_buffer_bytes = 0);
        allowed(|c| c.history.max_bytes = 0);
        refused("--history-total-bytes", "0 is not", |c| {
            c.history.max_total_bytes = 0
        });
        refused("--history-total-bytes", "to 274877906944 bytes", |c| {
            c.history.max_total_bytes = (256 << 30) + 1;
        });
    }

    #[test]
    fn bytes_that_must_fit_into_others() {
        allowed(|c| c.max_buffer_bytes = (1 << 20) + 1);
        refused(
            "--max-body-bytes",
            "1048576 bytes are not allowed; less than --max-buffer-bytes",
            |c| {
                c.max_buffer_bytes = 1 << 20;
            },
        );
        refused(
            "--max-batch-bytes",
            "less than --max-buffer-bytes, 100000 bytes",
            |c| {
                c.max_body_bytes = 1_000;
                c.max_buffer_bytes = 100_000;
            },
        );
        refused(
            "--max-head-bytes",
            "less than --max-buffer-bytes, 16384 bytes",
            |c| {
                c.max_body_bytes = 1_000;
                c.max_buffer_bytes = 16 << 10;
            },
        );
        allowed(|c| c.history.max_total_bytes = (1 << 20) + 1);
        refused(
            "--max-body-bytes",
            "less than --history-total-bytes, 1048576 bytes",
            |c| {
                c.history.max_total_bytes = 1 << 20;
            },
        );
    }

    #[test]
    fn addresses() {
        refused("--listen", "no address", |c| c.listen.clear());
        allowed(|c| {
            c.listen.clear();
            c.control = vec![unix("/run/encke.sock")];
        });
        allowed(|c| c.listen = vec![tcp("127.0.0.1:1"), tcp("[::1]:1"), unix("/a"), unix("/b")]);
        allowed(|c| c.listen = vec![tcp("127.0.0.1:0"), tcp("127.0.0.1:0")]);
        refused(
            "--listen",
            "127.0.0.1:1 is given twice, first to --listen",
            |c| {
                c.listen = vec![tcp("127.0.0.1:1"), tcp("[::1]:1"), tcp("127.0.0.1:1")];
            },
        );
        refused(
            "--control",
            "unix:/a is given twice, first to --listen",
            |c| {
                c.listen = vec![unix("/a")];
                c.control = vec![unix("/a")];
            },
        );
        refused("--listen", "starts with `/`", |c| {
            c.listen = vec![unix("a")]
        });
        refused("--listen", "starts with `/`", |c| c.listen = vec![unix("")]);
        let path = |len: usize| unix(format!("/{}", "x".repeat(len - 1)));
        allowed(|c| c.control = vec![path(107)]);
        refused("--control", "at most 107", |c| c.control = vec![path(108)]);
    }

    #[test]
    fn names_are_checked_by_each_of_their_addresses() {
        let name = |addresses: &[&str]| Address::Name {
            name: "host:1".into(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        };
        allowed(|c| c.listen = vec![name(&["[::1]:1", "127.0.0.1:1"])]);
        refused("--listen", "host:1 resolves to no address", |c| {
            c.listen = vec![name(&[])]
        });
        refused("--listen", "10.0.0.1:1 would let anyone", |c| {
            c.listen = vec![name(&["127.0.0.1:1", "10.0.0.1:1"])];
        });
        refused("--control", "127.0.0.1:1 is given twice", |c| {
            c.listen = vec![name(&["[::1]:1", "127.0.0.1:1"])];
            c.control = vec![tcp("127.0.0.1:1")];
        });
    }

    #[test]
    fn never_open_by_accident() {
        let open = || vec![unix("/a"), tcp("0.0.0.0:80")];
        let locked = |c: &mut Config| c.publish_key = Some("secret".into());

        refused("--listen", "0.0.0.0:80 would let anyone", |c| {
            c.listen = open()
        });
        refused("--listen", "--publish-key", |c| {
            c.listen = vec![tcp("[::]:80")]
        });
        refused("--listen", "--publish-key", |c| {
            c.listen = vec![tcp("10.0.0.1:80")]
        });
        allowed(|c| {
            c.listen = open();
            locked(c);
        });
        // With a control address, the listeners serve receivers only.
        allowed(|c| {
            c.listen = open();
            c.control = vec![unix("/b"), tcp("127.1.2.3:1"), tcp("[::ffff:127.0.0.1]:1")];
        });
        refused("--control", "0.0.0.0:80 would let anyone", |c| {
            c.control = open()
        });
        allowed(|c| {
            c.control = open();
            locked(c);
        });
    }

    #[test]
    fn publish_keys() {
        let key = |key: &str| {
            let key = key.to_owned();
            move |c: &mut Config| c.publish_key = Some(key)
        };
        allowed(key("!~aZ09"));
        refused("--publish-key", "empty", key(""));
        for wrong in ["hidden key", "hidden\n", "hiddén", "hidden\x7f", "\0"] {
            refused("--publish-key", "visible ASCII", key(wrong));
            let error = check(key(wrong)).unwrap_err().to_string();
            assert!(!error.contains("hid"), "a secret is shown: {error}");
        }
    }

    #[test]
    fn origins() {
        for origin in [
            "https://example.org",
            "http://localhost:8080",
            "http://[::1]",
            "http://[::1]:3000",
            "https://127.0.0.1:80",
            "chrome-extension://abcdef",
            "https://xn--bcher-kva.example",
            "https://my_app.example",
            "https://Example.org",
            "HTTPS://example.org",
            "https://example.org:443",
            "http://example.org:80",
            "http://example.org:",
            "http://example.org:08",
            "http://[::0001]",
        ] {
            allowed(|c| c.cors = Cors::Origins(vec!["http://a".into(), origin.into()]));
        }
        for origin in [
            "null",
            "*",
            "",
            "example.org",
            "https://",
            "://example.org",
            "https://example.org/",
            "https://example.org/path",
            "http://example.org:0",
            "http://example.org:+8",
            "http://example.org:65536",
            "http://:80",
            "http://a:b:1",
            "http://user@example.org",
            "https://bücher.example",
            "http://[::1",
            "http://::1",
            "http://a b",
            "http://*.example.org",
            "http://a,http://b",
            "1http://a",
        ] {
            let cors = Cors::Origins(vec!["http://a".into(), origin.into()]);
            refused("--cors-origin", &format!("{origin:?}"), |c| c.cors = cors);
        }
        allowed(|c| c.cors = Cors::Any);
    }
}
