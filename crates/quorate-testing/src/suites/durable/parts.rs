//! Loops, and parts that go on at the same time.

use std::time::Duration;

use quorate::{Cx, Either, Failure, Signal, Workflow};

use super::{AT_ONCE, Count, HOUR, SECOND, TEXT, Told, result, work};
use crate::harness::Home;

/// The package before this one stopped at the eleventh item of a loop.
pub async fn loops_are_as_long_as_they_are(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, friends: u32| {
            let (told, died) = (steps.clone(), died.clone());
            async move {
                for friend in 0..friends {
                    let name = format!("notify-friend-{friend}");
                    cx.step(name.clone(), || told.step(format!("{friends} {name}")))
                        .await?;
                    if friend == 10 {
                        assert!(died.more() % 2 == 0, "it dies");
                    }
                }
                for friend in 0..friends {
                    cx.step("same name", || {
                        told.step(format!("{friends} again {friend}"))
                    })
                    .await?;
                }
                Ok(friends.to_string())
            }
        });
    let working = work(working.build().unwrap());
    for friends in [10, 11, 12, 100] {
        let before = told.all().len();
        let run = working
            .runs
            .start(&TEXT, format!("{friends}"), &friends)
            .await
            .unwrap();
        assert_eq!(result(&run).await, friends.to_string());
        let names = (0..friends).map(|friend| format!("{friends} notify-friend-{friend}"));
        let again = (0..friends).map(|friend| format!("{friends} again {friend}"));
        let all: Vec<_> = names.chain(again).collect();
        assert_eq!(told.all()[before..], all);
    }
    working.stop().await;
}

/// `a`, `ab`, `a-1`, `a-10`: one of them is done twice if names are compared by how they begin.
pub async fn names_that_begin_alike_are_not_one(home: Home) {
    const NAMES: [&str; 7] = ["a", "ab", "a-1", "a-10", "a", "func1", "func10"];
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, died) = (steps.clone(), died.clone());
        async move {
            let mut all = Vec::new();
            for (place, name) in NAMES.into_iter().enumerate() {
                all.push(cx.step(name, || told.step(name)).await?);
                assert!(died.more() as usize > place, "it dies");
            }
            Ok(format!("{all:?}"))
        }
    });
    const ALIKE: Workflow<u32, String> = Workflow::new("text-1");
    let alike = working.register(&ALIKE, async |_, _| Ok("another".to_owned()));
    let working = work(alike.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    let longer = working.runs.start(&TEXT, "run-1", &0).await.unwrap();
    let other = working.runs.start(&ALIKE, "run", &0).await.unwrap();
    assert_eq!(result(&other).await, "another");
    result(&run).await;
    result(&longer).await;
    let mut all = told.all();
    all.sort_unstable();
    let mut twice: Vec<_> = NAMES.iter().chain(&NAMES).collect();
    twice.sort_unstable();
    assert_eq!(all.iter().collect::<Vec<_>>(), twice);
    working.stop().await;
}

/// Each part is done once, and so is what comes behind, whoever is done first.
pub async fn what_is_joined_goes_on_once(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, number: u32| {
            let (told, died) = (steps.clone(), died.clone());
            async move {
                let slow = cx.step("slow", || async {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    told.step("slow").await
                });
                let quick = cx.step("quick", || told.step("quick"));
                let (quick, slow) = match number {
                    0 => cx.join(quick, slow).await?,
                    _ => {
                        let (slow, quick) = cx.join(slow, quick).await?;
                        (quick, slow)
                    }
                };
                let three = cx.join3(
                    cx.step("one", || told.step("one")),
                    cx.step("two", || told.step("two")),
                    cx.step("three", || told.step("three")),
                );
                three.await?;
                let many = (0..5).map(|nth| {
                    let told = told.clone();
                    cx.step("many", move || told.clone().many(nth))
                });
                let many = cx.join_all(many).await?;
                cx.step("behind", || told.step("behind")).await?;
                assert!(died.more() % 2 == 0, "it dies");
                Ok(format!("{quick} {slow} {many:?}"))
            }
        });
    let working = work(working.build().unwrap());
    for number in [0, 1] {
        let before = told.all().len();
        let run = working
            .runs
            .start(&TEXT, format!("{number}"), &number)
            .await
            .unwrap();
        let (quick, slow) = (before + 1, before + 2);
        assert_eq!(
            result(&run).await,
            format!("{quick} {slow} [0, 1, 2, 3, 4]")
        );
        let mut all = told.all()[before..].to_vec();
        assert_eq!(all.pop().unwrap(), "behind");
        all.sort_unstable();
        let once = ["many 0", "many 1", "many 2", "many 3", "many 4"];
        let once: Vec<_> = once
            .into_iter()
            .chain(["one", "quick", "slow", "three", "two"])
            .collect();
        assert_eq!(all, once);
    }
    working.stop().await;
}

impl Told {
    async fn many(self, nth: u32) -> Result<u32, Failure> {
        self.step(format!("many {nth}")).await?;
        Ok(nth)
    }
}

/// Two parts with steps of the same names, one of which is quicker each time.
pub async fn scopes_do_not_know_of_each_other(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let (told, died) = (steps.clone(), died.clone());
        async move {
            let nth = died.more();
            let part = |name: &'static str, turn: u32| {
                let told = told.clone();
                cx.scope(name, move |cx| async move {
                    for _ in 0..3 {
                        if nth % 2 == turn {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        cx.step("same", || told.step(name)).await?;
                        assert!(nth != turn + 1 || cx.is_replaying(), "it dies");
                    }
                    Ok(name)
                })
            };
            let (left, right) = cx.join(part("left", 0), part("right", 1)).await?;
            Ok(format!("{left} {right}"))
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert_eq!(result(&run).await, "left right");
    let mut all = told.all();
    all.sort_unstable();
    assert_eq!(all, ["left", "left", "left", "right", "right", "right"]);
    working.stop().await;
}

/// Each item has a scope of its own, by its place, and comes out at its place.
pub async fn a_list_is_done_some_at_a_time(home: Home) {
    let (told, died, most) = (Told::default(), Count::default(), Count::default());
    let (steps, peak) = (told.clone(), most.clone());
    let working = home
        .fleet()
        .durable()
        .register(&TEXT, move |cx: Cx, items: u32| {
            let (told, died, peak) = (steps.clone(), died.clone(), peak.clone());
            async move {
                let running = std::sync::atomic::AtomicU32::new(0);
                let each = cx.map("each", 0..items, |cx, item| {
                    let (told, running, peak) = (&told, &running, &peak);
                    async move {
                        let first = cx.step("first", || async {
                            let now = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                            while peak.get() < now {
                                peak.more();
                            }
                            tokio::time::sleep(Duration::from_millis(u64::from(item % 3))).await;
                            running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            told.step(format!("{item:04} first")).await
                        });
                        first.await?;
                        cx.step("second", || told.step(format!("{item:04} second")))
                            .await?;
                        Ok(item * 2)
                    }
                });
                let doubled = each.concurrency(7).await?;
                assert!(died.more() > 1, "it dies");
                assert_eq!(doubled, (0..items).map(|it| it * 2).collect::<Vec<_>>());
                let none = cx
                    .map("none", Vec::<u32>::new(), async |_, it| Ok(it))
                    .await?;
                let failure = cx.map("some fail", 0..4_u32, async |cx: Cx, it| {
                    let fails = cx.step("odd", async || match it % 2 {
                        1 => Err(Failure::fatal(it.to_string())),
                        _ => Ok(it),
                    });
                    fails.await
                });
                let failure = failure.await.unwrap_err();
                Ok(format!("{} {} {failure}", doubled.len(), none.len()))
            }
        });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &200).await.unwrap();
    assert_eq!(result(&run).await, "200 0 1");
    let mut all = told.all();
    all.sort_unstable();
    let once = (0..200).flat_map(|it| [format!("{it:04} first"), format!("{it:04} second")]);
    assert_eq!(all, once.collect::<Vec<_>>());
    assert!((2..=7).contains(&most.get()), "{}", most.get());
    working.stop().await;
}

/// Although the other would be first when it is replayed.
pub async fn what_was_first_is_first_again(home: Home) {
    let died = Count::default();
    let working = home.fleet().durable().register(&TEXT, move |cx: Cx, _| {
        let died = died.clone();
        async move {
            let nth = died.more();
            let after = |time: u32| async move {
                tokio::time::sleep(Duration::from_millis(u64::from(time))).await;
                Ok::<_, Failure>(time)
            };
            // The first time the right one is quicker, then the left one.
            let left = cx.step("left", || after(if nth == 1 { 60_000 } else { 0 }));
            let right = cx.step("right", || after(1));
            let first = match cx.select(left, right).await? {
                Either::Left(_) => "left",
                Either::Right(_) => "right",
            };
            let timer = cx.select(cx.sleep("long", HOUR), cx.sleep("short", SECOND / 100));
            let second = match timer.await? {
                Either::Left(()) => "long",
                Either::Right(()) => "short",
            };
            assert!(nth > 1, "it dies");
            Ok(format!("{first} {second}"))
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert_eq!(result(&run).await, "right short");
    working.stop().await;
}

/// Who does not go on has taken nothing.
pub async fn a_signal_that_was_not_chosen_is_still_there(home: Home) {
    const GO: Signal<u32> = Signal::new("go");
    let working = home.fleet().durable().register(&TEXT, async |cx: Cx, _| {
        let now = cx.step("now", async || Ok::<_, Failure>(0));
        let first = match cx.select(now, cx.signal(&GO)).await? {
            Either::Left(_) => "step".to_owned(),
            Either::Right(number) => number.to_string(),
        };
        let second = cx.signal(&GO).await?;
        Ok(format!("{first} {second}"))
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&TEXT, "run", &0).await.unwrap();
    assert!(run.signal(&GO, &7).await.unwrap());
    assert_eq!(result(&run).await, "step 7");
    working.stop().await;
}

/// Numbers, UUIDs and times are the same when the function is replayed.
pub async fn what_is_drawn_is_drawn_again(home: Home) {
    let (told, died) = (Told::default(), Count::default());
    let steps = told.clone();
    const DRAWS: Workflow<u32, String> = Workflow::new("draws").backoff(AT_ONCE);
    let working = home.fleet().durable().register(&DRAWS, move |cx: Cx, _| {
        let (told, died) = (steps.clone(), died.clone());
        async move {
            let (begun, first, second) = (cx.now(), cx.random(), cx.random());
            assert_ne!(first, second);
            cx.step("pass", async || Ok::<_, Failure>(())).await?;
            let id = cx.scope("inner", async |cx| Ok(cx.uuid())).await?;
            assert_eq!(id.get_version_num(), 4);
            let passed = cx.now();
            assert!(passed >= begun);
            told.step(format!("{begun:?} {first} {second} {id} {passed:?}"))
                .await?;
            assert!(died.more() > 1, "it dies");
            Ok(String::new())
        }
    });
    let working = work(working.build().unwrap());
    let run = working.runs.start(&DRAWS, "run", &0).await.unwrap();
    result(&run).await;
    let other = working.runs.start(&DRAWS, "other", &0).await.unwrap();
    result(&other).await;
    let all = told.all();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], all[1]);
    assert_ne!(all[1], all[2]);
    working.stop().await;
}
