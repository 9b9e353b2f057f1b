//! What an error reply says about the command it answers.
//!
//! A single command either ran or was refused: its error reply always means "not applied". A
//! script isolates but does not roll back, so an error in its middle leaves the earlier writes
//! standing. For a script only the codes the server gives *before* it lets the first write happen
//! are certain.

use crate::error::Outcome;

/// Codes given before a script has written anything.
///
/// `READONLY`, `MISCONF`, `NOREPLICAS` and `OOM` are also raised inside a script, but only for its
/// first write: their conditions cannot begin while it runs, and `OOM` is not checked once it has
/// written. `NOPERM` is missing on purpose, since a script may write one key and be refused the next.
const BEFORE_ANY_WRITE: [&str; 17] = [
    "LOADING",
    "READONLY",
    "MISCONF",
    "OOM",
    "BUSY",
    "NOREPLICAS",
    "NOAUTH",
    "NOSCRIPT",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CROSSSLOT",
    "MASTERDOWN",
    "NOPROTO",
    "WRONGPASS",
    "EXECABORT",
];

/// Codes that describe a state of the server which passes.
const TRANSIENT: [&str; 11] = [
    "LOADING",
    "READONLY",
    "MISCONF",
    "OOM",
    "BUSY",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "MASTERDOWN",
];

/// The first word of an error line.
pub(crate) fn code_of(line: &str) -> &str {
    line.split([' ', '\r', '\n']).next().unwrap_or_default()
}

/// What an error reply with this code says about the effect of the command.
pub(crate) fn outcome(code: &str, script: bool) -> Outcome {
    if !script || BEFORE_ANY_WRITE.contains(&code) {
        Outcome::NotApplied
    } else {
        Outcome::Unknown
    }
}

/// Whether the same command may succeed later without anybody changing it.
pub(crate) fn is_transient(code: &str) -> bool {
    TRANSIENT.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_command_that_was_refused_was_not_applied() {
        for code in ["ERR", "WRONGTYPE", "NOPERM", "OOM", "SOMETHINGNEW"] {
            assert_eq!(outcome(code, false), Outcome::NotApplied, "{code}");
        }
    }

    #[test]
    fn a_script_that_failed_midway_may_have_written() {
        for code in ["ERR", "WRONGTYPE", "NOPERM", "SOMETHINGNEW"] {
            assert_eq!(outcome(code, true), Outcome::Unknown, "{code}");
        }
        for code in BEFORE_ANY_WRITE {
            assert_eq!(outcome(code, true), Outcome::NotApplied, "{code}");
        }
    }

    #[test]
    fn the_code_is_the_first_word() {
        assert_eq!(code_of("READONLY You can't write"), "READONLY");
        assert_eq!(code_of("LOADING"), "LOADING");
        assert_eq!(code_of(""), "");
    }
}
