//! Limits: whether a key may, and what it has left.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use quorate::limit::{Receipt, Usage};
use quorate::{Decision, Limiter, Micros, Policy};
use quorate_http::Rejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Document;
use crate::app::App;

type Limited = Result<Path<(String, String)>, PathRejection>;

/// How a key is limited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// One to four: an algorithm (`log`, `counter`, `fixed`, `bucket`), a limit and a window, and a burst for buckets.
    #[schema(example = json!(["log:100/60s", "bucket:10/1s+50"]))]
    policies: Vec<String>,
    /// Counts this action of the key on its own.
    #[serde(default)]
    action: Option<String>,
}

/// A request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestBody {
    /// As elsewhere.
    policies: Vec<String>,
    /// As elsewhere.
    #[serde(default)]
    action: Option<String>,
    /// What it costs.
    #[serde(default = "one")]
    cost: u64,
    /// Only asks what the answer would be, and counts nothing.
    #[serde(default)]
    check: bool,
    /// Decides by other limits, one for each policy in their order: such as those of the customer's plan.
    #[serde(default)]
    #[schema(example = json!([1000, 100]))]
    limits: Option<Vec<u64>>,
    /// A refusal blocks the key for so long, and each further one begins that anew. At most 366 days.
    #[serde(default)]
    block_for_ms: u64,
}

/// A request that is to be taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundBody {
    /// As they were when it was counted.
    policies: Vec<String>,
    /// As it was then.
    #[serde(default)]
    action: Option<String>,
    /// The `receipt` of its answer.
    receipt: ReceiptDocument,
}

const fn one() -> u64 {
    1
}

/// What a request was counted with: good for one refund.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptDocument {
    /// When, in microseconds by the home's clock.
    at_us: u64,
    /// What it cost.
    cost: u64,
    /// The limits it was decided by, if they were not those of the policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<Vec<u64>>,
}

/// The answer to a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// Whether it may go on.
    allowed: bool,
    /// Of a refusal: after how long it would be allowed, if nobody else came.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// Of a refusal: the name of the policy that refuses for longest, or `block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// Of one that was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptDocument>,
    /// How the key stands with each policy; empty if it is blocked.
    policies: Vec<Standing>,
}

/// How a key stands with a policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// The policy's name.
    name: String,
    /// The most that can be allowed at once.
    limit: u64,
    /// What a further request could cost and be allowed.
    remaining: u64,
    /// After how long nothing counts, if nobody comes.
    reset_after_ms: u64,
}

/// Whether anything was there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Whether there was anything to do it to.
    done: bool,
}

fn limiter(
    app: &App,
    name: &str,
    policies: &[String],
    action: Option<String>,
) -> quorate::Result<Limiter> {
    let policies: quorate::Result<Vec<Policy>> = policies.iter().map(|text| text.parse()).collect();
    let limiter = app.fleet.limiter(name, policies?);
    Ok(match action {
        Some(action) => limiter.action(action),
        None => limiter,
    })
}

/// Up: who comes back so much later is allowed.
fn millis(time: Duration) -> u64 {
    time.as_nanos()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
}

fn standings(usage: &Usage) -> Vec<Standing> {
    let each = usage.policies().map(|usage| Standing {
        name: usage.policy.name().into_owned(),
        limit: usage.policy.capacity(),
        remaining: usage.remaining,
        reset_after_ms: millis(usage.reset_after),
    });
    each.collect()
}

/// Counts a request of a key, or refuses it.
///
/// A refusal is a value: the answer is 200 either way.
#[utoipa::path(
    post,
    path = "/v1/limits/{limiter}/{key}",
    params(
        ("limiter" = String, Path, description = "The limiter; a slash in it is written %2F"),
        ("key" = String, Path, description = "Who, or what, is limited; a slash in it is written %2F"),
    ),
    request_body = RequestBody,
    responses(
        (status = 200, description = "Decided", body = Answer),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "limits",
)]
pub(crate) async fn consume(
    State(app): State<App>,
    path: Limited,
    body: Result<Document<RequestBody>, Rejection>,
) -> Result<Json<Answer>, Rejection> {
    let (Path((name, key)), Document(body)) = (path?, body?);
    let limiter = limiter(&app, &name, &body.policies, body.action)?;
    let limiter = limiter.block_for(Duration::from_millis(body.block_for_ms));
    let mut request = if body.check {
        limiter.check(&key)
    } else {
        limiter.consume(&key)
    };
    if let Some(limits) = body.limits {
        request = request.limits(limits);
    }
    let decision = request.cost(body.cost).await?;
    let policies = standings(decision.usage());
    let refusal = match &decision {
        Decision::Deny {
            retry_after,
            policy,
            ..
        } => Some((millis(*retry_after), policy.clone())),
        _ => None,
    };
    let (retry_after_ms, policy) = refusal.unzip();
    Ok(Json(Answer {
        allowed: decision.is_allowed(),
        retry_after_ms,
        policy,
        policies,
        receipt: decision.into_receipt().map(|receipt| ReceiptDocument {
            at_us: receipt.at().get(),
            cost: receipt.cost(),
            limits: receipt.limits().map(<[u64]>::to_vec),
        }),
    }))
}

/// Takes back a request that was counted, as far as it still counts.
#[utoipa::path(
    post,
    path = "/v1/limits/{limiter}/{key}/refund",
    params(("limiter" = String, Path), ("key" = String, Path)),
    request_body = RefundBody,
    responses(
        (status = 200, description = "Whether anything of it still counted", body = Done),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "limits",
)]
pub(crate) async fn refund(
    State(app): State<App>,
    path: Limited,
    body: Result<Document<RefundBody>, Rejection>,
) -> Result<Json<Done>, Rejection> {
    let (Path((name, key)), Document(body)) = (path?, body?);
    let limiter = limiter(&app, &name, &body.policies, body.action)?;
    let mut receipt = Receipt::new(Micros::new(body.receipt.at_us), body.receipt.cost);
    if let Some(limits) = body.receipt.limits {
        receipt = receipt.with_limits(limits);
    }
    let done = limiter.refund(&key, receipt).await?;
    Ok(Json(Done { done }))
}

/// Forgets what was counted of a key, and lifts a block.
#[utoipa::path(
    post,
    path = "/v1/limits/{limiter}/{key}/reset",
    params(("limiter" = String, Path), ("key" = String, Path)),
    request_body = Terms,
    responses(
        (status = 200, description = "Whether there was anything", body = Done),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "limits",
)]
pub(crate) async fn reset(
    State(app): State<App>,
    path: Limited,
    body: Result<Document<Terms>, Rejection>,
) -> Result<Json<Done>, Rejection> {
    let (Path((name, key)), Document(body)) = (path?, body?);
    let limiter = limiter(&app, &name, &body.policies, body.action)?;
    let done = limiter.reset(&key).await?;
    Ok(Json(Done { done }))
}
