//! What the hub of this instance is doing: its topics, its clients, and one client.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use quorate::Keep;
use quorate_http::{
    ClientStats, Code, Problem, Rejection, Selector, SubscriptionStats, TopicStats,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;

/// The most entries of one answer.
const MOST: usize = 1_000;
/// Entries of an answer unless asked otherwise.
const USUAL: usize = 100;

/// Which part of a list is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only entries that contain this text, in upper or lower case.
    filter: Option<String>,
    /// Entries at most, from 1 to 1 000. Default 100.
    limit: Option<usize>,
}

impl ListQuery {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        let rule = format!("limit must be from 1 to {MOST}");
        Err(Problem::new(Code::InvalidArgument, rule))
    }

    /// Whether one of these texts is asked for.
    fn matches<'a>(&self, texts: impl IntoIterator<Item = Option<&'a str>>) -> bool {
        let Some(filter) = self.filter.as_deref().filter(|filter| !filter.is_empty()) else {
            return true;
        };
        let filter = filter.to_lowercase();
        let mut texts = texts.into_iter().flatten();
        texts.any(|text| text.to_lowercase().contains(&filter))
    }
}

/// The hub of this instance at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HubView {
    /// WebSocket and SSE clients connected here.
    clients: usize,
    /// Subscriptions of all of them.
    subscriptions: usize,
    /// Messages in a second, over about the last ten, of all topics. One that comes by a topic and by a
    /// pattern is two.
    messages_per_second: f64,
    /// Messages dropped because a client was slower than they came, of the topics that are subscribed to.
    dropped: u64,
    /// Topics and patterns that clients of this instance are subscribed to and that match the filter.
    matching: usize,
    /// The first of them, the busiest first.
    topics: Vec<TopicView>,
    /// Topics that the configuration keeps: their keys are kept too.
    kept: Vec<KeptTopic>,
}

/// A topic or pattern that clients of this instance are subscribed to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicView {
    /// What was subscribed to.
    topic: String,
    /// Whether it is a pattern.
    pattern: bool,
    /// Clients of this instance.
    clients: usize,
    /// Messages since the first of them came.
    messages: u64,
    /// Messages in a second, over about the last ten.
    messages_per_second: f64,
    /// Messages dropped because a client was slower than they came.
    dropped: u64,
    /// After which position the next message comes, if the topic is kept.
    position: Option<String>,
    /// How much of it is kept.
    keep: Option<KeepView>,
}

/// How much of a topic is kept.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct KeepView {
    time_ms: u64,
    messages: u32,
    bytes: u64,
}

/// A topic that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptTopic {
    topic: String,
    keep: KeepView,
}

/// Clients of this instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientList {
    /// How many match the filter.
    matching: usize,
    /// The first of them, the longest connected first.
    clients: Vec<ClientView>,
}

/// A client of this instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientView {
    /// Its id.
    client: String,
    /// `ws` or `sse`.
    transport: &'static str,
    /// Who it is, where it said so.
    user: Option<String>,
    /// Where it connects from, where that is known.
    address: Option<String>,
    connected_ms: u64,
    /// How many topics and patterns it is subscribed to.
    subscribed: usize,
    /// Messages that wait for it.
    backlog: usize,
    /// Messages dropped because it was slower than they came.
    dropped: u64,
}

/// A client with what it is subscribed to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientDetail {
    #[serde(flatten)]
    client: ClientView,
    subscriptions: Vec<SubscriptionView>,
}

/// A subscription of a client.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubscriptionView {
    /// What was subscribed to.
    topic: String,
    /// After which position its next message comes, if the topic is kept.
    position: Option<String>,
    /// Messages of it that wait.
    backlog: usize,
    /// It is behind, and reads what it missed.
    catching_up: bool,
}

impl KeepView {
    fn new(keep: Keep) -> Self {
        Self {
            time_ms: keep.time.as_millis().try_into().unwrap_or(u64::MAX),
            messages: keep.messages,
            bytes: keep.bytes,
        }
    }
}

impl TopicView {
    fn new(stats: TopicStats, app: &App) -> Self {
        let selector = Selector::parse(&stats.topic).ok();
        let keep = match &selector {
            Some(Selector::Topic(path)) => app.keep(path),
            _ => None,
        };
        Self {
            pattern: selector.is_some_and(|selector| selector.is_pattern()),
            topic: stats.topic,
            clients: stats.clients,
            messages: stats.messages,
            messages_per_second: stats.rate,
            dropped: stats.dropped,
            position: stats.position.map(|position| position.to_string()),
            keep: keep.map(KeepView::new),
        }
    }
}

impl From<&ClientStats> for ClientView {
    fn from(stats: &ClientStats) -> Self {
        Self {
            client: stats.client.clone(),
            transport: stats.transport,
            user: stats.user.clone(),
            address: stats.address.map(|address| address.to_string()),
            connected_ms: stats.connected_ms,
            subscribed: stats.subscriptions.len(),
            backlog: stats.backlog,
            dropped: stats.dropped,
        }
    }
}

impl From<SubscriptionStats> for SubscriptionView {
    fn from(stats: SubscriptionStats) -> Self {
        Self {
            topic: stats.topic,
            position: stats.position.map(|position| position.to_string()),
            backlog: stats.backlog,
            catching_up: stats.catching_up,
        }
    }
}

/// Shows what the hub of the instance that answers is doing.
///
/// Clients, subscriptions and rates are its own: the fleet's other instances have theirs. `GET
/// /v1/instances` has a line for each of them. What is kept of a topic, and its `position`, are the fleet's.
#[utoipa::path(
    get,
    path = "/v1/hub",
    params(
        ("filter" = Option<String>, Query, description = "Only entries that contain this text, in upper or lower case."),
        ("limit" = Option<usize>, Query, description = "Entries at most, from 1 to 1 000. Default 100."),
    ),
    responses(
        (status = 200, description = "The hub at this moment", body = HubView),
        (status = 400, description = "An argument breaks a rule"),
    ),
    tag = "hub",
)]
pub(crate) async fn show(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<HubView>, Rejection> {
    let Query(query) = query?;
    let limit = query.limit()?;
    let mut stats = app.hub.stats();
    // Not `sum`, which makes a negative zero of nothing.
    let rates = stats.topics.iter().map(|topic| topic.rate);
    let messages_per_second = rates.fold(0.0, |sum, rate| sum + rate);
    let dropped = stats.topics.iter().map(|topic| topic.dropped).sum();
    stats
        .topics
        .retain(|topic| query.matches([Some(&*topic.topic)]));
    let matching = stats.topics.len();
    let topics = stats.topics.into_iter().take(limit);
    let kept = app.kept().iter().map(|(name, keep)| KeptTopic {
        topic: name.clone(),
        keep: KeepView::new(*keep),
    });
    Ok(Json(HubView {
        clients: stats.clients,
        subscriptions: stats.subscriptions,
        messages_per_second,
        dropped,
        matching,
        topics: topics.map(|topic| TopicView::new(topic, &app)).collect(),
        kept: kept.collect(),
    }))
}

/// Lists the clients of the instance that answers.
///
/// Those that are connected to other instances are not among them: ask these.
#[utoipa::path(
    get,
    path = "/v1/hub/clients",
    params(
        ("filter" = Option<String>, Query, description = "Only entries that contain this text, in upper or lower case."),
        ("limit" = Option<usize>, Query, description = "Entries at most, from 1 to 1 000. Default 100."),
    ),
    responses(
        (status = 200, description = "Clients, by id, user, address or topic", body = ClientList),
        (status = 400, description = "An argument breaks a rule"),
    ),
    tag = "hub",
)]
pub(crate) async fn clients(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ClientList>, Rejection> {
    let Query(query) = query?;
    let limit = query.limit()?;
    let mut clients = app.hub.client_list(usize::MAX);
    clients.retain(|client| {
        let address = client.address.map(|address| address.to_string());
        let topics = client.subscriptions.iter().map(|it| Some(&*it.topic));
        let own = [
            Some(&*client.client),
            client.user.as_deref(),
            address.as_deref(),
        ];
        query.matches(own.into_iter().chain(topics))
    });
    Ok(Json(ClientList {
        matching: clients.len(),
        clients: clients.iter().take(limit).map(ClientView::from).collect(),
    }))
}

/// Shows a client of the instance that answers, and what it is subscribed to.
///
/// 404 also for a client that is connected to another instance.
#[utoipa::path(
    get,
    path = "/v1/hub/clients/{id}",
    params(("id" = String, Path, description = "The client's id")),
    responses(
        (status = 200, description = "The client at this moment", body = ClientDetail),
        (status = 404, description = "No such client is connected to this instance"),
    ),
    tag = "hub",
)]
pub(crate) async fn client(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ClientDetail>, Rejection> {
    let Path(id) = id?;
    let stats = app.hub.client(&id).ok_or_else(|| {
        let text = "no client of this id is connected to this instance";
        Problem::new(Code::NotFound, text)
    })?;
    Ok(Json(ClientDetail {
        client: ClientView::from(&stats),
        subscriptions: stats.subscriptions.into_iter().map(Into::into).collect(),
    }))
}
