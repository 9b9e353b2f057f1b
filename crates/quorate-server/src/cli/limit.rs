//! `quorate limit`.

use std::process::ExitCode;
use std::time::Duration;

use quorate::{Decision, Fleet, Limiter, Policy};
use serde_json::json;

use super::backend::BackendArgs;
use super::value;
use crate::api::limit_figures::{LimitKind, LimitList, LimitView};
use crate::failure::Failure;

/// It would be refused. Like `EX_TEMPFAIL` of sysexits.h: try again later.
const REFUSED: u8 = 75;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Check(Check),
    Reset(Reset),
    Show(Show),
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

/// Print what is known of all limiters of the fleet.
///
/// Each instance counts the requests it decides from its start, and tells of them every few seconds if it is configured to (`tell_limits`).
/// The keys that are asked for most are an estimate over about the last ten minutes, and told only where that is switched on.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Only this limiter, and the concurrency limit of this name.
    limiter: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => args.run().await,
        Command::Reset(args) => args.run().await,
        Command::Show(args) => args.run().await,
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

impl Show {
    async fn run(self) -> Result<ExitCode, Failure> {
        let fleet = self.backend.connect().await?;
        let mut figures = fleet.limit_figures().await?;
        fleet.close().await;
        if let Some(limiter) = &self.limiter {
            figures.retain(|it| it.limiter == *limiter);
            if figures.is_empty() {
                let why = format!("no instance tells of a limiter `{limiter}`");
                return Err(Failure::with_code(Failure::NOT_THERE, why));
            }
        }
        let limits: Vec<_> = figures.into_iter().map(LimitView::from).collect();
        if self.json {
            value::print_json(&LimitList { limits })?;
            return Ok(ExitCode::SUCCESS);
        }
        if limits.is_empty() {
            eprintln!("no instance tells of a limiter: see `tell_limits`");
        }
        let mut each = limits.iter();
        each.try_for_each(|limit| value::print(shown(limit).as_bytes()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A limiter for people.
fn shown(limit: &LimitView) -> String {
    let decisions = &limit.decisions;
    let ratio = limit.denied_ratio.map_or_else(
        || "no requests".to_owned(),
        |ratio| format!("{:.1} % denied", ratio * 100.0),
    );
    let mut text = format!(
        "{}{}: {ratio}, told by {}\n  requests  {} (allowed {}, denied {}; shadow {}, open {}, share {})",
        limit.limiter,
        match limit.kind {
            LimitKind::Rate => "",
            LimitKind::Concurrency => " (slots)",
        },
        limit.instances,
        decisions.asked,
        decisions.allowed,
        decisions.denied,
        decisions.shadow,
        decisions.open,
        decisions.share,
    );
    for policies in &limit.policies {
        text.push_str(&format!("\n  policies  {}", policies.join(" ")));
    }
    for (policy, denied) in &limit.denied_by {
        text.push_str(&format!("\n  denied by {policy}  {denied}"));
    }
    for hot in limit.hottest.iter().flatten() {
        let action = hot.action.as_ref();
        let action = action.map(|action| format!(" ({action})"));
        text.push_str(&format!(
            "\n  {:>10.0}  {}{}, {:.0} denied",
            hot.asked,
            hot.key,
            action.unwrap_or_default(),
            hot.denied,
        ));
    }
    text
}
