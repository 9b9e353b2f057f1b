//! Going down without dropping anything.

use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{Served, quorate, run};

/// Whatever is left to a time limit hangs.
const PATIENT: &str = "[limits]\nshutdown_grace = '1h'\nheader_timeout = '1h'";

#[tokio::test]
async fn clients_are_sent_away_and_the_process_ends() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut served = Served::configured(PATIENT).await;
        // Leaves a connection behind that waits for the next request.
        served.get("/healthz").await;
        let mut sse = served.sse("topic=a").await;
        let mut ws = served.ws(&[]).await.unwrap();
        ws.send(json!({"id": 1, "subscribe": "a"})).await;
        ws.until(|frame| frame["id"] == 1).await;
        served.signal(signal);

        let closing = ws.until(|frame| frame["event"] == "closing").await;
        assert!(closing["retry_after_ms"].as_u64().unwrap() > 0);
        assert_eq!(ws.next().await.unwrap_err(), Some(1012));
        let farewell = sse.next().await.unwrap();
        assert!(farewell.contains("retry: "), "{farewell}");
        assert!(sse.next().await.is_none());
        assert_eq!(served.ended().await, Some(0));
        TcpStream::connect(&served.authority).await.unwrap_err();
    }
}

/// Who had its home in a file goes on where it was, and nobody else has it meanwhile.
#[tokio::test]
async fn a_home_in_a_file_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let backend = format!("file:{}/home.redb", directory.path().display());
    let mut last = 0;
    for _ in 0..2 {
        let mut served = Served::on(&backend).await;
        assert!(served.banner.contains(&backend), "{}", served.banner);
        let second =
            run(quorate().args(["lock", "run", "a", "--backend", &backend, "--", "true"])).await;
        assert!(
            second.stderr.contains("is open in another process"),
            "{second:?}"
        );
        let held = served.post("/v1/locks/a", json!({"lease": "60s"})).await;
        assert_eq!(held.status, 201, "whoever held it is gone");
        let token = held.json()["fencing_token"].as_u64().unwrap();
        assert!(token > last);
        last = token;
        served.signal(Signal::TERM);
        assert_eq!(served.ended().await, Some(0));
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let mut served = Served::configured(PATIENT).await;
    served.post("/v1/locks/a", json!({"lease": "60s"})).await;
    let asked = served.post("/v1/locks/a", json!({"lease": "60s", "wait": "2s"}));
    let stop = async {
        // Once it waits it has subscribed to the lock's release.
        let counted = r#"operation="subscribe""#;
        while !served.get("/metrics").await.text().contains(counted) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        served.signal(Signal::TERM);
    };
    let (answer, ()) = tokio::join!(asked, stop);
    answer.problem(409, "ABORTED", "held");
    assert_eq!(served.ended().await, Some(0));
}

#[tokio::test]
async fn a_shutdown_is_bounded() {
    let mut served = Served::configured("[limits]\nshutdown_grace = '200ms'").await;
    served.post("/v1/locks/a", json!({"lease": "60s"})).await;
    // Waits for longer than the shutdown may take.
    let post =
        b"POST /v1/locks/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 30\r\n\r\n{\"lease\":\"60s\",\"wait\":\"20s\"}  ";
    let mut stream = TcpStream::connect(&served.authority).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, post)
        .await
        .unwrap();
    while !served
        .get("/metrics")
        .await
        .text()
        .contains(r#"operation="subscribe""#)
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    served.signal(Signal::TERM);
    assert_eq!(served.ended().await, Some(0));
}
