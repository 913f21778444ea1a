//! What a service manager is told of an upgrade, and its sockets.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use super::{Kept, Server};
use encke_test_rig::{Directory, PATIENCE};

use crate::http::Address;

/// Makes standard input the passed socket, as systemd does, and names this process.
const START: &str = r#"
export LISTEN_PID=$$ WATCHDOG_PID=$$
exec "$0" "$@" 3<&0 0</dev/null"#;

/// A server with a control socket of a service manager, and what that hears.
struct Managed {
    server: Server,
    control: Address,
    notifications: UnixDatagram,
}

impl Managed {
    fn start(options: &[&str]) -> Managed {
        let directory = Directory::new();
        let path = directory.path("notify");
        let notifications = UnixDatagram::bind(&path).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        let control = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(control.local_addr().unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", START]).arg(directory.path("encke"));
        let server = Server::start_by(shell, directory, options, |command| {
            command
                .env("NOTIFY_SOCKET", &path)
                .env("WATCHDOG_USEC", "200000")
                .env("LISTEN_FDS", "1")
                .env("LISTEN_FDNAMES", "control")
                .stdin(Stdio::from(std::os::fd::OwnedFd::from(control)));
        });
        Managed {
            server,
            control: address,
            notifications,
        }
    }

    /// What is said next, but that the process lives.
    fn hear(&self) -> String {
        loop {
            let mut buffer = [0; 4_096];
            let length = self.notifications.recv(&mut buffer).unwrap();
            let said = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
            if said != "WATCHDOG=1" {
                return said;
            }
        }
    }

    fn hear_watchdog(&self) {
        let mut buffer = [0; 4_096];
        let length = self.notifications.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"WATCHDOG=1\n");
    }
}

#[test]
fn manager_hears_of_the_new_main_process_and_then_from_it() {
    let mut managed = Managed::start(&[]);
    assert_eq!(managed.hear(), "READY=1");
    let mut kept = Kept::open(&managed.control);
    for _ in 0..3 {
        managed.server.upgrade();
        let since = managed.hear();
        let since = since.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(since.parse::<u64>().unwrap() > 0);
        let pid = managed.server.pid.as_raw_nonzero();
        assert_eq!(managed.hear(), format!("MAINPID={pid}"));
        // What it has said of the watchdog before, the manager has not heard.
        assert_eq!(managed.hear(), "READY=1\nWATCHDOG=1");
        // The new one lives.
        managed.hear_watchdog();
        managed.hear_watchdog();
        kept.ask();
        // It knows which of its sockets is that of the control surface.
        let publish = |address: &Address| address.status("POST", "/publish/news", b"x");
        assert_eq!(publish(&managed.control), 200);
        assert_eq!(publish(&managed.server.address), 404);
    }
}

#[test]
fn manager_hears_that_the_old_process_is_ready_again() {
    let managed = Managed::start(&["--upgrade-timeout=1s"]);
    assert_eq!(managed.hear(), "READY=1");
    for steps in ["", "hello ready state descriptors hang"] {
        managed.server.install_fake(steps);
        let control = &managed.control;
        managed.server.fail();
        assert!(managed.hear().starts_with("RELOADING=1\n"));
        assert_eq!(managed.hear(), "READY=1");
        managed.hear_watchdog();
        assert_eq!(control.status("GET", "/healthz", b""), 200);
    }
}

/// The script of the package, with a service manager that knows the main process alone.
struct Update {
    directory: Directory,
}

impl Update {
    /// `pids` is what the manager says, line by line, the last one for ever: the main process, the
    /// state of the service (active), and since when it is in that (1).
    fn new(pids: &str) -> Update {
        let directory = Directory::new();
        std::fs::write(directory.path("pids"), pids).unwrap();
        let systemctl = format!(
            "#!/bin/sh\ncd '{}'\ncase $1 in show) ;; *) exit 0 ;; esac\n\
             read -r pid state since < pids\n\
             echo \"MainPID=$pid\"\n\
             echo \"ActiveState=${{state:-active}}\"\n\
             echo \"StateChangeTimestampMonotonic=${{since:-1}}\"\n\
             if [ \"$(wc -l < pids)\" -gt 1 ]; then sed -i 1d pids; fi\n",
            directory.root().display()
        );
        let path = directory.path("systemctl");
        std::fs::write(&path, systemctl).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
        Update { directory }
    }

    /// Runs it, and returns what it says.
    fn run(&self, arguments: &[&str]) -> String {
        let path = format!("{}:/usr/bin:/bin", self.directory.root().display());
        let output = Command::new("sh")
            .arg(crate::file("tools/package/postinst"))
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("ENCKE_SYSTEMD", self.directory.root())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn update_of_the_package_upgrades_running_services() {
    let mut server = Server::start(&[]);
    let mut kept = Kept::open(&server.address);
    let pid = server.pid.as_raw_nonzero();
    // The manager hears of the new process after a while.
    let update = Update::new(&format!("{pid}\n{pid}\n{pid}\n1\n"));
    // Neither the first installation nor another step of one does anything.
    assert_eq!(update.run(&["configure", ""]), "");
    assert_eq!(update.run(&["abort-upgrade", "0.1.0"]), "");
    assert_eq!(update.run(&["configure", "0.1.0"]), "");
    server.become_other();
    kept.ask();
}

#[test]
fn update_of_the_package_does_not_start_stopped_services() {
    assert_eq!(Update::new("0\n").run(&["configure", "0.1.0"]), "");
    // The process has ended in the meantime.
    let said = Update::new("999999999\n0 inactive 2\n").run(&["configure", "0.1.0"]);
    assert!(!said.contains("still the old one"), "{said}");
}

/// It does not wait for what comes later.
#[test]
fn update_of_the_package_says_at_once_that_an_upgrade_has_failed() {
    let mut process = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = process.id();
    let update = Update::new(&format!(
        "{pid}\n{pid}\n{pid} reloading 2\n{pid} active 3\n1\n"
    ));
    let said = update.run(&["configure", "0.1.0"]);
    assert!(said.contains("still the old one"), "{said}");
    process.wait().unwrap();
}

/// Nor does it wait for what a node of a cluster refuses: that its process changes in the end is
/// not seen.
#[test]
fn update_of_the_package_does_not_wait_if_no_upgrade_begins() {
    let mut process = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = process.id();
    let update = Update::new(&format!("{}1\n", format!("{pid}\n").repeat(30)));
    let said = update.run(&["configure", "0.1.0"]);
    assert!(said.contains("systemctl restart encke\n"), "{said}");
    process.wait().unwrap();
}

#[test]
fn package_neither_stops_nor_restarts_the_service() {
    let manifest = std::fs::read_to_string(crate::file("Cargo.toml")).unwrap();
    let line = manifest
        .lines()
        .find(|line| line.starts_with("systemd-units"));
    for option in ["restart-after-upgrade = false", "stop-on-upgrade = false"] {
        assert!(line.unwrap().contains(option));
    }
    let script = std::fs::read_to_string(crate::file("tools/package/postinst")).unwrap();
    assert!(script.ends_with("\n#DEBHELPER#\n"));
}
