//! A comparison as text.

use std::fmt::Write;

use super::{Cell, Comparison, Results};

/// The heading of the rows.
pub fn heading(servers: &[String]) -> String {
    let mut line = format!("{:32}", "");
    for (place, name) in servers.iter().enumerate() {
        let _ = match place {
            0 => write!(line, " {name:>12}"),
            _ => write!(line, "   {name:>12}  ratio (from to; of the least)"),
        };
    }
    line + "  mark"
}

/// One row.
pub fn row(row: &Results, servers: &[String]) -> String {
    let mut line = format!("{:32}", row.name);
    for (place, name) in servers.iter().enumerate() {
        let value = row.median(place).map(|value| row.measure.show(value));
        let value = value.unwrap_or_else(|| "-".into());
        let _ = match (place, row.ratio(place)) {
            (0, _) => write!(line, " {value:>12}"),
            (_, None) => write!(line, "   {value:>12}  {:29}", ""),
            (_, Some(ratio)) => {
                let range = format!(
                    "{:.2} ({:.2} {:.2}; {:.2})",
                    ratio.median, ratio.least, ratio.most, ratio.of_the_least
                );
                let verdict = match (name.as_str(), row.is_reached(place)) {
                    ("encke", Some(true)) => "ok",
                    ("encke", Some(false)) => "MISSED",
                    _ => "",
                };
                write!(line, "   {value:>12}  {range:22} {verdict:6}")
            }
        };
    }
    if let Some(mark) = row.mark {
        let _ = write!(line, "  ≤ {mark} {}", row.measure.mark_unit());
    }
    line.trim_end().into()
}

/// Why there are dashes: each reason once, with the rows that it is about.
pub fn reasons(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (server, reason, rows) in comparison.reasons() {
        let _ = writeln!(text, "- {server}, {}: {reason}", rows.join("; "));
    }
    text
}

impl Comparison {
    /// Why runs were left out: the server, the reason, and the rows.
    pub fn reasons(&self) -> Vec<(&str, &str, Vec<&str>)> {
        let mut reasons: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        for row in &self.rows {
            for (server, cell) in self.servers.iter().zip(&row.cells) {
                let Cell {
                    reason: Some(reason),
                    ..
                } = cell
                else {
                    continue;
                };
                let known = reasons
                    .iter_mut()
                    .find(|known| known.0 == server && known.1 == reason);
                match known {
                    Some(known) => known.2.push(&row.name),
                    None => reasons.push((server, reason, vec![&row.name])),
                }
            }
        }
        reasons
    }
}
