//! Finding the browser and its driver.

use std::env;
use std::path::PathBuf;

use crate::servers::on_path;

/// The programs a browser test needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Programs {
    /// Chromium or Chrome.
    pub chromium: PathBuf,
    /// ChromeDriver of the same version.
    pub driver: PathBuf,
}

/// Why a browser could not be found, started or driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// A program is not on this machine.
    #[error(
        "no {what} was found: install the packages chromium and chromium-driver (Debian, Fedora: \
         chromium and chromedriver), or set {variable} to its path"
    )]
    #[non_exhaustive]
    NotFound {
        /// Which program.
        what: &'static str,
        /// The environment variable that may name it.
        variable: &'static str,
    },

    /// A program could not be started, or ended.
    #[error("{doing}")]
    #[non_exhaustive]
    Start {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The browser refused what it was told.
    #[error("{doing}")]
    #[non_exhaustive]
    Command {
        /// What was being done.
        doing: String,
        /// What the driver said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A condition did not become true in time.
    #[error("still not true: {condition} (last: {last}); the page at {url} shows:\n{text}")]
    #[non_exhaustive]
    Deadline {
        /// The JavaScript expression that was waited for.
        condition: String,
        /// Its last value, or what it threw.
        last: String,
        /// Where the browser is.
        url: String,
        /// The visible text of the page.
        text: String,
    },
}

/// Finds the browser and its driver.
///
/// # Errors
///
/// [`BrowserError::NotFound`], with the packages to install.
pub fn find() -> Result<Programs, BrowserError> {
    let look = |what, variable, names: &[&str]| {
        env::var_os(variable)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .or_else(|| names.iter().find_map(|name| on_path(name)))
            .filter(|path| path.is_file())
            .ok_or(BrowserError::NotFound { what, variable })
    };
    Ok(Programs {
        chromium: look(
            "Chromium",
            "QUORATE_CHROMIUM",
            &["chromium", "chromium-browser", "google-chrome"],
        )?,
        driver: look("ChromeDriver", "QUORATE_CHROMEDRIVER", &["chromedriver"])?,
    })
}
