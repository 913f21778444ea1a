//! The metrics that encke shows, read from the text of `/metrics`.

use std::collections::BTreeMap;

/// The samples of encke, by name and labels as they are written, but for the prefix `encke_`.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the response to `/metrics`.
    pub fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix("encke_")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Metrics(samples.collect())
    }

    /// All samples, by name and labels.
    pub fn samples(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// The sample of this name, with its labels if it has any.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The sum over all samples with this name and, in their labels, this text.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let with_name = self.samples().filter(|(key, _)| {
            let rest = key.strip_prefix(name);
            rest.is_some_and(|rest| {
                (rest.is_empty() || rest.starts_with('{')) && rest.contains(label)
            })
        });
        with_name.map(|(_, value)| value).sum()
    }

    /// The bound of a histogram's bucket that holds the largest value recorded since `before`; 0
    /// if there was none.
    pub fn longest_since(&self, before: &Metrics, name: &str) -> f64 {
        let prefix = format!("{name}_bucket{{le=\"");
        let counts = self.samples().filter_map(|(key, count)| {
            let bound = key.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            let earlier = before.get(key).unwrap_or(0.0);
            let bound = bound.parse::<f64>().unwrap_or(f64::INFINITY);
            Some((bound, count - earlier))
        });
        let counts = Vec::from_iter(counts);
        let total = counts.iter().map(|(_, count)| *count).fold(0.0, f64::max);
        let whole = counts
            .iter()
            .filter(|(_, count)| *count >= total && total > 0.0);
        let bound = whole.map(|(bound, _)| *bound).reduce(f64::min);
        bound.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels() {
        let text = "# HELP encke_requests_total x\nencke_requests_total{endpoint=\"poll\",status=\"200\"} 3\n\
            encke_requests_total{endpoint=\"sse\",status=\"200\"} 4\nencke_requests_total_seconds 9\n\
            encke_channels 2\nother_channels 9\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("requests_total", ""), 7.0);
        assert_eq!(metrics.sum("requests_total", "endpoint=\"sse\""), 4.0);
        assert_eq!(metrics.sum("channels", ""), 2.0);
        assert_eq!(metrics.sum("none", ""), 0.0);
        assert_eq!(metrics.get("channels"), Some(2.0));
        let polls = "requests_total{endpoint=\"poll\",status=\"200\"}";
        assert_eq!(metrics.get(polls), Some(3.0));
        assert_eq!(metrics.samples().count(), 4);
    }

    #[test]
    fn finds_the_longest() {
        let moment = |counts: [u32; 3]| {
            let [one, two, all] = counts;
            let bucket = |le: &str, count| format!("encke_t_bucket{{le=\"{le}\"}} {count}\n");
            Metrics::parse(&(bucket("1.0", one) + &bucket("2.0", two) + &bucket("+Inf", all)))
        };
        let longest = |before, after| moment(after).longest_since(&moment(before), "t");
        assert_eq!(longest([1, 1, 2], [1, 1, 2]), 0.0);
        assert_eq!(longest([1, 1, 2], [3, 4, 5]), 2.0);
        assert_eq!(longest([1, 1, 1], [3, 4, 5]), f64::INFINITY);
    }
}
