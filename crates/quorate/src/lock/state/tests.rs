use proptest::prelude::*;

use super::*;

const LENGTH: Duration = Duration::from_secs(1);

fn lease(number: u128) -> LeaseId {
    LeaseId::parse(&format!("{number:032x}")).unwrap()
}

fn ask(number: u128) -> Ask {
    Ask::new(lease(number), LENGTH)
}

fn waiting(number: u128) -> Ask {
    Ask {
        wait: true,
        ..ask(number)
    }
}

fn at(millis: u64) -> Micros {
    Micros::new(1_000_000_000 + millis * 1_000)
}

fn token(reply: AcquireReply) -> FencingToken {
    match reply {
        AcquireReply::Acquired { token } => token,
        other => panic!("it is free: {other:?}"),
    }
}

/// The waiters to whom news grant something, in order.
fn granted(news: &[News]) -> Vec<WaiterId> {
    let granted = news.iter().filter_map(|it| match it {
        News::Granted { waiter, .. } => Some(*waiter),
        _ => None,
    });
    granted.collect()
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(u8, u32, u16, bool, bool),
    Extend(u8, u16),
    Release(u8),
    Force(Option<u8>),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_u8, 1..4_u32, 1..5_000_u16, any::<bool>(), proptest::bool::weighted(0.3))
            .prop_map(|(who, weight, length, wait, again)| Step::Acquire(who, weight, length, wait, again)),
        2 => (0..5_u8, 1..5_000_u16).prop_map(|(who, length)| Step::Extend(who, length)),
        2 => (0..5_u8).prop_map(Step::Release),
        1 => proptest::option::of(0..5_u8).prop_map(Step::Force),
        2 => (0..4_000_u16).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// Never more than there is, by what holders were told; tokens only grow; bounds are bounds; and a free lock with
    /// somebody alive in front of it does not stay free.
    #[test]
    fn one_holder_and_growing_tokens(capacity in 1..4_u32, steps in steps()) {
        let mut state = LockState::default();
        let mut now = at(0);
        let mut last = 0;
        let millis = |millis: u16| Duration::from_millis(millis.into());
        let mut tokens = [None; 5];
        for step in steps {
            let before = state.clone();
            let mut acquired = None;
            let news = match step {
                Step::Wait(pause) => {
                    now = now.plus(millis(pause));
                    Vec::new()
                }
                Step::Acquire(who, weight, length, wait, again) => {
                    let ask = Ask {
                        weight: weight.min(capacity),
                        capacity,
                        owner: format!("owner {}", who % 2),
                        reentrant: again,
                        wait,
                        ..Ask::new(lease(who.into()), millis(length))
                    };
                    let (reply, news) = state.acquire(now, &ask);
                    if let AcquireReply::Acquired { token } = reply {
                        tokens[usize::from(who)] = Some(token);
                        acquired = Some(token);
                    }
                    news
                }
                Step::Extend(who, length) => {
                    let (extended, news) = state.extend(now, lease(who.into()), millis(length));
                    prop_assert_eq!(extended, state.position(lease(who.into())).is_some());
                    news
                }
                Step::Release(who) => state.release(now, lease(who.into())).1,
                Step::Force(who) => {
                    let token = who.and_then(|who| tokens[usize::from(who)]);
                    state.force(now, token).1
                }
            };
            for it in &news {
                if let News::Granted { token, .. } | News::Acquired { token } = it {
                    let shared = before.holders.iter().chain(&state.holders)
                        .filter(|holder| holder.token == *token && holder.reentrant);
                    prop_assert!(token.get() > last || shared.count() > 1, "{it:?} after {last}");
                    last = last.max(token.get());
                }
            }
            if let Some(token) = acquired {
                prop_assert!(token.get() <= last, "told without being news");
            }
            let held = state.holders.iter().filter(|holder| holder.ends > now);
            let mut owners = BTreeSet::new();
            let weight: u32 = held.clone()
                .filter(|holder| !holder.reentrant || owners.insert(holder.owner.clone()))
                .map(|holder| holder.weight)
                .sum();
            prop_assert!(weight <= capacity, "{weight} of {capacity}: {state:?}");
            prop_assert!(held.clone().all(|holder| state.soonest <= holder.ends));
            prop_assert!(state.holders.iter().all(|holder| holder.ends <= state.latest));
            if !matches!(step, Step::Wait(_)) && state.holders.is_empty() {
                prop_assert!(state.queue.is_empty(), "it is free: {state:?}");
            }
        }
    }
}

#[test]
fn a_repeated_request_gives_the_first_answer() {
    let mut state = LockState::default();
    let (first, _) = state.acquire(at(0), &ask(1));
    assert_eq!(state.acquire(at(0), &ask(1)).0, first);
    assert!(state.release(at(0), lease(1)).0);
    assert!(state.release(at(0), lease(1)).0);
    assert!(!state.release(at(0), lease(2)).0);
}

#[test]
fn a_token_grows_even_when_the_clock_goes_back() {
    let mut state = LockState::default();
    let before = token(state.acquire(at(1_000), &ask(1)).0);
    state.release(at(1_000), lease(1));
    let after = token(state.acquire(at(0), &ask(2)).0);
    assert_eq!(after.get(), before.get() + 1);
}

#[test]
fn waiters_are_granted_the_lock_in_order() {
    let mut state = LockState::default();
    let first = token(state.acquire(at(0), &ask(1)).0);
    for (number, ahead) in [(2, 0), (3, 1)] {
        let (reply, news) = state.acquire(at(10), &waiting(number));
        let remaining = Duration::from_millis(990);
        let last = first;
        let queued = AcquireReply::Queued {
            ahead,
            remaining,
            last,
        };
        assert_eq!((reply, news), (queued, Vec::new()));
    }
    // Nobody passes them.
    assert!(matches!(
        state.acquire(at(20), &ask(4)).0,
        AcquireReply::Held { .. }
    ));
    let (released, news) = state.release(at(30), lease(1));
    assert!(released);
    assert_eq!(granted(&news), [lease(2).into()]);
    assert!(matches!(
        state.acquire(at(40), &ask(4)).0,
        AcquireReply::Held { .. }
    ));
    let (_, news) = state.release(at(50), lease(2));
    assert_eq!(granted(&news), [lease(3).into()]);
}

#[test]
fn a_grant_lasts_for_a_heartbeat_until_it_is_confirmed() {
    let long = |number| Ask {
        length: HEARTBEAT * 10,
        ..waiting(number)
    };
    let mut state = LockState::default();
    let _ = state.acquire(at(0), &ask(1));
    let _ = state.acquire(at(0), &long(2));
    let _ = state.release(at(1), lease(1));
    let remaining = |state: &LockState| state.look(at(1)).holders[0].remaining;
    assert_eq!(remaining(&state), HEARTBEAT);
    let mut confirmed = state.clone();
    assert!(confirmed.extend(at(1), lease(2), HEARTBEAT * 10).0);
    assert_eq!(remaining(&confirmed), HEARTBEAT * 10);
    let mut asked = state.clone();
    let _ = asked.acquire(at(1), &long(2));
    assert_eq!(remaining(&asked), HEARTBEAT * 10);
    // Not confirmed, it is somebody else's turn.
    assert!(!state.extend(at(3_001), lease(2), LENGTH).0);
    assert!(matches!(
        state.acquire(at(3_001), &ask(3)).0,
        AcquireReply::Acquired { .. }
    ));
}

#[test]
fn a_dead_waiter_is_passed_over() {
    let mut state = LockState::default();
    let holder = Ask {
        length: HEARTBEAT * 10,
        ..ask(1)
    };
    let _ = state.acquire(at(0), &holder);
    let _ = state.acquire(at(0), &waiting(2));
    let _ = state.acquire(at(2_000), &waiting(3));
    let (_, news) = state.release(at(4_000), lease(1));
    assert_eq!(granted(&news), [lease(3).into()]);
}

#[test]
fn asking_again_keeps_the_place() {
    let mut state = LockState::default();
    let holder = Ask {
        length: HEARTBEAT * 10,
        ..ask(1)
    };
    let _ = state.acquire(at(0), &holder);
    for moment in [0, 2_000, 4_000, 6_000] {
        for (number, place) in [(2, 0), (3, 1)] {
            let (reply, _) = state.acquire(at(moment), &waiting(number));
            assert!(matches!(reply, AcquireReply::Queued { ahead, .. } if ahead == place));
        }
    }
    let (_, news) = state.release(at(7_000), lease(1));
    assert_eq!(granted(&news), [lease(2).into()]);
}

#[test]
fn who_no_longer_waits_is_not_granted_anything() {
    let mut state = LockState::default();
    let _ = state.acquire(at(0), &ask(1));
    let _ = state.acquire(at(0), &waiting(2));
    let _ = state.acquire(at(0), &waiting(3));
    assert!(matches!(
        state.acquire(at(1), &ask(2)).0,
        AcquireReply::Held { .. }
    ));
    assert!(!state.release(at(2), lease(3)).0);
    assert_eq!(granted(&state.release(at(3), lease(1)).1), []);
}

#[test]
fn a_waiting_writer_holds_back_later_readers() {
    let shared = |number, weight| Ask {
        weight,
        capacity: 100,
        ..waiting(number)
    };
    let mut state = LockState::default();
    let _ = token(state.acquire(at(0), &shared(1, 1)).0);
    let _ = token(state.acquire(at(0), &shared(2, 1)).0);
    for (number, weight) in [(3, 100), (4, 1), (5, 1)] {
        let (reply, _) = state.acquire(at(0), &shared(number, weight));
        assert!(matches!(reply, AcquireReply::Queued { .. }));
    }
    assert_eq!(granted(&state.release(at(1), lease(1)).1), []);
    assert_eq!(
        granted(&state.release(at(2), lease(2)).1),
        [lease(3).into()]
    );
    let readers = [lease(4).into(), lease(5).into()];
    // A writer that gives up lets them in as well.
    let mut given_up = state.clone();
    assert_eq!(granted(&given_up.release(at(3), lease(3)).1), readers);
}

#[test]
fn holders_of_one_owner_hold_it_together() {
    let again = |number| Ask {
        owner: "request 7".to_owned(),
        reentrant: true,
        ..ask(number)
    };
    let mut state = LockState::default();
    let outer = token(state.acquire(at(0), &again(1)).0);
    let _ = state.acquire(at(0), &waiting(9));
    assert_eq!(token(state.acquire(at(1), &again(2)).0), outer);
    // Somebody of the same name who did not ask for that waits like others.
    let namesake = Ask {
        reentrant: false,
        ..again(3)
    };
    assert!(matches!(
        state.acquire(at(1), &namesake).0,
        AcquireReply::Held { .. }
    ));
    assert_eq!(granted(&state.release(at(2), lease(1)).1), []);
    assert_eq!(
        granted(&state.release(at(3), lease(2)).1),
        [lease(9).into()]
    );
}

#[test]
fn what_is_taken_away_goes_to_whose_turn_it_is() {
    let mut state = LockState::default();
    let held = token(state.acquire(at(0), &ask(1)).0);
    let _ = state.acquire(at(0), &waiting(2));
    assert_eq!(state.force(at(1), Some(FencingToken::new(1))).0, []);
    let (tokens, news) = state.force(at(1), Some(held));
    assert_eq!(tokens, [held]);
    assert_eq!(news[0], News::Forced { tokens: vec![held] });
    assert_eq!(granted(&news), [lease(2).into()]);
    // Told again, it does not touch the next one.
    assert_eq!(state.force(at(2), Some(held)), (vec![held], Vec::new()));
    assert!(!state.extend(at(2), lease(1), LENGTH).0);
    assert_eq!(state.force(at(2), None).0.len(), 1);
    assert_eq!(state.force(at(2), None), (Vec::new(), Vec::new()));
}

#[test]
fn the_queue_has_an_end() {
    let mut state = LockState::default();
    let _ = state.acquire(at(0), &ask(0));
    for number in 1..=MOST_WAITERS {
        let (reply, _) = state.acquire(at(0), &waiting(number as u128));
        assert!(matches!(reply, AcquireReply::Queued { .. }));
    }
    let (reply, _) = state.acquire(at(0), &waiting(u128::MAX));
    assert_eq!(reply, AcquireReply::QueueFull);
    // Who is in it still may ask.
    let (reply, _) = state.acquire(at(0), &waiting(MOST_WAITERS as u128));
    assert!(matches!(reply, AcquireReply::Queued { .. }));
}

/// A lock that is held for long, the first of so many who wait, and the others, who die.
fn crowd(waiters: usize) -> LockState {
    let mut state = LockState::default();
    let _ = state.acquire(at(0), &long(0));
    for number in 1..=waiters {
        let _ = state.acquire(at(0), &waiting(number as u128));
    }
    state
}

fn long(number: u128) -> Ask {
    Ask {
        length: HEARTBEAT * 10,
        ..ask(number)
    }
}

#[test]
fn who_died_behind_a_live_waiter_is_not_counted() {
    let mut state = crowd(MOST_WAITERS);
    let first = |state: &mut LockState, moment| state.acquire(at(moment), &waiting(1)).0;
    let _ = first(&mut state, 2_000);
    assert_eq!(state.look(at(2_000)).waiting, MOST_WAITERS as u64);
    assert_eq!(state.look(at(4_000)).waiting, 1);
    // So many in each transition.
    let _ = first(&mut state, 4_000);
    assert_eq!(state.queue.len(), MOST_WAITERS - MOST_COLLECTED);
    let (reply, _) = state.acquire(at(4_000), &waiting(u128::MAX));
    assert!(matches!(reply, AcquireReply::Queued { .. }), "{reply:?}");
    for _ in 0..MOST_WAITERS / MOST_COLLECTED {
        let _ = first(&mut state, 4_000);
    }
    let (reply, _) = state.acquire(at(4_000), &waiting(u128::MAX));
    assert!(matches!(reply, AcquireReply::Queued { ahead: 1, .. }));
    assert_eq!((state.queue.len(), state.alive.len()), (2, 2));
}

#[test]
fn the_dead_in_front_keep_nobody_waiting() {
    let mut state = crowd(MOST_WAITERS - 1);
    let last = lease(MOST_WAITERS as u128);
    let _ = state.acquire(at(2_000), &waiting(MOST_WAITERS as u128));
    let (_, news) = state.release(at(4_000), lease(0));
    assert_eq!(granted(&news), [last.into()]);
    assert!(state.queue.is_empty() && state.alive.is_empty());
}

#[test]
fn a_clock_that_is_set_back_keeps_no_lease_for_longer_than_that() {
    let mut state = crowd(1);
    let _ = state.acquire(at(3_600_000), &ask(5));
    let _ = state.acquire(at(3_600_000), &waiting(6));
    let shown = state.look(at(0)).holders[0].remaining;
    assert_eq!(shown, LENGTH);
    let (reply, _) = state.acquire(at(0), &ask(7));
    assert!(matches!(reply, AcquireReply::Held { remaining } if remaining == LENGTH));
    // It was noticed once: what ends now is what was said then.
    let (reply, news) = state.acquire(at(1_000), &ask(7));
    assert!(matches!(reply, AcquireReply::Held { .. }));
    assert_eq!(granted(&news), [lease(6).into()]);
    // Who waited is gone as well.
    let mut dead = crowd(0);
    let _ = dead.acquire(
        at(3_600_000),
        &Ask {
            length: LENGTH * 7,
            ..ask(5)
        },
    );
    let _ = dead.acquire(at(3_600_000), &waiting(6));
    let _ = dead.acquire(at(0), &ask(7));
    let (_, news) = dead.acquire(at(7_000), &ask(7));
    assert!(matches!(news[..], [News::Acquired { .. }]), "{news:?}");
}

#[test]
fn who_holds_it_is_told_what_others_do_to_its_lease() {
    let mut state = LockState::default();
    let holder = WaiterId::from(lease(1));
    let _ = state.acquire(at(0), &long(1));
    assert_eq!(state.extend(at(10), lease(1), HEARTBEAT * 10).1, []);
    let shortened = [News::Shortened { holder }];
    assert_eq!(state.extend(at(20), lease(1), HEARTBEAT).1, shortened);
    assert_eq!(state.acquire(at(30), &ask(1)).1, shortened);
    let mut soon = state.clone();
    let ended = News::Ended { holder };
    assert!(!soon.release(at(499), lease(1)).1.contains(&ended));
    assert!(state.release(at(500), lease(1)).1.contains(&ended));
}
