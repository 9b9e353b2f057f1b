//! Tables whose rows are kept in the file of the home as well.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::{State, Table};
use crate::key::{Key, Namespace};

/// A state with a row in the file.
///
/// Of what there may be much of, and changes a little at a time, each piece has a side row beside it, found by its
/// name. Of those, the ones that [`State::changed_sides`] names are written.
pub(crate) trait Kept: State {
    /// What its table is called in the file; never another.
    const TABLE: &'static str;

    /// What of it outlives the process, without what has a row of its own; `None` if there is nothing.
    fn row(&self) -> Option<Vec<u8>>;

    /// What a row says; `None` if it cannot be read.
    fn from_row(row: &[u8]) -> Option<Self>;

    /// What the table of its side rows is called in the file, if it has any; never another, and behind
    /// [`TABLE`](Self::TABLE) in the order of bytes.
    const SIDES: Option<&'static str> = None;

    /// What the side row of this name says; `None` if there is none any more.
    fn side_row(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }

    /// Takes a side row that was in the file; `None` if it cannot be read.
    fn take_side(&mut self, _name: &str, _row: &[u8]) -> Option<()> {
        None
    }
}

/// The key of a row.
pub(crate) trait RowKey: Clone + Eq + Hash {
    fn bytes(&self) -> Vec<u8>;

    /// `None` if the bytes are no such key.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl RowKey for Arc<str> {
    fn bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(Self::from)
    }
}

/// Neither a namespace nor a name contains a control character.
impl RowKey for Key {
    fn bytes(&self) -> Vec<u8> {
        format!("{}\0{}", self.namespace(), self.name()).into()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (namespace, name) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
        Self::new(&Namespace::new(namespace).ok()?, name).ok()
    }
}

/// A row as `version`, and the fields in MessagePack behind it.
pub(crate) fn encode<T: Serialize>(version: u8, fields: &T) -> Vec<u8> {
    let mut row = vec![version];
    rmp_serde::encode::write(&mut row, fields).expect("numbers, text and bytes can be encoded");
    row
}

/// The fields of a row of this version, with nothing behind them.
pub(crate) fn decode<T: DeserializeOwned>(version: u8, row: &[u8]) -> Option<T> {
    let (first, mut fields) = row.split_first()?;
    if *first != version {
        return None;
    }
    let decoded = rmp_serde::from_read(&mut fields).ok()?;
    fields.is_empty().then_some(decoded)
}

/// The key of a side row: how long that of the row is, that, and its name.
fn side_key(row: &[u8], name: &str) -> Vec<u8> {
    let length = u32::try_from(row.len()).expect("names are short");
    let mut key = length.to_be_bytes().to_vec();
    key.extend_from_slice(row);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The key of the row, and the name of the side row.
fn split_side_key(key: &[u8]) -> Option<(&[u8], &str)> {
    let (length, rest) = key.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (row, name) = rest.split_at_checked(length)?;
    Some((row, std::str::from_utf8(name).ok()?))
}

/// A row as it ought to be in the file.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) table: &'static str,
    pub(super) key: Vec<u8>,
    /// `None`: there is none.
    pub(super) state: Option<Vec<u8>>,
}

/// What the file knows of a table.
pub(super) trait KeptTable: Debug + Send + Sync {
    /// Whether rows of this table of the file are its own.
    fn keeps(&self, table: &str) -> bool;

    /// Adds the rows that are not in the file as they are in memory.
    fn collect(&self, rows: &mut Vec<Row>);

    /// Takes note that `round` is on disk.
    fn settle(&self, round: u64);

    /// Takes a row that was in this table of the file. `None`: it cannot be read.
    fn restore(&self, table: &str, key: &[u8], row: &[u8]) -> Option<()>;
}

impl<S, K> KeptTable for Table<S, K>
where
    S: Kept + Debug + Send,
    K: RowKey + Debug + Send,
{
    fn keeps(&self, table: &str) -> bool {
        table == S::TABLE || S::SIDES == Some(table)
    }

    fn collect(&self, rows: &mut Vec<Row>) {
        self.each_changed(|key, side, state| {
            let row = match side {
                None => Row {
                    table: S::TABLE,
                    key: key.bytes(),
                    state: state.and_then(Kept::row),
                },
                Some(name) => Row {
                    table: S::SIDES.expect("who names side rows has a table of them"),
                    key: side_key(&key.bytes(), name),
                    state: state.and_then(|state| state.side_row(name)),
                },
            };
            rows.push(row);
        });
    }

    fn settle(&self, round: u64) {
        self.settle_changed(round);
    }

    fn restore(&self, table: &str, key: &[u8], row: &[u8]) -> Option<()> {
        if table == S::TABLE {
            self.put_back(K::from_bytes(key)?, S::from_row(row)?);
            return Some(());
        }
        let (key, name) = split_side_key(key)?;
        self.put_back_side(K::from_bytes(key)?, |state| state.take_side(name, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_read_back() {
        for (namespace, name) in [("", "report"), ("shop:prod", "a:b {x} é")] {
            let key = Key::new(&Namespace::new(namespace).unwrap(), name).unwrap();
            assert_eq!(Key::from_bytes(&key.bytes()), Some(key));
        }
        let text: Arc<str> = "shop:store:{flags:a}".into();
        assert_eq!(<Arc<str>>::from_bytes(&text.bytes()), Some(text));
        assert_eq!(Key::from_bytes(b"no separator"), None);
        assert_eq!(<Arc<str>>::from_bytes(&[0xff]), None);
        let side = side_key(b"a\0b", "n\0m");
        assert_eq!(split_side_key(&side), Some((&b"a\0b"[..], "n\0m")));
    }

    proptest! {
        /// Whatever a file may hold.
        #[test]
        fn any_bytes_are_a_row_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let decoded = decode::<(u64, String)>(1, &bytes);
            if let Some(fields) = decoded {
                prop_assert_eq!(decode(1, &encode(1, &fields)), Some(fields));
            }
            let _ = Key::from_bytes(&bytes);
            if let Some((key, name)) = split_side_key(&bytes) {
                prop_assert_eq!(side_key(key, name), bytes);
            }
        }
    }
}
