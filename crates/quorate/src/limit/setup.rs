//! A limiter's policies, checked once, and the keys it counts by.

use std::sync::{Arc, OnceLock};

use super::decision::Receipt;
use super::figures::LimitKind;
use super::meters::{AllMeters, Counting};
use super::policy::{MAX_POLICIES, Policy, Rate, Span};
use super::port::LimitKey;
use crate::entry_key::{self, EntryKey, check_area, with_text};
use crate::error::{Error, Result};
use crate::key::{Namespace, hash_tag};

/// What the keys of limits begin with, after the namespace.
const UNIT: &str = "limit";

/// The policies of one limiter.
///
/// A [`Policy`], or an array or a vector of 1 to 4: a request is counted with all of them or with none.
#[derive(Clone, Debug)]
pub struct Policies(Vec<Policy>);

impl From<Policy> for Policies {
    fn from(policy: Policy) -> Self {
        Self(vec![policy])
    }
}

impl From<&Policy> for Policies {
    fn from(policy: &Policy) -> Self {
        Self(vec![policy.clone()])
    }
}

impl<const N: usize> From<[Policy; N]> for Policies {
    fn from(policies: [Policy; N]) -> Self {
        Self(policies.into())
    }
}

impl From<Vec<Policy>> for Policies {
    fn from(policies: Vec<Policy>) -> Self {
        Self(policies)
    }
}

impl From<&[Policy]> for Policies {
    fn from(policies: &[Policy]) -> Self {
        Self(policies.into())
    }
}

/// Policies with the numbers they come to.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) policies: Arc<[Policy]>,
    pub(super) rates: Arc<[Rate]>,
    /// The most that a request can cost and be allowed.
    most: u64,
}

impl Terms {
    fn new(policies: Vec<Policy>) -> Result<Self> {
        if policies.is_empty() || policies.len() > MAX_POLICIES {
            let rule = format_args!("must be from 1 to {MAX_POLICIES}");
            return Err(Error::invalid("policies", rule));
        }
        let rates: Result<Vec<_>> = policies.iter().map(Policy::rate).collect();
        let (rates, policies): (Arc<[_]>, Arc<[_]>) = (rates?.into(), policies.into());
        for (number, policy) in policies.iter().enumerate() {
            if policies[..number]
                .iter()
                .any(|other| other.name() == policy.name())
            {
                return Err(Error::invalid("policies", "must have different names"));
            }
        }
        let most = policies.iter().map(Policy::capacity).min().unwrap_or(0);
        Ok(Self {
            policies,
            rates,
            most,
        })
    }

    /// The same with other limits, one for each policy.
    pub(super) fn with_limits(&self, limits: &[u64]) -> Result<Self> {
        if limits.len() != self.policies.len() {
            return Err(Error::invalid("limits", "must be one for each policy"));
        }
        let each = self.policies.iter().zip(limits);
        // The name says the algorithm and the window, and so stays.
        Self::new(
            each.map(|(policy, limit)| policy.with_limit(*limit))
                .collect(),
        )
    }

    /// What one of so many instances may allow on its own.
    pub(super) fn share(&self, instances: u32) -> Result<Self> {
        if instances == 0 || self.most < u64::from(instances) {
            let rule = "must be at least 1, and at most the limit: else a share is nothing";
            return Err(Error::invalid("instances", rule));
        }
        let each = self.policies.iter().map(|policy| policy.share(instances));
        Self::new(each.collect())
    }

    /// Refuses receipts that no request was ever given: they may come from outside.
    pub(super) fn check_receipt(&self, receipt: &Receipt) -> Result<()> {
        self.check_cost(receipt.cost())?;
        if receipt.at().get() >= 1 << 53 {
            return Err(Error::invalid("receipt", "must be one that was given"));
        }
        Ok(())
    }

    /// Refuses batches that no policy could ever allow, or that are none.
    pub(super) fn check_batch(&self, batch: u64) -> Result<()> {
        if batch < 2 || batch > self.most {
            let rule = "must be from 2 to the least limit of the policies";
            return Err(Error::invalid("batch", rule));
        }
        Ok(())
    }

    /// Refuses what no policy could ever allow.
    pub(super) fn check_cost(&self, cost: u64) -> Result<()> {
        if cost == 0 {
            return Err(Error::invalid("cost", "must be at least 1"));
        }
        let most = self.most;
        if cost > most {
            let rule = format_args!("must be at most {most}, which is all that is ever allowed");
            return Err(Error::invalid("cost", rule));
        }
        Ok(())
    }
}

/// A limiter that kept the rules when it was named.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) terms: Terms,
    kind: LimitKind,
    namespace: Namespace,
    /// Found with the first decision: what only checks, refunds or resets takes no place among those that are counted.
    counting: OnceLock<Counting>,
    /// What its keys begin with, up to the limiter's name.
    prefix: String,
    /// What its keys end with: how they are counted, so that a limiter with other windows begins anew.
    shape: String,
}

impl Setup {
    pub(super) fn new(namespace: &Namespace, name: &str, policies: Policies) -> Result<Self> {
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("limiter", rule))?;
        let terms = Terms::new(policies.0)?;
        let shape = |policy: &Policy| {
            let algorithm = policy.algorithm().as_str();
            format!("{algorithm}-{}", Span(policy.window()))
        };
        let shapes: Vec<_> = terms.policies.iter().map(shape).collect();
        Ok(Self {
            name: name.to_owned(),
            terms,
            kind: LimitKind::Rate,
            namespace: namespace.clone(),
            counting: OnceLock::new(),
            prefix: namespace.qualify(&format!("{UNIT}:{{")),
            shape: format!("}}:{}", shapes.join("+")),
        })
    }

    /// Where the slots of a concurrency limit are: `<namespace>:limit:{<limit>:<key>}:slots`.
    pub(super) fn of_slots(namespace: &Namespace, name: &str) -> Result<Self> {
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("limit name", rule))?;
        Ok(Self {
            name: name.to_owned(),
            terms: Terms {
                policies: Arc::new([]),
                rates: Arc::new([]),
                most: 0,
            },
            kind: LimitKind::Concurrency,
            namespace: namespace.clone(),
            counting: OnceLock::new(),
            prefix: namespace.qualify(&format!("{UNIT}:{{")),
            shape: "}:slots".to_owned(),
        })
    }

    /// What its decisions are counted with.
    pub(super) fn counting(&self, meters: &AllMeters) -> &Counting {
        self.counting
            .get_or_init(|| meters.of(&self.namespace, &self.name, self.kind, &self.terms.policies))
    }

    /// The key `<namespace>:limit:{<limiter>[@<action>]:<key>}:<shape>`.
    pub(super) fn key<K: EntryKey + ?Sized>(
        &self,
        key: &K,
        action: Option<&str>,
    ) -> Result<LimitKey> {
        if let Some(action) = action {
            check_area(action.as_bytes()).map_err(|rule| Error::invalid("action", rule))?;
        }
        with_text(key, |key, text| {
            entry_key::check(key)?;
            text.push_str(&self.prefix);
            let begin = text.len();
            text.push_str(&self.name);
            if let Some(action) = action {
                // No name has an `@`, and none a `:`.
                text.push('@');
                text.push_str(action);
            }
            text.push(':');
            text.push_str(&hash_tag(key));
            let shown = (begin, text.len());
            text.push_str(&self.shape);
            Ok(LimitKey::new(text, shown))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn keys_name_the_limiter_the_action_and_how_it_is_counted() {
        let namespace = Namespace::new("shop").unwrap();
        let policies = [
            Policy::sliding_log(5, MINUTE),
            Policy::token_bucket(1, MINUTE / 60),
        ];
        let setup = Setup::new(&namespace, "api", policies.into()).unwrap();
        let key = setup.key("a}b", None).unwrap();
        assert_eq!(key.text(), "shop:limit:{api:a%7Db}:log-60s+bucket-1s");
        assert_eq!(key.shown(), "api:a%7Db");
        let key = setup.key(&7, Some("login")).unwrap();
        assert_eq!(key.text(), "shop:limit:{api@login:7}:log-60s+bucket-1s");
        assert!(setup.key(&7, Some("a:b")).is_err());
    }

    #[test]
    fn policies_are_checked_with_the_rule_in_the_message() {
        let setup = |policies: Vec<Policy>| {
            let setup = Setup::new(&Namespace::default(), "api", policies.into());
            setup.unwrap_err().message().unwrap_or_default().to_owned()
        };
        assert_eq!(setup(Vec::new()), "policies must be from 1 to 4");
        let twice = vec![
            Policy::sliding_log(5, MINUTE),
            Policy::sliding_log(9, MINUTE),
        ];
        assert_eq!(setup(twice), "policies must have different names");
        assert_eq!(
            setup(vec![Policy::fixed_window(1, Duration::ZERO)]),
            "window must be from 1 ms to 366 days"
        );
    }
}
