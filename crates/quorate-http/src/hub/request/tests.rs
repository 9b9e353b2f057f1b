//! Handlers without a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::frame::RequestId;
use crate::hub::handle::Hub;
use crate::hub::identity::{ClientInfo, Identity};
use crate::hub::seam::{
    ClientPort, Dispatch, RequestContext, RoomSource, SubscribeOptions, Subscribed,
};
use crate::problem::{Code, Problem};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: Item,
    count: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    name: String,
}

const BUY: MessageSpec<Order, String> = MessageSpec::new("buy").validate(|order| {
    if order.count > 0 {
        Ok(())
    } else {
        Err("count must be at least 1".to_owned())
    }
});
const RUN: MessageSpec<Value, Value> = MessageSpec::new("run");

/// A client that writes down what it is sent.
#[derive(Debug, Default)]
struct Recorder {
    frames: Mutex<Vec<String>>,
}

impl ClientPort for Recorder {
    fn identity(&self) -> Option<Arc<Identity>> {
        Some(Arc::new(Identity::new("ada")))
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }

    fn info(&self) -> ClientInfo {
        ClientInfo {
            client: "c-1".into(),
            identity: self.identity(),
            address: None,
        }
    }

    fn push_progress(&self, frame: String) {
        self.frames.lock().push(frame);
    }

    fn subscribe(
        &self,
        source: Arc<dyn RoomSource>,
        _options: SubscribeOptions,
    ) -> BoxFuture<'static, Result<Subscribed, Problem>> {
        let topic = source.name().into();
        async move {
            Ok(Subscribed {
                topic,
                position: None,
            })
        }
        .boxed()
    }

    fn unsubscribe(&self, _: &dyn RoomSource) -> bool {
        false
    }
}

struct Fixture {
    hub: Hub,
    client: Arc<Recorder>,
    cancelled: CancellationToken,
    router: Arc<dyn Dispatch>,
}

type Answered = Result<Option<Box<RawValue>>, Problem>;

impl Fixture {
    fn new(router: MessageRouter) -> Self {
        Self {
            hub: Hub::builder(quorate::Fleet::embedded()).build().unwrap(),
            client: Arc::default(),
            cancelled: CancellationToken::new(),
            router: router.finish().unwrap(),
        }
    }

    fn send(&self, kind: &str, data: &Value) -> Option<BoxFuture<'static, Answered>> {
        let context = RequestContext {
            hub: self.hub.clone(),
            client: self.client.clone(),
            id: RequestId::of(&json!("r-1")),
            cancelled: self.cancelled.clone(),
        };
        let data = to_raw_value(data).unwrap();
        self.router.dispatch(context, kind, data)
    }

    async fn refused(&self, kind: &str, data: Value) -> Problem {
        self.send(kind, &data).unwrap().await.unwrap_err()
    }
}

fn run<F, Fut>(handler: F) -> Fixture
where
    F: Fn(Cx, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, HandlerError>> + Send + 'static,
{
    Fixture::new(MessageRouter::new().on(&RUN, handler))
}

#[tokio::test]
async fn a_request_is_answered_and_a_bad_one_told_what_is_wrong() {
    let router = MessageRouter::new().on(&BUY, async |cx: Cx, order: Order| {
        Ok(format!("{} for {:?}", order.item.name, cx.user()))
    });
    let shop = Fixture::new(router);
    let tea = json!({"item": {"name": "tea"}, "count": 1});
    let answer = shop.send("buy", &tea).unwrap().await.unwrap().unwrap();
    assert_eq!(answer.get(), r#""tea for Some(\"ada\")""#);
    for (data, says) in [
        (json!({"item": {"name": 1}, "count": 1}), "data.item.name: "),
        (
            json!({"item": {"name": "tea"}}),
            "data: missing field `count`",
        ),
        (json!(null), "data: "),
        (
            json!({"item": {"name": "tea"}, "count": 0}),
            "data: count must be",
        ),
    ] {
        let problem = shop.refused("buy", data).await;
        assert_eq!(problem.code(), Code::InvalidArgument);
        assert!(problem.detail().starts_with(says), "{}", problem.detail());
    }
    assert!(shop.send("sell", &tea).is_none());
    for reserved in ["__ack", "$ws:progress"] {
        let problem = shop.refused(reserved, json!(null)).await;
        assert_eq!(problem.code(), Code::InvalidArgument);
        assert!(problem.detail().contains("type must not begin"));
    }
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_is_an_answer() {
    let fails = run(async |_, _| Err(std::io::Error::other("insides"))?);
    let panics = run(async |_, _| panic!("insides"));
    let panics_at_once = run(|_, _| -> BoxFuture<'static, _> { panic!("insides") });
    let unreadable = run(async |_, _| Err(quorate::Error::invalid("x", "must be y"))?);
    let refuses = run(async |_, _| {
        let error = HandlerError::new(Code::AlreadyExists, "taken");
        Err(error.with_details(json!({"by": "eve"})))
    });
    for (fixture, code, says) in [
        (fails, Code::Internal, "failed"),
        (panics, Code::Internal, "failed"),
        (panics_at_once, Code::Internal, "failed"),
        (unreadable, Code::InvalidArgument, "x must be y"),
        (refuses, Code::AlreadyExists, "taken"),
    ] {
        let problem = fixture.refused("run", json!(1)).await;
        assert_eq!(problem.code(), code);
        let detail = problem.detail();
        assert!(
            detail.contains(says) && !detail.contains("insides"),
            "{detail}"
        );
        if code == Code::AlreadyExists {
            assert_eq!(problem.member("details"), Some(&json!({"by": "eve"})));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_until_its_deadline() {
    const SLOW: MessageSpec<(), ()> = MessageSpec::new("slow").deadline(Duration::from_secs(5));
    let fixture =
        Fixture::new(MessageRouter::new().on(&SLOW, async |_, ()| std::future::pending().await));
    let problem = fixture.refused("slow", Value::Null).await;
    assert_eq!(problem.code(), Code::DeadlineExceeded);
    assert!(problem.detail().contains("5s"), "{}", problem.detail());
    assert!(
        fixture.cancelled.is_cancelled(),
        "what it started elsewhere is told"
    );
}

#[tokio::test]
async fn who_gives_up_is_answered_at_once_and_who_was_faster_has_the_answer() {
    let hangs = run(async |_, _| std::future::pending().await);
    let mut answer = hangs.send("run", &json!(1)).unwrap();
    assert!(answer.as_mut().now_or_never().is_none());
    hangs.cancelled.cancel();
    assert_eq!(answer.await.unwrap_err().code(), Code::Cancelled);

    let finishes = run(async |cx: Cx, _| {
        cx.cancelled().await;
        Ok(json!("so far"))
    });
    let mut answer = finishes.send("run", &json!(1)).unwrap();
    assert!(answer.as_mut().now_or_never().is_none());
    finishes.cancelled.cancel();
    assert_eq!(answer.await.unwrap().unwrap().get(), r#""so far""#);
}

#[tokio::test]
async fn what_a_handler_started_elsewhere_learns_of_the_end_but_not_of_the_answer() {
    let hangs = run(async |_, _| std::future::pending().await);
    let mut answer = hangs.send("run", &json!(1)).unwrap();
    assert!(answer.as_mut().now_or_never().is_none());
    drop(answer);
    assert!(hangs.cancelled.is_cancelled());

    let answers = run(async |_, data| Ok(data));
    answers.send("run", &json!(1)).unwrap().await.unwrap();
    assert!(!answers.cancelled.is_cancelled());
}

#[tokio::test]
async fn progress_comes_before_the_answer() {
    let works = run(async |cx: Cx, data| {
        cx.progress(&json!({"percent": 50}))?;
        cx.progress(&"nearly")?;
        Ok(data)
    });
    works.send("run", &json!(1)).unwrap().await.unwrap();
    assert_eq!(
        *works.client.frames.lock(),
        [
            r#"{"id":"r-1","progress":{"percent":50}}"#,
            r#"{"id":"r-1","progress":"nearly"}"#
        ]
    );
}

#[test]
fn a_type_has_one_handler() {
    let router = || MessageRouter::new().on(&RUN, async |_, data| Ok(data));
    for twice in [
        router().on(&RUN, async |_, data| Ok(data)),
        router().merge(router()),
    ] {
        let error = twice.finish().unwrap_err().to_string();
        assert!(error.contains("`run` has a handler already"), "{error}");
    }
}
