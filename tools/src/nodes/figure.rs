//! A figure of several nodes, beside what it is compared with, and the mark that it is to reach.

use serde::{Deserialize, Serialize};

use crate::comparison::median;

/// What is compared with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compared {
    /// The value, as a multiple of the one beside it.
    Ratio,
    /// How much greater the value is than the one beside it.
    More,
    /// The value by itself.
    Itself,
}

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// This or more is good.
    AtLeast(f64),
    /// This or less is good.
    AtMost(f64),
}

/// One thing that was measured in several rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub figure: String,
    /// The unit of the values.
    pub unit: String,
    /// What the values beside are of: a node that is alone, unless it says otherwise.
    pub beside_of: String,
    /// The values beside, by round; none if there is nothing to compare with.
    pub beside: Vec<f64>,
    /// The values of several nodes, by round.
    pub nodes: Vec<f64>,
    /// What of them is to reach the mark.
    pub compared: Compared,
    /// The mark; `None`: it is only shown.
    pub mark: Option<Bound>,
    /// What one should know to read it.
    pub note: String,
}

impl Figure {
    /// A figure without values, to be compared with a node that is alone.
    pub fn new(figure: &str, unit: &str, compared: Compared) -> Figure {
        Figure {
            figure: figure.into(),
            unit: unit.into(),
            beside_of: "alone".into(),
            beside: Vec::new(),
            nodes: Vec::new(),
            compared,
            mark: None,
            note: String::new(),
        }
    }

    /// With a mark.
    pub fn with_mark(mut self, mark: Bound) -> Figure {
        self.mark = Some(mark);
        self
    }

    /// With what one should know.
    pub fn with_note(mut self, note: impl Into<String>) -> Figure {
        self.note = note.into();
        self
    }

    /// The median of the values beside.
    pub fn beside(&self) -> Option<f64> {
        median(self.beside.clone())
    }

    /// The median of the values of several nodes.
    pub fn nodes(&self) -> Option<f64> {
        median(self.nodes.clone())
    }

    /// What is compared with the mark. What disturbs a round disturbs both of it, so that a
    /// comparison is the median of those of the rounds.
    pub fn result(&self) -> Option<f64> {
        let pairs = self.nodes.iter().zip(&self.beside);
        match self.compared {
            Compared::Ratio => median(pairs.map(|(nodes, beside)| nodes / beside).collect()),
            Compared::More => median(pairs.map(|(nodes, beside)| nodes - beside).collect()),
            Compared::Itself => self.nodes(),
        }
    }

    /// Whether the mark is reached; `None` without one, or without values.
    pub fn is_reached(&self) -> Option<bool> {
        let result = self.result()?;
        match self.mark? {
            Bound::AtLeast(least) => Some(result >= least),
            Bound::AtMost(most) => Some(result <= most),
        }
    }

    /// The result in words.
    pub fn result_text(&self) -> String {
        match (self.result(), self.compared) {
            (None, _) => "-".into(),
            (Some(ratio), Compared::Ratio) => format!("x {ratio:.3}"),
            (Some(more), Compared::More) => format!("{more:+.3}"),
            (Some(_), Compared::Itself) => "".into(),
        }
    }

    /// The mark in words.
    pub fn mark_text(&self) -> String {
        match self.mark {
            Some(Bound::AtLeast(least)) => format!("≥ {least}"),
            Some(Bound::AtMost(most)) => format!("≤ {most}"),
            None => String::new(),
        }
    }

    /// The range of the values of several nodes in words.
    pub fn range_text(&self) -> String {
        let least = self.nodes.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.nodes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} to {}", show(least), show(most))
    }

    /// One line of a table.
    pub fn line(&self) -> String {
        let name = format!("{}, {}", self.figure, self.unit);
        let value = |value: Option<f64>| value.map_or_else(|| "-".into(), show);
        let verdict = match self.is_reached() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        let beside_of = match &*self.beside_of {
            "alone" => String::new(),
            other => format!("  beside: {other}"),
        };
        let line = format!(
            "{name:58} {:>9} {:>9} {:>9} {:>7} {verdict:6} ({}){beside_of}  {}",
            value(self.beside()),
            value(self.nodes()),
            self.result_text(),
            self.mark_text(),
            self.range_text(),
            self.note,
        );
        line.trim_end().into()
    }
}

/// The heading of the lines.
pub fn heading() -> String {
    format!(
        "{:58} {:>9} {:>9} {:>9} {:>7}",
        "", "alone", "nodes", "", "mark"
    )
}

/// A number with as many digits as mean something.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_the_median_of_the_rounds() {
        let mut figure = Figure::new("a", "s", Compared::Ratio);
        assert_eq!(figure.result(), None);
        figure.beside = vec![1.0, 2.0, 4.0];
        figure.nodes = vec![3.0, 1.0, 4.0];
        assert_eq!(figure.result(), Some(1.0));
        figure.compared = Compared::More;
        assert_eq!(figure.result(), Some(0.0));
        figure.compared = Compared::Itself;
        assert_eq!(figure.result(), Some(3.0));
    }

    #[test]
    fn mark_is_a_bound_of_the_result() {
        let figure = |mark| Figure {
            nodes: vec![2.0],
            ..Figure::new("a", "s", Compared::Itself).with_mark(mark)
        };
        assert_eq!(figure(Bound::AtLeast(2.0)).is_reached(), Some(true));
        assert_eq!(figure(Bound::AtLeast(2.1)).is_reached(), Some(false));
        assert_eq!(figure(Bound::AtMost(2.0)).is_reached(), Some(true));
        assert_eq!(figure(Bound::AtMost(1.9)).is_reached(), Some(false));
        assert_eq!(Figure::new("a", "s", Compared::Itself).is_reached(), None);
    }
}
