//! Instances of the chat, and people with browsers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use chat::serve;
use quorate::Fleet;
use quorate_http::ConnectionTokens;
use quorate_testing::browser::Browser;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "the tests' secret of 32 bytes and more";

/// What WebDriver sends as the Enter key.
const ENTER: char = '\u{E007}';

/// The program with these arguments, killed with the test.
pub(crate) fn chat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command
        .args(arguments)
        .env_remove("CHAT_SECRET")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A process that serves the chat.
pub(crate) struct Instance {
    child: Child,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Instance {
    /// One instance that meets others at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let mut command = chat(&["--listen", "127.0.0.1:0", "--url", url]);
        Self::of(command.env("CHAT_SECRET", SECRET), 1).await
    }

    /// A process, once it says where so many pages are.
    pub(crate) async fn of(command: &mut Command, instances: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut addresses, mut said) = (Vec::new(), String::new());
        while addresses.len() < instances {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {said}"));
            if let Some((_, rest)) = line.split_once("http://") {
                let address = rest.split(' ').next().unwrap();
                addresses.push(address.parse().unwrap());
            }
            said.push_str(&line);
        }
        Self { child, addresses }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Asks it to stop, as who restarts it does, and waits for that.
    pub(crate) async fn stop(&mut self) {
        let process = self.child.id().unwrap().to_string();
        let mut kill = Command::new("kill");
        let asked = kill.args(["-TERM", &process]).status().await.unwrap();
        assert!(asked.success());
        assert!(self.child.wait().await.unwrap().success());
    }

    /// Ends it without a word, as a machine does that loses its power.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Runs `test` beside an instance of the chat in this process.
pub(crate) async fn beside_an_instance(fleet: &Fleet, test: impl AsyncFnOnce(SocketAddr)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tokens) = (
        CancellationToken::new(),
        ConnectionTokens::new(SECRET).unwrap(),
    );
    let test = async {
        test(address).await;
        stop.cancel();
    };
    let serving = serve(fleet.clone(), listener, tokens, stop.clone());
    let (served, ()) = tokio::join!(serving, test);
    served.unwrap();
}

/// Somebody with a browser.
pub(crate) struct Person {
    pub(crate) browser: Browser,
}

impl Person {
    /// Opens the page, and sees the door.
    pub(crate) async fn arrive(address: SocketAddr) -> Self {
        let browser = Browser::start().await.unwrap();
        let page = format!("http://{address}/");
        browser.open(&page).await.unwrap();
        Self { browser }
    }

    /// Opens the page, gives a name, and is in the first room, connected.
    pub(crate) async fn join(address: SocketAddr, name: &str) -> Self {
        let person = Self::arrive(address).await;
        person.types("#name", &format!("{name}{ENTER}")).await;
        person.until_connected().await;
        person
    }

    pub(crate) async fn until_connected(&self) {
        self.until("document.querySelector('#state').dataset.state === 'ready'")
            .await;
        self.until("document.querySelector('#scroller').dataset.ready")
            .await;
    }

    /// Waits until the page says so.
    pub(crate) async fn until(&self, condition: &str) {
        self.browser.wait_for(condition).await.unwrap();
    }

    pub(crate) async fn until_offline(&self) {
        self.until("!document.querySelector('#banner').hidden")
            .await;
    }

    /// Waits until these people, and nobody else, are here.
    pub(crate) async fn until_here(&self, people: &[&str]) {
        let names =
            "[...document.querySelectorAll('#people li')].map((person) => person.dataset.name)";
        let people = json!(json!(people).to_string());
        self.until(&format!("JSON.stringify({names}) === {people}"))
            .await;
    }

    /// Presses "Try now" until it helps: the next attempt by itself may be half a minute away.
    pub(crate) async fn tries_now(&self) {
        let banner = "document.querySelector('#banner').hidden";
        let press = "document.querySelector('#again').click()";
        self.until(&format!("{banner} || ({press}, false)")).await;
    }

    pub(crate) async fn types(&self, into: &str, text: &str) {
        self.browser.type_text(into, text).await.unwrap();
    }

    /// Writes a message, and presses Enter.
    pub(crate) async fn says(&self, text: &str) {
        self.types("#text", &format!("{text}{ENTER}")).await;
    }

    pub(crate) async fn clicks(&self, on: &str) {
        self.browser.click(on).await.unwrap();
    }

    pub(crate) async fn text(&self, of: &str) -> String {
        self.browser.text(of).await.unwrap()
    }

    /// What was said, as it stands in the room.
    pub(crate) async fn messages(&self) -> Vec<String> {
        let texts =
            "[...document.querySelectorAll('#messages .text')].map((text) => text.textContent)";
        let texts = self.browser.evaluate(texts).await.unwrap();
        serde_json::from_value(texts).unwrap()
    }

    /// Waits until so many messages are there, or more, and nothing waits to be sent.
    pub(crate) async fn until_messages(&self, count: usize) {
        self.until(&format!(
            "document.querySelectorAll('#messages .text').length >= {count} \
             && document.querySelectorAll('#pending li').length === 0"
        ))
        .await;
    }

    /// Waits until an element contains this text.
    pub(crate) async fn until_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "document.querySelector({selector})?.textContent.includes({text})"
        ))
        .await;
    }

    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        self.browser.evaluate(expression).await.unwrap()
    }

    /// A picture of the page, for people to look at: `target/tmp/chat-….png`.
    pub(crate) async fn picture(&self, name: &str) {
        let file: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chat-{name}.png"));
        self.browser.screenshot(&file).await.unwrap();
    }
}
