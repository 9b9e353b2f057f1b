//! What is said of a job at its push.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use quorate::{Backoff, JobOptions};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::raw::RawInput;
use crate::api::document::{duration, present};
use crate::json::compact;

/// A job to be queued.
#[derive(Debug, Default, Deserialize, ToSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushBody {
    /// What its handler gets: any JSON. This or `input_base64` must be given.
    #[arg(skip)]
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub(crate) input: Option<Box<RawValue>>,
    /// The same for a queue whose inputs are not JSON: its bytes, in base64.
    #[arg(skip)]
    pub(crate) input_base64: Option<String>,
    /// Wait so long before anybody may have it: text with a unit.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration::optional")]
    #[schema(example = "10s", value_type = Option<String>)]
    delay: Option<Duration>,
    /// Wait until then; RFC 3339, such as 2030-01-31T08:00:00Z. Not together with `delay`.
    #[arg(long, value_name = "WHEN")]
    #[serde(default, deserialize_with = "moment")]
    #[schema(value_type = Option<String>)]
    run_at: Option<Timestamp>,
    /// How urgent it is, from 0 (the default) to 9.
    #[arg(long, value_name = "0-9")]
    priority: Option<u8>,
    /// With whom it shares what is fair, such as a customer.
    #[arg(long, value_name = "GROUP")]
    fairness_group: Option<String>,
    /// How often it is delivered at most. Default 5.
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// How long to wait between attempts. Default: as the worker has it.
    #[arg(skip)]
    backoff: Option<BackoffBody>,
    /// How long one attempt may take. Default: as the worker has it.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration::optional")]
    #[schema(example = "1m", value_type = Option<String>)]
    timeout: Option<Duration>,
    /// For how long it is worth beginning it. Default: for ever.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration::optional")]
    #[schema(example = "1h", value_type = Option<String>)]
    expires_in: Option<Duration>,
    /// How long is kept what became of it, at least a minute. Default 10 minutes.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration::optional")]
    #[schema(example = "1day", value_type = Option<String>)]
    keep_result: Option<Duration>,
    /// Words to find it by.
    #[arg(long = "tag", value_name = "TAG")]
    #[serde(default)]
    tags: Vec<String>,
    /// The same job as others with this key, until it has ended. One of `unique`, `idempotency_key`, `throttle` and `debounce` at most.
    #[arg(long, value_name = "KEY")]
    unique: Option<String>,
    /// The same job as others with this key, as long as it is kept what became of it.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// One job for all pushes with this key within `throttle_for`.
    #[arg(long, value_name = "KEY", requires = "throttle_for")]
    throttle: Option<String>,
    /// How long that is.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "throttle")]
    #[serde(default, deserialize_with = "duration::optional")]
    #[schema(example = "1m", value_type = Option<String>)]
    throttle_for: Option<Duration>,
    /// One job for all pushes with this key while it waits: the last input counts.
    #[arg(long, value_name = "KEY")]
    debounce: Option<String>,
}

/// How long to wait between attempts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackoffBody {
    /// Before the second.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schema(example = "1s", value_type = String)]
    initial: Duration,
    /// How much longer each time. Default 2.
    #[serde(default = "doubling")]
    factor: f64,
    /// Never longer than this.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schema(example = "10m", value_type = String)]
    max: Duration,
    /// The share of it that chance may take off, 0 to 1. Default 0.5.
    #[serde(default = "half")]
    jitter: f64,
}

const fn doubling() -> f64 {
    2.0
}

const fn half() -> f64 {
    0.5
}

/// A moment as text.
fn moment<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    let moment = text.map(|text| text.parse()).transpose();
    moment.map_err(|_| D::Error::custom("must be a time such as `2030-01-31T08:00:00Z`"))
}

/// A value that was given as JSON or in base64; `None` if it was not.
pub(crate) fn bytes_of(
    name: &str,
    json: Option<&RawValue>,
    base64: Option<&str>,
) -> Result<Option<Bytes>, String> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(format!(
            "{name} and {name}_base64 must not be given together"
        )),
        (Some(json), None) => compact(json.get().as_bytes()).map(Some),
        (None, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(_) => Err(format!("{name}_base64 must be base64, with its padding")),
        },
        (None, None) => Ok(None),
    }
}

impl PushBody {
    /// The job, or the rule that is broken.
    pub(crate) fn into_input(self) -> Result<RawInput, String> {
        let bytes = bytes_of("input", self.input.as_deref(), self.input_base64.as_deref())?;
        let bytes = bytes.ok_or("input must be given, or input_base64")?;
        Ok(RawInput {
            bytes,
            options: self.options()?,
        })
    }

    /// What the job has of its own, or the rule that is broken.
    pub(crate) fn options(self) -> Result<JobOptions, String> {
        let mut options = self.sameness()?.tags(self.tags);
        match (self.delay, self.run_at) {
            (Some(_), Some(_)) => {
                return Err("delay and run_at must not be given together".to_owned());
            }
            (Some(delay), None) => options = options.delay(delay),
            (None, Some(at)) => options = options.run_at(SystemTime::from(at)),
            (None, None) => {}
        }
        if let Some(priority) = self.priority {
            options = options.priority(priority);
        }
        if let Some(group) = self.fairness_group {
            options = options.fairness_group(group);
        }
        if let Some(attempts) = self.max_attempts {
            options = options.max_attempts(attempts);
        }
        if let Some(backoff) = self.backoff {
            options = options.backoff(backoff.checked()?);
        }
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        if let Some(time) = self.expires_in {
            options = options.expires_in(time);
        }
        if let Some(time) = self.keep_result {
            options = options.keep_result(time);
        }
        Ok(options)
    }

    /// Which other pushes are the same job.
    fn sameness(&self) -> Result<JobOptions, String> {
        let keys = [
            &self.unique,
            &self.idempotency_key,
            &self.throttle,
            &self.debounce,
        ];
        if keys.iter().filter(|key| key.is_some()).count() > 1 {
            let rule =
                "of unique, idempotency_key, throttle and debounce, one at most must be given";
            return Err(rule.to_owned());
        }
        if self.throttle.is_some() != self.throttle_for.is_some() {
            return Err("throttle and throttle_for must be given together".to_owned());
        }
        let options = JobOptions::new();
        Ok(match keys.map(Option::as_deref) {
            [Some(key), ..] => options.unique(key),
            [_, Some(key), ..] => options.idempotency_key(key),
            [_, _, Some(key), _] => options.throttle(key, self.throttle_for.unwrap_or_default()),
            [.., Some(key)] => options.debounce(key),
            [None, None, None, None] => options,
        })
    }
}

impl BackoffBody {
    fn checked(&self) -> Result<Backoff, String> {
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err("backoff.factor must be at least 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err("backoff.jitter must be from 0 to 1".to_owned());
        }
        Ok(Backoff {
            initial: self.initial,
            factor: self.factor,
            max: self.max,
            jitter: self.jitter,
        })
    }
}
