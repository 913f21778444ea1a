//! The parts in which the tools start themselves.

use std::net::SocketAddrV4;

use clap::Subcommand;

use crate::{adversary, grip, promise, server, worker};

/// A process of its own that a tool starts.
#[derive(Subcommand)]
pub enum Part {
    /// Subscribers, with commands on standard input.
    #[command(hide = true)]
    Worker,
    /// Clients that keep a log, with commands on standard input.
    #[command(hide = true)]
    Clients,
    /// The application behind Pushpin.
    #[command(hide = true)]
    Grip {
        /// The address to listen on.
        #[arg(long)]
        listen: SocketAddrV4,
    },
    /// Hostile clients, with commands on standard input.
    #[command(hide = true)]
    Raid,
    /// Becomes the server.
    #[command(hide = true)]
    Launch(server::Launch),
}

impl Part {
    /// Runs the part until it is over.
    pub fn play(self) -> Result<(), String> {
        match self {
            Part::Worker => worker::run(),
            Part::Clients => promise::serve(),
            Part::Grip { listen } => grip::serve(listen).map_err(|error| error.to_string()),
            Part::Raid => adversary::raid::run(),
            Part::Launch(launch) => Err(launch.run().to_string()),
        }
    }
}
