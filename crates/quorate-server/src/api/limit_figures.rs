//! What is known of the limiters of the fleet.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use quorate::{LimitFigures, limit};
use quorate_http::Rejection;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// The limiters that instances tell of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitList {
    /// By name.
    pub(crate) limits: Vec<LimitView>,
}

/// One limiter, or concurrency limit, over all instances that tell of it. Counts are from the start of each.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitView {
    pub(crate) limiter: String,
    /// What it limits: there may be one of each of a name.
    pub(crate) kind: LimitKind,
    /// How many instances tell of it.
    pub(crate) instances: usize,
    /// The policies it is used with: lists that are counted differently, at most 4; none of a concurrency limit.
    #[schema(example = json!([["log:100/60s", "bucket:10/1s+50"]]))]
    pub(crate) policies: Vec<Vec<String>>,
    pub(crate) decisions: Decisions,
    /// The share of requests that were denied, 0 to 1; `null` before the first.
    pub(crate) denied_ratio: Option<f64>,
    /// Requests that were denied, by the policy that refused for longest; `block` for a key that was blocked, `slots` where
    /// all slots of a concurrency limit were taken.
    #[schema(example = json!({"log-60s": 12}))]
    pub(crate) denied_by: BTreeMap<String, u64>,
    /// The last minutes, the newest, which is under way, last; at most 60.
    pub(crate) minutes: Vec<LimitMinute>,
    /// The keys that are asked for most; `null` if no instance tells them (`tell_limits = "keys"`).
    pub(crate) hottest: Option<Vec<HotLimitKey>>,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitKind {
    /// How often.
    Rate,
    /// How many at the same time.
    Concurrency,
}

/// What was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decisions {
    /// All requests.
    pub(crate) asked: u64,
    /// Those that were let through.
    pub(crate) allowed: u64,
    /// Those that were turned away.
    pub(crate) denied: u64,
    /// Those of the allowed that would have been denied, but for shadow mode.
    pub(crate) shadow: u64,
    /// Those of the allowed that were not counted, since the home could not be asked.
    pub(crate) open: u64,
    /// Those of all that were decided by an instance's share, since the home could not be asked.
    pub(crate) share: u64,
}

/// A minute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitMinute {
    pub(crate) asked: u64,
    pub(crate) denied: u64,
}

/// A key that is asked for often.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HotLimitKey {
    pub(crate) key: String,
    /// The action, where its requests are counted on their own.
    pub(crate) action: Option<String>,
    /// How often over about the last ten minutes: an estimate. Of an instance with at most 4096 requests to the limiter in a
    /// minute it is too large by at most `error`; of one with more, one in 32 of those beyond stands for all. An instance tells
    /// 20 keys at most: what a key was asked of one that does not tell it is missing.
    pub(crate) asked: f64,
    /// Those that were denied: an estimate by the same sample, too small where `asked` is too large.
    pub(crate) denied: f64,
    /// By how much `asked` may be too large, and `denied` too small; what a sample is off by is not in it.
    pub(crate) error: f64,
}

impl From<LimitFigures> for LimitView {
    fn from(figures: LimitFigures) -> Self {
        let policies = figures.policies.iter();
        let decisions = figures.decisions;
        let minutes = figures.minutes.iter();
        let hottest = figures.hottest.map(|keys| {
            let keys = keys.into_iter();
            keys.map(|it| HotLimitKey {
                key: it.key,
                action: it.action,
                asked: it.asked,
                denied: it.denied,
                error: it.error,
            })
            .collect()
        });
        Self {
            policies: policies
                .map(|list| list.iter().map(ToString::to_string).collect())
                .collect(),
            denied_ratio: decisions.denied_ratio(),
            decisions: Decisions {
                asked: decisions.asked(),
                allowed: decisions.allowed,
                denied: decisions.denied,
                shadow: decisions.shadow,
                open: decisions.open,
                share: decisions.share,
            },
            minutes: minutes
                .map(|it| LimitMinute {
                    asked: it.asked,
                    denied: it.denied,
                })
                .collect(),
            hottest,
            limiter: figures.limiter,
            kind: match figures.kind {
                limit::LimitKind::Concurrency => LimitKind::Concurrency,
                _ => LimitKind::Rate,
            },
            instances: figures.instances,
            denied_by: figures.denied_by,
        }
    }
}

/// Shows what is known of the limiters of the fleet.
///
/// Each instance counts the requests it decides and tells the others every few seconds, if it is configured to
/// (`tell_limits`); those of `quorate serve` are. An answer may be a second old: within that time all who ask have the same.
#[utoipa::path(
    get,
    path = "/v1/limits",
    responses(
        (status = 200, description = "All limiters that instances tell of", body = LimitList),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "limits",
)]
pub(crate) async fn show(State(app): State<App>) -> Result<Response, Rejection> {
    let fleet = app.fleet.clone();
    let read = async move {
        let figures = fleet.limit_figures().await?;
        let limits = figures.into_iter().map(LimitView::from).collect();
        Ok(LimitList { limits })
    };
    app.limit_figures.json(read).await
}
