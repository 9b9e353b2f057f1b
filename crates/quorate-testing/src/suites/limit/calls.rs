//! Refunds, blocks, and what else a call may say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use quorate::limit::{Basis, Receipt, Reserved, reserve};
use quorate::{Decision, ErrorKind, Fleet, Micros, Outcome, Policy};

use super::{HOUR, SECOND, each, left, receipt, remaining, retry_after};
use crate::harness::Home;

/// As if it had never been made.
pub async fn a_refund_takes_back_what_was_counted(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        let first = receipt(&limiter, "k", 2).await;
        let second = receipt(&limiter, "k", 3).await;
        assert!(!limiter.check("k").await.unwrap().is_allowed());
        assert!(limiter.refund("k", second).await.unwrap(), "{name}");
        // Of a bucket a little has run out meanwhile, of what is given back as of what is not.
        let found = left(&limiter, "k").await;
        assert!(
            found == 3 || name == "bucket" && found == 2,
            "{name}: {found}"
        );
        assert!(limiter.refund("k", first).await.unwrap(), "{name}");
        assert!(
            limiter
                .refund("other", receipt(&limiter, "k", 1).await)
                .await
                .is_ok()
        );
        assert_eq!(left(&limiter, "other").await, 5, "{name}");
    }
}

/// What is over was given back by time.
pub async fn a_refund_gives_nothing_that_no_longer_counts(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        let old = receipt(&limiter, "k", 2).await;
        home.elapse(HOUR * 8 * 5 + SECOND).await;
        receipt(&limiter, "k", 4).await;
        assert!(!limiter.refund("k", old).await.unwrap(), "{name}");
        assert_eq!(left(&limiter, "k").await, 1, "{name}");
    }
}

/// What is over is not taken off what is not: the log has both, and does not let go of the old one before it is asked.
pub async fn a_refund_of_what_is_over_leaves_the_rest(home: Home) {
    let limiter = home.fleet().limiter("log", Policy::sliding_log(5, HOUR));
    let old = receipt(&limiter, "k", 3).await;
    home.elapse(HOUR / 2).await;
    receipt(&limiter, "k", 1).await;
    home.elapse(HOUR * 3 / 4).await;
    assert!(!limiter.refund("k", old).await.unwrap());
    assert_eq!(left(&limiter, "k").await, 4);
    receipt(&limiter, "k", 4).await;
}

/// Where a short window is over and a long one is not.
pub async fn a_refund_of_one_window_leaves_the_others(home: Home) {
    let policies = [
        Policy::sliding_log(5, HOUR),
        Policy::sliding_log(9, HOUR * 10),
    ];
    let limiter = home.fleet().limiter("logs", policies);
    let old = receipt(&limiter, "k", 3).await;
    home.elapse(HOUR + SECOND).await;
    receipt(&limiter, "k", 2).await;
    assert!(limiter.refund("k", old).await.unwrap());
    let usage = limiter.usage("k").await.unwrap();
    let left: Vec<_> = usage.policies().map(|policy| policy.remaining).collect();
    assert_eq!(left, [3, 7]);
    // And it still counts on.
    receipt(&limiter, "k", 3).await;
    assert!(!limiter.check("k").await.unwrap().is_allowed());
}

/// Counts, and blocks.
pub async fn a_reset_forgets(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        assert!(!limiter.reset("k").await.unwrap());
        receipt(&limiter, "k", 5).await;
        assert!(limiter.reset("k").await.unwrap());
        assert_eq!(remaining(&limiter, "k").await, 4, "{name}");
        limiter.block("k", HOUR).await.unwrap();
        assert!(limiter.reset("k").await.unwrap());
        assert_eq!(remaining(&limiter, "k").await, 4, "{name}");
    }
}

/// Refused whatever is left, and what was counted still counts afterwards.
pub async fn a_blocked_key_is_refused_and_keeps_its_count(home: Home) {
    let limiter = home
        .fleet()
        .limiter("log", Policy::sliding_log(5, HOUR * 8));
    receipt(&limiter, "k", 2).await;
    limiter.block("k", HOUR).await.unwrap();
    limiter.block("new", HOUR * 2).await.unwrap();
    for (key, most) in [("k", HOUR), ("new", HOUR * 2)] {
        match limiter.consume(key).await.unwrap() {
            Decision::Deny {
                retry_after,
                policy,
                ..
            } => {
                assert_eq!(policy, "block");
                assert!(retry_after <= most && retry_after > most / 2);
            }
            allowed => panic!("{allowed:?}"),
        }
        assert!(limiter.usage(key).await.unwrap().blocked().is_some());
    }
    assert!(limiter.check("free").await.unwrap().is_allowed());
    home.elapse(HOUR + SECOND).await;
    assert_eq!(remaining(&limiter, "k").await, 2);
    assert!(!limiter.check("new").await.unwrap().is_allowed());
    limiter.block("new", Duration::ZERO).await.unwrap();
    assert_eq!(remaining(&limiter, "new").await, 4);
}

/// And each further one begins that anew; without being asked to, a refusal changes nothing.
pub async fn a_refusal_blocks_its_key_if_that_is_asked(home: Home) {
    for (name, policy) in each() {
        let plain = home.fleet().limiter(name, policy);
        let strict = plain.clone().block_for(HOUR * 100);
        receipt(&strict, "k", 5).await;
        assert!(!strict.check("k").await.unwrap().is_allowed());
        assert_eq!(strict.usage("k").await.unwrap().blocked(), None, "{name}");
        let begun = retry_after(&strict, "k").await;
        assert!(
            begun > HOUR * 99 && begun <= HOUR * 100,
            "{name}: {begun:?}"
        );
        home.elapse(HOUR * 60).await;
        // Nothing counts any more, and it is blocked all the same. Who does not ask for more begins nothing anew.
        assert!(retry_after(&plain, "k").await <= HOUR * 40, "{name}");
        let anew = retry_after(&strict, "k").await;
        assert!(anew > HOUR * 99, "{name}: {anew:?}");
        home.elapse(HOUR * 60).await;
        assert!(!plain.check("k").await.unwrap().is_allowed(), "{name}");
        home.elapse(HOUR * 41).await;
        assert_eq!(remaining(&strict, "k").await, 4, "{name}");
        // One that is there is not made shorter.
        plain.block("k", HOUR * 300).await.unwrap();
        assert!(retry_after(&strict, "k").await > HOUR * 299, "{name}");
    }
}

/// What nobody asked for blocks nobody: a batch that is more than there is left.
pub async fn a_refused_batch_blocks_nobody(home: Home) {
    let limiter = home.fleet().limiter("api", Policy::fixed_window(5, HOUR));
    receipt(&limiter, "k", 2).await;
    let local = limiter.clone().local(4).block_for(HOUR * 2);
    for _ in 0..3 {
        assert!(local.consume("k").await.unwrap().is_allowed());
    }
    assert_eq!(limiter.usage("k").await.unwrap().blocked(), None);
    assert!(retry_after(&local, "k").await > HOUR);
    assert!(limiter.usage("k").await.unwrap().blocked().is_some());
}

/// Such as that of a customer's plan.
pub async fn limits_may_differ_from_call_to_call(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy.clone());
        if name == "bucket" {
            // Its burst was set, and stays.
            assert!(limiter.consume("k").limit(100).cost(6).await.is_err());
            continue;
        }
        receipt(&limiter, "k", 5).await;
        assert!(!limiter.consume("k").await.unwrap().is_allowed());
        let more = limiter.consume("k").limit(8).cost(3).await.unwrap();
        assert!(more.is_allowed(), "{name}");
        assert!(!limiter.consume("k").limit(8).await.unwrap().is_allowed());
    }
    // Of a token bucket, what was used runs out when it would have, and comes to twice as much at twice the rate.
    let policy = Policy::token_bucket(4, HOUR * 4);
    let limiter = home.fleet().limiter("plan", policy);
    receipt(&limiter, "k", 2).await;
    let decision = limiter.consume("k").limit(8).cost(4).await.unwrap();
    assert!(decision.is_allowed());
    assert!(!limiter.consume("k").limit(8).await.unwrap().is_allowed());
}

/// A deployment with another limit does not begin anew.
pub async fn a_changed_limit_goes_on_with_what_was_counted(home: Home) {
    let (fleet, window) = (home.fleet(), HOUR * 8);
    let old = fleet.limiter("api", Policy::sliding_log(5, window));
    receipt(&old, "k", 4).await;
    let new = fleet.limiter("api", Policy::sliding_log(6, window));
    assert_eq!(remaining(&new, "k").await, 1);
    let smaller = fleet.limiter("api", Policy::sliding_log(2, window));
    retry_after(&smaller, "k").await;
}

/// One used up says nothing of another.
pub async fn keys_actions_limiters_and_namespaces_are_apart(home: Home) {
    let policy = Policy::fixed_window(1, HOUR);
    let fleet = home.fleet();
    let limiters = [
        fleet.limiter("a", &policy),
        fleet.limiter("b", &policy),
        fleet.limiter("a", &policy).action("login"),
        fleet.limiter("a", &policy).action("export"),
        fleet.namespaced("other").unwrap().limiter("a", &policy),
    ];
    for limiter in &limiters {
        for key in ["k", "login:k", "{k}", "k}", "%7Bk%7D"] {
            assert_eq!(remaining(limiter, key).await, 0);
            retry_after(limiter, key).await;
        }
    }
}

/// It decides, and turns nobody away.
pub async fn a_shadow_refuses_nobody(home: Home) {
    let limiter = home.fleet().limiter("api", Policy::fixed_window(2, HOUR));
    let shadow = limiter.clone().shadow();
    for expected in [Basis::Fleet, Basis::Fleet, Basis::Shadow, Basis::Shadow] {
        let decision = shadow.consume("k").await.unwrap();
        assert!(decision.is_allowed());
        assert_eq!(decision.basis(), expected);
    }
    assert!(!limiter.check("k").await.unwrap().is_allowed());
}

/// Many instances and tasks at once, and never one too many, nor one too few.
pub async fn one_of_many_requests_at_once_is_first(home: Home) {
    let other = home.instance("b").await;
    for (name, policy) in each() {
        let admitted = Arc::new(AtomicU64::new(0));
        let ask = |fleet: &Fleet| {
            let (limiter, admitted) = (fleet.limiter(name, &policy), admitted.clone());
            async move {
                for _ in 0..4 {
                    if limiter.consume("k").await.unwrap().is_allowed() {
                        admitted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        };
        let asking = (0..16).map(|number| {
            let fleet = if number % 2 == 0 {
                home.fleet()
            } else {
                &other
            };
            ask(fleet)
        });
        join_all(asking).await;
        assert_eq!(admitted.load(Ordering::SeqCst), 5, "{name}");
    }
}

/// Of different limiters and keys.
pub async fn several_requests_are_allowed_together_or_not_at_all(home: Home) {
    let fleet = home.fleet();
    let user = fleet.limiter("user", Policy::sliding_log(2, HOUR));
    let address = fleet.limiter("address", Policy::token_bucket(3, HOUR * 9).burst(9));
    for _ in 0..2 {
        let both = [user.consume("ann"), address.consume("::1").cost(2)];
        assert!(reserve(both).await.unwrap().is_allowed());
    }
    let requests = || {
        let first = address.consume("::1").limit(4).cost(3);
        [first, address.consume("::2"), user.consume("ann")]
    };
    match reserve(requests()).await.unwrap() {
        Reserved::Denied {
            which, decision, ..
        } => assert!(which == 2 && !decision.is_allowed()),
        allowed => panic!("{allowed:?}"),
    }
    // What had run out of the bucket before is not given back.
    assert!((4..=5).contains(&left(&address, "::1").await));
    assert!(left(&address, "::2").await >= 8);
    // One that breaks a rule keeps all from being counted.
    let bad = [address.consume("::3"), user.consume("ann").cost(3)];
    assert!(reserve(bad).await.is_err());
    assert_eq!(left(&address, "::3").await, 9);
}

/// A key that nothing counts for has all of its room again, whatever was refused or blocked.
pub async fn what_is_forgotten_leaves_nothing(home: Home) {
    for (name, policy) in each() {
        let limiter = home.fleet().limiter(name, policy);
        receipt(&limiter, "k", 5).await;
        limiter.block("k", HOUR).await.unwrap();
        retry_after(&limiter, "k").await;
        home.elapse(HOUR * 8 * 5 + SECOND).await;
        assert_eq!(left(&limiter, "k").await, 5, "{name}");
        assert!(!limiter.reset("k").await.unwrap(), "{name}");
    }
}

/// Before anything is touched, with the field and the rule.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let fleet = home.fleet();
    let good = Policy::sliding_log(5, HOUR);
    let api = fleet.limiter("api", &good);
    let zero = Policy::fixed_window(5, Duration::ZERO);
    for (request, rule) in [
        (api.consume(""), "key must not be empty"),
        (api.consume("k").cost(0), "cost must be at least 1"),
        (
            api.consume("k").cost(6),
            "cost must be at most 5, which is all that is ever allowed",
        ),
        (api.check("k").limit(0), "limit must be from 1 to 10000"),
        (
            api.consume("k").limits([1, 2]),
            "limits must be one for each policy",
        ),
        (
            api.clone().action("a:b").consume("k"),
            "action may contain only letters, digits and `_ . / -`",
        ),
        (
            fleet.limiter("a:b", &good).consume("k"),
            "limiter may contain only letters, digits and `_ . / -`",
        ),
        (
            fleet.limiter("api", &zero).consume("k"),
            "window must be from 1 ms to 366 days",
        ),
        (
            fleet.limiter("api", Vec::new()).consume("k"),
            "policies must be from 1 to 4",
        ),
    ] {
        let error = request.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(error.message(), Some(rule));
    }
    for (at, cost, rule) in [
        (0, 0, "cost must be at least 1"),
        (
            0,
            u64::MAX,
            "cost must be at most 5, which is all that is ever allowed",
        ),
        (u64::MAX, 1, "receipt must be one that was given"),
    ] {
        let forged = Receipt::new(Micros::new(at), cost);
        let error = api.refund("k", forged).await.unwrap_err();
        assert_eq!(error.message(), Some(rule));
    }
    let batches = api.clone().local(6).consume("k").await.unwrap_err();
    let rule = "batch must be from 2 to the least limit of the policies";
    assert_eq!(batches.message(), Some(rule));
    let blocks = api.clone().block_for(Duration::MAX).consume("k").await;
    let rule = "block_for must be at most 366 days";
    assert_eq!(blocks.unwrap_err().message(), Some(rule));
    let exports = fleet.concurrency("exports", 1);
    for (entry, rule) in [
        (
            fleet.concurrency("exports", 0).enter("k"),
            "limit must be from 1 to 10000",
        ),
        (exports.enter(""), "key must not be empty"),
        (
            exports.enter("k").lease(Duration::ZERO),
            "lease must be from 10 ms to 30 days",
        ),
    ] {
        assert_eq!(entry.await.unwrap_err().message(), Some(rule));
    }
    let error = api.block("k", Duration::MAX).await.unwrap_err();
    assert_eq!(error.message(), Some("time must be at most 366 days"));
    assert_eq!(left(&api, "k").await, 5);
}
