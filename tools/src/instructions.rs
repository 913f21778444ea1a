//! From the counts of callgrind to tables: by function, and by file of the source.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The annotation of a file that callgrind has written, lines of the source included.
pub fn annotate(counts: &Path) -> Result<String, String> {
    let output = Command::new("callgrind_annotate")
        .args(["--auto=yes", "--threshold=99.9"])
        .arg(counts)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("callgrind_annotate cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "callgrind_annotate: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// What an annotation says in all, for so many units of work: a table of functions, what was inlined
/// into them included, and one of the files that the instructions are from.
pub fn tables(annotation: &str, units: u64, most: usize) -> String {
    let mut functions = HashMap::new();
    let mut files = HashMap::new();
    let mut all = 0;
    // Behind the table the same again, line by line.
    let table = annotation
        .lines()
        .take_while(|line| !line.starts_with("-- Auto-annotated source"));
    for (count, rest) in table.filter_map(counted) {
        if rest == "PROGRAM TOTALS" {
            all = count;
        } else if let Some((file, function)) = rest.split_once(':') {
            let function = function
                .rsplit_once(" [")
                .map_or(function, |(name, _)| name);
            *functions.entry(function.to_owned()).or_insert(0) += count;
            *files.entry(short(file)).or_insert(0) += count;
        }
    }
    let each = |count: u64| count as f64 / units.max(1) as f64;
    let mut out = format!("{:.0} instructions in user space for each\n", each(all));
    for table in [functions, files] {
        let mut table: Vec<(String, u64)> = table.into_iter().collect();
        table.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        out.push('\n');
        for (name, count) in table.into_iter().take(most) {
            let share = count as f64 * 100.0 / all.max(1) as f64;
            let _ = writeln!(out, "{:>7.0}  {share:>5.1} %  {name}", each(count));
        }
    }
    out
}

/// A line of the table of functions: `1,234 ( 5.6%)  the rest`.
fn counted(line: &str) -> Option<(u64, &str)> {
    let (count, rest) = line.split_once('(')?;
    let (_, rest) = rest.split_once("%)  ")?;
    let digits: String = count.chars().filter(|c| *c != ',').collect();
    Some((digits.trim().parse().ok()?, rest))
}

/// A file without what stands before the crate's name.
fn short(file: &str) -> String {
    let parts = ["/registry/src/", "/library/"].into_iter();
    let after = parts.filter_map(|part| file.split_once(part)).next();
    match after {
        // The registry's own directory is not part of the crate.
        Some((_, rest)) if file.contains("/registry/") => {
            rest.split_once('/').map_or(rest, |(_, rest)| rest).into()
        }
        Some((_, rest)) => rest.into(),
        None => file.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOTATION: &str = "\
Profile data file 'x'
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
2,000 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir              file:function
--------------------------------------------------------------------------------
  900 (45.00%)  src/hub/readers.rs:encke::hub::Hub>::list [/target/encke]
  600 (30.00%)  /root/.cargo/registry/src/index-1/slab-0.4.12/src/lib.rs:encke::hub::Hub>::list
  300 (15.00%)  /rustc/5980/library/core/src/mem/mod.rs:encke::tick [/target/encke]
--------------------------------------------------------------------------------
-- Auto-annotated source: src/hub/readers.rs
--------------------------------------------------------------------------------
   20 ( 1.00%)      self.head
  800 (40.00%)  => src/hub/ring.rs:encke::hub::Ring::after (10x)
";

    #[test]
    fn functions_hold_what_was_inlined_and_files_tell_whence() {
        let tables = tables(ANNOTATION, 10, 3);
        let lines: Vec<Vec<&str>> = tables
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0][..2], ["200", "instructions"]);
        assert_eq!(lines[2], ["150", "75.0", "%", "encke::hub::Hub>::list"]);
        assert_eq!(lines[3], ["30", "15.0", "%", "encke::tick"]);
        assert_eq!(lines[5], ["90", "45.0", "%", "src/hub/readers.rs"]);
        assert_eq!(lines[6], ["60", "30.0", "%", "slab-0.4.12/src/lib.rs"]);
        assert_eq!(lines[7], ["30", "15.0", "%", "core/src/mem/mod.rs"]);
        assert_eq!(lines.len(), 8);
    }
}
