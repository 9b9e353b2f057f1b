//! What the suite found.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Cases that are left out, and why.
pub(super) const LEFT_OUT: [(&str, &str); 2] = [
    (
        "12.*",
        "compression: permessage-deflate is not offered, since its state would cost every connection memory",
    ),
    ("13.*", "compression, as above"),
];

/// Cases whose outcome is known to be something else than `OK`, and why that is well.
const EXPLAINED: [(&str, &str); 5] = [
    (
        "6.4.3",
        "text is checked when a frame is complete, and not while its bytes arrive",
    ),
    ("6.4.4", "as 6.4.3, byte by byte"),
    (
        "7.1.6",
        "which of a message and the close behind it is dealt with first is left open by the RFC",
    ),
    ("7.13.1", "close code 5000 is left open by the RFC"),
    ("7.13.2", "close code 65536 is left open by the RFC"),
];

/// The verdict on all cases.
#[derive(Debug)]
pub(super) struct Verdict {
    /// How many cases ended how.
    pub(super) counts: BTreeMap<String, usize>,
    /// Cases that are well but not `OK`, with the reason.
    pub(super) noted: Vec<String>,
    /// Cases that are not well.
    pub(super) failures: Vec<String>,
}

impl Verdict {
    /// How many cases were run.
    pub(super) fn cases(&self) -> usize {
        self.counts.values().sum()
    }
}

/// Reads the index of the suite's report, `index.json`.
///
/// # Errors
/// It is not an index, or not one of `agent`.
pub(super) fn judge(index: &str, agent: &str) -> Result<Verdict> {
    let index: Value =
        serde_json::from_str(index).context("the index of the report is not JSON")?;
    let Some(cases) = index.get(agent).and_then(Value::as_object) else {
        bail!("the report has nothing about `{agent}`: the echo was not reached");
    };
    let mut verdict = Verdict {
        counts: BTreeMap::new(),
        noted: Vec::new(),
        failures: Vec::new(),
    };
    for (case, outcome) in cases {
        let text = |name: &str| {
            outcome
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or("missing")
        };
        let (behaviour, close) = (text("behavior"), text("behaviorClose"));
        *verdict.counts.entry(behaviour.to_owned()).or_default() += 1;
        let shown = format!("{case}: {behaviour}, closing {close}");
        if !is_well(behaviour) || !is_well(close) {
            verdict.failures.push(shown);
        } else if (behaviour, close) != ("OK", "OK") {
            let reason = EXPLAINED.iter().find(|(explained, _)| explained == case);
            let reason = reason.map_or("not explained yet", |(_, reason)| reason);
            verdict.noted.push(format!("{shown} ({reason})"));
        }
    }
    Ok(verdict)
}

/// Whether an outcome conforms to the RFC: `NON-STRICT` deviates from a SHOULD at most, and
/// `INFORMATIONAL` from nothing.
fn is_well(outcome: &str) -> bool {
    matches!(outcome, "OK" | "NON-STRICT" | "INFORMATIONAL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(case: &str, behaviour: &str, close: &str) -> Verdict {
        let index = format!(
            r#"{{"a":{{"{case}":{{"behavior":"{behaviour}","behaviorClose":"{close}"}}}}}}"#
        );
        judge(&index, "a").unwrap()
    }

    #[test]
    fn what_conforms_passes_and_says_why_it_is_not_ok() {
        let verdict = judged("1.1.1", "OK", "OK");
        assert_eq!((verdict.cases(), verdict.failures.len()), (1, 0));
        assert!(verdict.noted.is_empty());
        let verdict = judged("6.4.3", "NON-STRICT", "OK");
        assert!(verdict.failures.is_empty());
        assert!(verdict.noted[0].contains("complete"), "{verdict:?}");
        assert!(
            judged("7.1.6", "INFORMATIONAL", "INFORMATIONAL")
                .failures
                .is_empty()
        );
    }

    #[test]
    fn everything_else_fails() {
        for (behaviour, close) in [
            ("FAILED", "OK"),
            ("OK", "FAILED"),
            ("OK", "UNCLEAN"),
            ("OK", "WRONG CODE"),
            ("OK", "FAILED BY CLIENT"),
            ("UNIMPLEMENTED", "OK"),
            ("", ""),
        ] {
            let verdict = judged("1.1.1", behaviour, close);
            assert_eq!(verdict.failures.len(), 1, "{behaviour} {close}");
        }
        assert_eq!(
            judge(r#"{"a":{"1.1.1":{}}}"#, "a").unwrap().failures,
            ["1.1.1: missing, closing missing"]
        );
    }

    #[test]
    fn a_report_about_nobody_is_an_error() {
        assert!(judge("{}", "a").is_err());
        assert!(judge("[", "a").is_err());
    }
}
