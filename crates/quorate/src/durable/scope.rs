//! Scopes of a function: who does something there is known by its place, whoever is polled first.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::entry::Did;
use super::inbox::Gate;
use super::path::{MAX_STEP_NAME, Segment, hash_of};
use super::replay::{Node, Recorded};
use super::running::{Halt, Running};
use crate::clock::Micros;

/// Where a part of a function does one thing after the other.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) run: Arc<Running>,
    pub(super) path: Vec<Segment>,
    /// Whether it goes on although the run was asked to stop.
    pub(super) is_shielded: bool,
    // A short lock.
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// How many things were begun.
    places: u32,
    /// How many of them have the same name.
    names: HashMap<Cow<'static, str>, u32, RandomState>,
    recorded: Recorded,
    /// When the last of them was over.
    now: Micros,
    /// How many random numbers were drawn.
    drawn: u64,
}

/// One thing that is done in a scope: what is known of it, and a place to write down the rest.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) scope: Arc<Scope>,
    pub(super) path: Vec<Segment>,
    /// What the journal has of it.
    pub(super) node: Option<Node>,
    /// Whether the function cannot go on here.
    is_halted: bool,
}

impl Scope {
    pub(super) fn new(
        run: Arc<Running>,
        path: Vec<Segment>,
        recorded: Recorded,
        now: Micros,
        is_shielded: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            run,
            path,
            is_shielded,
            state: Arc::new(Mutex::new(State {
                places: 0,
                names: HashMap::default(),
                recorded,
                now,
                drawn: 0,
            })),
        })
    }

    /// The same, which goes on although the run was asked to stop.
    pub(super) fn shielded(&self) -> Arc<Self> {
        Arc::new(Self {
            run: self.run.clone(),
            path: self.path.clone(),
            is_shielded: true,
            state: self.state.clone(),
        })
    }

    /// Begins something, at the next place.
    pub(super) fn begin(self: &Arc<Self>, name: Cow<'static, str>) -> Op {
        let mut state = self.state.lock();
        let place = state.places;
        state.places += 1;
        let occurrence = match state.names.get_mut(&name) {
            Some(occurrence) => {
                *occurrence += 1;
                *occurrence
            }
            None => {
                state.names.insert(name.clone(), 0);
                0
            }
        };
        let segment = Segment {
            name,
            place,
            occurrence,
        };
        let claimed = state.recorded.claim(&self.path, &segment);
        drop(state);
        self.op(segment, claimed)
    }

    /// Begins something that is told from its neighbours by its place alone.
    pub(super) fn begin_at(self: &Arc<Self>, name: Cow<'static, str>, place: u32) -> Op {
        let segment = Segment {
            name,
            place,
            occurrence: place,
        };
        let claimed = self.state.lock().recorded.claim(&self.path, &segment);
        self.op(segment, claimed)
    }

    fn op(
        self: &Arc<Self>,
        segment: Segment,
        claimed: Result<Option<Node>, super::replay::Divergence>,
    ) -> Op {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        let is_misnamed = segment.name.is_empty() || segment.name.len() > MAX_STEP_NAME;
        path.push(segment);
        let (node, why) = match claimed {
            Ok(_) if is_misnamed => {
                let why = format!("the name of a step must have 1 to {MAX_STEP_NAME} bytes");
                (None, Some(Halt::Broken(why)))
            }
            Ok(node) => (node, None),
            Err(divergence) => (None, Some(Halt::Diverged(divergence))),
        };
        let is_halted = why.is_some();
        if let Some(why) = why {
            self.run.stop(why);
        }
        Op {
            scope: self.clone(),
            path,
            node,
            is_halted,
        }
    }

    /// Whether this is the next place, as the journal has it; `None` if that knows nothing of this place, nor of what comes behind.
    pub(super) fn is_next(&self, name: &str) -> Option<bool> {
        let state = self.state.lock();
        let goes_on = state.recorded.goes_on(state.places);
        goes_on.then(|| state.recorded.is_there(state.places, name))
    }

    /// Whether the journal has more of this scope than the function has come to.
    pub(super) fn is_replaying(&self) -> bool {
        let state = self.state.lock();
        state.recorded.goes_on(state.places)
    }

    /// That the function came to all that the journal has of it.
    pub(super) async fn end(&self) {
        let done = self.state.lock().recorded.check_done(&self.path);
        if let Err(divergence) = done {
            self.run.halt(Halt::Diverged(divergence)).await
        }
    }

    pub(super) fn now(&self) -> Micros {
        self.state.lock().now
    }

    /// Something was over then.
    fn passed(&self, when: Micros) {
        let mut state = self.state.lock();
        state.now = state.now.max(when);
    }

    /// What nobody draws twice, and everybody again who replays it.
    pub(super) fn draw(&self) -> [u8; 16] {
        let mut state = self.state.lock();
        state.drawn += 1;
        let what = format!("random {} {}", self.run.workflow, state.drawn);
        drop(state);
        hash_of(&self.run.input.run, &self.path, &what)
    }
}

impl Op {
    pub(super) fn run(&self) -> &Running {
        &self.scope.run
    }

    /// Nothing, where the function cannot go on.
    pub(super) async fn ready(&self) {
        if self.is_halted {
            pending().await
        }
    }

    /// Whether the run was asked to stop, and this with it.
    pub(super) fn is_stopped(&self) -> bool {
        let gate = self.run().inbox.gate();
        matches!(gate, Gate::Cancelled(_)) && !self.scope.is_shielded
    }

    /// Takes what the journal has of it.
    pub(super) fn take_records(&mut self) -> Vec<(Micros, Did)> {
        let node = self.node.as_mut();
        node.map(|node| std::mem::take(&mut node.records))
            .unwrap_or_default()
    }

    /// Writes down what was done.
    pub(super) async fn record(&self, did: &Did) -> Micros {
        let when = self.run().record(&self.path, did).await;
        self.scope.passed(when);
        when
    }

    /// Something of it was over then, as the journal has it, or by a time that has passed.
    pub(super) fn passed(&self, when: Micros) {
        self.scope.passed(when);
    }

    /// The journal has something else here than the code.
    pub(super) async fn diverge<T>(&self, did: &Did, code: &str) -> T {
        let divergence = super::replay::Divergence {
            at: self.path.clone(),
            code: Some(format!("{code} called `{}`", self.name())),
            journal: format!("{} of that name", did.kind()),
        };
        self.run().halt(Halt::Diverged(divergence)).await
    }

    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", |segment| &segment.name)
    }

    /// The scope that begins here.
    pub(super) fn scope(&mut self) -> Arc<Scope> {
        let node = self.node.take();
        let (run, path) = (self.scope.run.clone(), self.path.clone());
        let recorded = node.map(|node| node.scope).unwrap_or_default();
        Scope::new(
            run,
            path,
            recorded,
            self.scope.now(),
            self.scope.is_shielded,
        )
    }

    /// A value that the journal has.
    pub(super) async fn read<T: serde::de::DeserializeOwned>(&self, value: &RawValue) -> T {
        match serde_json::from_str(value.get()) {
            Ok(value) => value,
            Err(error) => {
                let divergence = super::replay::Divergence {
                    at: self.path.clone(),
                    code: Some(format!("another type for `{}` ({error})", self.name())),
                    journal: "a value that does not decode".to_owned(),
                };
                self.run().halt(Halt::Diverged(divergence)).await
            }
        }
    }

    /// What no other step of any run is called.
    pub(super) fn key(&self) -> String {
        let what = format!("step of {}", self.run().workflow);
        let hash = hash_of(&self.run().input.run, &self.path, &what);
        format!("{:032x}", u128::from_be_bytes(hash))
    }
}
