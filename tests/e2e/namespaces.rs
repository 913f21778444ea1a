//! Network namespaces for a test.

use std::process::Command;

/// `unshare` with namespaces in which `ip` may be used: by root at once, by others as root of a
/// user namespace. Its argument is a script for bash. The process namespace ends its processes with
/// the first of them. `None` where the system does not allow them.
pub(crate) fn unshare() -> Option<Command> {
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    ways.into_iter().find_map(|way| {
        let command = || {
            let mut command = Command::new("unshare");
            command.args(way);
            command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            command.args(["bash", "-euc"]);
            command
        };
        let probe =
            "ip link set lo up && ip link add name a type veth peer name b && nsenter --version";
        let probed = command().arg(probe).output();
        probed
            .is_ok_and(|probed| probed.status.success())
            .then(command)
    })
}
