//! Finding a server program.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::fetch::{self, Source};
use super::wait::wait_until;
use super::{Flavour, ServerError};

/// How long a program may be held open by somebody who writes it.
const NOT_BUSY_WITHIN: Duration = Duration::from_secs(5);

/// A server program that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binary {
    /// Whose program it is.
    pub flavour: Flavour,
    /// Major, minor and patch version.
    pub version: (u32, u32, u32),
    /// Where it is.
    pub path: PathBuf,
    /// Where the shared libraries are that came with it, if any did.
    pub libraries: Option<PathBuf>,
}

impl Binary {
    /// Asks the program at `path` what it is.
    ///
    /// # Errors
    ///
    /// A sentence without a subject, as in "is Redis 6.2.1, older than 7.0", if it doesn't run, is
    /// of another flavour, or is older than the floor.
    pub(super) fn probe(
        flavour: Flavour,
        path: &Path,
        libraries: Option<PathBuf>,
    ) -> Result<Self, String> {
        let mut binary = Self {
            flavour,
            version: (0, 0, 0),
            path: path.to_owned(),
            libraries,
        };
        let mut result = None;
        // A file just written looks busy for as long as a process that another thread is starting
        // this moment holds a copy of our handle.
        wait_until(NOT_BUSY_WITHIN, || {
            let output = binary
                .command()
                .arg("--version")
                .stdin(Stdio::null())
                .output();
            let busy = output
                .as_ref()
                .is_err_and(|it| it.kind() == io::ErrorKind::ExecutableFileBusy);
            result = Some(output);
            !busy
        });
        let output = result
            .expect("the condition is looked at at least once")
            .map_err(|error| format!("does not run: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((word, version)) = parse_version(&text) else {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "does not say its version: {}{}",
                text.trim(),
                said.trim()
            ));
        };
        if word != flavour.version_word() {
            return Err(format!("is {word}, not {flavour}"));
        }
        let (major, minor) = flavour.floor();
        if (version.0, version.1) < (major, minor) {
            let (a, b, c) = version;
            return Err(format!("is {word} {a}.{b}.{c}, older than {major}.{minor}"));
        }
        binary.version = version;
        Ok(binary)
    }

    /// A command that runs the program, with its libraries.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            let inherited = env::var_os("LD_LIBRARY_PATH");
            let paths = [libraries.clone()]
                .into_iter()
                .chain(inherited.iter().flat_map(env::split_paths));
            // Fails only for a path that holds a colon, which the loader could not use either.
            if let Ok(joined) = env::join_paths(paths) {
                command.env("LD_LIBRARY_PATH", joined);
            }
        }
        command
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        write!(
            f,
            "{} {major}.{minor}.{patch} ({})",
            self.flavour,
            self.path.display()
        )
    }
}

/// Finds a server of this flavour, fetching it if it must. Blocks, for as long as a download takes.
///
/// `progress` is told, in a few words, each time something slow begins.
///
/// # Concurrent calls
///
/// Any number of processes may call this at once: one fetches, the others wait for it.
///
/// # Errors
///
/// [`ServerError::NotFound`], with everything that was tried and the package to install; also if the
/// program named by the environment variable is not usable: another one is never taken silently.
pub fn locate(flavour: Flavour, progress: &mut dyn FnMut(&str)) -> Result<Binary, ServerError> {
    let mut tried = Vec::new();
    let variable = flavour.override_variable();
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return Binary::probe(flavour, &path, None).map_err(|problem| {
            tried.push(format!("{variable}: {} {problem}", path.display()));
            ServerError::NotFound { flavour, tried }
        });
    }

    match on_path(flavour.program()) {
        Some(path) => match Binary::probe(flavour, &path, None) {
            Ok(binary) => return Ok(binary),
            Err(problem) => tried.push(format!("PATH: {} {problem}", path.display())),
        },
        None => tried.push(format!("PATH: no {}", flavour.program())),
    }

    let root = servers_dir();
    let sources = fetch::sources(flavour);
    if let Some(binary) = kept(flavour, sources, &root) {
        return Ok(binary);
    }

    fs::create_dir_all(&root).map_err(ServerError::io(format!("create {}", root.display())))?;
    let _alone = lock(&root.join(format!("{}.lock", flavour.name())), progress)?;
    // Whoever held the lock before us may have fetched it meanwhile.
    if let Some(binary) = kept(flavour, sources, &root) {
        return Ok(binary);
    }
    for source in sources {
        progress(&format!("fetching {flavour} from {source}"));
        match source.fetch(flavour, &root, progress) {
            Ok(binary) => {
                progress(&format!("fetched {binary}"));
                return Ok(binary);
            }
            Err(problem) => {
                progress(&format!("{source}: {problem}"));
                tried.push(format!("{source}: {problem}"));
            }
        }
    }
    Err(ServerError::NotFound { flavour, tried })
}

/// Where fetched servers are kept: `QUORATE_SERVERS_DIR`, else `servers` in the target directory of
/// the workspace, else in the temporary directory.
#[must_use]
pub fn servers_dir() -> PathBuf {
    if let Some(dir) = env::var_os("QUORATE_SERVERS_DIR").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    if let Some(target) = env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(target).join("servers");
    }
    // Cargo sets the manifest directory for what it runs; a binary started by hand has only the
    // working directory to go by.
    let start = env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .or_else(|| env::current_dir().ok());
    start
        .as_deref()
        .and_then(|start| {
            start
                .ancestors()
                .find(|dir| dir.join("Cargo.lock").is_file())
        })
        .map_or_else(
            || env::temp_dir().join("quorate-servers"),
            |workspace| workspace.join("target").join("servers"),
        )
}

/// The first executable file of this name on the `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// The first of the sources that was fetched earlier and still runs.
fn kept(flavour: Flavour, sources: &[Source], root: &Path) -> Option<Binary> {
    let entries: Vec<_> = fs::read_dir(root).ok()?.flatten().collect();
    sources.iter().find_map(|source| {
        let prefix = format!("{}-", source.name());
        entries
            .iter()
            .filter(|entry| {
                let name = entry.file_name();
                let version = name.to_str().and_then(|name| name.strip_prefix(&prefix));
                version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            })
            .filter_map(|entry| fetch::open(flavour, &entry.path()).ok())
            .max_by_key(|binary| binary.version)
    })
}

/// Waits until this process is alone; the lock goes with the returned file.
fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> Result<File, ServerError> {
    let doing = || format!("lock {}", path.display());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(ServerError::io(doing()))?;
    if file.try_lock().is_err() {
        progress("waiting for another process that is fetching the same server");
        file.lock().map_err(ServerError::io(doing()))?;
    }
    Ok(file)
}

/// Reads the flavour and version from a line such as `Redis server v=7.0.15 sha=…`.
fn parse_version(text: &str) -> Option<(&str, (u32, u32, u32))> {
    let (word, rest) = text.trim_start().split_once(" server v=")?;
    let version = rest.split_whitespace().next()?;
    let mut numbers = version.split('.').map(|part| {
        let digits = part
            .find(|c: char| !c.is_ascii_digit())
            .map_or(part, |end| &part[..end]);
        digits.parse::<u32>().ok()
    });
    let mut next = || numbers.next().flatten();
    Some((word, (next()?, next()?, next().unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            parse_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"),
            Some(("Redis", (7, 0, 15)))
        );
        assert_eq!(
            parse_version("Valkey server v=9.1.0-rc2 sha=1"),
            Some(("Valkey", (9, 1, 0)))
        );
        assert_eq!(parse_version("hello"), None);
    }

    #[test]
    fn a_program_that_is_no_server_is_refused_with_what_it_said() {
        let problem = Binary::probe(Flavour::Redis, Path::new("/bin/sh"), None).unwrap_err();
        assert!(
            problem.contains("version") || problem.contains("run"),
            "{problem}"
        );
    }

    #[test]
    fn another_flavour_or_an_old_version_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redis-server");
        let says = |line: &str| {
            fs::write(&path, format!("#!/bin/sh\necho '{line}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Binary::probe(Flavour::Redis, &path, None)
        };
        assert_eq!(
            says("Redis server v=7.2.0 sha=0").unwrap().version,
            (7, 2, 0)
        );
        assert_eq!(
            says("Valkey server v=8.1.0 sha=0").unwrap_err(),
            "is Valkey, not Redis"
        );
        let old = says("Redis server v=6.2.14 sha=0").unwrap_err();
        assert_eq!(old, "is Redis 6.2.14, older than 7.0");
    }
}
