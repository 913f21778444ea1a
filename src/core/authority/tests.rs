use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn authority(text: &str) -> Authority<'_> {
    Authority::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is refused"))
}

fn origin(text: &str) -> Origin<'_> {
    Origin::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is refused"))
}

#[test]
fn authorities_are_displayed_in_normal_form() {
    for (text, normal) in [
        ("a", "a"),
        ("App.Example", "app.example"),
        ("a:", "a"),
        ("a:0", "a:0"),
        ("a:0080", "a:80"),
        ("a:65535", "a:65535"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]", "[::1]"),
        ("[0:0::0001]:80", "[::1]:80"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        ("[::ffff:1.2.3.4]:80", "[::ffff:102:304]:80"),
        ("[v1.A:b]", "[v1.a:b]"),
        ("a_b-c~d", "a_b-c~d"),
        ("%41%2d%2f", "a-%2F"),
        ("a.", "a."),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        assert_eq!(authority(text).to_string(), normal, "{text}");
    }
}

#[test]
fn malformed_authorities_are_refused() {
    for text in [
        "",
        ":",
        ":80",
        "a b",
        "a:b",
        "a:1:2",
        "a:65536",
        "a:+1",
        "a:99999999999",
        "[",
        "[]",
        "[::1",
        "[::1]a",
        "[::1]80",
        "[::g]",
        "[1]",
        "[1::2::3]",
        "[::1%25eth0]",
        "[v.a]",
        "[v1.]",
        "[vg.a]",
        "::1",
        "a/b",
        "a?b",
        "u@a",
        "%4",
        "%zz",
        "a\"",
        "é",
        "a\tb",
    ] {
        assert!(Authority::parse(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn origins_are_serialised_as_browsers_do() {
    for (text, serialised) in [
        ("http://a", "http://a"),
        ("http://a:80", "http://a"),
        ("https://a:443", "https://a"),
        ("https://a:", "https://a"),
        ("HTTPS://App.Example:0443", "https://app.example"),
        ("http://a:443", "http://a:443"),
        ("https://a:80", "https://a:80"),
        ("http://[::0001]:80", "http://[::1]"),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]"),
        ("https://my_app.example", "https://my_app.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("App+x://Id:80", "app+x://id:80"),
    ] {
        assert_eq!(origin(text).to_string(), serialised, "{text}");
        assert_eq!(origin(text), origin(serialised), "{text}");
    }
    for text in [
        "",
        "null",
        "*",
        "a",
        "//a",
        "http:a",
        "http:/a",
        "http://",
        "http://a/",
        "http://a?b",
        "http://a#b",
        "http://u@a",
        "http://a:x",
        "http://a:0",
        "http://a:65536",
        " http://a",
        "http://a ",
        "1x://a",
        "ht tp://a",
        "://a",
        "http://a,http://b",
        "http://a http://b",
        "http://é",
    ] {
        assert!(Origin::parse(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn origins_that_differ_are_not_equal() {
    for (a, b) in [
        ("http://a", "https://a"),
        ("http://a:443", "https://a"),
        ("http://a", "http://a:8080"),
        ("http://a", "http://a."),
        ("http://a.b", "http://b"),
        ("http://127.0.0.1", "http://localhost"),
        ("http://[::1]", "http://127.0.0.1"),
        ("app://a", "app://a:80"),
    ] {
        assert_ne!(origin(a), origin(b), "{a} {b}");
    }
}

#[test]
fn host_without_scheme_belongs_to_origins_of_its_port() {
    let is_at = |origin_text: &str, host: &str| origin(origin_text).is_at(&authority(host));
    for (origin, host) in [
        ("https://app.example", "app.example"),
        ("https://app.example", "app.example:443"),
        ("http://app.example", "app.example:80"),
        ("http://app.example", "App.Example"),
        ("http://app.example", "app.example:"),
        ("https://app.example:443", "app.example"),
        ("https://app.example:8443", "APP.example:8443"),
        ("http://[::1]:7711", "[0::1]:7711"),
        ("http://my_app", "MY_APP"),
    ] {
        assert!(is_at(origin, host), "{origin} {host}");
    }
    for (origin, host) in [
        ("https://app.example", "app.example:80"),
        ("http://app.example", "app.example:443"),
        ("https://app.example:8443", "app.example"),
        ("https://app.example", "app.example:8443"),
        ("https://app.example", "example"),
        ("https://app.example", "app.example."),
        ("ws://app.example", "app.example"),
        ("chrome-extension://app.example", "app.example"),
        ("ftp://app.example:80", "app.example:80"),
    ] {
        assert!(!is_at(origin, host), "{origin} {host}");
    }
}

#[test]
fn addresses_and_localhost_are_told_from_names() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:7711",
        "[::1]",
        "[::1]:80",
        "localhost:1",
        "LOCALHOST",
    ] {
        assert!(authority(host).is_address_or_localhost(), "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:7711",
        "localhost.evil",
        "localhost.",
        "127.0.0.1.nip",
        "127.0.0.1.",
        "127.1",
        "[v1.a]",
    ] {
        assert!(!authority(host).is_address_or_localhost(), "{host}");
    }
}

#[test]
fn origins_that_no_browser_is_at_are_recognised() {
    for text in [
        "https://a",
        "https://a.example.",
        "https://my_app",
        "http://127.0.0.1:8080",
        "http://[::1]",
        "https://a1",
        "https://1.a",
        "https://0xg",
        "https://0x1.a",
    ] {
        assert!(origin(text).is_of_browser(), "{text}");
    }
    for text in [
        "https://*.example.org",
        "https://%41",
        "https://a,b",
        "http://127.1",
        "http://1.2.3.256",
        "http://0x7f000001",
        "http://1.2.3.0XF",
        "http://a.0x",
        "http://[v1.a]",
        "http://..",
    ] {
        assert!(!origin(text).is_of_browser(), "{text}");
    }
}

/// The naive model: scheme, host and port of an origin, each in normal form, by splitting strings.
fn naive(text: &str) -> (String, String, String) {
    let lower = text.to_lowercase();
    let (scheme, rest) = lower.split_once("://").expect("a scheme");
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.trim_start_matches('0')),
        _ => (rest, ""),
    };
    let host = match host.strip_prefix('[') {
        Some(v6) => {
            let address: Ipv6Addr = v6.trim_end_matches(']').parse().expect("an address");
            format!("{:?}", address.segments())
        }
        None => host.replace("%61", "a").replace("%2d", "-"),
    };
    let port = match (scheme, port) {
        ("http", "") => "80",
        ("https", "") => "443",
        _ => port,
    };
    (scheme.to_owned(), host, port.to_owned())
}

/// Origins in many spellings, of few enough parts that equal ones meet.
fn spelled() -> impl Strategy<Value = String> {
    let schemes = select(&["http", "https", "HTTP", "app"][..]);
    let hosts = select(
        &[
            "a",
            "A",
            "%61",
            "%2D",
            "-",
            "a_",
            "%2f",
            "%2F",
            "[::1]",
            "[0::01]",
            "[::ffff:1.2.3.4]",
            "[::FFFF:102:304]",
            "1.2.3.4",
            "a.",
        ][..],
    );
    let ports = select(&["", ":", ":80", ":080", ":443", ":8080", ":1"][..]);
    (schemes, hosts, ports).prop_map(|(scheme, host, port)| format!("{scheme}://{host}{port}"))
}

proptest! {
    #[test]
    fn equality_is_that_of_the_naive_twin(a in spelled(), b in spelled()) {
        let is_equal = naive(&a) == naive(&b);
        prop_assert_eq!(origin(&a) == origin(&b), is_equal);
        prop_assert_eq!(origin(&a).to_string() == origin(&b).to_string(), is_equal);
    }

    #[test]
    fn display_is_a_fixed_point(text in spelled()) {
        let serialised = origin(&text).to_string();
        prop_assert_eq!(origin(&serialised), origin(&text));
        prop_assert_eq!(origin(&serialised).to_string(), serialised);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..24)) {
        if let Some(parsed) = Authority::parse(&bytes) {
            let normal = parsed.to_string();
            prop_assert_eq!(Authority::parse(normal.as_bytes()), Some(parsed));
        }
        let _ = Origin::parse(&bytes).map(|origin| (origin.is_of_browser(), origin.to_string()));
    }

    #[test]
    fn bytes_of_hosts_are_parsed_or_refused(text in "[aA%0-9:._\\[\\]v~@/-]{0,12}") {
        if let Some(parsed) = Authority::parse(text.as_bytes()) {
            let normal = parsed.to_string();
            prop_assert_eq!(Authority::parse(normal.as_bytes()), Some(parsed));
            prop_assert_eq!(authority(&normal).to_string(), normal);
        }
    }
}
