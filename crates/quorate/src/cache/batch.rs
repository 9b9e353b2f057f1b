//! Loading several values with one call of the loader.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, iter};
use tokio::time::Instant;

use super::area::CacheKey;
use super::failure::{Failure, LoaderError};
use super::flight::{Flights, Landed, Lead, Pulse, Role};
use super::handle::Cache;
use super::lease::Leased;
use super::loaded::Loaded;
use super::loading::{Loading, land_kept};
use super::put::Terms;
use super::read::{Read, ReadKind, StaleReason};
use super::seek::Sought;
use super::slot::{Fence, LoadId, Put, Taken, Wish};
use super::tags::LONGEST_LOAD;
use crate::bounds::check_count;
use crate::context::{Operation, Repeat};
use crate::entry_key::{EntryKey, text_of};
use crate::error::{Error, ErrorKind, Result};

static GET_OR_LOAD_MANY: Operation = Operation::new(
    "cache.get_or_load_many",
    "cache",
    "get_or_load_many",
    Repeat::Harmless,
);

/// Entries that others were to load, and that are waited for at a time.
const AT_A_TIME: usize = 64;

impl<K: EntryKey + ToOwned + ?Sized, V> Cache<K, V> {
    /// The values of several entries, in the order of the keys. For those that are not there `load` is called, with their
    /// keys, and what it gives is kept: values with their keys, such as a `HashMap` or a `Vec`, in any order. A value may
    /// be a [`Loaded`] that says how it is kept.
    ///
    /// A key that `load` does not name has no value: it is `None`, which is not kept. (To keep that there is none, let
    /// the values be `Option`s.)
    ///
    /// Asking for all takes one round trip, keeping what was loaded another one. As with
    /// [`get_or_load`](Self::get_or_load) an entry is loaded once in the fleet: what others load is not asked of `load`
    /// but waited for. Where that comes to nothing, `load` is called for the key alone.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule; [`ErrorKind::Load`] with the loader's own error as its source, if there is
    /// a key for which no old value stands in; `Encode`; `Closed`. What was loaded is kept all the same. The cache's own
    /// failures are not errors here.
    ///
    /// # Cancel safety
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{CacheSpec, Fleet};
    /// use std::collections::HashMap;
    ///
    /// const NAMES: CacheSpec<u64, String> = CacheSpec::new("names");
    ///
    /// async fn load(ids: Vec<u64>) -> Result<HashMap<u64, String>, std::io::Error> {
    ///     // SELECT id, name FROM users WHERE id = ANY($1)
    ///     Ok(ids.into_iter().filter(|id| *id < 9).map(|id| (id, format!("user {id}"))).collect())
    /// }
    ///
    /// let names = Fleet::embedded().cache(&NAMES);
    /// let found = names.get_or_load_many(&[7, 8, 9], load).await?;
    /// assert_eq!(found, [Some("user 7".to_owned()), Some("user 8".to_owned()), None]);
    /// # Ok(()) }
    /// ```
    pub fn get_or_load_many<'k, I, F, Fut, M, L, E>(
        &self,
        keys: I,
        load: F,
    ) -> BoxFuture<'k, Result<Vec<Option<V>>>>
    where
        I: IntoIterator<Item = &'k K>,
        K: Sync + 'static,
        K::Owned: Send,
        V: Send + Sync + 'static,
        F: Fn(Vec<K::Owned>) -> Fut + Send + Sync + 'k,
        Fut: Future<Output = Result<M, E>> + Send + 'k,
        M: IntoIterator<Item = (K::Owned, L)>,
        L: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let keys: Vec<&K> = keys.into_iter().collect();
        let entries: Result<Vec<CacheKey>> = keys
            .iter()
            .map(|key| self.key(key, &GET_OR_LOAD_MANY))
            .collect();
        let load: Box<LoadAll<'k, V>> = Box::new(move |missing| {
            let missing = missing.into_iter().map(|at| keys[at].to_owned());
            let loading = load(missing.collect());
            Box::pin(async move { loading.await.map(by_name::<K, V, _, _>).map_err(Into::into) })
        });
        let cache = self.clone();
        Box::pin(async move {
            let found = cache.load_many(entries?, load).await;
            let reads = found.map_err(|error| error.with_operation(GET_OR_LOAD_MANY.name))?;
            Ok(reads
                .into_iter()
                .map(|read| cache.counted_read(read))
                .collect())
        })
    }
}

impl<K: ?Sized + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    async fn load_many(
        &self,
        entries: Vec<CacheKey>,
        load: Box<LoadAll<'_, V>>,
    ) -> Result<Vec<Option<Read<V>>>> {
        check_count(entries.len())?;
        let sought = self.seek_many_or_report(&entries).await?;
        let mut reads: Vec<Option<Read<V>>> = sought.into_iter().map(fresh).collect();
        let missing = (0..entries.len()).filter(|at| reads[*at].is_none());
        let (led, mut others) = self.join_many(missing, &entries);
        let batch = Batch {
            cache: self,
            terms: self.terms(),
            id: LoadId::random(),
        };
        let (found, refused) = batch.run(led, &*load).await?;
        for (at, read) in found {
            reads[at] = read;
        }
        // What others load comes last: nobody is waited for with a lease in hand.
        others.extend(refused);
        let mut waiting: Vec<BoxFuture<'_, _>> = Vec::with_capacity(others.len());
        for at in others {
            let (loading, load, name) = (self.alone(&entries[at]), &load, entries[at].name());
            let load = async move { Ok(load(vec![at]).await?.remove(name)) };
            waiting.push(Box::pin(
                async move { (at, loading.run_if_any(load).await) },
            ));
        }
        let mut waiting = iter(waiting).buffer_unordered(AT_A_TIME);
        while let Some((at, read)) = waiting.next().await {
            reads[at] = read?;
        }
        Ok(reads)
    }

    fn counted_read(&self, read: Option<Read<V>>) -> Option<V> {
        let Some(read) = read else {
            self.count(ReadKind::Miss);
            return None;
        };
        self.count(read.kind);
        Some(read.value)
    }

    fn alone(&self, key: &CacheKey) -> Loading<K, V> {
        Loading {
            cache: self.clone(),
            key: key.clone(),
            terms: self.terms(),
            wish: Wish::Value,
            bound: None,
        }
    }

    /// The flights of entries: those that are led from now on, and those of others.
    fn join_many(
        &self,
        missing: impl Iterator<Item = usize>,
        entries: &[CacheKey],
    ) -> (Vec<Led>, Vec<usize>) {
        let (mut led, mut others) = (Vec::new(), Vec::new());
        for at in missing {
            let key = &entries[at];
            match Flights::join(&self.inner.shared.flights, key.entry().to_owned()) {
                Role::Lead(lead) => led.push(Led {
                    at,
                    key: key.clone(),
                    lead,
                }),
                Role::Follow(_) => others.push(at),
            }
        }
        (led, others)
    }
}

fn fresh<V>(sought: Sought<V>) -> Option<Read<V>> {
    match sought {
        Sought::Fresh(read, _) => Some(read),
        Sought::Missing(_) => None,
    }
}

/// What a loader gave, by the texts of the keys. What can be no key was not asked for.
fn by_name<K, V, M, L>(loaded: M) -> HashMap<String, Loaded<V>>
where
    K: EntryKey + ToOwned + ?Sized,
    M: IntoIterator<Item = (K::Owned, L)>,
    L: Into<Loaded<V>>,
{
    loaded
        .into_iter()
        .filter_map(|(key, loaded)| Some((text_of::<K>(key.borrow()).ok()?, loaded.into())))
        .collect()
}

/// Calls the loader for the keys that stand there, and gives what it loaded by the texts of its keys.
type LoadAll<'l, V> = dyn Fn(Vec<usize>) -> BoxFuture<'l, Result<HashMap<String, Loaded<V>>, LoaderError>>
    + Send
    + Sync
    + 'l;

/// One of the entries that this call loads, unless another instance does.
struct Led {
    /// Where its key stands.
    at: usize,
    key: CacheKey,
    lead: Lead,
}

/// What was found, by where the key stands.
type FoundAt<V> = Vec<(usize, Option<Read<V>>)>;

/// What one call of the loader is for.
struct Batch<'c, K: ?Sized, V> {
    cache: &'c Cache<K, V>,
    terms: Terms,
    id: LoadId,
}

/// The entries to load, and whether there are old values.
struct Due {
    led: Vec<Led>,
    had_old: bool,
    /// Unless it is done without the fleet's consent.
    leased: Option<Leased>,
}

impl<K: ?Sized, V> Batch<'_, K, V> {
    /// Loads what nobody else does. What was found, and where the keys stand of what others load.
    async fn run(&self, led: Vec<Led>, load: &LoadAll<'_, V>) -> Result<(FoundAt<V>, Vec<usize>)> {
        if led.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let pulses: Vec<_> = led.iter().map(|led| led.lead.pulse()).collect();
        let work = async {
            let (mut found, mut others) = (Vec::new(), Vec::new());
            let due = self.take(led, &mut found, &mut others).await?;
            if !due.led.is_empty() {
                found.extend(self.load(due, load).await?);
            }
            Ok((found, others))
        };
        Pulse::during(&pulses, self.cache.pause(), work).await
    }

    /// Asks for all of them at once.
    async fn take(
        &self,
        led: Vec<Led>,
        found: &mut FoundAt<V>,
        others: &mut Vec<usize>,
    ) -> Result<Due> {
        let keys: Vec<_> = led.iter().map(|led| led.key.clone()).collect();
        // Before they are asked for: whoever drops this meanwhile may hold them.
        let mut leased = Leased::new(&self.cache.inner.shared, &keys, self.id);
        let taken = match self.cache.take(&keys, self.id, Wish::Value).await {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
            Err(error) => {
                self.cache.report(&error);
                return Ok(Due {
                    led,
                    had_old: false,
                    leased: None,
                });
            }
        };
        let (mut due, mut had_old) = (Vec::new(), false);
        for (led, taken) in led.into_iter().zip(taken) {
            match taken {
                Taken::Load(old) => {
                    had_old |= old.is_some();
                    due.push(led);
                }
                Taken::Fresh(stored) | Taken::Throttled(stored) => {
                    match self.cache.decode(&stored.value) {
                        Some(value) => {
                            let read = land_kept(led.lead, value, stored, false);
                            found.push((led.at, Some(read)));
                        }
                        None => others.push(led.at),
                    }
                }
                // Of the failure the next look tells again.
                Taken::Failed(_) | Taken::Wait(..) => others.push(led.at),
            }
        }
        leased.narrow(due.iter().map(|led| led.key.clone()).collect());
        Ok(Due {
            led: due,
            had_old,
            leased: Some(leased),
        })
    }

    async fn load(&self, due: Due, load: &LoadAll<'_, V>) -> Result<FoundAt<V>> {
        let began = Instant::now();
        let loading = load(due.led.iter().map(|led| led.at).collect());
        let loaded = match &due.leased {
            Some(leased) => {
                let keys: Vec<_> = due.led.iter().map(|led| led.key.clone()).collect();
                self.cache.while_renewing(&keys, leased.id, loading).await
            }
            None => loading.await,
        };
        match loaded {
            Ok(loaded) if began.elapsed() >= LONGEST_LOAD => {
                let cache = self.cache.name();
                tracing::warn!(cache, "values took too long to load to be kept");
                Ok(own(due.led, loaded))
            }
            Ok(loaded) => self.keep(due.led, due.leased, loaded, began).await,
            Err(error) => self.fall_back(due, Failure::of_loader(error)).await,
        }
    }

    /// Keeps what was loaded, at once, and hands it to all who wait.
    async fn keep(
        &self,
        led: Vec<Led>,
        mut leased: Option<Leased>,
        mut loaded: HashMap<String, Loaded<V>>,
        began: Instant,
    ) -> Result<FoundAt<V>> {
        let (mut found, mut handed, mut refused) = (Vec::new(), Vec::new(), None);
        let mut entries: Vec<(CacheKey, Put, Fence)> = Vec::new();
        let mut passing = Vec::new();
        for led in led {
            // Whoever waits for one that is not named asks its own loader.
            let Some(loaded) = loaded.remove(led.key.name()) else {
                continue;
            };
            match self.cache.prepare(&self.terms, &loaded) {
                Ok((value, is_kept, terms)) => {
                    let is_kept = is_kept && leased.is_some();
                    if is_kept {
                        let put = terms.put(value.clone(), began.elapsed());
                        entries.push((led.key.clone(), put, Fence::Load(self.id)));
                    } else {
                        passing.push(led.key.clone());
                    }
                    found.push((led.at, Some(Read::new(loaded.value, ReadKind::Loaded))));
                    handed.push((led.lead, value, is_kept));
                }
                Err(error) => {
                    let failure = Failure::of_value(error);
                    refused = Some(self.failed(&led.key, &failure));
                    led.lead.land(Landed::Failed(failure));
                }
            }
        }
        let kept = self.send(&entries, leased.as_mut()).await;
        let leads = self.still_lead(&passing, leased.as_ref()).await;
        land_loaded(handed, kept, leads);
        refused.map_or(Ok(found), Err)
    }

    /// Which of them are kept. What cannot be is nobody's failure.
    async fn send(
        &self,
        entries: &[(CacheKey, Put, Fence)],
        leased: Option<&mut Leased>,
    ) -> Vec<bool> {
        let Some(leased) = leased.filter(|_| !entries.is_empty()) else {
            return Vec::new();
        };
        match self.cache.keep(entries).await {
            Ok(kept) => {
                // Those leases have ended.
                leased.leave(entries.iter().map(|(key, ..)| key));
                kept
            }
            Err(error) => {
                self.cache.report(&error);
                vec![true; entries.len()]
            }
        }
    }

    /// Of which nobody wrote or removed the entry since the load began, as far as can be told.
    async fn still_lead(&self, keys: &[CacheKey], leased: Option<&Leased>) -> Vec<bool> {
        if keys.is_empty() || leased.is_none() {
            return Vec::new();
        }
        let renewed = self.cache.renew(keys, self.id).await;
        renewed.unwrap_or_else(|error| {
            self.cache.report(&error);
            Vec::new()
        })
    }

    /// After a failed load: old values where they were kept for that and still are there, or the failure.
    async fn fall_back(&self, due: Due, failure: Failure) -> Result<FoundAt<V>> {
        let Due {
            led,
            had_old,
            leased,
        } = due;
        let keys: Vec<_> = led.iter().map(|led| led.key.clone()).collect();
        let olds = self
            .cache
            .remember(&keys, leased, had_old, &self.terms, &failure)
            .await;
        let (mut found, mut failed) = (Vec::new(), None);
        let olds = olds.into_iter().chain(std::iter::repeat(None));
        for (led, old) in led.into_iter().zip(olds) {
            let usable = old.and_then(|old| Some((self.cache.decode(&old.value)?, old)));
            match usable {
                Some((value, old)) => {
                    let read = Read::kept(value, &old, StaleReason::LoadFailed);
                    found.push((led.at, Some(read)));
                    led.lead.land(Landed::Old(old));
                }
                None => {
                    failed.get_or_insert_with(|| self.failed(&led.key, &failure));
                    led.lead.land(Landed::Failed(failure.clone()));
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let error = failure.error().with_target(self.cache.name());
        self.cache
            .report(&error.with_operation(GET_OR_LOAD_MANY.name));
        Ok(found)
    }

    fn failed(&self, key: &CacheKey, failure: &Failure) -> Error {
        failure
            .error()
            .with_operation(GET_OR_LOAD_MANY.name)
            .with_target(key.name())
    }
}

/// What was loaded, for who loaded it alone.
fn own<V>(led: Vec<Led>, mut loaded: HashMap<String, Loaded<V>>) -> FoundAt<V> {
    let read = |led: Led| {
        let loaded = loaded.remove(led.key.name())?;
        Some((led.at, Some(Read::new(loaded.value, ReadKind::Loaded))))
    };
    led.into_iter().filter_map(read).collect()
}

/// Hands what was loaded to all who wait, unless it was overtaken: then they ask again.
fn land_loaded(handed: Vec<(Lead, Bytes, bool)>, kept: Vec<bool>, leads: Vec<bool>) {
    let (mut kept, mut leads) = (kept.into_iter(), leads.into_iter());
    for (lead, value, is_put) in handed {
        let is_new = if is_put { kept.next() } else { leads.next() };
        if is_new.unwrap_or(true) {
            lead.land(Landed::Value(value));
        }
    }
}
