//! Which core does what.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of the server and of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    server: usize,
    client: usize,
}

impl Cores {
    /// The first two cores this process may use.
    ///
    /// # Errors
    /// A sentence for people, if there are not two or the kernel does not say.
    pub(crate) fn choose() -> Result<Self, String> {
        let allowed =
            sched_getaffinity(None).map_err(|error| format!("the kernel does not say: {error}"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(client)) => Ok(Self { server, client }),
            _ => Err("there is only one core".to_owned()),
        }
    }

    /// Runs `start` on the server's core, so that what it starts stays there, and brings this thread,
    /// and the threads it starts from now on, to the client's.
    ///
    /// # Errors
    /// A sentence for people, if the kernel refuses; `start` has run nevertheless.
    pub(crate) fn place<T>(self, start: impl FnOnce() -> T) -> (T, Result<(), String>) {
        let first = pin(self.server);
        let started = start();
        let second = pin(self.client);
        (started, first.and(second))
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "server on core {}, client on core {}",
            self.server, self.client
        )
    }
}

fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("the kernel refuses: {error}"))
}
