//! What is known of the caches of the fleet.

use axum::extract::State;
use axum::response::Response;
use quorate::CacheFigures;
use quorate_http::Rejection;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// The caches that instances tell of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheList {
    /// By name.
    pub(crate) caches: Vec<CacheView>,
}

/// One cache, over all instances that tell of it. Counts are from the start of each.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheView {
    pub(crate) cache: String,
    /// How many instances tell of it.
    pub(crate) instances: usize,
    pub(crate) reads: Reads,
    /// The share of reads that were answered by what was kept, 0 to 1; `null` before the first.
    pub(crate) hit_ratio: Option<f64>,
    /// Values written to be kept, loaded ones too.
    pub(crate) values: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Values read that did not decode.
    pub(crate) undecodable: u64,
    /// Values not kept because they are too large.
    pub(crate) oversized: u64,
    /// The last minutes, the newest, which is under way, last; at most 60.
    pub(crate) minutes: Vec<Minute>,
    /// The keys that are asked for most; `null` if no instance tells them (`tell_caches = "keys"`).
    pub(crate) hottest: Option<Vec<HotKey>>,
}

/// Reads by what they found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reads {
    pub(crate) total: u64,
    /// What the process of the reader kept.
    pub(crate) near_hit: u64,
    /// What was kept.
    pub(crate) hit: u64,
    /// What was kept and no longer fresh.
    pub(crate) stale: u64,
    /// What the reader loaded.
    pub(crate) loaded: u64,
    /// What somebody else loaded meanwhile.
    pub(crate) followed: u64,
    /// Nothing.
    pub(crate) miss: u64,
}

/// A minute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Minute {
    pub(crate) reads: u64,
    /// Reads that were answered by what was kept.
    pub(crate) hits: u64,
}

/// A key that is asked for often.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HotKey {
    pub(crate) key: String,
    /// How often over about the last ten minutes: an estimate. Of an instance with at most 4096 reads of the cache in a minute
    /// it is too large by at most `error`; of one with more, one in 32 of those beyond stands for all. An instance tells 20 keys
    /// at most: what a key was read on one that does not tell it is missing.
    pub(crate) reads: f64,
    /// By how much it may be too large; what a sample is off by is not in it.
    pub(crate) error: f64,
}

impl From<CacheFigures> for CacheView {
    fn from(figures: CacheFigures) -> Self {
        let minutes = figures.minutes.iter();
        let hottest = figures.hottest.map(|keys| {
            let keys = keys.into_iter();
            keys.map(|it| HotKey {
                key: it.key,
                reads: it.reads,
                error: it.error,
            })
            .collect()
        });
        Self {
            hit_ratio: figures.reads.hit_ratio(),
            reads: Reads {
                total: figures.reads.total(),
                near_hit: figures.reads.near_hit,
                hit: figures.reads.hit,
                stale: figures.reads.stale,
                loaded: figures.reads.loaded,
                followed: figures.reads.followed,
                miss: figures.reads.miss,
            },
            minutes: minutes
                .map(|it| Minute {
                    reads: it.reads,
                    hits: it.hits,
                })
                .collect(),
            hottest,
            cache: figures.cache,
            instances: figures.instances,
            values: figures.values,
            bytes: figures.bytes,
            undecodable: figures.undecodable,
            oversized: figures.oversized,
        }
    }
}

/// Shows what is known of the caches of the fleet.
///
/// Each instance counts its own reads and tells the others every few seconds, if it is configured to (`tell_caches`); those of
/// `quorate serve` are. An answer may be a second old: within that time all who ask have the same.
#[utoipa::path(
    get,
    path = "/v1/cache",
    responses(
        (status = 200, description = "All caches that instances tell of", body = CacheList),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "cache",
)]
pub(crate) async fn show(State(app): State<App>) -> Result<Response, Rejection> {
    let fleet = app.fleet.clone();
    let read = async move {
        let figures = fleet.cache_figures().await?;
        let caches = figures.into_iter().map(CacheView::from).collect();
        Ok(CacheList { caches })
    };
    app.cache_figures.json(read).await
}
