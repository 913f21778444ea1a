//! Runs of the same loads on several servers, put side by side.
//!
//! A comparison is a sequence of [`Line`]s, in memory and in a file: a table and a page can be made
//! of it at any time, without measuring. Owns no process and measures nothing. The first server is
//! the yardstick.

mod rows;
mod table;

pub use rows::{Measure, ROWS, Row};
pub use table::{heading, reasons, row as table_row};

use serde::{Deserialize, Serialize};

use crate::conductor::Mode;
use crate::nodes::Figure;
use crate::report::Report;

/// One thing known.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Its beginning: the command line, and the servers in order.
    Begun {
        /// The command line.
        command: String,
        /// The servers' names, the yardstick's first.
        servers: Vec<String>,
    },
    /// A run.
    Run {
        /// The row it belongs to.
        row: String,
        /// Its report.
        report: Box<Report>,
    },
    /// A run that there is not.
    Left {
        /// The row it would belong to.
        row: String,
        /// The server's name.
        server: String,
        /// Why.
        reason: String,
    },
    /// A run by itself, as swarm prints it.
    Alone(Box<Report>),
    /// A figure of several nodes.
    Figure(Box<Figure>),
}

/// The runs of one server in one row.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// Its runs.
    pub runs: Vec<Report>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// One load, on each server.
#[derive(Clone, Debug)]
pub struct Results {
    /// Its name.
    pub name: String,
    /// The figure it compares.
    pub measure: Measure,
    /// At most this is good, if it is known what is.
    pub mark: Option<f64>,
    /// By server.
    pub cells: Vec<Cell>,
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The command lines.
    pub commands: Vec<String>,
    /// The servers' names.
    pub servers: Vec<String>,
    /// Rows, in the order in which they began.
    pub rows: Vec<Results>,
    /// Figures of several nodes.
    pub figures: Vec<Figure>,
}

impl Comparison {
    /// Reads what was kept.
    pub fn read(text: &str) -> Result<Comparison, String> {
        let mut comparison = Comparison::default();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let line = serde_json::from_str(line);
            comparison.take(line.map_err(|error| format!("line {}: {error}", number + 1))?);
        }
        Ok(comparison)
    }

    /// Takes one thing more into account.
    pub fn take(&mut self, line: Line) {
        match line {
            Line::Begun { command, servers } => {
                self.commands.push(command);
                for server in &servers {
                    self.place(server);
                }
            }
            Line::Run { row, report } => self.add(&row, *report),
            Line::Alone(report) => {
                if !self.commands.contains(&report.command) {
                    self.commands.push(report.command.clone());
                }
                self.add(&report.title(), *report);
            }
            Line::Figure(figure) => self.figures.push(*figure),
            Line::Left {
                row,
                server,
                reason,
            } => {
                let measure = Row::called(&row).map_or(Measure::Cpu, |row| row.measure);
                self.cell(&row, measure, &server).reason = Some(reason);
            }
        }
    }

    fn add(&mut self, row: &str, report: Report) {
        let measure = Row::called(row).map_or_else(|| Measure::of(&report), |row| row.measure);
        let server = report.server.clone();
        self.cell(row, measure, &server).runs.push(report);
    }

    fn cell(&mut self, row: &str, measure: Measure, server: &str) -> &mut Cell {
        let place = self.place(server);
        let found = self.rows.iter().position(|known| known.name == row);
        let at = found.unwrap_or_else(|| {
            self.rows.push(Results {
                name: row.into(),
                measure,
                mark: Row::called(row).and_then(|row| row.mark),
                cells: Vec::new(),
            });
            self.rows.len() - 1
        });
        let cells = &mut self.rows[at].cells;
        if cells.len() <= place {
            cells.resize_with(place + 1, Cell::default);
        }
        &mut cells[place]
    }

    fn place(&mut self, server: &str) -> usize {
        let found = self.servers.iter().position(|known| known == server);
        found.unwrap_or_else(|| {
            self.servers.push(server.into());
            self.servers.len() - 1
        })
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &Report> {
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        cells.flat_map(|cell| &cell.runs)
    }

    /// A server's version, as its runs say.
    pub fn version(&self, server: &str) -> &str {
        let mut runs = self.runs().filter(|run| run.server == server);
        runs.next().map_or("", |run| &run.version)
    }
}

impl Results {
    /// The figure, run by run.
    pub fn values(&self, place: usize) -> Vec<f64> {
        let runs = self.cells.get(place).map_or(&[][..], |cell| &cell.runs);
        runs.iter().map(|run| self.measure.value(run)).collect()
    }

    /// The middle one of a server's values, if it has any.
    pub fn median(&self, place: usize) -> Option<f64> {
        median(self.values(place))
    }

    /// A server beside the yardstick.
    pub fn ratio(&self, place: usize) -> Option<Ratio> {
        let (values, yardstick) = (self.values(place), self.values(0));
        let ratios: Vec<f64> = values.iter().zip(&yardstick).map(|(a, b)| a / b).collect();
        Some(Ratio {
            least: lowest(&ratios),
            most: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            of_the_least: lowest(&values) / lowest(&yardstick),
            median: median(ratios)?,
        })
    }

    /// Whether a server reaches the mark; `None` without a mark or a value.
    pub fn is_reached(&self, place: usize) -> Option<bool> {
        let value = match self.measure {
            Measure::Cpu => self.ratio(place)?.median,
            _ => self.median(place)?,
        };
        Some(value <= self.mark?)
    }
}

/// Values of a server as multiples of the yardstick's.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The middle one, run by run.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
    /// Of the cheapest run to the cheapest: what else a machine does only ever adds to a run.
    pub of_the_least: f64,
}

/// The middle value; of an even number, the mean of both in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => Some(values[middle]),
        _ if values.is_empty() => None,
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn lowest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

impl Measure {
    /// The figure of a run that belongs to no row.
    fn of(report: &Report) -> Measure {
        match report.mode {
            _ if !report.syscalls.is_empty() => Measure::Syscalls,
            Mode::Park => Measure::Rss,
            Mode::Idle => Measure::Idle,
            Mode::Lone => Measure::Lone,
            Mode::FanOut if report.rate > 0.0 => Measure::Delay,
            _ => Measure::Cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Bound, Compared};

    #[test]
    fn figure_of_several_nodes_is_read_as_it_was_kept() {
        let figure = Figure {
            beside: vec![1.0, 2.0],
            nodes: vec![1.5, 2.5],
            ..Figure::new("publishes", "1/s", Compared::Ratio).with_mark(Bound::AtLeast(0.8))
        };
        let kept = serde_json::to_string(&Line::Figure(Box::new(figure.clone()))).unwrap();
        let comparison = Comparison::read(&kept).unwrap();
        assert_eq!(comparison.figures, [figure]);
        assert!(comparison.rows.is_empty());
    }

    #[test]
    fn finds_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
