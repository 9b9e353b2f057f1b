//! Driving the browser.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{BrowserError, find};
use crate::servers::{ports::Port, wait::wait_until, watchdog::Watchdog};

/// How long the driver and the browser may take to start: long, for a cold disk and a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long a condition on a page may take. Only what fails takes that long.
const TRUE_WITHIN: Duration = Duration::from_secs(20);

/// How long the browser's helper processes may keep its directory busy after it was killed.
const REMOVED_WITHIN: Duration = Duration::from_secs(5);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A browser of its own, with one page, without a window. Everything about it is gone when this is
/// dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    // The order matters: the processes end before their directory goes.
    _driver: Driver,
    _dir: Profile,
    _port: Port,
}

impl Browser {
    /// Starts a browser with an empty profile and an empty page.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotFound`] with the packages to install; [`BrowserError::Start`] if it does
    /// not come up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what has started is ended.
    pub async fn start() -> Result<Self, BrowserError> {
        let programs = find()?;
        let dir = tempfile::Builder::new()
            .prefix("quorate-browser-")
            .tempdir()
            .map_err(start_error("create a directory for the browser"))?;
        let port = Port::take().map_err(start_error("find a port for ChromeDriver"))?;
        let mut driver = Driver::start(&programs.driver, port.number, dir.path())?;
        driver.wait_until_it_listens(port.number).await?;

        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = ClientBuilder::new(connector)
            .capabilities(capabilities(&programs.chromium, dir.path()))
            .connect(&format!("http://127.0.0.1:{}", port.number))
            .await
            .map_err(start_error("start Chromium"))?;
        Ok(Self {
            client,
            _driver: driver,
            _dir: Profile(dir),
            _port: port,
        })
    }

    /// Goes to a page, and waits until it has loaded.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if it cannot be loaded.
    pub async fn open(&self, url: &str) -> Result<(), BrowserError> {
        self.client
            .goto(url)
            .await
            .map_err(command_error(|| format!("open {url}")))
    }

    /// Makes the page this large, in CSS pixels.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if the browser refuses.
    pub async fn resize(&self, width: u32, height: u32) -> Result<(), BrowserError> {
        self.client
            .set_window_size(width, height)
            .await
            .map_err(command_error(|| format!("resize to {width} × {height}")))
    }

    /// The value of a JavaScript expression.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if it throws.
    pub async fn evaluate(&self, expression: &str) -> Result<Value, BrowserError> {
        self.client
            .execute(&format!("return ({expression});"), Vec::new())
            .await
            .map_err(command_error(|| format!("evaluate {expression}")))
    }

    /// Waits until a JavaScript expression is true (truthy); one that throws is not true yet.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Deadline`] after twenty seconds, with what the page shows.
    pub async fn wait_for(&self, condition: &str) -> Result<(), BrowserError> {
        let start = Instant::now();
        loop {
            let last = match self.evaluate(&format!("Boolean({condition})")).await {
                Ok(Value::Bool(true)) => return Ok(()),
                Ok(value) => value.to_string(),
                Err(error) => {
                    std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
                }
            };
            if start.elapsed() > TRUE_WITHIN {
                return Err(self.deadline(condition, last).await);
            }
            sleep(POLL).await;
        }
    }

    /// The visible text of the first element that matches a CSS selector.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if there is none.
    pub async fn text(&self, selector: &str) -> Result<String, BrowserError> {
        let doing = || format!("read the text of {selector}");
        let element = self
            .client
            .find(Locator::Css(selector))
            .await
            .map_err(command_error(doing))?;
        element.text().await.map_err(command_error(doing))
    }

    /// Clicks on the first element that matches a CSS selector, as a mouse would.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if there is none, or it is hidden or covered.
    pub async fn click(&self, selector: &str) -> Result<(), BrowserError> {
        let doing = || format!("click on {selector}");
        let element = self
            .client
            .find(Locator::Css(selector))
            .await
            .map_err(command_error(doing))?;
        element.click().await.map_err(command_error(doing))
    }

    /// Types into the first element that matches a CSS selector, after what is there.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if there is none, or it takes no input.
    pub async fn type_text(&self, selector: &str, text: &str) -> Result<(), BrowserError> {
        let doing = || format!("type into {selector}");
        let element = self
            .client
            .find(Locator::Css(selector))
            .await
            .map_err(command_error(doing))?;
        element.send_keys(text).await.map_err(command_error(doing))
    }

    /// Empties the first input that matches a CSS selector.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if there is none, or it takes no input.
    pub async fn clear(&self, selector: &str) -> Result<(), BrowserError> {
        let doing = || format!("empty {selector}");
        let element = self
            .client
            .find(Locator::Css(selector))
            .await
            .map_err(command_error(doing))?;
        element.clear().await.map_err(command_error(doing))
    }

    /// Writes what the page looks like to a PNG file.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Command`] if it cannot be taken or written.
    pub async fn screenshot(&self, file: &Path) -> Result<(), BrowserError> {
        let doing = || format!("take a screenshot to {}", file.display());
        let png = self
            .client
            .screenshot()
            .await
            .map_err(command_error(doing))?;
        fs::write(file, png).map_err(command_error(doing))
    }

    async fn deadline(&self, condition: &str, last: String) -> BrowserError {
        let url = self.evaluate("location.href").await;
        let text = self.evaluate("document.body.innerText").await;
        // Whatever cannot be read is shown as the reason why.
        let show = |value: Result<Value, BrowserError>| match value {
            Ok(Value::String(text)) => text,
            Ok(other) => other.to_string(),
            Err(error) => error.to_string(),
        };
        BrowserError::Deadline {
            condition: condition.to_owned(),
            last,
            url: show(url),
            text: show(text),
        }
    }
}

/// The driver's process. It leads a process group, in which the browser and its helpers are too: the
/// browser would outlive the driver.
#[derive(Debug)]
struct Driver {
    child: Child,
    _watchdog: Watchdog,
}

impl Driver {
    fn start(program: &Path, port: u16, dir: &Path) -> Result<Self, BrowserError> {
        let doing = || format!("start {}", program.display());
        let mut child = Command::new(program)
            .arg(format!("--port={port}"))
            .arg(format!("--log-path={}", dir.join("driver.log").display()))
            // Inherited handles would keep a test runner waiting for output.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(start_error(doing()))?;
        match Watchdog::over_group(child.id(), dir) {
            Ok(watchdog) => Ok(Self {
                child,
                _watchdog: watchdog,
            }),
            Err(error) => {
                // It is the other error that counts.
                let _ = child.kill();
                let _ = child.wait();
                Err(start_error(doing())(error))
            }
        }
    }

    async fn wait_until_it_listens(&mut self, port: u16) -> Result<(), BrowserError> {
        let start = Instant::now();
        loop {
            let Err(error) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                return Ok(());
            };
            // Only looked at, not waited for: its number, and so its group's, must stay its own.
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let pid = Pid::from_child(&self.child);
            let ended = !matches!(waitid(WaitId::Pid(pid), look), Ok(None));
            if ended || start.elapsed() > START_WITHIN {
                return Err(start_error("wait for ChromeDriver")(error));
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It has not been waited for, so the number is still its own, also if it has ended. Neither
        // fails.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The directory the browser works in.
#[derive(Debug)]
struct Profile(TempDir);

impl Drop for Profile {
    fn drop(&mut self) {
        // The last of the browser's helpers may still be writing. What remains in the end remains:
        // the directory itself is tried once more when it is dropped.
        wait_until(REMOVED_WITHIN, || {
            let _ = fs::remove_dir_all(self.0.path());
            !self.0.path().exists()
        });
    }
}

fn capabilities(chromium: &Path, dir: &Path) -> Capabilities {
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let options = json!({
        "binary": chromium,
        "args": [
            "--headless",
            // The sandbox refuses root, and containers refuse the sandbox. Tests open only pages of
            // ours.
            "--no-sandbox",
            "--disable-gpu",
            // Containers often have a tiny /dev/shm.
            "--disable-dev-shm-usage",
            // Everything by which it would talk to the world by itself.
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            profile,
        ],
    });
    [
        ("browserName", json!("chrome")),
        ("goog:chromeOptions", options),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

fn start_error<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    doing: impl Into<String>,
) -> impl FnOnce(E) -> BrowserError {
    let doing = doing.into();
    move |source| BrowserError::Start {
        doing,
        source: source.into(),
    }
}

fn command_error<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    doing: impl FnOnce() -> String,
) -> impl FnOnce(E) -> BrowserError {
    move |source| BrowserError::Command {
        doing: doing(),
        source: source.into(),
    }
}
