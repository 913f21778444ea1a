//! Clients that vanish without a FIN: their host loses power, or its network.
//!
//! Needs network namespaces of its own, one for the server and one for the clients, and is skipped
//! where the system does not allow them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::eventually;
use crate::namespaces::unshare;
use crate::server::metric;

/// Runs encke in one namespace, and clients, one for each target, in another. Says `ready` when the
/// clients' requests are sent; cuts their link when a line is read, and then waits to be killed.
const SCRIPT: &str = r#"
unshare --net sleep 1000 &
far=$!
trap 'kill $(jobs -p)' EXIT
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do kill -0 $far; done
at_far() { nsenter --target $far --net "$@"; }
ip link add name near type veth peer name far
ip link set far netns $far
ip addr add 10.0.0.1/30 dev near
ip link set near up
at_far ip addr add 10.0.0.2/30 dev far
at_far ip link set far up
"$ENCKE" --listen 10.0.0.1:80 --control "unix:$DIRECTORY/control" \
    --heartbeat 0.2 --write-timeout 1 --hold 1 2>"$DIRECTORY/log" &
until [ -S "$DIRECTORY/control" ]; do kill -0 $!; done
for target in /sse/a /ndjson/a /frame/a /long-poll/a; do
    at_far bash -c 'exec 3<>/dev/tcp/10.0.0.1/80
        printf "GET %s HTTP/1.1\r\nHost: x\r\n\r\n" $0 >&3
        exec sleep 1000' $target &
done
echo ready
read -r
at_far ip link set far down
wait
"#;

/// The script, and all that it started, in namespaces that end with it.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn metrics(control: &Path) -> String {
    let mut stream = UnixStream::connect(control).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn clients_that_vanish_are_gone_within_heartbeat_and_write_timeout() {
    let Some(mut command) = unshare() else {
        eprintln!("skipped: no network namespaces here (unshare, ip link add type veth)");
        return;
    };
    let directory = std::env::temp_dir().join(format!("encke-vanished-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut run = Run(command
        .arg(SCRIPT)
        .env("ENCKE", env!("CARGO_BIN_EXE_encke"))
        .env("DIRECTORY", &directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap());
    let mut line = String::new();
    let mut stdout = BufReader::new(run.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let control = directory.join("control");
    let counts = || {
        let metrics = metrics(&control);
        let parked = metric(&metrics, "encke_connections_parked");
        // One is the connection that asks.
        (parked, metric(&metrics, "encke_connections") - 1)
    };
    eventually("the streams are parked", || counts().0 >= 3);
    eventually("all clients are connected", || counts().1 == 4);
    run.0.stdin.take().unwrap().write_all(b"cut\n").unwrap();
    // Without TCP_USER_TIMEOUT they would be counted for a quarter of an hour.
    eventually("all clients are gone", || counts() == (0, 0));
    let reasons = |cause| {
        let name = format!("encke_connections_ended_total{{cause=\"{cause}\"}}");
        let metrics = metrics(&control);
        let line = metrics.lines().find_map(|line| line.strip_prefix(&*name));
        line.map_or(0, |count| count.trim().parse().expect("a number"))
    };
    // They took nothing for the write timeout; the poll may have been closed as idle after its
    // response.
    let closed: [u64; 2] = ["stalled", "broken"].map(reasons);
    assert!(closed[0] >= 3 && closed[1] == 0, "{closed:?}");
    drop(run);
    std::fs::remove_dir_all(&directory).unwrap();
}
