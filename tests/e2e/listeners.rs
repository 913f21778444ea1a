//! Listeners of other kinds: behind a PROXY protocol, and unix sockets with a mode.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use encke::Address;

use crate::client::Client;
use crate::server::{Server, any_port};

fn proxied(change: impl FnOnce(&mut encke::Config)) -> (Server, SocketAddr) {
    let server = Server::with(|config| {
        config.publish_key = Some("key".into());
        config.listen.push(Address::Proxied(any_port().into()));
        change(config);
    });
    let Some(Address::Proxied(inner)) = server.addresses.last() else {
        panic!("{:?}", server.addresses);
    };
    let Address::Tcp(address) = **inner else {
        panic!("{inner}");
    };
    (server, address)
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4242 80\r\n";

/// Version 2, TCP over IPv4, the same addresses.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\
    \xc0\0\x02\x01\xc6\x33\x64\x01\x10\x92\0\x50";

#[test]
fn a_header_comes_first_whole_or_in_pieces() {
    let (_server, address) = proxied(|_| {});
    for header in [V1, V2] {
        for cut in [0, 1, 5, 13, header.len() - 1] {
            let mut client = Client::connect(address);
            client.send(&header[..cut]);
            client.send(&header[cut..]);
            assert_eq!(client.get("/healthz").status(), 200);
            assert_eq!(client.get("/poll/x").status(), 200, "once for a connection");
        }
    }
}

#[test]
fn without_a_header_nobody_is_served() {
    let (server, address) = proxied(|_| {});
    let mut client = Client::connect(address);
    client.ask("GET", "/healthz", "");
    client.expect_end();
    assert_eq!(
        server.get("/healthz").status(),
        200,
        "elsewhere none is asked for"
    );
}

#[test]
fn the_limit_per_address_counts_whom_the_header_names() {
    let (_server, address) = proxied(|config| config.max_connections_per_address = Some(2));
    let ask = |header: &str| {
        let mut client = Client::connect(address);
        // In one write: at the limit only a request that is there already is answered.
        client.send(format!("{header}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
        let status = client.answer().status();
        (client, status)
    };
    let first = "PROXY TCP4 192.0.2.1 198.51.100.1 1 80\r\n";
    let kept = [ask(first), ask(first)];
    assert_eq!(kept.each_ref().map(|(_, status)| *status), [200, 200]);
    assert_eq!(ask(first).1, 429);
    assert_eq!(ask("PROXY TCP4 192.0.2.2 198.51.100.1 1 80\r\n").1, 200);
}

#[test]
fn a_unix_socket_gets_its_mode() {
    let directory = std::env::temp_dir().join(format!("encke-mode-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let mut server = Server::with(|config| {
        config.listen.push(Address::Unix(path.clone()));
        config.unix_mode = Some(0o640);
    });
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    server.stop().unwrap();
    assert!(!path.exists(), "it is removed with the server");
    std::fs::remove_dir(&directory).unwrap();
}
