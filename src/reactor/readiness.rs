//! The lines in the log on whether a node of a cluster is ready.
//!
//! Owns what was logged last. It decides nothing.

use encke_core::hub::Refusal;

/// Whether the node is ready, as the log says.
#[derive(Default)]
pub(super) struct Readiness {
    /// Why it was not ready, or that it was; `None` before the first line.
    logged: Option<Option<Refusal>>,
}

impl Readiness {
    /// Notes the reason for which the node is not ready, and logs it if it is another one.
    pub(super) fn note(&mut self, unready: Option<Refusal>) {
        if let Some(line) = self.line(unready) {
            log::info!("{line}");
        }
    }

    fn line(&mut self, unready: Option<Refusal>) -> Option<&'static str> {
        let kind = unready.as_ref().map(std::mem::discriminant);
        let known = self.logged.as_ref();
        let known = known.map(|logged| logged.as_ref().map(std::mem::discriminant));
        if known == Some(kind) {
            return None;
        }
        self.logged = Some(unready);
        Some(match unready {
            None => "this node is ready",
            Some(Refusal::LogWarming) => {
                "this node reads the log of its cluster, and is not ready until it has"
            }
            Some(Refusal::LogHalted) => {
                "this node is not ready: it does not follow the log of its cluster any more"
            }
            Some(_) => "this node is not ready: it does not hear itself through the engine",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_one_line() {
        let mut readiness = Readiness::default();
        let silent = |silent_s| Some(Refusal::LogSilent { silent_s });
        let mut words = |unready| {
            let line: Option<&str> = readiness.line(unready);
            line.map(|line| line.split(' ').nth(2).unwrap_or_default())
        };
        assert_eq!(words(Some(Refusal::LogWarming)), Some("reads"));
        assert_eq!(words(Some(Refusal::LogWarming)), None);
        assert_eq!(words(None), Some("is"));
        assert_eq!(words(None), None);
        assert_eq!(words(silent(10)), Some("is"));
        assert_eq!(words(silent(11)), None);
        assert_eq!(words(None), Some("is"));
    }
}
