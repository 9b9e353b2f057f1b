//! The scripts of limits do what the pure functions do: random sequences of requests get the same answers on a server
//! and in process.

use std::time::Duration;

use proptest::prelude::*;
use quorate::limit::Receipt;
use quorate::{Decision, Limiter, Policy};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree};

const SEQUENCES: usize = 60;
/// Steps are so long that the real time which passes on the server between two of them is nothing.
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
enum Step {
    Take {
        limiter: usize,
        cost: u64,
        more: Option<u64>,
        block: Option<u32>,
    },
    Look {
        limiter: usize,
        cost: u64,
    },
    Usage {
        limiter: usize,
    },
    Refund {
        which: usize,
    },
    Block {
        limiter: usize,
        days: u32,
    },
    Reset {
        limiter: usize,
    },
    Elapse {
        days: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (limiter, cost) = (0..LIMITERS, 1..5_u64);
    let step = prop_oneof![
        12 => (
            limiter.clone(),
            cost.clone(),
            proptest::option::weighted(0.2, 5..20_u64),
            proptest::option::weighted(0.2, 0..30_u32),
        )
            .prop_map(|(limiter, cost, more, block)| Step::Take { limiter, cost, more, block }),
        3 => (limiter.clone(), cost).prop_map(|(limiter, cost)| Step::Look { limiter, cost }),
        2 => limiter.clone().prop_map(|limiter| Step::Usage { limiter }),
        4 => (0..20_usize).prop_map(|which| Step::Refund { which }),
        1 => (limiter.clone(), 0..30_u32).prop_map(|(limiter, days)| Step::Block { limiter, days }),
        1 => limiter.prop_map(|limiter| Step::Reset { limiter }),
        6 => (1..40_u32).prop_map(|days| Step::Elapse { days }),
    ];
    proptest::collection::vec(step, 1..120)
}

const LIMITERS: usize = 7;

/// Each algorithm alone, and combinations in which the parts of scripts stand beside each other.
fn limiter(home: &Home, number: usize) -> Limiter {
    let fixed = Policy::fixed_window(7, DAY * 50);
    let counter = Policy::sliding_counter(9, DAY * 60);
    let log = Policy::sliding_log(6, DAY * 40);
    let bucket = Policy::token_bucket(3, DAY * 30).burst(8);
    let policies = match number {
        0 => vec![fixed],
        1 => vec![counter],
        2 => vec![log],
        3 => vec![bucket],
        4 => vec![fixed, bucket],
        5 => vec![log, Policy::sliding_log(11, DAY * 90), counter],
        _ => vec![counter, fixed, bucket, log],
    };
    let name = home.key("limit").name().to_owned();
    home.fleet.limiter(&format!("{name}-{number}"), policies)
}

/// What was counted, for refunds.
#[derive(Default)]
struct Limits {
    receipts: Vec<Option<(usize, Receipt)>>,
}

/// To the day: less is the time that passes meanwhile.
fn days(time: Duration) -> f64 {
    (time.as_secs_f64() / DAY.as_secs_f64()).round()
}

fn shown(decision: &Decision) -> String {
    let each = decision.usage().policies().map(|policy| {
        let wait = policy.retry_after.map(days);
        format!(
            "{} left, resets {}, wait {wait:?}",
            policy.remaining,
            days(policy.reset_after)
        )
    });
    let each: Vec<_> = each.collect();
    let blocked = decision.usage().blocked().map(days);
    format!(
        "{}, blocked {blocked:?}: {}",
        decision.is_allowed(),
        each.join("; ")
    )
}

impl Subject for Limits {
    type Step = Step;
    type Names = ();

    fn names() -> Self::Names {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &()) -> String {
        match *step {
            Step::Take {
                limiter: number,
                cost,
                more,
                block,
            } => {
                let limiter = limiter(home, number).block_for(DAY * block.unwrap_or(0));
                let mut request = limiter.consume("k").cost(cost);
                if let Some(more) = more
                    && number < 4
                {
                    request = request.limit(more);
                }
                let decision = request.await.unwrap();
                let text = shown(&decision);
                let receipt = decision.into_receipt().map(|receipt| (number, receipt));
                self.receipts.push(receipt);
                text
            }
            Step::Look {
                limiter: number,
                cost,
            } => {
                let decision = limiter(home, number).check("k").cost(cost).await;
                shown(&decision.unwrap())
            }
            Step::Usage { limiter: number } => {
                let usage = limiter(home, number).usage("k").await.unwrap();
                let each = usage.policies().map(|policy| policy.remaining);
                format!(
                    "{:?} {:?}",
                    usage.blocked().map(days),
                    each.collect::<Vec<_>>()
                )
            }
            Step::Refund { which } => {
                let Some(receipt) = self.receipts.get_mut(which) else {
                    return "nothing to refund".to_owned();
                };
                let Some((number, receipt)) = receipt.take() else {
                    return "not counted".to_owned();
                };
                let refunded = limiter(home, number).refund("k", receipt).await;
                format!("refunded {}", refunded.unwrap())
            }
            Step::Block {
                limiter: number,
                days,
            } => {
                let blocked = limiter(home, number).block("k", DAY * days).await;
                format!("{blocked:?}")
            }
            Step::Reset { limiter: number } => {
                let reset = limiter(home, number).reset("k").await;
                format!("reset {}", reset.unwrap())
            }
            Step::Elapse { days } => home.elapse(DAY * days),
        }
    }
}

async fn limit_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Limits>(kind, SEQUENCES, steps()).await;
}

#[tokio::test]
async fn limit_scripts_agree_on_redis() {
    limit_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn limit_scripts_agree_on_valkey() {
    limit_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn limit_scripts_agree_on_a_cluster() {
    limit_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
