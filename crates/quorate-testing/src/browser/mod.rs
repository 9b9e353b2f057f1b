//! A real browser for tests: Chromium without a window, driven through ChromeDriver.
//!
//! Both are looked for at the paths in `QUORATE_CHROMIUM` and `QUORATE_CHROMEDRIVER`, then on the
//! `PATH`. A missing browser is a failed test, never a skipped one. `cargo xtask test` installs it
//! where it may, and recognises tests that need it by `browser_` in their names.
//!
//! Finding it is always there; driving it needs the feature `browser`.
#![cfg_attr(
    feature = "browser",
    doc = r##"
```no_run
# async fn demo() -> Result<(), quorate_testing::browser::BrowserError> {
use quorate_testing::browser::Browser;

let browser = Browser::start().await?;
browser.open("http://127.0.0.1:8080/").await?;
browser.type_text("#message", "hello").await?;
browser.click("#send").await?;
browser.wait_for("document.querySelectorAll('.received').length === 1").await?;
assert_eq!(browser.text(".received").await?, "hello");
# Ok(())
# }
```
"##
)]

#[cfg(feature = "browser")]
mod drive;
mod find;

#[cfg(feature = "browser")]
pub use drive::Browser;
pub use find::{BrowserError, Programs, find};
