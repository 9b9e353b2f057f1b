//! The whole way: from the file through one instance to what a browser gets from another.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::net::SocketAddr;
use std::process::Stdio;

use axum::body::{Body, Bytes};
use axum::http::Response;
use earthquakes::{Quake, Report, Speed, replay, serve, week};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quorate::Fleet;
use quorate_testing::servers::{ServerKind, shared};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Without pauses.
fn at_once() -> Speed {
    Speed::new(1e12).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> Response<Body> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = format!("http://{address}{path}").parse().unwrap();
    client.get(uri).await.unwrap().map(Body::new)
}

/// What a browser is told, event by event.
struct Events {
    body: Body,
    received: String,
}

impl Events {
    /// Connects, and returns once the subscription is made.
    async fn of(address: SocketAddr) -> Self {
        let response = get(address, "/live/sse?topic=earthquakes").await;
        assert_eq!(response.status(), 200);
        let mut events = Self {
            body: response.into_body(),
            received: String::new(),
        };
        assert!(events.next().await.contains("subscribed"));
        events
    }

    async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.received.split_once("\n\n") {
                let event = event.to_owned();
                self.received = rest.to_owned();
                return event;
            }
            let frame = self.body.frame().await.expect("it goes on").unwrap();
            let bytes = frame.into_data().unwrap();
            self.received.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next message. Anything else, a gap above all, is a failure.
    async fn report(&mut self) -> Report {
        let event = self.next().await;
        assert!(event.contains("event: message"), "{event}");
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        let frame: serde_json::Value = serde_json::from_str(data.unwrap()).unwrap();
        serde_json::from_value(frame["data"].clone()).unwrap()
    }

    /// Reads the whole week, and compares it with the file.
    async fn expect(&mut self, week: &[Quake]) {
        for (at, quake) in week.iter().enumerate() {
            let report = self.report().await;
            assert_eq!((report.number, report.of), (at + 1, week.len()));
            assert_eq!(report.quake, *quake);
        }
    }
}

/// Runs `test` beside a page of `fleet`.
async fn beside_a_page(fleet: &Fleet, test: impl AsyncFnOnce(SocketAddr)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let test = async {
        test(address).await;
        stop.cancel();
    };
    let (served, ()) = tokio::join!(serve(fleet.clone(), listener, stop.clone()), test);
    served.unwrap();
}

#[tokio::test]
async fn every_earthquake_of_the_file_arrives_in_order_and_none_is_missing() {
    let week = week().unwrap();
    assert_eq!(week.len(), 1707);
    let page = Fleet::embedded();
    let seismograph = page.instance("seismograph").await.unwrap();
    beside_a_page(&page, async |address| {
        let mut events = Events::of(address).await;
        let mut told = Vec::new();
        let published = replay(&seismograph, &week, at_once(), |report, result| {
            told.push((report.number, result.is_ok()));
        });
        let (replayed, ()) = tokio::join!(published, events.expect(&week));
        assert_eq!((replayed.published, replayed.failed), (week.len(), 0));
        let expected: Vec<_> = (1..=week.len()).map(|number| (number, true)).collect();
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test]
async fn a_stopped_page_tells_its_viewers_to_come_back() {
    let fleet = Fleet::embedded();
    let mut viewer = None;
    beside_a_page(&fleet, async |address| {
        viewer = Some(Events::of(address).await);
    })
    .await;
    let farewell = viewer.unwrap().next().await;
    assert!(farewell.contains("retry: "), "{farewell}");
}

#[tokio::test]
async fn the_page_and_its_parts_are_served_and_nothing_else_may_be_loaded() {
    beside_a_page(&Fleet::embedded(), async |address| {
        for (path, kind, says) in [
            ("/", "text/html", "page.js"),
            ("/page.js", "text/javascript", "EventSource"),
            ("/map.js", "text/javascript", "canvas"),
            ("/land.js", "text/javascript", "LAND"),
            ("/style.css", "text/css", "--sea"),
        ] {
            let response = get(address, path).await;
            assert_eq!(response.status(), 200, "{path}");
            let header = |name| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), format!("{kind}; charset=utf-8"));
            assert!(header("content-security-policy").starts_with("default-src 'none'"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains(says), "{path}");
        }
        assert_eq!(get(address, "/elsewhere").await.status(), 404);
    })
    .await;
}

/// The program with these arguments, killed with the test.
fn earthquakes(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_earthquakes"));
    command
        .args(arguments)
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Where a started `serve` says that its page is.
async fn address_of(child: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, address)) = line.split_once("http://") {
            return address.parse().unwrap();
        }
        said.push_str(&line);
    }
    panic!("it ended: {said}");
}

#[tokio::test]
async fn two_processes_share_a_server() {
    let week = week().unwrap();
    let redis = shared(ServerKind::Redis).await.unwrap();
    let namespace = format!("earthquakes-{}", std::process::id());
    let backend = format!("{}?namespace={namespace}", redis.url());
    let serving = ["serve", "--backend", &backend, "--listen", "127.0.0.1:0"];
    let mut page = earthquakes(&serving).spawn().unwrap();
    let mut events = Events::of(address_of(&mut page).await).await;
    let publishing = ["publish", "--backend", &backend, "--speed", "1e12"];
    let mut publish = earthquakes(&publishing);
    let (published, ()) = tokio::join!(publish.output(), events.expect(&week));
    let published = published.unwrap();
    let said = String::from_utf8_lossy(&published.stderr);
    assert!(published.status.success(), "{said}");
    assert!(said.contains("1707 published, 0 failed"), "{said}");
}

#[tokio::test]
async fn wrong_arguments_are_refused_with_the_reason() {
    for (arguments, says) in [
        (
            &["publish", "--backend", "memory:"][..],
            "the home of one process",
        ),
        (&["serve"], "--backend"),
        (&["--speed", "0"], "above 0"),
        (&["--listen", "here"], "--listen"),
        (&["--backend", "carrier-pigeon://loft"], "url must begin"),
    ] {
        let refused = earthquakes(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
