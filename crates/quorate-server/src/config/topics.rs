//! What the configuration says of topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::{Codec, Keep, TopicSpec};
use serde::Deserialize;

use crate::failure::Failure;

/// One topic, and its keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicConfig {
    /// How much of it is kept. Left out: nothing.
    keep: Option<KeepConfig>,
    /// Whether clients that subscribe to it are present there, for others to see.
    #[serde(default)]
    presence: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepConfig {
    #[serde(with = "humantime_serde")]
    time: Duration,
    #[serde(default = "messages")]
    messages: u32,
    #[serde(default = "bytes")]
    bytes: u64,
}

fn messages() -> u32 {
    10_000
}

fn bytes() -> u64 {
    16 * 1024 * 1024
}

/// The topics that are kept, and those whose clients are present there, checked.
pub(super) fn read(
    topics: BTreeMap<String, TopicConfig>,
) -> Result<(BTreeMap<String, Keep>, BTreeSet<String>), Failure> {
    let (mut kept, mut present) = (BTreeMap::new(), BTreeSet::new());
    for (name, config) in topics {
        let wrong =
            |error: quorate::Error| Failure::usage(format!("topics.{name}: {}", rule(&error)));
        let spec = TopicSpec::try_with_codec(name.as_str(), Codec::bytes()).map_err(wrong)?;
        if config.presence {
            present.insert(name.clone());
        }
        let Some(keep) = config.keep else { continue };
        let keep = Keep {
            time: keep.time,
            messages: keep.messages,
            bytes: keep.bytes,
        };
        spec.try_keep(keep).map_err(wrong)?;
        kept.insert(name, keep);
    }
    Ok((kept, present))
}

/// The field and the rule, without what kind of error it is.
fn rule(error: &quorate::Error) -> String {
    let text = error.to_string();
    match text.split_once("invalid input: ") {
        Some((_, rule)) => rule.to_owned(),
        None => text,
    }
}
