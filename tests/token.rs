//! `encke token`: its tokens, as a server verifies them, and its errors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use encke::tokens::{Invalid, Key, Rules, Token, Tokens};
use encke_test_rig::Directory;

const SECRET: &str = "a secret of more than 32 bytes, and of no use elsewhere\n";

/// A key of the tests of the library.
fn fixture(name: &str) -> PathBuf {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core");
    core.join("tokens/fixtures").join(name)
}

fn encke(key_file: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
    command.env_clear().stdin(Stdio::null());
    command
        .arg("token")
        .arg("--key-file")
        .arg(key_file)
        .args(args);
    command.output().unwrap()
}

/// The only line of standard output of a run that succeeded.
fn token(key_file: &Path, args: &[&str]) -> String {
    let output = encke(key_file, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let line = String::from_utf8(output.stdout).unwrap();
    let token = line.strip_suffix('\n').unwrap();
    assert!(
        token.bytes().all(|byte| byte.is_ascii_graphic()),
        "{line:?}"
    );
    token.to_owned()
}

/// The error of a run that was refused.
fn error(key_file: &Path, args: &[&str]) -> String {
    let output = encke(key_file, args);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
    let line = String::from_utf8(output.stderr).unwrap();
    let line = line.strip_suffix('\n').unwrap();
    assert!(
        line.starts_with("encke: ") && !line.contains('\n'),
        "{line}"
    );
    line.to_owned()
}

fn rules(key_file: &Path) -> Rules {
    let (keys, warnings) = Key::parse(&std::fs::read(key_file).unwrap()).unwrap();
    assert_eq!(warnings, [""; 0]);
    Rules {
        keys,
        ..Rules::default()
    }
}

fn verify(rules: Rules, token: &str, unix_ms: u64) -> Result<Arc<Token>, Invalid> {
    Tokens::new(rules, (1, 2)).verify(token.as_bytes(), unix_ms)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn token_of_each_kind_of_key_is_verified_by_its_server() {
    let folder = Directory::new();
    let secret = folder.write("secret", SECRET);
    let pairs = [
        (secret.clone(), secret),
        (fixture("ed25519.private.pem"), fixture("ed25519.pem")),
        (fixture("p256.private.pem"), fixture("p256.pem")),
        (fixture("rsa.private.pem"), fixture("rsa.pem")),
    ];
    let args = "--sub user-42 --subscribe user/42/**,news --publish chat/* --subscribe b \
        --expires 5m --kid of-no-use --audience encke --issuer me";
    let args: Vec<_> = args.split_whitespace().collect();
    for (private, public) in &pairs {
        let before = now_ms();
        let token = token(private, &args);
        let rules = Rules {
            audience: Some("encke".into()),
            issuer: Some("me".into()),
            ..rules(public)
        };
        let verified = verify(rules, &token, before).unwrap();
        assert_eq!(verified.subject.as_deref(), Some("user-42"));
        let exp = before + 300_000..=now_ms() + 301_000;
        assert!(exp.contains(&verified.expires_at_ms));
        for name in ["news", "user/42/a/b", "b"] {
            assert!(verified.may_subscribe(name) && !verified.may_publish(name));
        }
        assert!(verified.may_publish("chat/7") && !verified.may_subscribe("chat/7"));
        for (_, other) in pairs.iter().filter(|(_, other)| other != public) {
            let refused = verify(self::rules(other), &token, before);
            assert_eq!(refused, Err(Invalid::Key));
        }
    }
}

#[test]
fn token_without_options_grants_nothing_for_an_hour() {
    let folder = Directory::new();
    let secret = folder.write("secret", SECRET);
    let before = now_ms();
    let token = token(&secret, &[]);
    let verified = verify(rules(&secret), &token, before).unwrap();
    assert_eq!(verified.subject, None);
    assert!((before + 3_600_000..=now_ms() + 3_601_000).contains(&verified.expires_at_ms));
    assert!(!verified.may_subscribe("news") && !verified.may_publish("news"));
    // It has no audience, so a server that expects one refuses it.
    let strict = Rules {
        audience: Some("encke".into()),
        ..rules(&secret)
    };
    assert_eq!(verify(strict, &token, before), Err(Invalid::Audience));
}

#[test]
fn kid_chooses_a_key_of_the_set() {
    let folder = Directory::new();
    let secret = folder.write("secret", SECRET);
    // The same bytes as the secret, and others.
    let set = r#"{"keys":[
        {"kty":"oct","kid":"other","k":"YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMgb3IgbW9yZQ"},
        {"kty":"oct","kid":"mine","k":"YSBzZWNyZXQgb2YgbW9yZSB0aGFuIDMyIGJ5dGVzLCBhbmQgb2Ygbm8gdXNlIGVsc2V3aGVyZQ"}
    ]}"#;
    let set = folder.write("set", set);
    for (kid, expected) in [
        (&["--kid", "mine"][..], None),
        (&[], None),
        (&["--kid", "other"], Some(Invalid::Signature)),
        (&["--kid", "none"], Some(Invalid::Key)),
    ] {
        let token = token(&secret, kid);
        assert_eq!(
            verify(rules(&set), &token, now_ms()).err(),
            expected,
            "{kid:?}"
        );
    }
}

#[test]
fn key_that_cannot_sign_is_refused_with_what_to_do() {
    let folder = Directory::new();
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    for (path, words) in [
        (fixture("rsa.pem"), "a public key cannot sign"),
        (folder.write("sec1", sec1), "openssl pkcs8 -topk8 -nocrypt"),
        (
            folder.write("short", "short\n"),
            "a secret of 5 bytes; at least 32 are needed",
        ),
        (
            folder.write("set", "{\"keys\":[]}"),
            "a JWK cannot sign here",
        ),
        (folder.root().join("none"), "cannot be read"),
        (folder.root().to_owned(), "cannot be read"),
        (PathBuf::from("/dev/zero"), "at most 1 MiB"),
    ] {
        let line = error(&path, &[]);
        let start = format!("encke: --key-file: {}: ", path.display());
        assert!(line.starts_with(&start) && line.contains(words), "{line}");
    }
}

#[test]
fn bad_option_is_refused_in_one_line() {
    let folder = Directory::new();
    let secret = folder.write("secret", SECRET);
    let long = "x".repeat(256);
    let many = vec!["a"; 65].join(",");
    let huge = format!("--audience={}", "x".repeat(4_000));
    for (args, words) in [
        (
            &["--subscribe=a*"][..],
            "--subscribe: \"a*\": `*` must be a whole segment",
        ),
        (
            &["--publish=ok,a//b"],
            "--publish: \"a//b\": no channel has such a name",
        ),
        (
            &["--publish="],
            "--publish: \"\": no channel has such a name",
        ),
        (
            &["--expires=0"],
            "--expires: \"0\": the token would be expired",
        ),
        (
            &["--expires=soon"],
            "--expires: \"soon\": a duration is seconds",
        ),
        (
            &["--expires=-1"],
            "--expires: \"-1\": a duration is seconds",
        ),
        (&["--expires=99999999999999999999h"], "--expires: "),
        (&["--sub", &long], "sub is longer than 255 bytes"),
        (&["--subscribe", &many], "at most 64 patterns"),
        (&[&huge], "longer than 4096 bytes"),
        (&["--sub=a", "--sub=b"], "--sub"),
        (&["--hold=3"], "--hold"),
        (&["news"], "news"),
    ] {
        let line = error(&secret, args);
        assert!(line.contains(words), "{args:?}: {line}");
        assert!(!line.contains("of no use elsewhere"), "{line}");
    }
}

#[test]
fn key_file_is_required_and_options_of_the_server_are_not_taken() {
    for args in [
        &["token"][..],
        &["--hold=3", "token", "--key-file=/x"],
        &["serve", "token"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
        command.env_clear().stdin(Stdio::null()).args(args);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn help_names_every_option() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
    let output = command
        .env_clear()
        .args(["token", "--help"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for option in [
        "key-file",
        "sub",
        "subscribe",
        "publish",
        "expires",
        "kid",
        "audience",
        "issuer",
    ] {
        assert!(help.contains(&format!("--{option} <")), "{option}");
    }
}
