//! Tables whose rows are kept in the file of the home as well.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::{State, Table};
use crate::key::{Key, Namespace};

/// A state with a row in the file.
pub(crate) trait Kept: State {
    /// What its table is called in the file; never another.
    const TABLE: &'static str;

    /// What of it outlives the process.
    fn row(&self) -> Vec<u8>;

    /// What a row says; `None` if it cannot be read.
    fn from_row(row: &[u8]) -> Option<Self>;
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
    /// What it is called in the file.
    fn name(&self) -> &'static str;

    /// Adds the rows that are not in the file as they are in memory.
    fn collect(&self, rows: &mut Vec<Row>);

    /// Takes note that `round` is on disk.
    fn settle(&self, round: u64);

    /// Takes a row that was in the file. `None`: it cannot be read.
    fn restore(&self, key: &[u8], row: &[u8]) -> Option<()>;
}

impl<S, K> KeptTable for Table<S, K>
where
    S: Kept + Debug + Send,
    K: RowKey + Debug + Send,
{
    fn name(&self) -> &'static str {
        S::TABLE
    }

    fn collect(&self, rows: &mut Vec<Row>) {
        self.each_changed(|key, state| {
            rows.push(Row {
                table: S::TABLE,
                key: key.bytes(),
                state: state.map(Kept::row),
            });
        });
    }

    fn settle(&self, round: u64) {
        self.settle_changed(round);
    }

    fn restore(&self, key: &[u8], row: &[u8]) -> Option<()> {
        self.put_back(K::from_bytes(key)?, S::from_row(row)?);
        Some(())
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
        }
    }
}
