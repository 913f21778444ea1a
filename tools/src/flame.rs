//! From the samples of `perf record` to a flame graph and a table of shares.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};

use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};
use inferno::flamegraph::color::MultiPalette;
use inferno::flamegraph::{self, Palette};

/// The suffix that inferno gives the names of the kernel's functions.
const KERNEL: &str = "_[k]";

/// Stacks, and how long each was seen.
pub struct Stacks(String);

impl Stacks {
    /// Those of a file that `perf record` has written.
    pub fn read(file: &Path) -> Result<Stacks, String> {
        let output = Command::new("perf")
            // Where functions were inlined, perf would ask another program for each sample.
            .args(["script", "--no-inline", "-i"])
            .arg(file)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("perf cannot be run: {error}"))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(format!("perf script: {complaint}"));
        }
        Stacks::fold(&output.stdout)
    }

    /// Those of the output of `perf script`.
    fn fold(script: &[u8]) -> Result<Stacks, String> {
        let mut options = Options::default();
        options.annotate_kernel = true;
        let mut folded = Vec::new();
        Folder::from(options)
            .collapse(script, &mut folded)
            .map_err(|error| error.to_string())?;
        let folded = String::from_utf8_lossy(&folded).into_owned();
        match folded.is_empty() {
            true => Err("perf has taken no sample".into()),
            false => Ok(Stacks(folded)),
        }
    }

    /// The flame graph, in SVG.
    pub fn graph(&self, title: &str) -> Result<Vec<u8>, String> {
        let mut options = flamegraph::Options::default();
        options.title = title.into();
        options.deterministic = true;
        // A sample weighs what had passed since the one before.
        options.count_name = "ns or cycles".into();
        options.colors = Palette::Multi(MultiPalette::Rust);
        // A frame too narrow to be seen is left out.
        options.min_width = 0.2;
        let mut svg = Vec::new();
        flamegraph::from_reader(&mut options, Cursor::new(&self.0), &mut svg)
            .map_err(|error| error.to_string())?;
        Ok(svg)
    }

    /// The functions in which most of the time went, their callees apart, and the kernel's part.
    pub fn shares(&self, most: usize) -> String {
        let mut functions: HashMap<&str, u64> = HashMap::new();
        let mut all = 0;
        let mut kernel = 0;
        for (stack, count) in self.0.lines().filter_map(|line| line.rsplit_once(' ')) {
            let count: u64 = count.parse().unwrap_or(0);
            let function = stack.rsplit_once(';').map_or(stack, |(_, last)| last);
            *functions.entry(function).or_default() += count;
            all += count;
            kernel += if function.ends_with(KERNEL) { count } else { 0 };
        }
        let share = |count: u64| count as f64 * 100.0 / all.max(1) as f64;
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|(name, count)| (u64::MAX - count, *name));
        let mut out = format!("{:>6.1} %  in the kernel; by function:\n", share(kernel));
        for (name, count) in functions.iter().take(most) {
            let _ = writeln!(out, "{:>6.1} %  {name}", share(*count));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &[u8] = b"\
encke 10 1.0: 250000 cpu-clock:pppH:
\tffffffff81000001 tcp_write+0x1 ([kernel.kallsyms])
\tffffffff81000002 do_syscall_64+0x2 ([kernel.kallsyms])
\t55550001 encke::engine::deliver+0x1 (/usr/bin/encke)

encke 10 1.1: 250000 cpu-clock:pppH:
\tffffffff81000001 tcp_write+0x1 ([kernel.kallsyms])
\tffffffff81000002 do_syscall_64+0x2 ([kernel.kallsyms])
\t55550001 encke::engine::deliver+0x1 (/usr/bin/encke)

encke 10 1.2: 250000 cpu-clock:pppH:
\t55550002 encke::hub::next+0x1 (/usr/bin/encke)
\t55550001 encke::engine::deliver+0x1 (/usr/bin/encke)

";

    #[test]
    fn shares_are_those_of_the_innermost_functions() {
        let stacks = Stacks::fold(SCRIPT).unwrap();
        let shares = stacks.shares(10);
        let lines: Vec<&str> = shares.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "66.7 %  in the kernel; by function:",
                "66.7 %  tcp_write_[k]",
                "33.3 %  encke::hub::next",
            ]
        );
        assert_eq!(stacks.shares(1).lines().count(), 2);
    }

    #[test]
    fn the_graph_has_the_functions() {
        let stacks = Stacks::fold(SCRIPT).unwrap();
        let svg = String::from_utf8(stacks.graph("stream").unwrap()).unwrap();
        assert!(
            svg.contains("encke::engine::deliver (750,000 ns or cycles, 100.00%)"),
            "{svg}"
        );
    }

    #[test]
    fn no_sample_is_a_fault() {
        assert!(Stacks::fold(b"").is_err());
    }
}
