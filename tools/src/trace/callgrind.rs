//! Instructions by function, counted by callgrind: the server runs under it from its start, and is
//! counted while told to be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::missing;

/// The words before a server's command that put it under callgrind.
pub(super) fn prefix(file: &Path) -> Vec<String> {
    let file = file.to_string_lossy();
    let words = [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--instr-atstart=no",
    ];
    let mut prefix: Vec<String> = words.map(String::from).into();
    prefix.push(format!("--callgrind-out-file={file}"));
    prefix
}

/// A server that is being counted.
pub(super) struct Callgrind {
    process: u32,
    file: PathBuf,
}

impl Callgrind {
    /// Begins to count.
    pub(super) fn start(process: u32, file: &Path) -> Result<Callgrind, String> {
        control(&["-i", "on"], process)?;
        Ok(Callgrind {
            process,
            file: file.into(),
        })
    }

    /// Ends the count and writes it to the file.
    pub(super) fn finish(self) -> Result<(), String> {
        control(&["-d"], self.process)?;
        // It numbers what is written before its end.
        let mut numbered = self.file.clone().into_os_string();
        numbered.push(".1");
        std::fs::rename(&numbered, &self.file)
            .map_err(|error| format!("callgrind has written no {}: {error}", numbered.display()))
    }
}

fn control(arguments: &[&str], process: u32) -> Result<(), String> {
    let output = Command::new("callgrind_control")
        .args(arguments)
        .arg(process.to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing("callgrind_control", "valgrind", &error))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "callgrind_control: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
