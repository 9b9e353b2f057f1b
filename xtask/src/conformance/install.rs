//! The Autobahn test suite, fetched from the Python package index into the target directory.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress::Progress;

/// The suite and all it needs, in the versions that were tried.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Which Python to use, where the one that is found is not wanted.
const VARIABLE: &str = "QUORATE_PYTHON2";

/// The suite, ready to run.
pub(super) struct Suite {
    python: PathBuf,
    packages: PathBuf,
}

impl Suite {
    /// Finds the suite under `root`, or installs it there.
    ///
    /// # Errors
    /// Why it can't be had, and what to install.
    pub(super) fn find_or_install(root: &Path) -> Result<Self> {
        let suite = Self {
            python: find_python()?,
            packages: root.join("python"),
        };
        // Written last, so that half an installation is none; and compared, so that an old one is none.
        let marker = suite.packages.join("installed.txt");
        if fs::read_to_string(&marker).is_ok_and(|installed| installed == REQUIREMENTS) {
            return Ok(suite);
        }
        let progress = Progress::start("installing the Autobahn test suite with pip");
        let installed = suite.install(&marker);
        progress.finish(match installed {
            Ok(()) => "installed the Autobahn test suite",
            Err(_) => "the Autobahn test suite was not installed",
        });
        installed.map(|()| suite)
    }

    fn install(&self, marker: &Path) -> Result<()> {
        if self.packages.exists() {
            fs::remove_dir_all(&self.packages)
                .with_context(|| format!("cannot remove {}", self.packages.display()))?;
        }
        fs::create_dir_all(&self.packages)
            .with_context(|| format!("cannot create {}", self.packages.display()))?;
        let requirements = self.packages.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)
            .with_context(|| format!("cannot write {}", requirements.display()))?;
        let mut pip = self.module("pip");
        pip.args(["install", "--disable-pip-version-check", "--no-deps"])
            .args(["--user", "--ignore-installed", "--no-warn-script-location"])
            .arg("--requirement")
            .arg(&requirements)
            .stdin(Stdio::null());
        let line = process::shown(&pip);
        let output = pip
            .output()
            .with_context(|| format!("{line} could not be run"))?;
        if !output.status.success() {
            bail!(
                "{line} failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        fs::rename(&requirements, marker)
            .with_context(|| format!("cannot write {}", marker.display()))
    }

    /// Runs the suite's client as `spec` says.
    pub(super) fn fuzzing_client(&self, spec: &Path) -> Command {
        let mut command = self.module("autobahntestsuite.wstest");
        command
            .args(["--mode", "fuzzingclient", "--spec"])
            .arg(spec);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a module with the packages of the suite, and those only.
    fn module(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        // A user's packages may lie anywhere: here they need no virtual environment, which Python 2
        // does not come with.
        command
            .env("PYTHONUSERBASE", &self.packages)
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONNOUSERSITE")
            // What it warns of is its own age.
            .args(["-W", "ignore", "-m", name]);
        command
    }
}

/// Python 2.7: the suite was never brought to Python 3.
fn find_python() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let named = PathBuf::from(named);
        if is_suitable(&named) {
            return Ok(named);
        }
        bail!(
            "{VARIABLE} must name a Python 2.7 that has pip, and {} is none",
            named.display()
        );
    }
    let on_path = ["python2.7", "python2"].map(PathBuf::from);
    on_path
        .into_iter()
        .chain(of_pyenv())
        .find(|python| is_suitable(python))
        .with_context(|| {
            format!(
                "no Python 2.7 with pip was found, which the Autobahn test suite needs: \
                 `pyenv install 2.7.18` builds one; or set {VARIABLE} to the path of one"
            )
        })
}

/// Those that pyenv has built, whether they are switched on or not.
fn of_pyenv() -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT")
        .filter(|root| !root.is_empty())
        .or_else(|| {
            let mut home: OsString = env::var_os("HOME")?;
            home.push("/.pyenv");
            Some(home)
        });
    let Some(Ok(versions)) = root.map(|root| fs::read_dir(Path::new(&root).join("versions")))
    else {
        return Vec::new();
    };
    let mut pythons: Vec<_> = versions
        .filter_map(Result::ok)
        .filter(|version| version.file_name().to_string_lossy().starts_with("2.7"))
        .map(|version| version.path().join("bin/python2.7"))
        .collect();
    pythons.sort();
    pythons
}

/// Whether it starts, is a 2.7, and can install packages.
fn is_suitable(python: &Path) -> bool {
    let ask = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))";
    process::exists(Command::new(python).args(["-c", ask]))
}
