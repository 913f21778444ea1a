//! What the tools start themselves as.

use std::net::SocketAddrV4;

use clap::Subcommand;

use crate::{adversary, grip, promise, server, worker};

/// A process of its own that a tool starts.
#[derive(Subcommand)]
pub enum Part {
    /// Subscribers, led through standard input.
    #[command(hide = true)]
    Worker,
    /// Clients that keep a log, led through standard input.
    #[command(hide = true)]
    Clients,
    /// The application behind Pushpin.
    #[command(hide = true)]
    Grip {
        /// Where it serves.
        #[arg(long)]
        listen: SocketAddrV4,
    },
    /// Hostile clients, led through standard input.
    #[command(hide = true)]
    Raid,
    /// Becomes the server.
    #[command(hide = true)]
    Launch(server::Launch),
}

impl Part {
    /// Plays the part until it is over.
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
