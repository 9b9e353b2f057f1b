//! What each policy allows.

use std::time::Duration;

use quorate::limit::Basis;
use quorate::{Decision, Policy};

use super::{HOUR, SECOND, each, left, remaining, retry_after};
use crate::harness::Home;

/// Allowed until it is used up, from whichever instance.
pub async fn a_limit_allows_so_many_and_no_more(home: Home) {
    let other = home.instance("b").await;
    for (name, policy) in each() {
        let (here, there) = (
            home.fleet().limiter(name, &policy),
            other.limiter(name, &policy),
        );
        for expected in (0..5).rev() {
            let limiter = if expected % 2 == 0 { &here } else { &there };
            assert_eq!(remaining(limiter, "k").await, expected, "{name}");
        }
        for limiter in [&here, &there] {
            match limiter.consume("k").await.unwrap() {
                Decision::Deny {
                    limit,
                    policy: named,
                    basis,
                    ..
                } => {
                    assert_eq!((limit, basis), (5, Basis::Fleet));
                    assert_eq!(named, policy.name());
                }
                allowed => panic!("{name}: {allowed:?}"),
            }
        }
    }
}

/// Not before, and then.
pub async fn a_refusal_says_when_it_would_be_allowed(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        for _ in 0..5 {
            remaining(&limiter, "k").await;
        }
        let wait = retry_after(&limiter, "k").await;
        assert!(wait > SECOND * 60 && wait <= HOUR * 16, "{name}: {wait:?}");
        home.elapse(wait - SECOND * 30).await;
        retry_after(&limiter, "k").await;
        home.elapse(SECOND * 31).await;
        remaining(&limiter, "k").await;
    }
}

/// However often one comes that is refused, the next window has all of its room.
pub async fn what_is_refused_is_not_counted(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        for _ in 0..5 {
            remaining(&limiter, "k").await;
        }
        for _ in 0..9 {
            retry_after(&limiter, "k").await;
        }
        home.elapse(HOUR * 8 * 5 + SECOND).await;
        assert_eq!(remaining(&limiter, "k").await, 4, "{name}");
    }
}

/// Not at some hour of the clock.
pub async fn a_fixed_window_begins_with_its_first_request(home: Home) {
    let limiter = home
        .fleet()
        .limiter("fixed", Policy::fixed_window(2, HOUR * 2));
    remaining(&limiter, "k").await;
    home.elapse(HOUR + HOUR / 2).await;
    remaining(&limiter, "k").await;
    let wait = retry_after(&limiter, "k").await;
    assert!(wait <= HOUR / 2 && wait > HOUR / 4, "{wait:?}");
    home.elapse(HOUR / 2).await;
    // All of them are over at once, whenever they came.
    assert_eq!(remaining(&limiter, "k").await, 1);
}

/// Each leaves when its own window is over.
pub async fn a_log_counts_each_request_for_its_own_window(home: Home) {
    let limiter = home
        .fleet()
        .limiter("log", Policy::sliding_log(3, HOUR * 4));
    for expected in [2, 1, 0] {
        assert_eq!(remaining(&limiter, "k").await, expected);
        home.elapse(HOUR).await;
    }
    retry_after(&limiter, "k").await;
    for _ in 0..3 {
        home.elapse(HOUR).await;
        assert_eq!(remaining(&limiter, "k").await, 0);
        retry_after(&limiter, "k").await;
    }
}

/// Over many windows of a log that is never empty.
pub async fn a_long_log_forgets_what_has_left_it(home: Home) {
    let policies = [
        Policy::sliding_log(40, HOUR * 4),
        Policy::sliding_log(25, HOUR * 2),
    ];
    let limiter = home.fleet().limiter("log", policies);
    for round in 0..12 {
        for _ in 0..20 {
            limiter.consume("k").await.unwrap().into_receipt().unwrap();
        }
        let usage = limiter.usage("k").await.unwrap();
        let left: Vec<_> = usage.policies().map(|policy| policy.remaining).collect();
        assert_eq!(left, [if round == 0 { 20 } else { 0 }, 5]);
        home.elapse(HOUR * 2 + SECOND).await;
        let usage = limiter.usage("k").await.unwrap();
        let left: Vec<_> = usage.policies().map(|policy| policy.remaining).collect();
        assert_eq!(left, [20, 25]);
    }
}

/// A quarter into a window, three quarters of the one before still count.
pub async fn a_counter_weighs_the_window_before(home: Home) {
    let limiter = home
        .fleet()
        .limiter("counter", Policy::sliding_counter(100, HOUR * 8));
    limiter
        .consume("probe")
        .await
        .unwrap()
        .into_receipt()
        .unwrap();
    // To the beginning of a window: what counts then ends with the next one.
    let usage = limiter.usage("probe").await.unwrap();
    let ends = usage.policies().next().unwrap().reset_after;
    home.elapse(ends - HOUR * 8 + SECOND).await;
    limiter
        .consume("k")
        .cost(80)
        .await
        .unwrap()
        .into_receipt()
        .unwrap();
    home.elapse(HOUR * 8 + HOUR * 2).await;
    let found = left(&limiter, "k").await;
    assert!((39..=41).contains(&found), "{found}");
    home.elapse(HOUR * 4).await;
    let found = left(&limiter, "k").await;
    assert!((79..=81).contains(&found), "{found}");
}

/// One by one, and no more than there is room for.
pub async fn a_bucket_fills_at_its_rate_up_to_its_burst(home: Home) {
    let limiter = home
        .fleet()
        .limiter("bucket", Policy::token_bucket(2, HOUR).burst(6));
    limiter
        .consume("k")
        .cost(6)
        .await
        .unwrap()
        .into_receipt()
        .unwrap();
    let wait = retry_after(&limiter, "k").await;
    assert!(wait <= HOUR / 2 && wait > HOUR / 4, "{wait:?}");
    home.elapse(HOUR + SECOND).await;
    assert_eq!(left(&limiter, "k").await, 2);
    home.elapse(HOUR * 100).await;
    assert_eq!(left(&limiter, "k").await, 6);
}

/// A request may cost more than one.
pub async fn costs_are_counted(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        assert!(limiter.consume("k").cost(3).await.unwrap().is_allowed());
        assert!(!limiter.consume("k").cost(3).await.unwrap().is_allowed());
        assert!(limiter.consume("k").cost(2).await.unwrap().is_allowed());
        assert_eq!(left(&limiter, "k").await, 0, "{name}");
    }
}

/// Asking what would be said is not asking.
pub async fn checking_changes_nothing(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        for _ in 0..10 {
            let decision = limiter.check("k").cost(5).await.unwrap();
            assert!(decision.is_allowed() && decision.into_receipt().is_none());
        }
        assert_eq!(left(&limiter, "k").await, 5, "{name}");
        for _ in 0..5 {
            remaining(&limiter, "k").await;
        }
        let said = limiter.check("k").await.unwrap();
        assert!(!said.is_allowed(), "{name}");
    }
}

/// What is left, and until when something counts.
pub async fn usage_shows_each_policy(home: Home) {
    let policies = each().map(|(_, policy)| policy);
    let limiter = home.fleet().limiter("all", policies);
    let usage = limiter.usage("k").await.unwrap();
    assert_eq!((usage.policies().len(), usage.blocked()), (4, None));
    for policy in usage.policies() {
        assert_eq!((policy.remaining, policy.reset_after), (5, Duration::ZERO));
    }
    let decision = limiter.consume("k").cost(2).await.unwrap();
    let usage = limiter.usage("k").await.unwrap();
    for policy in decision.usage().policies().chain(usage.policies()) {
        assert_eq!((policy.remaining, policy.retry_after), (3, None));
        assert!(policy.reset_after > HOUR && policy.reset_after <= HOUR * 16);
    }
}

/// With all of them or with none.
pub async fn several_policies_count_all_or_none(home: Home) {
    let policies = [
        Policy::fixed_window(3, HOUR),
        Policy::sliding_log(5, HOUR * 10),
    ];
    let limiter = home.fleet().limiter("both", policies);
    for expected in [2, 1, 0] {
        assert_eq!(remaining(&limiter, "k").await, expected);
    }
    // The first refuses, and the second does not count it.
    for _ in 0..5 {
        assert!(retry_after(&limiter, "k").await <= HOUR);
    }
    home.elapse(HOUR + SECOND).await;
    assert_eq!(remaining(&limiter, "k").await, 1);
    assert_eq!(remaining(&limiter, "k").await, 0);
    match limiter.consume("k").await.unwrap() {
        Decision::Deny {
            policy,
            retry_after,
            ..
        } => {
            assert_eq!(policy, "log-36000s");
            assert!(retry_after > HOUR * 8);
        }
        allowed => panic!("{allowed:?}"),
    }
}
