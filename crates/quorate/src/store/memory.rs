//! Stores in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::area::{Area, StoreKey};
use super::entry::{Entry, Expiry, Once, Remaining, When, Write, Written};
use super::port::{ScanCursor, ScanPage, StorePort, WriteOptions};
use crate::clock::Micros;
use crate::durability::Reached;
use crate::embedded::{State, Table};
use crate::error::Result;
use crate::port::CallOptions;

impl State for Entry {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        self.due(now)
    }

    fn expire(&mut self, now: Micros) {
        self.expire(now);
    }
}

/// One instance's access to the stores of its home.
pub(crate) struct MemoryStores {
    table: Arc<Table<Entry, Arc<str>>>,
}

impl MemoryStores {
    pub(crate) fn new(table: Arc<Table<Entry, Arc<str>>>) -> Self {
        Self { table }
    }

    fn value(&self, key: &StoreKey) -> Option<Bytes> {
        self.table.look(key.text(), |entry, clock| {
            entry.value(|| clock.now()).cloned()
        })?
    }

    fn apply(&self, key: &StoreKey, write: &Write, once: Option<&Once>) -> Written {
        self.table
            .transition(key.text(), |entry, now| entry.write(now, write, once))
    }
}

#[async_trait]
impl StorePort for MemoryStores {
    async fn get(&self, key: &StoreKey, _options: CallOptions) -> Result<Option<Bytes>> {
        Ok(self.value(key))
    }

    async fn get_many(
        &self,
        keys: &[StoreKey],
        _options: CallOptions,
    ) -> Result<Vec<Option<Bytes>>> {
        Ok(keys.iter().map(|key| self.value(key)).collect())
    }

    async fn write(
        &self,
        key: &StoreKey,
        write: &Write,
        options: WriteOptions,
    ) -> Result<(Written, Reached)> {
        let written = self.apply(key, write, options.once.as_ref());
        Ok((written, Reached::alone(false)))
    }

    async fn set_many(
        &self,
        entries: &[(StoreKey, Bytes)],
        ttl: Option<Duration>,
        _options: CallOptions,
    ) -> Result<()> {
        for (key, value) in entries {
            let write = Write::Set {
                value: value.clone(),
                expiry: ttl.map_or(Expiry::Never, Expiry::After),
                when: When::Always,
            };
            self.apply(key, &write, None);
        }
        Ok(())
    }

    async fn remaining(&self, key: &StoreKey, _options: CallOptions) -> Result<Option<Remaining>> {
        let remaining = self
            .table
            .look(key.text(), |entry, clock| entry.remaining(clock.now()));
        Ok(remaining.flatten())
    }

    async fn scan(
        &self,
        area: &Area,
        prefix: &str,
        from: Option<&ScanCursor>,
        _options: CallOptions,
    ) -> Result<ScanPage> {
        let begins = area.beginning_with(prefix);
        // A page is what one part of the table holds, which is locked meanwhile.
        let part = from.map_or(0, |cursor| cursor.as_str().parse().unwrap_or(usize::MAX));
        let mut names = Vec::new();
        let more = self.table.each_of(part, |key, entry, clock| {
            if key.starts_with(&begins) && entry.value(|| clock.now()).is_some() {
                names.extend(area.name_of(key));
            }
        });
        let next = more.then(|| ScanCursor::new((part + 1).to_string()));
        Ok(ScanPage { names, next })
    }
}

impl fmt::Display for MemoryStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process stores")
    }
}

impl fmt::Debug for MemoryStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStores")
    }
}
