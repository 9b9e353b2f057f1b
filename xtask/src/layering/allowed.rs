//! Exceptions, each with its reason.

/// Files that may be longer than the rest, and why.
pub(super) const LONG_FILES: &[(&str, &str)] = &[];
