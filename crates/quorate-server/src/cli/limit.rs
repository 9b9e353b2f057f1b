//! `quorate limit`.

use std::process::ExitCode;
use std::time::Duration;

use quorate::{Decision, Fleet, Limiter, Policy};
use serde_json::json;

use super::backend::BackendArgs;
use crate::failure::Failure;

/// It would be refused. Like `EX_TEMPFAIL` of sysexits.h: try again later.
const REFUSED: u8 = 75;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Check(Check),
    Reset(Reset),
}

/// Which key, and how it is limited.
#[derive(Debug, clap::Args)]
struct Limited {
    /// The limiter.
    limiter: String,
    /// The key, as text.
    key: String,
    /// How the service limits it: an algorithm (log, counter, fixed, bucket), a limit and a window, such as log:100/60s, or
    /// bucket:10/1s+50. Repeated for a limiter with several policies, in their order.
    #[arg(long = "policy", value_name = "POLICY", required = true)]
    policies: Vec<String>,
    /// Of this action alone.
    #[arg(long)]
    action: Option<String>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Print what a request would be answered now, as JSON. Nothing is counted.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    limited: Limited,
    /// What the request would cost.
    #[arg(long, default_value_t = 1)]
    cost: u64,
}

/// Forget what was counted of a key, and lift a block.
#[derive(Debug, clap::Args)]
pub(super) struct Reset {
    #[command(flatten)]
    limited: Limited,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => args.run().await,
        Command::Reset(args) => args.run().await,
    }
}

impl Limited {
    async fn open(self) -> Result<(Fleet, Limiter, String), Failure> {
        let policies: quorate::Result<Vec<Policy>> =
            self.policies.iter().map(|text| text.parse()).collect();
        let policies = policies?;
        let fleet = self.backend.connect().await?;
        let mut limiter = fleet.limiter(&self.limiter, policies);
        if let Some(action) = self.action {
            limiter = limiter.action(action);
        }
        Ok((fleet, limiter, self.key))
    }
}

fn millis(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    millis.try_into().unwrap_or(u64::MAX)
}

impl Check {
    async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, limiter, key) = self.limited.open().await?;
        let decision = limiter.check(&key).cost(self.cost).await?;
        let policies = decision.usage().policies().map(|usage| {
            json!({
                "name": usage.policy.name(),
                "limit": usage.policy.capacity(),
                "remaining": usage.remaining,
                "reset_after_ms": millis(usage.reset_after),
            })
        });
        let mut document = json!({
            "allowed": decision.is_allowed(),
            "policies": policies.collect::<Vec<_>>(),
        });
        if let Decision::Deny {
            retry_after,
            policy,
            ..
        } = &decision
        {
            document["retry_after_ms"] = millis(*retry_after).into();
            document["policy"] = policy.as_str().into();
        }
        println!("{document}");
        fleet.close().await;
        Ok(if decision.is_allowed() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(REFUSED)
        })
    }
}

impl Reset {
    async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, limiter, key) = self.limited.open().await?;
        limiter.reset(&key).await?;
        fleet.close().await;
        Ok(ExitCode::SUCCESS)
    }
}
