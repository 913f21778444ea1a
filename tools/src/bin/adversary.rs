//! Hostile clients against encke: see `tools/adversary.md`.

use std::process::ExitCode;

use clap::Args;
use encke_tools::adversary::{ALL, Attack, Finding, Size, trial};
use encke_tools::command;

const ABOUT: &str = "Attacks encke while a neighbour must be served as before. Only on loopback.";

#[derive(Args)]
struct Options {
    /// Attacks, or parts of their names; none: all
    attacks: Vec<String>,
    /// Connections of an attack that is about their number
    #[arg(long, short = 'n', default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    connections: u32,
    /// Seconds of each attack; the timeouts of encke are a quarter of it
    #[arg(long, default_value_t = 12.0)]
    seconds: f64,
    /// CPU for encke
    #[arg(long, value_name = "CPU")]
    pin_server: Option<usize>,
    /// CPU for all other processes
    #[arg(long, value_name = "CPU")]
    pin_driver: Option<usize>,
    /// Longest wait for anything, in seconds
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// Print a line of JSON for each instead of a table
    #[arg(long)]
    json: bool,
    /// List the attacks
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    command::run("adversary", ABOUT, |options| run(options).map(|()| true))
}

fn run(options: &Options) -> Result<(), String> {
    let attacks = chosen(&options.attacks)?;
    if options.list {
        for attack in attacks {
            println!("{:<20} {}", attack.name, attack.about);
        }
        return Ok(());
    }
    let how = trial::Options {
        size: Size {
            connections: options.connections,
            seconds: options.seconds,
        },
        pin_server: options.pin_server,
        pin_driver: options.pin_driver,
        patience: options.patience,
    };
    if !options.json {
        print!("{}", Finding::heading());
    }
    let mut bad = Vec::new();
    for attack in attacks {
        let finding =
            trial::run(attack, &how).map_err(|error| format!("{}: {error}", attack.name))?;
        match options.json {
            true => println!(
                "{}",
                serde_json::to_string(&finding).map_err(|error| error.to_string())?
            ),
            false => print!("{}", finding.line()),
        }
        if !finding.faults.is_empty() {
            bad.push(format!("{}: {}", attack.name, finding.faults.join("; ")));
        }
    }
    match bad.is_empty() {
        true => Ok(()),
        false => Err(bad.join("\n")),
    }
}

/// The attacks with one of these words in their names.
fn chosen(words: &[String]) -> Result<Vec<&'static Attack>, String> {
    for word in words {
        if !ALL.iter().any(|attack| attack.name.contains(word.as_str())) {
            return Err(format!(
                "there is no attack {word}; --list says which there are"
            ));
        }
    }
    let attacks = ALL.iter().copied().filter(|attack| {
        words.is_empty() || words.iter().any(|word| attack.name.contains(word.as_str()))
    });
    Ok(attacks.collect())
}
