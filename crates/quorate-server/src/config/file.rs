//! Reading the configuration file, and saying what is wrong with it.
//!
//! It may hold a token and passwords, so nothing that stands in it as a value is ever repeated.

use std::path::Path;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Toml};

use super::File;
use crate::failure::Failure;

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<File, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("config: cannot read {}: {error}", path.display()))
    })?;
    let wrong = |what| Failure::usage(format!("config {}: {what}", path.display()));
    // Before figment does: what it says of a syntax error quotes the line.
    toml::from_str::<toml::Table>(&text).map_err(|error| wrong(misspelt(&text, &error)))?;
    Figment::from(Toml::string(&text))
        .extract()
        .map_err(|error| wrong(explain(error)))
}

/// Where the text is not TOML and why, without the text.
fn misspelt(text: &str, error: &toml::de::Error) -> String {
    let reason = error.message().trim().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else {
        return reason;
    };
    let line = before.matches('\n').count() + 1;
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let column = begun.chars().count() + 1;
    format!("line {line}, column {column}: {reason}")
}

/// What is wrong with the options, one after the other.
fn explain(error: figment::Error) -> String {
    let each: Vec<_> = error
        .into_iter()
        .map(|error| {
            let mut path = error.path;
            match error.kind {
                Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
                    format!("`{}` must be {expected}", path.join("."))
                }
                Kind::UnknownField(name, _) => {
                    // Some of those who report it have the name in the path already.
                    if path.last() != Some(&name) {
                        path.push(name);
                    }
                    format!("`{}` is not an option", path.join("."))
                }
                kind if path.is_empty() => kind.to_string(),
                kind => format!("`{}`: {kind}", path.join(".")),
            }
        })
        .collect();
    each.join("; ")
}
