use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::Policy;
use crate::tokens::Key;

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

#[test]
fn settings_of_the_engine_are_checked() {
    let url = || Some("redis://host".parse().unwrap());
    allowed(|c| c.engine.url = url());
    refused("--engine", "not allowed beside --data-dir", |c| {
        c.engine.url = url();
        c.saving.dir = Some("/dir".into());
    });
    refused("--engine-namespace", "letters, digits", |c| {
        c.engine.namespace = "{a}".into();
    });
    refused("--node", "letters, digits", |c| {
        c.engine.node = Some("".into())
    });
    refused("--engine-password-file", "1 to 4096 bytes", |c| {
        c.engine.password = Some("".into());
    });
    refused("--max-body-bytes", "less than --engine-log-bytes", |c| {
        c.engine.log_bytes = Some(1 << 20);
    });
    refused("--engine", "at most 107 are allowed", |c| {
        let mut url: crate::config::EngineUrl = "redis+unix:/a".parse().unwrap();
        url.at = crate::config::EngineAddress::Unix(format!("/{}", "a".repeat(107)).into());
        c.engine.url = Some(url);
    });
}

#[test]
fn ranges_are_part_of_the_check() {
    refused("--drain", "0s to 30 days", |c| {
        c.drain = Duration::from_secs(31 * 24 * 3_600)
    });
    refused("--queue", "0 is not allowed; 1 to", |c| c.queue = 0);
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

#[test]
fn sizes_beyond_their_budgets_are_refused() {
    allowed(|c| c.max_buffer_bytes = (1 << 20) + 1);
    refused(
        "--max-body-bytes",
        "1048576 bytes are not allowed; it must be less than --max-buffer-bytes",
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
fn duplicate_or_malformed_addresses_are_refused() {
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
fn control_surface_open_to_a_network_needs_a_key_or_is_local() {
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
fn publish_key_with_other_characters_is_refused() {
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
fn malformed_origins_are_refused() {
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

#[test]
fn name_of_a_cookie_is_a_token() {
    for name in ["encke", "__Host-token", "a!#$%&'*+-.^_`|~9"] {
        allowed(|c| c.token_cookie = Some(name.into()));
    }
    for name in [
        "", "a b", "a=b", "a;b", "a,b", "a\"b", "(a)", "a/b", "\u{e9}", "a\n",
    ] {
        refused("--token-cookie", "is not the name of a cookie", |c| {
            c.token_cookie = Some(name.into());
        });
    }
}

#[test]
fn keys_of_all_files_together_are_limited() {
    let keys = |count: u8| {
        let key = |number| Key::parse(format!("{number:32}").as_bytes()).unwrap().0;
        (0..count).flat_map(key).collect::<Vec<_>>()
    };
    allowed(|c| c.tokens.keys = keys(64));
    refused(
        "--token-key-file",
        "65 keys are not allowed; at most 64",
        |c| {
            c.tokens.keys = keys(65);
        },
    );
}

#[test]
fn empty_audience_and_issuer_are_refused() {
    let text = |text: &str| Some(text.to_owned());
    allowed(|c| (c.tokens.audience, c.tokens.issuer) = (text("a"), text("b")));
    refused("--token-audience", "empty", |c| {
        c.tokens.audience = text("")
    });
    refused("--token-issuer", "empty", |c| c.tokens.issuer = text(""));
}

#[test]
fn policies_are_checked() {
    let policy = || Policy::of("a/*".parse().unwrap());
    allowed(|c| c.policies = vec![policy(); 255]);
    refused(
        "[[channels]]",
        "256 policies are not allowed; at most 255",
        |c| {
            c.policies = vec![policy(); 256];
        },
    );
    refused(
        "[[channels]]",
        "history-age of the policy a/*: 0ns is not allowed; 1ms to 30 days",
        |c| {
            c.policies = vec![Policy {
                history_age: Some(Duration::ZERO),
                ..policy()
            }];
        },
    );
    refused("[[channels]]", "max-subscribers of the policy a/*", |c| {
        c.policies = vec![Policy {
            max_subscribers: Some(0),
            ..policy()
        }];
    });
}
