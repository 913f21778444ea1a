//! Writes the manual page and the shell completions of encke into a folder.
//!
//! Owns nothing but their form: what they say is in `src/cli/arguments.rs`, which is included here,
//! so that the server needs neither the code that writes them nor a command to call it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

#[path = "../../../src/cli/arguments.rs"]
mod arguments;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let [folder] = &*args else {
        eprintln!("usage: encke-manual FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("encke-manual: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = arguments::command();
    command.build();
    let manual = |command: &Command, name: &str| {
        let mut file = File::create(folder.join(format!("{name}.1")))?;
        let manual = Man::new(command.clone()).title(name.to_uppercase());
        manual.manual("encke").render(&mut file)
    };
    manual(&command, "encke")?;
    for word in command.get_subcommands() {
        manual(word, &format!("encke-{}", word.get_name()))?;
    }
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, "encke", folder)?;
    }
    Ok(())
}
