use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

/// A resolver that knows one name. It returns each address twice, as resolvers do for two kinds of
/// socket.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let find = |host: &str| Ok(SocketAddr::new(host.parse().map_err(|_| "?")?, port));
    match host {
        "localhost" => ["127.0.0.1", "127.0.0.1", "::1", "::1"]
            .map(find)
            .into_iter()
            .collect(),
        // An IP address has no zone.
        "fe80::1%7" => Ok(vec!["[fe80::1%7]:80".parse().unwrap()]),
        _ => Ok(vec![find(host)?]),
    }
}

#[test]
fn durations_with_and_without_suffix_are_parsed() {
    let ms = Duration::from_millis;
    for (text, expected) in [
        ("0", ms(0)),
        ("30", ms(30_000)),
        ("0.5", ms(500)),
        (".5", ms(500)),
        ("5.", ms(5_000)),
        ("1.1", ms(1_100)),
        ("500ms", ms(500)),
        ("0.5ms", Duration::from_micros(500)),
        ("30s", ms(30_000)),
        ("2m", ms(120_000)),
        ("1.5h", ms(5_400_000)),
    ] {
        assert_eq!(text.parse(), Ok(Span(expected)), "{text}");
    }
    for text in [
        "", ".", "s", "ms", "-1", "+1", "1e3", "inf", "NaN", "1 s", " 1", "1d", "1S", "1ss",
        "1.2.3", "1,5", "0x1", "½", "1µs",
    ] {
        let error = text.parse::<Span>().unwrap_err();
        assert!(error.contains("500ms"), "{text}: {error}");
    }
    let long = "9".repeat(400);
    for text in ["99999999999999999999h", &long] {
        assert!(
            text.parse::<Span>().unwrap_err().contains("too long"),
            "{text}"
        );
    }
}

#[test]
fn bytes_with_and_without_suffix_are_parsed() {
    for (text, expected) in [
        ("0", 0),
        ("1000", 1_000),
        ("64K", 64 << 10),
        ("64k", 64 << 10),
        ("64KiB", 64 << 10),
        ("16M", 16 << 20),
        ("16MiB", 16 << 20),
        ("1G", 1 << 30),
        ("1GiB", 1 << 30),
    ] {
        assert_eq!(text.parse(), Ok(Bytes(expected)), "{text}");
    }
    for text in [
        "", "K", "-1", "+1", "1.5M", "1KB", "1B", "iB", "1iB", "1T", "1 K", "1_000", "²",
    ] {
        let error = text.parse::<Bytes>().unwrap_err();
        assert!(error.contains("64K"), "{text}: {error}");
    }
    for text in [
        "99999999999999999999",
        "18446744073709551615K",
        "17179869184G",
    ] {
        assert!(
            text.parse::<Bytes>().unwrap_err().contains("too large"),
            "{text}"
        );
    }
}

#[test]
fn counts_are_digits_only() {
    assert_eq!(count("0"), Ok(0));
    assert_eq!(count("1000"), Ok(1_000));
    for text in ["", "-1", "+1", "1.0", "1K", "1e3", "one"] {
        assert!(count(text).unwrap_err().contains("whole number"), "{text}");
    }
    assert!(
        count("99999999999999999999")
            .unwrap_err()
            .contains("too large")
    );
}

#[test]
fn each_form_of_address_is_parsed() {
    let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
    for (text, expected) in [
        ("127.0.0.1:7711", tcp("127.0.0.1:7711")),
        ("0.0.0.0:0", tcp("0.0.0.0:0")),
        ("[::1]:65535", tcp("[::1]:65535")),
        ("[fe80::1%7]:80", tcp("[fe80::1%7]:80")),
        ("unix:/run/a:b", Address::Unix("/run/a:b".into())),
        (
            "proxy:unix:/p",
            Address::Proxied(Address::Unix("/p".into()).into()),
        ),
        ("proxy:[::1]:1", Address::Proxied(tcp("[::1]:1").into())),
    ] {
        assert_eq!(Address::parse(text, resolve), Ok(expected), "{text}");
    }
    for text in [
        "",
        ":",
        ":7711",
        "7711",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:+1",
        "127.0.0.1:http",
        "::1:7711",
        "[::1]",
        "[::1]:",
        "[]:1",
        "[127.0.0.1]:1",
        "http://127.0.0.1:1",
        "http://a",
    ] {
        let error = Address::parse(text, resolve).unwrap_err();
        assert!(
            error.contains("host:port, [v6]:port or unix:/path"),
            "{text}: {error}"
        );
    }
}

#[test]
fn name_gives_each_of_its_addresses_once() {
    let address = Address::parse("localhost:7711", resolve).unwrap();
    let [v4, v6] = ["127.0.0.1:7711", "[::1]:7711"].map(|text| text.parse().unwrap());
    let name = "localhost:7711".into();
    assert_eq!(
        address,
        Address::Name {
            name,
            addresses: vec![v4, v6]
        }
    );
    assert!(address.is_local());
}

#[test]
fn flags_are_parsed() {
    for text in ["true", "YES", "y", "1", "on", "t"] {
        assert_eq!(flag(text), Ok(true));
    }
    for text in ["false", "No", "n", "0", "off", "f"] {
        assert_eq!(flag(text), Ok(false));
    }
    for text in ["", "maybe", "2", " true"] {
        assert!(flag(text).unwrap_err().contains("boolean"));
    }
}

proptest! {
    #[test]
    fn displayed_value_parses_to_itself(ms in 0..3_000_000_000_u64, bytes: u64) {
        let span = Span(Duration::from_millis(ms));
        prop_assert_eq!(span.to_string().parse(), Ok(span));
        let bytes = Bytes(bytes >> (bytes % 64));
        prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in ".*") {
        let _ = text.parse::<Span>();
        let _ = text.parse::<Bytes>();
        let _ = count(&text);
        let _ = host_and_port(&text);
        let _ = flag(&text);
        let _ = mode(&text);
    }

    #[test]
    fn times_of_whole_numbers_are_exact(number in 0..1_000_000_u32) {
        let minutes: Span = format!("{number}m").parse().unwrap();
        prop_assert_eq!(minutes.0, Duration::from_secs(60) * number);
        let ms: Span = format!("{number}ms").parse().unwrap();
        prop_assert_eq!(ms.0, Duration::from_millis(number.into()));
    }
}
