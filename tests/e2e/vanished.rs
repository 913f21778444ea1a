//! Clients that vanish without a FIN: their host loses power, or its network.
//!
//! Needs network namespaces of its own, one for the server and one for the clients, and is skipped
//! where the system does not allow them.

use std::os::unix::net::UnixStream;
use std::path::Path;

use encke_test_rig::http;
use encke_test_rig::namespaces::Script;

use crate::eventually;
use crate::server::metric;

/// Runs encke in one namespace, and clients, one for each target, in another. Says `ready` when the
/// clients' requests are sent; cuts their link when a line is read, and then waits to be killed.
const SCRIPT: &str = r#"
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

fn metrics(control: &Path) -> String {
    let mut stream = UnixStream::connect(control).unwrap();
    let request = http::request("GET", "/metrics", "Connection: close\r\n", "");
    http::ask_on(&mut stream, &request).unwrap().1
}

#[test]
fn clients_that_vanish_are_gone_within_heartbeat_and_write_timeout() {
    let Some(mut script) = Script::start(SCRIPT, env!("CARGO_BIN_EXE_encke")) else {
        return;
    };
    let control = script.directory().path("control");
    let counts = || {
        let metrics = metrics(&control);
        let parked = metric(&metrics, "encke_connections_parked");
        // One is the connection that asks.
        (parked, metric(&metrics, "encke_connections") - 1)
    };
    eventually("the streams are parked", || counts().0 >= 3);
    eventually("all clients are connected", || counts().1 == 4);
    script.tell("cut");
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
}
