//! What stands in the file: one table of rows, and a few numbers.

use std::path::Path;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
};

use super::lock::{LockedFile, damaged};
use crate::clock::Micros;
use crate::embedded::kept::Row;
use crate::error::{Error, ErrorKind, Result};

/// Rows, by what their table is called and their key.
const ROWS: TableDefinition<'static, (&str, &[u8]), &[u8]> = TableDefinition::new("rows");
/// Numbers about the whole file.
const ABOUT: TableDefinition<'static, &str, u64> = TableDefinition::new("quorate");
/// In [`ABOUT`]: how rows are laid out. Rows have versions of their own; this one is about everything else.
const LAYOUT: &str = "layout";
const PRESENT_LAYOUT: u64 = 1;
/// In [`ABOUT`]: the time of the home when it was last written, in microseconds.
const TIME: &str = "time";

/// Pages that redb keeps in memory: every row is there already, in its table.
const CACHE: usize = 8 << 20;

/// Files larger than this with less than half in use are made smaller when they are opened.
const WORTH_COMPACTING: u64 = 4 << 20;

/// An open file of rows.
#[derive(Debug)]
pub(super) struct RowFile {
    // Closed before the lock is given back.
    database: Option<Database>,
    file: LockedFile,
}

impl RowFile {
    /// Opens the rows of `file`, and makes it a home if it is empty.
    pub(super) fn open(path: &Path, file: LockedFile) -> Result<Self> {
        let unusable = |error: redb::Error| refusal(path, error);
        let database = database(&file).map_err(|error| unusable(error.into()))?;
        let layout = layout_of(&database).map_err(unusable)?;
        match layout {
            Layout::None => begin(&database).map_err(unusable)?,
            Layout::Known => {}
            Layout::Foreign => return Err(damaged(path, "is something else than a home")),
            Layout::Newer => {
                return Err(damaged(path, "was written by a newer version of Quorate"));
            }
        }
        let database = Some(database);
        Ok(Self { database, file })
    }

    /// The time of the home when it was last written.
    pub(super) fn time(&mut self) -> Result<Micros, redb::Error> {
        let read = self.database()?.begin_read()?;
        let time = read
            .open_table(ABOUT)?
            .get(TIME)?
            .map_or(0, |it| it.value());
        Ok(Micros::new(time))
    }

    /// Shows every row: what its table is called, its key, and what it says.
    pub(super) fn each(
        &mut self,
        mut show: impl FnMut(&str, &[u8], &[u8]) -> Result<()>,
    ) -> Result<Result<()>, redb::Error> {
        let read = self.database()?.begin_read()?;
        for row in read.open_table(ROWS)?.iter()? {
            let (key, state) = row?;
            let (table, key) = key.value();
            if let Err(error) = show(table, key, state.value()) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Writes rows and the time: all of it is on disk when this returns, or none is certain to be.
    pub(super) fn commit(&mut self, rows: &[Row], time: Micros) -> Result<(), redb::Error> {
        let written = self
            .database()
            .and_then(|database| write(database, rows, time));
        if written.is_err() {
            // It wants to be opened again after an error.
            self.database = None;
        }
        written
    }

    /// Gives space back that is not in use, if there is much.
    pub(super) fn compact(&mut self) -> Result<(), redb::Error> {
        let compacted = self.make_smaller();
        if compacted.is_err() {
            // It wants to be opened again after an error.
            self.database = None;
        }
        compacted
    }

    fn make_smaller(&mut self) -> Result<(), redb::Error> {
        let length = redb::StorageBackend::len(&self.file.storage())?;
        let write = self.database()?.begin_write()?;
        let stats = write.stats()?;
        write.abort()?;
        let used = stats.allocated_pages() * stats.page_size() as u64;
        if length > WORTH_COMPACTING && used < length / 2 {
            tracing::info!(length, used, "making the file of a home smaller");
            if let Some(database) = &mut self.database {
                database.compact()?;
            }
        }
        Ok(())
    }

    fn database(&mut self) -> Result<&Database, redb::Error> {
        if self.database.is_none() {
            self.database = Some(database(&self.file)?);
        }
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }
}

/// Every checksum is looked at: redb may panic on a damaged file that it trusts.
fn database(file: &LockedFile) -> Result<Database, DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(file.storage())
}

enum Layout {
    /// There is nothing yet.
    None,
    Known,
    Newer,
    /// It is a database of somebody else.
    Foreign,
}

fn layout_of(database: &Database) -> Result<Layout, redb::Error> {
    let read = database.begin_read()?;
    let mut is_empty = true;
    let mut is_ours = false;
    for table in read.list_tables()? {
        is_empty = false;
        is_ours |= table.name() == ABOUT.name();
    }
    if is_empty {
        return Ok(Layout::None);
    }
    if !is_ours {
        return Ok(Layout::Foreign);
    }
    let Ok(about) = read.open_table(ABOUT) else {
        return Ok(Layout::Foreign);
    };
    let layout = about.get(LAYOUT)?.map(|it| it.value());
    Ok(match layout {
        Some(PRESENT_LAYOUT) => Layout::Known,
        Some(layout) if layout > PRESENT_LAYOUT => Layout::Newer,
        _ => Layout::Foreign,
    })
}

fn begin(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(ROWS)?;
    write.open_table(ABOUT)?.insert(LAYOUT, PRESENT_LAYOUT)?;
    write.commit()?;
    Ok(())
}

fn write(database: &Database, rows: &[Row], time: Micros) -> Result<(), redb::Error> {
    // Durable when `commit` returns: that is redb's default.
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(ROWS)?;
        for row in rows {
            let key = (row.table, &*row.key);
            match &row.state {
                Some(state) => table.insert(key, &**state)?,
                None => table.remove(key)?,
            };
        }
        write.open_table(ABOUT)?.insert(TIME, time.get())?;
    }
    write.commit()?;
    Ok(())
}

/// The error of a file that redb does not open.
pub(super) fn refusal(path: &Path, error: redb::Error) -> Error {
    let refused = match &error {
        redb::Error::Corrupted(_) => damaged(path, "is damaged"),
        redb::Error::UpgradeRequired(_) => damaged(path, "has a layout that is not known"),
        _ => {
            let shown = path.display();
            Error::new(ErrorKind::Backend)
                .with_message(format!("the file `{shown}` cannot be used"))
        }
    };
    refused.with_source(error)
}
