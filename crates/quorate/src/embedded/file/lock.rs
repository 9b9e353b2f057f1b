//! The file itself: opened, and closed to others.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind as IoErrorKind, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::error::{Error, ErrorKind, Result};

/// What every file of redb begins with.
const MAGIC: &[u8] = b"redb";

/// A file that nobody else has open as a home, for as long as this value lives.
///
/// The lock is ours and not redb's: after an error redb wants to be closed and opened again, and nobody may get
/// in between.
#[derive(Debug)]
pub(super) struct LockedFile {
    lock: File,
    storage: Arc<dyn StorageBackend>,
}

impl LockedFile {
    /// Opens the file, and makes it if there is none.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let refused = |rule: &str| {
            let shown = path.display();
            Error::config("url", format_args!("names the file `{shown}`, {rule}"))
        };
        let unusable = |error: io::Error| {
            let rule = match error.kind() {
                IoErrorKind::NotFound => "whose directory does not exist",
                IoErrorKind::NotADirectory => "which is in no directory",
                IoErrorKind::IsADirectory => "which is a directory",
                IoErrorKind::PermissionDenied => "which this process may not read and write",
                IoErrorKind::ReadOnlyFilesystem => "which is on a file system that is read-only",
                _ => "which cannot be opened",
            };
            refused(rule).with_source(error)
        };
        if path.is_dir() {
            return Err(unusable(IoErrorKind::IsADirectory.into()));
        }
        let is_new = !path.exists();
        let mut lock = open(path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let rule = "which is open in another process, or by another fleet of this one";
                return Err(refused(rule));
            }
            Err(TryLockError::Error(error)) => {
                let rule = "which cannot be locked";
                return Err(refused(rule).with_source(error));
            }
        }
        if !is_ours_or_empty(&mut lock).map_err(unusable)? {
            return Err(refused("which is something else than a home"));
        }
        if is_new {
            sync_directory_of(path).map_err(unusable)?;
        }
        let file = lock.try_clone().map_err(unusable)?;
        let storage = FileBackend::new(file)
            .map_err(|error| refused("which cannot be opened").with_source(error))?;
        let storage = Arc::new(storage);
        Ok(Self { lock, storage })
    }

    /// For redb; any number of times, one after the other.
    pub(super) fn storage(&self) -> Storage {
        Storage(self.storage.clone())
    }

    /// The same lock over another storage.
    #[cfg(test)]
    pub(super) fn with_storage(
        mut self,
        wrap: impl FnOnce(Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend>,
    ) -> Self {
        self.storage = wrap(self.storage.clone());
        self
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing the file does the same; but a duplicate of it in a child process would not let it.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "a home's file could not be unlocked");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // There may be sessions in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn is_ours_or_empty(file: &mut File) -> io::Result<bool> {
    let mut begin = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    file.rewind()?;
    Ok(begin.is_empty() || begin == MAGIC)
}

/// So that a new file is still there after the power went.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// A storage of redb that is neither locked nor closed by it.
#[derive(Debug)]
pub(super) struct Storage(Arc<dyn StorageBackend>);

impl StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// The error of a file that cannot be used as it is.
pub(super) fn damaged(path: &Path, what: &str) -> Error {
    let shown = path.display();
    Error::new(ErrorKind::Decode).with_message(format!("the file `{shown}` {what}"))
}
