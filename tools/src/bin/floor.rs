//! A server that does the least any epoll server could; see the library's module of that name.

use std::net::SocketAddrV4;
use std::process::ExitCode;

use clap::Parser;
use encke_tools::command;

/// The least that any epoll server could do: the yardstick for encke. Only for loopback.
#[derive(Parser)]
struct Options {
    /// The address to listen on.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7712")]
    listen: SocketAddrV4,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.listen.ip().is_loopback() {
        eprintln!("floor: only a loopback address is allowed");
        return ExitCode::from(2);
    }
    encke_tools::net::raise_file_limit();
    command::end(
        "floor",
        encke_tools::floor::serve(options.listen).map(|()| true),
    )
}
