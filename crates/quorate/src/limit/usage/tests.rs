use super::*;
use crate::limit::policy::{Algorithm, Policy};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;

/// When, µs after the one before, and how much.
fn requests() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![
        4 => 0..SECOND / 4,
        2 => 0..SECOND * 3,
        1 => Just(0),
        1 => Just(SECOND),
        1 => 0..SECOND * 20,
    ];
    proptest::collection::vec((pause, 1..4_u64), 1..120)
}

fn policies() -> impl Strategy<Value = Policy> {
    (0..4_u8, 3..12_u64, 200..3000_u64, 3..20_u64).prop_map(|(kind, limit, millis, burst)| {
        let window = Duration::from_millis(millis);
        match kind {
            0 => Policy::fixed_window(limit, window),
            1 => Policy::sliding_counter(limit, window),
            2 => Policy::sliding_log(limit, window),
            _ => Policy::token_bucket(limit, window).burst(burst),
        }
    })
}

/// Every request that was allowed: when, and its cost.
#[derive(Default)]
struct Model(Vec<(u64, u64)>);

impl Model {
    fn within(&self, from: u64, to: u64) -> u64 {
        let inside = self.0.iter().filter(|(at, _)| (from..=to).contains(at));
        inside.map(|(_, cost)| cost).sum()
    }

    /// Whether a policy allows so much at `now`, by its definition and all that was ever allowed.
    fn allows(&self, rate: &Rate, now: u64, cost: u64) -> bool {
        match rate.algorithm {
            Algorithm::SlidingLog => {
                let from = (now + 1).saturating_sub(rate.window);
                self.within(from, now) + cost <= rate.capacity
            }
            Algorithm::FixedWindow => {
                let mut start = None;
                for (at, _) in &self.0 {
                    if start.is_none_or(|start| start + rate.window <= *at) {
                        start = Some(*at);
                    }
                }
                match start {
                    Some(start) if now < start + rate.window => {
                        self.within(start, now) + cost <= rate.capacity
                    }
                    _ => cost <= rate.capacity,
                }
            }
            Algorithm::TokenBucket => {
                // GCRA with its theoretical arrival time, in token parts of a microsecond.
                let scaled = |micros: u64| u128::from(micros) * u128::from(rate.drained);
                let token = u128::from(rate.token);
                let mut arrival = 0;
                for (at, cost) in &self.0 {
                    arrival = arrival.max(scaled(*at)) + u128::from(*cost) * token;
                }
                let next = arrival.max(scaled(now)) + u128::from(cost) * token;
                next <= scaled(now) + u128::from(rate.capacity) * token
            }
            Algorithm::SlidingCounter => unreachable!("has a bound instead"),
        }
    }
}

fn take(tallies: &mut Tallies, now: u64, rate: Rate, cost: u64) -> Verdict {
    tallies.take(Micros::new(now), &[rate], Charge::of(cost))
}

proptest! {
    /// Neither too many nor too few, request by request, by a model that remembers all of them.
    #[test]
    fn exact_policies_allow_what_the_model_allows(policy in policies(), requests in requests()) {
        let rate = policy.rate().unwrap();
        prop_assume!(rate.algorithm != Algorithm::SlidingCounter);
        let (mut tallies, mut model) = (Tallies::default(), Model::default());
        let mut now = 1_700_000_000 * SECOND;
        for (pause, cost) in requests {
            now += pause;
            let allowed = take(&mut tallies, now, rate, cost).is_allowed();
            prop_assert_eq!(allowed, model.allows(&rate, now, cost));
            if allowed {
                model.0.push((now, cost));
            }
        }
    }

    /// Whatever comes: at most a limit in a window that begins at a multiple of its length, and less than twice that in any.
    #[test]
    fn a_counter_is_within_its_bound(
        limit in 2..12_u64, millis in 200..3000_u64, requests in requests(),
    ) {
        let rate = Policy::sliding_counter(limit, Duration::from_millis(millis)).rate().unwrap();
        let (mut tallies, mut model) = (Tallies::default(), Model::default());
        let mut now = 1_700_000_000 * SECOND;
        for (pause, cost) in requests {
            now += pause;
            let cost = cost.min(limit);
            let aligned = now - now % rate.window;
            let (this, before) = (
                model.within(aligned, now),
                model.within(aligned - rate.window, aligned - 1),
            );
            let allowed = take(&mut tallies, now, rate, cost).is_allowed();
            let exact = model.within(now + 1 - rate.window, now);
            // It is off by less than what the window before had.
            if allowed {
                prop_assert!(exact + cost < limit + before.max(1));
                model.0.push((now, cost));
            } else {
                prop_assert!(exact + cost + before > limit);
                prop_assert!(this + before + cost > limit);
            }
            prop_assert!(model.within(aligned, now) <= limit);
            prop_assert!(model.within(now + 1 - rate.window, now) < 2 * limit);
        }
    }

    /// In any time, at most the burst and what came back meanwhile.
    #[test]
    fn a_bucket_allows_its_rate(limit in 1..9_u64, burst in 3..9_u64, requests in requests()) {
        let rate = Policy::token_bucket(limit, Duration::from_secs(1)).burst(burst).rate().unwrap();
        let (mut tallies, mut model) = (Tallies::default(), Model::default());
        let mut now = 1_700_000_000 * SECOND;
        for (pause, cost) in requests {
            now += pause;
            if take(&mut tallies, now, rate, cost).is_allowed() {
                model.0.push((now, cost));
            }
        }
        for (from, _) in &model.0 {
            for (to, _) in model.0.iter().filter(|(to, _)| to >= from) {
                let came_back = limit * (to - from) / SECOND;
                prop_assert!(model.within(*from, *to) <= burst + came_back);
            }
        }
    }

    /// A refusal tells the time after which the same request is allowed; for what is counted exactly, not one
    /// microsecond too long.
    #[test]
    fn after_the_wait_it_is_allowed(policy in policies(), requests in requests(), cost in 1..4_u64) {
        let rate = policy.rate().unwrap();
        let mut tallies = Tallies::default();
        let mut now = 1_700_000_000 * SECOND;
        for (pause, cost) in requests {
            now += pause;
            let _ = take(&mut tallies, now, rate, cost);
        }
        let ask = |at: u64| {
            let verdict = tallies.clone().look(Micros::new(at), &[rate], cost);
            verdict.standings()[0].retry_after
        };
        if let Some(wait) = ask(now) {
            let then = now + u64::try_from(wait.as_micros()).unwrap();
            prop_assert_eq!(ask(then), None);
            if rate.algorithm != Algorithm::SlidingCounter {
                prop_assert!(ask(then - 1).is_some());
            }
        }
    }

    /// After it is taken back, a request leaves no more room than if it had never been made; at once, just as much.
    #[test]
    fn taking_back_gives_no_more_than_was_taken(
        policy in policies(), requests in requests(), which in 0..100_usize, later in 0..SECOND * 3,
    ) {
        let rate = policy.rate().unwrap();
        let (mut with, mut without) = (Tallies::default(), Tallies::default());
        let mut now = 1_700_000_000 * SECOND;
        let which = which % requests.len();
        let mut taken = None;
        for (number, (pause, cost)) in requests.into_iter().enumerate() {
            now += pause;
            // A fixed window of which the first request was never made would begin later.
            let first = with == Tallies::default() || rate.algorithm == Algorithm::FixedWindow
                && with.look(Micros::new(now), &[rate], 0).standings()[0].remaining == rate.capacity;
            let verdict = take(&mut with, now, rate, cost);
            if !verdict.is_allowed() {
                continue;
            }
            if number >= which && taken.is_none() && !first {
                taken = Some((verdict.at, cost));
                let mut at_once = with.clone();
                prop_assert!(at_once.give_back(verdict.at, &[rate], verdict.at, cost));
                let left = |tallies: &mut Tallies| {
                    tallies.look(Micros::new(now), &[rate], 0).standings()[0].remaining
                };
                prop_assert_eq!(left(&mut at_once), left(&mut without));
            } else if rate.algorithm != Algorithm::FixedWindow {
                prop_assert!(take(&mut without, now, rate, cost).is_allowed());
            } else {
                let _ = take(&mut without, now, rate, cost);
            }
        }
        now += later;
        if let Some((at, cost)) = taken {
            with.give_back(Micros::new(now), &[rate], at, cost);
            let left = |tallies: &mut Tallies| {
                tallies.look(Micros::new(now), &[rate], 0).standings()[0].remaining
            };
            prop_assert!(left(&mut with) <= left(&mut without));
        }
    }

    /// Of several policies, one that refuses keeps all the others from counting.
    #[test]
    fn all_policies_count_or_none(
        policies in proptest::collection::vec(policies(), 2..4), requests in requests(),
    ) {
        let rates: Vec<_> = policies.iter().map(|policy| policy.rate().unwrap()).collect();
        let mut tallies = Tallies::default();
        let mut now = 1_700_000_000 * SECOND;
        for (pause, cost) in requests {
            now += pause;
            let mut before = tallies.clone();
            let verdict = tallies.take(Micros::new(now), &rates, Charge::of(cost));
            if !verdict.is_allowed() {
                // As if it had only been looked at.
                before.look(Micros::new(now), &rates, cost);
                prop_assert_eq!(&before, &tallies);
            }
        }
    }
}

/// Requests that come evenly, more than are allowed: how far from the limit the counter is, over any window.
#[test]
fn a_counter_is_near_its_limit_when_requests_come_evenly() {
    let limit = 100;
    let rate = Policy::sliding_counter(limit, Duration::from_secs(60))
        .rate()
        .unwrap();
    let (mut tallies, mut model) = (Tallies::default(), Model::default());
    let start = 1_700_000_000 * SECOND;
    let (mut most, mut least) = (0, u64::MAX);
    for number in 0..60 * 20 * 4 {
        let now = start + number * SECOND / 4;
        if take(&mut tallies, now, rate, 1).is_allowed() {
            model.0.push((now, 1));
        }
        if now > start + 3 * rate.window {
            let within = model.within(now + 1 - rate.window, now);
            (most, least) = (most.max(within), least.min(within));
        }
    }
    assert!(
        most <= limit + limit / 4 && least >= limit - limit / 4,
        "{least} to {most} of {limit}"
    );
}

/// Defect 6 of the register: tokens that come back in parts were lost, and a bucket that is asked often starved.
#[test]
fn defect_06_a_bucket_that_is_asked_often_does_not_starve() {
    let rate = Policy::token_bucket(1, Duration::from_secs(1))
        .rate()
        .unwrap();
    let mut tallies = Tallies::default();
    let mut granted = 0;
    // Every 100 ms, for 10 s: each question sees a tenth of a token more.
    for number in 0..=100 {
        let now = 1_700_000_000 * SECOND + number * 100_000;
        granted += u64::from(take(&mut tallies, now, rate, 1).is_allowed());
    }
    assert_eq!(granted, 11);
}

/// A clock that goes back takes no tokens away, and gives none.
#[test]
fn a_clock_that_goes_back_a_little_stands_still() {
    for policy in [
        Policy::fixed_window(2, Duration::from_secs(10)),
        Policy::sliding_counter(2, Duration::from_secs(10)),
        Policy::sliding_log(2, Duration::from_secs(10)),
        Policy::token_bucket(2, Duration::from_secs(10)),
    ] {
        let rate = policy.rate().unwrap();
        let mut tallies = Tallies::default();
        let now = 1_700_000_000 * SECOND;
        assert!(take(&mut tallies, now, rate, 1).is_allowed());
        let second = take(&mut tallies, now - 3 * SECOND, rate, 1);
        assert!(second.is_allowed());
        assert_eq!(second.at.get(), now);
        assert!(!take(&mut tallies, now - 3 * SECOND, rate, 1).is_allowed());
        // So far back that waiting for it would take longer than any of this lasts.
        let verdict = take(&mut tallies, now - 3600 * SECOND, rate, 1);
        assert!(verdict.is_allowed());
        assert_eq!(verdict.standings()[0].remaining, 1);
    }
}

#[test]
fn a_block_refuses_and_keeps_what_was_counted() {
    let rate = Policy::sliding_log(2, Duration::from_secs(10))
        .rate()
        .unwrap();
    let mut tallies = Tallies::default();
    let now = Micros::new(1_700_000_000 * SECOND);
    let second = Duration::from_secs(1);
    assert!(tallies.take(now, &[rate], Charge::of(1)).is_allowed());
    tallies.block(now, second);
    let verdict = tallies.take(now, &[rate], Charge::of(1));
    assert_eq!(
        (verdict.is_allowed(), verdict.blocked),
        (false, Some(second))
    );
    assert_eq!(tallies.needed_until(), now.plus(second * 10));
    assert!(
        tallies
            .take(now.plus(second), &[rate], Charge::of(1))
            .is_allowed()
    );
    assert!(
        !tallies
            .take(now.plus(second), &[rate], Charge::of(1))
            .is_allowed()
    );
}
