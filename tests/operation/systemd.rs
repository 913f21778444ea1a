//! The units of `tools/systemd`, and what they rely on in encke.
//!
//! systemd-analyze reads the units. What systemd does for a service is done by the tests, since
//! systemd need not run here: they pass sockets (sd_listen_fds(3)) and receive notifications
//! (sd_notify(3)).

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use encke_test_rig::{Directory, PATIENCE, Program, needs};
use rustix::process::Signal;
use socket2::{Domain, SockRef, Socket, Type};

use crate::ENCKE;
use crate::http::Address;
use crate::{file, run};

const UNITS: [&str; 4] = [
    "encke.service",
    "encke@.service",
    "encke.socket",
    "encke-control.socket",
];

/// The most that `systemd-analyze security` may say, in tenths, of a service that uses the network
/// and nothing else. It says 92 of one without a sandbox.
const MAX_EXPOSURE: u32 = 15;

/// Makes standard input and standard output the passed sockets, and encke the process that they are
/// passed to, with its pid.
const START: &str = r#"
export LISTEN_PID=$FOR_PID WATCHDOG_PID=$$
test "$LISTEN_PID" || export LISTEN_PID=$$
exec "$0" "$@" 3<&0 4<&1 0</dev/null 1>/dev/null"#;

#[test]
fn systemd_accepts_the_units() {
    if !needs("systemd-analyze", "systemd") {
        return;
    }
    let directory = Directory::new();
    let copies = UNITS.map(|unit| {
        let text = fs::read_to_string(file("tools/systemd").join(unit)).unwrap();
        // systemd-analyze wants the program to be there, and would look for the manual.
        let copy = directory.path(unit);
        fs::write(&copy, text.replace("/usr/bin/encke", ENCKE)).unwrap();
        copy.to_str().unwrap().to_owned()
    });
    let [service, template, socket, control] = &copies;
    let said = run(
        "systemd-analyze",
        &["verify", "--man=no", service, template, socket, control],
    );
    // systemd only warns of an unknown setting.
    assert_eq!(said, "");
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    for service in [service, template] {
        run(
            "systemd-analyze",
            &[
                "security",
                "--offline=true",
                "--no-pager",
                &threshold,
                service,
            ],
        );
    }
}

/// What the template says of a service is what the service says, but for this.
#[test]
fn template_is_the_service_with_an_address_to_share() {
    let [service, template] = ["encke.service", "encke@.service"].map(|unit| {
        let text = fs::read_to_string(file("tools/systemd").join(unit)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(String::from).collect::<Vec<_>>()
    });
    let beyond = |lines: &[String], others: &[String]| {
        let own = lines.iter().filter(|line| !others.contains(line));
        own.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        beyond(&service, &template),
        [
            "Description=encke, a Comet server",
            "RuntimeDirectory=encke",
            "StateDirectory=encke",
            "StateDirectoryMode=0700"
        ]
    );
    assert_eq!(
        beyond(&template, &service),
        [
            "Description=encke, a Comet server (%i)",
            "Environment=ENCKE_REUSE_PORT=true",
            "Environment=ENCKE_NODE=%H-%i",
            "Environment=ENCKE_CONTROL=unix:/run/encke-%i/control.sock",
            "EnvironmentFile=-/etc/default/encke-%i",
            "RuntimeDirectory=encke-%i",
            "User=encke"
        ]
    );
}

#[test]
fn default_file_names_options_that_exist() {
    let help = run(ENCKE, &["--help"]);
    let text = fs::read_to_string(file("tools/systemd/encke.default")).unwrap();
    let lines = text.lines().map(|line| line.trim_start_matches('#'));
    let names = lines.filter(|line| line.starts_with("ENCKE_"));
    let names: Vec<&str> = names.map(|line| line.split('=').next().unwrap()).collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(help.contains(&format!("[env: {name}]")), "{name}");
    }
}

/// As it is, the file of the package changes nothing; every line of it that is a comment without a
/// space is a setting that is allowed.
#[test]
fn file_of_the_package_is_valid_with_and_without_its_comments() {
    let path = file("tools/systemd/encke.toml");
    let report = |arguments: &[&str]| {
        let report = run(ENCKE, &[&["check"], arguments].concat());
        let lines = report.lines().filter(|line| !line.starts_with('#'));
        lines.map(String::from).collect::<Vec<_>>()
    };
    let of_file = report(&["--config", path.to_str().unwrap()]);
    assert_eq!(of_file, report(&[]));

    let text = fs::read_to_string(&path).unwrap();
    let uncommented = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    });
    let uncommented: Vec<&str> = uncommented.collect();
    let parsed = encke::config::File::parse(&uncommented.join("\n")).unwrap();
    let mut options = encke::config::Options::default();
    for setting in parsed.settings() {
        let resolve = |host: &str, port| Ok(vec![(host.parse::<IpAddr>().unwrap(), port).into()]);
        setting.set(&mut options, resolve).unwrap();
    }
    options.config.policies = parsed.policies().to_vec();
    assert_eq!(options.config.check(), Ok(()));
    assert!(parsed.settings().len() > 15 && parsed.policies().len() == 2);
}

#[test]
fn service_reads_its_file_if_it_is_there_and_reloads() {
    let unit = fs::read_to_string(file("tools/systemd/encke.service")).unwrap();
    let has = |line: &str| unit.lines().any(|found| found == line);
    assert!(has("Environment=ENCKE_CONFIG=-/etc/encke.toml"));
    assert!(has("ExecReload=/bin/kill -HUP $MAINPID"));
    // Variables of the administrator override the unit's.
    let place = |start: &str| unit.find(start).unwrap();
    assert!(place("\nEnvironment=ENCKE_CONFIG=") < place("\nEnvironmentFile="));
    let manifest = fs::read_to_string(file("Cargo.toml")).unwrap();
    let asset = r#"["tools/systemd/encke.toml", "etc/encke.toml", "644"]"#;
    assert!(manifest.contains(asset));
}

/// As systemd runs it: it expands `$$`.
#[test]
fn service_is_stopped_by_a_command_that_waits_for_its_end() {
    let unit = fs::read_to_string(file("tools/systemd/encke.service")).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStop="));
    let script = line.unwrap().strip_prefix("-/bin/sh -c '").unwrap();
    let script = script.strip_suffix('\'').unwrap().replace("$$", "$");
    let stop = |pid: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).env("MAINPID", pid);
        command.spawn().unwrap()
    };
    let mut service = Service::start(Vec::new(), &["--listen=127.0.0.1:0", "--drain-delay=1h"]);
    service.expect("READY=1");
    let mut command = stop(&service.encke.id().to_string());
    service.expect_stopping();
    service.expect("WATCHDOG=1");
    assert!(command.try_wait().unwrap().is_none(), "it does not wait");
    service.stop();
    service.encke.exit_code();
    assert!(command.wait().unwrap().success());
    // The main process has ended by itself.
    assert!(stop("").wait().unwrap().success());
}

/// A passed socket: its name, where it listens, and itself.
struct Passed {
    name: &'static str,
    address: Address,
    fd: OwnedFd,
}

impl Passed {
    /// A descriptor to which there is no connecting.
    fn other(fd: impl Into<OwnedFd>) -> Passed {
        Passed {
            name: "other",
            address: Address::Unix(PathBuf::new()),
            fd: fd.into(),
        }
    }

    fn tcp(name: &'static str, ip: &str) -> Passed {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        Passed {
            name,
            address: Address::Tcp(listener.local_addr().unwrap()),
            fd: listener.into(),
        }
    }

    fn unix(name: &'static str, directory: &Directory, file: &str) -> Passed {
        let path = directory.path(file);
        Passed {
            name,
            fd: UnixListener::bind(&path).unwrap().into(),
            address: Address::Unix(path),
        }
    }
}

/// encke, started as systemd starts a service.
struct Service {
    encke: Program,
    notifications: UnixDatagram,
    _directory: Directory,
}

impl Service {
    fn start(sockets: Vec<Passed>, options: &[&str]) -> Service {
        Service::start_with(sockets, options, false, true)
    }

    fn start_with(
        sockets: Vec<Passed>,
        options: &[&str],
        is_abstract: bool,
        for_itself: bool,
    ) -> Service {
        let directory = Directory::new();
        let path = directory.path("notify");
        let path = path.to_str().unwrap();
        let (name, address) = match is_abstract {
            true => (format!("@{path}"), SocketAddr::from_abstract_name(path)),
            false => (path.to_owned(), SocketAddr::from_pathname(path)),
        };
        let notifications = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new("sh");
        command
            .env_clear()
            .env("NOTIFY_SOCKET", name)
            .env("WATCHDOG_USEC", "200000")
            .env("ENCKE_LOG", "warn")
            .args(["-c", START, ENCKE])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if !for_itself {
            command.env("FOR_PID", std::process::id().to_string());
        }
        if !sockets.is_empty() {
            let names: Vec<&str> = sockets.iter().map(|socket| socket.name).collect();
            command
                .env("LISTEN_FDS", names.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"));
        }
        let mut fds = sockets.into_iter().map(|socket| socket.fd);
        if let Some(fd) = fds.next() {
            command.stdin(fd);
        }
        if let Some(fd) = fds.next() {
            command.stdout(fd);
        }
        assert!(fds.next().is_none(), "two sockets can be passed");
        Service {
            encke: Program::start(&mut command),
            notifications,
            _directory: directory,
        }
    }

    /// Its next notification.
    fn hear(&self) -> String {
        let mut buffer = [0; 4_096];
        match self.notifications.recv(&mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).trim().to_owned(),
            Err(error) => panic!("no notification ({error}): {}", self.encke.log()),
        }
    }

    fn expect(&self, expected: &str) {
        assert_eq!(self.hear(), expected);
    }

    fn stop(&self) {
        self.encke.signal(Signal::TERM);
    }

    fn expect_stopping(&self) {
        loop {
            match self.hear().as_str() {
                "STOPPING=1" => return,
                said => assert_eq!(said, "WATCHDOG=1"),
            }
        }
    }
}

#[test]
fn notifies_of_ready_watchdog_and_stopping() {
    // systemd's own socket is a file, that of other service managers an abstract one.
    for is_abstract in [false, true] {
        let options = ["--listen=127.0.0.1:0", "--drain=0"];
        let mut service = Service::start_with(Vec::new(), &options, is_abstract, true);
        service.expect("READY=1");
        for _ in 0..3 {
            service.expect("WATCHDOG=1");
        }
        service.stop();
        service.expect_stopping();
        assert_eq!(service.encke.exit_code(), Some(0));
    }
}

/// The service is reloading until it says that it is ready again, also if the reload fails.
#[test]
fn notifies_of_a_reload() {
    let directory = Directory::new();
    let config = directory.path("encke.toml");
    fs::write(&config, "hold = 3").unwrap();
    let option = format!("--config={}", config.display());
    let service = Service::start(Vec::new(), &["--listen=127.0.0.1:0", &option]);
    service.expect("READY=1");
    let hear = || loop {
        match service.hear() {
            said if said == "WATCHDOG=1" => {}
            said => return said,
        }
    };
    for text in ["hold = 4", "hold = 'soon'", "hold = 5"] {
        fs::write(&config, text).unwrap();
        service.encke.signal(Signal::HUP);
        let said = hear();
        let since = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(since.parse::<u64>().unwrap() > 0, "{said}");
        assert_eq!(hear(), "READY=1");
    }
}

#[test]
fn notifies_of_nothing_if_it_cannot_serve() {
    // A control socket that other machines can reach, without a key, is refused.
    let mut service = Service::start(vec![Passed::tcp("control", "0.0.0.0")], &[]);
    assert_eq!(service.encke.exit_code(), Some(2));
    service.notifications.set_nonblocking(true).unwrap();
    let error = service.notifications.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn watchdog_continues_in_a_drain() {
    let mut service = Service::start(Vec::new(), &["--listen=127.0.0.1:0", "--drain-delay=1h"]);
    service.expect("READY=1");
    service.stop();
    service.expect_stopping();
    service.expect("WATCHDOG=1");
    service.expect("WATCHDOG=1");
    service.stop();
    let ended_by_second_signal = 128 + Signal::TERM.as_raw();
    assert_eq!(service.encke.exit_code(), Some(ended_by_second_signal));
}

#[test]
fn passed_sockets_serve_everything_without_a_control_socket() {
    let directory = Directory::new();
    let sockets = vec![
        Passed::tcp("encke.socket", "127.0.0.1"),
        Passed::unix("unknown", &directory, "receivers"),
    ];
    let addresses: Vec<Address> = sockets
        .iter()
        .map(|passed| passed.address.clone())
        .collect();
    let service = Service::start(sockets, &[]);
    service.expect("READY=1");
    for address in addresses {
        assert_eq!(address.status("GET", "/readyz", b""), 200);
        assert_eq!(address.status("GET", "/metrics", b""), 200);
    }
}

#[test]
fn only_the_passed_socket_named_control_serves_publishers() {
    let directory = Directory::new();
    let public = Passed::tcp("encke.socket", "127.0.0.1");
    let control = Passed::unix("control", &directory, "control");
    let (receiving, publishing) = (public.address.clone(), control.address.clone());
    let mut service = Service::start(vec![public, control], &[]);
    service.expect("READY=1");
    assert_eq!(publishing.status("POST", "/publish/news", b"hello"), 200);
    assert_eq!(receiving.status("POST", "/publish/news", b"hello"), 404);
    assert_eq!(receiving.status("GET", "/poll/news", b""), 200);
    service.stop();
    service.encke.exit_code();
    let path = directory.path("control");
    assert!(path.exists(), "the file is systemd's, also after the end");
}

#[test]
fn client_that_connected_before_the_start_is_served() {
    let socket = Passed::tcp("encke.socket", "127.0.0.1");
    let mut client = socket.address.ask("GET", "/readyz", b"");
    let _service = Service::start(vec![socket], &[]);
    client.finish();
    assert_eq!(client.status, 200);
}

#[test]
fn own_addresses_are_served_beside_passed_sockets() {
    let directory = Directory::new();
    let passed = Passed::unix("encke.socket", &directory, "passed");
    let addresses = [passed.address.clone(), Address::Unix(directory.path("own"))];
    let option = format!("--listen=unix:{}", directory.path("own").display());
    let service = Service::start(vec![passed], &[&option]);
    service.expect("READY=1");
    for address in addresses {
        assert_eq!(address.status("GET", "/readyz", b""), 200);
    }
}

#[test]
fn sockets_passed_to_another_process_are_left_alone() {
    let socket = Passed::tcp("control", "127.0.0.1");
    let address = socket.address.clone();
    let service = Service::start_with(vec![socket], &["--listen=127.0.0.1:0"], false, false);
    service.expect("READY=1");
    let client = address.ask("GET", "/readyz", b"");
    service.expect("WATCHDOG=1");
    service.expect("WATCHDOG=1");
    client.socket.set_nonblocking(true).unwrap();
    let read = (&client.socket).read(&mut [0]);
    assert!(read.is_err(), "a response from a socket of another process");
}

/// The log has one line, which says what to set.
#[test]
fn descriptors_that_cannot_be_served_are_refused() {
    let socket = |domain, kind| Socket::new(domain, kind, None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let bound = socket(Domain::IPV4, Type::STREAM);
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    bound.bind(&any.into()).unwrap();
    // AF_NETLINK.
    let netlink = socket(Domain::from(16), Type::RAW);
    let mut refused = vec![
        (Passed::other(connection), "Accept=no"),
        (Passed::other(client), "Accept=no"),
        (Passed::other(near), "Accept=no"),
        (Passed::other(bound), "does not listen"),
        (
            Passed::other(socket(Domain::IPV4, Type::DGRAM)),
            "ListenStream=",
        ),
        (
            Passed::other(socket(Domain::IPV6, Type::DGRAM)),
            "ListenStream=",
        ),
        (
            Passed::other(socket(Domain::UNIX, Type::DGRAM)),
            "ListenStream=",
        ),
        (
            Passed::other(socket(Domain::UNIX, Type::SEQPACKET)),
            "ListenStream=",
        ),
        (Passed::other(netlink), "netlink"),
        (Passed::other(reader), "not a socket"),
        (
            Passed::other(File::open("/etc/passwd").unwrap()),
            "/etc/passwd",
        ),
    ];
    // The kernel may lack it.
    if let Ok(vsock) = Socket::new(Domain::VSOCK, Type::STREAM, None) {
        refused.push((Passed::other(vsock), "vsock"));
    }
    for (passed, words) in refused {
        // A socket before it that can be served makes no difference.
        let good = Passed::tcp("encke.socket", "127.0.0.1");
        let mut service = Service::start(vec![good, passed], &[]);
        let (code, lines) = service.encke.finish();
        assert_eq!(code, Some(1), "{words}: {lines:?}");
        assert!(
            lines.len() == 1 && lines[0].contains(words),
            "{words}: {lines:?}"
        );
    }
}

#[test]
fn socket_that_another_process_shuts_down_is_reported_once() {
    let socket = Passed::tcp("encke.socket", "127.0.0.1");
    let other = Passed::tcp("other", "127.0.0.1");
    let same = socket.fd.try_clone().unwrap();
    let address = other.address.clone();
    let service = Service::start(vec![socket, other], &[]);
    service.expect("READY=1");
    SockRef::from(&same).shutdown(Shutdown::Both).unwrap();
    let line = service.encke.line();
    assert!(line.contains("cannot be accepted from"), "{line}");
    assert_eq!(address.status("GET", "/readyz", b""), 200);
    service.expect("WATCHDOG=1");
    service.expect("WATCHDOG=1");
    assert_eq!(service.encke.log(), "");
}
