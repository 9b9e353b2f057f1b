//! A running server, and a client to talk to it.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Only what fails takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary, cut off from this process's own configuration.
pub(crate) fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for name in ["QUORATE_BACKEND", "QUORATE_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Also when a test panics.
        .kill_on_drop(true);
    command
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Ended {
    let output = timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// A running `quorate serve` on a free port, gone with the test.
pub(crate) struct Served {
    child: Child,
    /// What it said at the start.
    pub(crate) banner: String,
    /// `127.0.0.1:port`
    pub(crate) authority: String,
    http: Client<HttpConnector, Full<Bytes>>,
    _dir: TempDir,
}

/// How a server is started.
#[derive(Debug, Default)]
pub(crate) struct Setup<'a> {
    pub(crate) args: Vec<&'a str>,
    pub(crate) env: Vec<(&'a str, &'a str)>,
    pub(crate) config: &'a str,
}

impl Served {
    /// On the in-process home, without a token.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// With this configuration file.
    pub(crate) async fn configured(config: &str) -> Self {
        Self::with(Setup {
            config,
            ..Setup::default()
        })
        .await
    }

    /// On this backend.
    pub(crate) async fn on(backend: &str) -> Self {
        Self::with(Setup {
            args: vec!["--backend", backend],
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with(setup: Setup<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("quorate.toml");
        std::fs::write(&file, setup.config).unwrap();
        let mut command = quorate();
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(&file)
            .args(setup.args)
            .envs(setup.env)
            .stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = String::new();
        let authority = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
            let line = line.expect("it says where it listens");
            banner.push_str(&line);
            banner.push('\n');
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.trim_end_matches('/').to_owned();
            }
        };
        Self {
            child,
            banner,
            authority,
            http: Client::builder(TokioExecutor::new()).build_http(),
            _dir: dir,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// A response, as far as its head.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> hyper::Response<Incoming> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        timeout(PATIENCE, self.http.request(request))
            .await
            .expect("an answer")
            .unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (head, body) = self.open(method, path, headers, body).await.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send("POST", path, &json, body.to_string()).await
    }

    /// A stream of Server-Sent Events, once its subscriptions are made.
    pub(crate) async fn sse(&self, query: &str) -> Sse {
        let response = self.open("GET", &format!("/v1/sse?{query}"), &[], "").await;
        assert_eq!(response.status(), 200);
        let mut sse = Sse {
            body: response.into_body(),
            buffer: String::new(),
        };
        let hello = sse.next().await.unwrap();
        assert!(hello.contains(": subscribed"), "{hello}");
        sse
    }

    /// Any other stream of them.
    pub(crate) async fn events(&self, path: &str) -> Sse {
        let response = self.open("GET", path, &[], "").await;
        assert_eq!(response.status(), 200);
        Sse {
            body: response.into_body(),
            buffer: String::new(),
        }
    }

    pub(crate) async fn ws(&self, headers: &[(&'static str, &str)]) -> Result<Ws, Error> {
        let mut request = format!("ws://{}/v1/ws", self.authority)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(&self.authority).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Ws { socket })
    }

    /// Asks until `/readyz` answers like this.
    pub(crate) async fn until_ready(&self, ready: bool) -> Answer {
        let asked = async {
            loop {
                let answer = self.get("/readyz").await;
                if (answer.status == 200) == ready {
                    return answer;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, asked).await.expect("/readyz changes")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .unwrap()
            .code()
    }
}

/// An answer with all of its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The problem document, which every error is.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str, says: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
        for member in ["type", "title", "instance", "outcome", "retryable"] {
            assert!(!problem[member].is_null(), "{member}: {problem}");
        }
        problem
    }
}

/// A stream of Server-Sent Events.
pub(crate) struct Sse {
    body: Incoming,
    buffer: String,
}

impl Sse {
    /// The next event as text; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        timeout(PATIENCE, self.next_event())
            .await
            .expect("an event")
    }

    async fn next_event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let event = event.to_owned();
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let frame = self.body.frame().await?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.buffer.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }

    /// The data of the next event of this name.
    pub(crate) async fn named(&mut self, name: &str) -> Value {
        let begins = format!("event: {name}\n");
        loop {
            let event = self.next().await.expect("an event");
            if event.starts_with(&begins) {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                return serde_json::from_str(data.expect("it has data")).unwrap();
            }
        }
    }

    /// The data of the next event that has any.
    pub(crate) async fn data(&mut self) -> Value {
        let found = async {
            loop {
                let event = self.next_event().await.expect("an event");
                if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                    return serde_json::from_str(data).unwrap();
                }
            }
        };
        // Over all of them: heartbeats alone could go on for ever.
        timeout(PATIENCE, found).await.expect("data")
    }
}

/// A WebSocket client.
pub(crate) struct Ws {
    socket: WebSocketStream<TcpStream>,
}

impl Ws {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    /// The next frame, or the code the connection was closed with.
    pub(crate) async fn next(&mut self) -> Result<Value, Option<u16>> {
        timeout(PATIENCE, self.next_text()).await.expect("a frame")
    }

    async fn next_text(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| u16::from(frame.code)));
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
            }
        }
    }

    /// The next frame for which this holds.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        let found = async {
            loop {
                let frame = self.next_text().await.expect("not closed yet");
                if wanted(&frame) {
                    return frame;
                }
                seen.push(frame);
            }
        };
        // Over all of them: pings alone could go on for ever.
        let found = timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("only {seen:#?}"))
    }
}

/// Sends bytes as they are, and returns all that comes back until the connection is closed.
pub(crate) async fn raw(authority: &str, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    for part in parts {
        // The server may have had enough before all is written.
        if tokio::io::AsyncWriteExt::write_all(&mut stream, part)
            .await
            .is_err()
        {
            break;
        }
    }
    let mut answer = Vec::new();
    // A connection that is reset has been closed, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}
