//! Listeners of other kinds: behind a PROXY protocol, and unix sockets with a mode.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;

use encke::{Address, Inherited};
use encke_test_rig::Directory;
use socket2::{Domain, Protocol, Socket, Type};

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
fn proxy_header_is_read_whole_or_in_pieces() {
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
fn connection_without_a_proxy_header_is_closed() {
    let (server, address) = proxied(|_| {});
    let mut client = Client::connect(address);
    client.ask("GET", "/healthz", "");
    client.expect_end();
    assert_eq!(
        server.get("/healthz").status(),
        200,
        "other listeners need no header"
    );
}

#[test]
fn limit_per_address_counts_the_address_in_the_proxy_header() {
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

/// A port is shared if all that listen on it say so. The kernel decides which process gets a
/// connection, so connections are made until each server has had one.
#[test]
fn shared_address_is_served_by_all_that_share_it() {
    let first = Server::with(|config| config.reuse_port = true);
    let at = |is_shared| {
        let mut config = crate::server::config();
        config.listen = vec![Address::Tcp(first.address)];
        config.reuse_port = is_shared;
        encke::Server::bind(config)
    };
    let refused = at(false).err().map(|error| error.to_string());
    assert!(refused.unwrap().contains("Address already in use"));
    let second = Server::run(at(true).unwrap());
    // Each serves a channel of its own, whose epoch is that server's.
    let mut epochs = std::collections::BTreeSet::new();
    crate::eventually("both answer", || {
        let answer = first.get("/poll/x");
        assert_eq!(answer.status(), 200);
        let cursor = answer.json()["cursor"].as_str().unwrap().to_owned();
        epochs.insert(cursor.split_once('-').unwrap().0.to_owned());
        epochs.len() == 2
    });
    drop(second);
    for _ in 0..20 {
        assert_eq!(first.get("/healthz").status(), 200, "one is left");
    }
}

fn unix_server(path: &Path) -> Server {
    Server::with(|config| config.listen.push(Address::Unix(path.to_owned())))
}

#[test]
fn unix_socket_gets_its_mode_and_is_removed() {
    let directory = Directory::new();
    let path = directory.path("socket");
    let mut server = Server::with(|config| {
        config.listen.push(Address::Unix(path.clone()));
        config.unix_mode = Some(0o640);
    });
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    server.stop().unwrap();
    assert!(!path.exists(), "it is removed with the server");
}

#[test]
fn drained_server_leaves_a_socket_that_was_renamed_over_its_own() {
    let directory = Directory::new();
    let (path, beside) = (directory.path("socket"), directory.path("socket.new"));
    let mut old = unix_server(&path);
    let mut new = unix_server(&beside);
    std::fs::rename(&beside, &path).unwrap();
    old.stop().unwrap();
    UnixStream::connect(&path).expect("the new server's socket is still there");
    new.stop().unwrap();
    assert!(
        path.exists(),
        "it is not the path that the new server bound"
    );
}

#[test]
fn drained_server_leaves_a_socket_that_was_bound_anew() {
    let directory = Directory::new();
    let path = directory.path("socket");
    let mut old = unix_server(&path);
    std::fs::remove_file(&path).unwrap();
    let mut new = unix_server(&path);
    old.stop().unwrap();
    UnixStream::connect(&path).expect("the new server's socket is still there");
    new.stop().unwrap();
    assert!(
        !path.exists(),
        "it is removed with the server that bound it"
    );
}

#[test]
fn servers_that_start_together_on_a_stale_socket_leave_one_listening() {
    const SERVERS: usize = 4;
    let directory = Directory::new();
    for round in 0..20 {
        let path = directory.path(&format!("socket-{round}"));
        drop(UnixListener::bind(&path).unwrap());
        let start = Barrier::new(SERVERS);
        let bind = || {
            let config = encke::Config {
                listen: vec![Address::Unix(path.clone())],
                ..crate::server::config()
            };
            start.wait();
            encke::Server::bind(config)
        };
        let bound: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..SERVERS).map(|_| scope.spawn(bind)).collect();
            let bound = threads.into_iter().map(|thread| thread.join().unwrap());
            bound.filter_map(Result::ok).collect()
        });
        assert_eq!(bound.len(), 1);
        UnixStream::connect(&path).expect("its socket is not another's to remove");
    }
}

#[test]
fn file_that_is_no_socket_or_has_a_listener_is_not_replaced() {
    let directory = Directory::new();
    let (file, live) = (directory.path("file"), directory.path("live"));
    std::fs::write(&file, "kept").unwrap();
    let _listener = UnixListener::bind(&live).unwrap();
    for path in [&file, &live] {
        let config = encke::Config {
            listen: vec![Address::Unix(path.clone())],
            ..crate::server::config()
        };
        let error = encke::Server::bind(config).err().expect("it is in use");
        assert!(error.to_string().contains("in use"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    UnixStream::connect(&live).expect("it is still there");
}

fn bind_inherited(socket: impl Into<OwnedFd>, ip_address: Option<SocketAddr>) -> String {
    let inherited = Inherited::new(socket.into(), ip_address);
    let config = encke::Config {
        listen: vec![Address::Inherited(inherited)],
        ..crate::server::config()
    };
    let error = encke::Server::bind(config).err().expect("it is refused");
    error.to_string()
}

#[test]
fn inherited_socket_of_another_kind_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let kind = |family, kind| OwnedFd::from(Socket::new(family, kind, None).unwrap());
    let unbound = kind(Domain::IPV4, Type::STREAM);
    let kinds: Vec<(OwnedFd, &str)> = vec![
        (accepted.into(), "Accept=no"),
        (client.into(), "Accept=no"),
        (near.into(), "Accept=no"),
        (far.into(), "Accept=no"),
        (unbound, "does not listen"),
        (
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            "ListenStream=",
        ),
        (UnixDatagram::unbound().unwrap().into(), "ListenStream="),
        (kind(Domain::UNIX, Type::SEQPACKET), "ListenStream="),
        (
            std::fs::File::open("/dev/null").unwrap().into(),
            "not a socket",
        ),
        (std::io::pipe().unwrap().0.into(), "not a socket"),
    ];
    for (socket, words) in kinds {
        for error in [
            bind_inherited(socket.try_clone().unwrap(), None),
            encke::inherit(socket).unwrap_err().to_string(),
        ] {
            assert!(error.contains(words), "{error} lacks {words:?}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

/// A TCP socket that is called a unix socket would be trusted with publishing.
#[test]
fn inherited_socket_with_a_wrong_address_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = bind_inherited(listener.try_clone().unwrap(), None);
    assert!(error.contains("another IP address"), "{error}");
    let error = bind_inherited(listener, Some(SocketAddr::from(([127, 0, 0, 1], 1))));
    assert!(error.contains("another IP address"), "{error}");
}

#[test]
fn inherited_sockets_are_served() {
    let mut sockets = vec![TcpListener::bind("127.0.0.1:0").unwrap()];
    let mptcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP));
    // Not every kernel has it.
    if let Ok(mptcp) = mptcp {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        mptcp.bind(&any.into()).unwrap();
        mptcp.listen(1).unwrap();
        sockets.push(mptcp.into());
    }
    for socket in sockets {
        let address = socket.local_addr().unwrap();
        let _server = Server::with(|config| {
            let inherited = encke::inherit(socket.into()).unwrap();
            config.listen.push(Address::Inherited(inherited));
        });
        assert_eq!(Client::connect(address).get("/readyz").status(), 200);
    }
}

/// Of TEST-NET-1 and the documentation prefix (RFC 5737, RFC 3849): no host has these.
const MISSING: [&str; 2] = ["192.0.2.1:0", "[2001:db8::1]:0"];

fn name(addresses: &[&str]) -> Address {
    Address::Name {
        name: "host:0".into(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

#[test]
fn name_is_bound_at_the_addresses_that_the_host_has() {
    let [v4, v6] = MISSING;
    let name = name(&[v4, "127.0.0.1:0", v6, "127.0.0.2:0"]);
    let server = Server::with(|config| {
        config.control = vec![name.clone(), Address::Proxied(name.into())];
        config.publish_key = Some("key".into());
    });
    // The first is the address of every test's server.
    let [_, plain @ .., proxied, other] = &*server.addresses else {
        panic!("{:?}", server.addresses);
    };
    assert_eq!(plain.len(), 2);
    for (index, _) in plain.iter().enumerate() {
        let client = &mut Client::connect(server.tcp(1 + index));
        assert_eq!(
            client.get("/metrics").status(),
            200,
            "trusted, as it is local"
        );
    }
    assert!(matches!(proxied, Address::Proxied(_)) && matches!(other, Address::Proxied(_)));
}

#[test]
fn missing_address_is_an_error_if_no_other_is_bound() {
    for address in [name(&MISSING), Address::Tcp(MISSING[0].parse().unwrap())] {
        let config = encke::Config {
            listen: vec![crate::server::any_port(), address],
            publish_key: Some("key".into()),
            ..crate::server::config()
        };
        let error = encke::Server::bind(config).err().expect("it is missing");
        assert!(matches!(error, encke::Error::Bind(..)), "{error}");
    }
}

#[test]
fn taken_address_of_a_name_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let config = encke::Config {
        listen: vec![name(&["127.0.0.2:0", &taken])],
        ..crate::server::config()
    };
    let error = encke::Server::bind(config).err().expect("it is in use");
    assert!(error.to_string().contains(&taken), "{error}");
}
