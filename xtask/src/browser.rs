//! Chromium for the tests that need it.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use quorate_testing::browser;

use crate::process;
use crate::progress::Progress;

/// Finds Chromium and its driver, or installs them where that is allowed: as root, with apt.
///
/// # Errors
///
/// Why there is none, and what to install.
pub(crate) fn find_or_install() -> Result<()> {
    let missing = match browser::find() {
        Ok(programs) => {
            eprintln!("found Chromium ({})", programs.chromium.display());
            return Ok(());
        }
        Err(missing) => missing,
    };
    // What was named and is not there is not made up for by another one.
    let named = ["QUORATE_CHROMIUM", "QUORATE_CHROMEDRIVER"];
    let may_install = named.iter().all(|name| env::var_os(name).is_none())
        && rustix::process::geteuid().is_root()
        && process::exists(Command::new("apt-get").arg("--version"));
    if !may_install {
        return Err(missing.into());
    }

    let progress = Progress::start("installing Chromium with apt");
    let installed = install(&progress).context("Chromium could not be installed");
    progress.finish(match installed {
        Ok(()) => "installed Chromium",
        Err(_) => "found no Chromium",
    });
    installed?;
    browser::find()?;
    Ok(())
}

fn install(progress: &Progress) -> Result<()> {
    let packages = [
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "chromium",
        "chromium-driver",
    ];
    progress.say("fetching the package lists");
    apt(&["update", "--quiet"])?;
    progress.say("installing chromium and chromium-driver with apt (some 100 MB)");
    apt(&packages)
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    let line = process::shown(&command);
    let output = command
        .output()
        .with_context(|| format!("{line} could not be run"))?;
    if !output.status.success() {
        bail!(
            "{line} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
