use super::*;
use crate::config::Config;

fn parse(text: &str) -> EngineUrl {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn url_is_displayed_as_it_is_parsed() {
    for (text, shown) in [
        ("redis://host", "redis://host:6379"),
        ("redis://host:7000/3", "redis://host:7000/3"),
        ("redis://encke@[::1]:7000", "redis://encke@[::1]:7000"),
        ("redis+unix:/run/redis.sock", "redis+unix:///run/redis.sock"),
        (
            "redis+unix://encke@/run/redis.sock",
            "redis+unix://encke@/run/redis.sock",
        ),
        (
            "redis+sentinel://encke@a,b:7,[::2]/main",
            "redis+sentinel://encke@a:26379,b:7,[::2]:26379/main",
        ),
    ] {
        let url = parse(text);
        assert_eq!(url.to_string(), shown);
        assert_eq!(parse(shown), url);
    }
}

#[test]
fn parts_of_a_url_are_found() {
    assert_eq!(
        parse("redis://user@10.0.0.1/2"),
        EngineUrl {
            at: EngineAddress::Tcp {
                host: "10.0.0.1".into(),
                port: 6379,
                is_tls: false
            },
            user: Some("user".into()),
            database: 2,
        }
    );
    let EngineAddress::Sentinel { sentinels, master } = parse("redis+sentinel://a,b:1/m").at else {
        panic!("it is of Sentinels");
    };
    assert_eq!(sentinels, [("a".to_owned(), 26379), ("b".to_owned(), 1)]);
    assert_eq!(master, "m");
}

#[test]
fn faults_of_a_url_are_named() {
    let many = format!("redis+sentinel://{}/m", vec!["a"; 17].join(","));
    for (text, words) in [
        ("", "an engine is redis://"),
        ("host:6379", "an engine is redis://"),
        ("redis:host", "an engine is redis://"),
        ("http://host", "an engine is redis://"),
        ("redis://", "is no HOST"),
        ("redis://host:x", "is no HOST"),
        ("redis://a,b", "is no HOST"),
        ("redis://host/one", "is no number"),
        ("redis://host/-1", "is no number"),
        ("redis://host?db=1", "no parameters"),
        ("redis://@host", "a user is 1 to 128"),
        ("redis+unix://run/redis.sock", "the path starts with `/`"),
        ("redis+unix:///x?db=1", "no parameters"),
        ("redis+sentinel://a,b", "name of the master is missing"),
        ("redis+sentinel://a,,b/m", "is no HOST"),
        ("redis+sentinel://a/m/0", "the name of a master is"),
        (&many, "17 Sentinels are not allowed"),
    ] {
        let error = text.parse::<EngineUrl>().unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn password_in_a_url_is_refused_and_not_shown() {
    for text in [
        "redis://:sesame@host",
        "redis://user:sesame@host:1",
        "redis://user:ses@me@host",
        "redis+unix://:sesame@/run/redis.sock",
        "redis+unix:bob:sesame@/tmp/x",
        "redis+unix:/bob:sesame@/tmp/x",
        "redis+sentinel://:sesame@a,b/main",
    ] {
        let error = text.parse::<EngineUrl>().unwrap_err();
        assert!(error.contains("--engine-password-file"), "{error}");
        assert!(
            !error.contains("sesame") && !error.contains("me@"),
            "{error}"
        );
    }
    // Nor where `@` is missing, so that it is no password for sure.
    for text in [
        "redis://bob:sesame/host",
        "redis://host/sesame",
        "redis+unix:bob:sesame/tmp/x",
        "redis+unix://sesame",
        "redis+sentinel://bob:sesame,a/main",
    ] {
        let error = text.parse::<EngineUrl>().unwrap_err();
        assert!(!error.contains("sesame"), "{error}");
    }
    let mut config = Config::default();
    config.engine.password = Some("sesame".into());
    assert!(!format!("{config:?}").contains("sesame"));
}

#[test]
fn encryption_needs_its_feature() {
    let parsed = "rediss://host".parse::<EngineUrl>();
    match cfg!(feature = "tls") {
        true => assert_eq!(parsed.unwrap().to_string(), "rediss://host:6379"),
        false => assert!(parsed.unwrap_err().contains("--features tls")),
    }
}

#[test]
fn names_are_checked() {
    for name in ["encke", "a:b", "A-1_.x"] {
        assert_eq!(check_namespace(name), Ok(()));
    }
    let long = "n".repeat(129);
    for name in ["", "{a}", "a b", "a*", "ü", &long] {
        assert!(check_namespace(name).is_err() && check_node(name).is_err());
    }
    assert!(check_node("a:b").is_err());
    assert_eq!(check_node("web-1.example.org"), Ok(()));
}
