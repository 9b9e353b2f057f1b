//! Free ports, without races between the test processes of one user.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ServerError;

/// Ports are taken from here. A cluster's bus port is 10000 higher and must stay out of the range
/// the kernel takes outgoing ports from (from 32768 on Linux), hence the upper end.
const FIRST: u16 = 12_000;
const LAST: u16 = 22_767;

/// How much higher the bus port of a cluster node is.
const BUS_OFFSET: u16 = 10_000;

/// A port nobody else in this scheme takes while this value lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Locked for as long as it is open. Binding proves nothing for the moment after the listener
    /// is closed and before the server opens its own; the lock covers that moment.
    _lock: File,
}

impl Port {
    /// Takes a free port.
    pub(crate) fn take() -> Result<Self, ServerError> {
        // Processes start at different places so that they rarely try the same port; the lock makes
        // it right when they do.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let span = u32::from(LAST - FIRST) + 1;
        let start = process::id().wrapping_mul(7919);
        for _ in 0..span {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = start.wrapping_add(step) % span;
            let number = FIRST + u16::try_from(offset).expect("smaller than the span of ports");
            if let Some(port) = Self::try_take(number)? {
                return Ok(port);
            }
        }
        Err(ServerError::Port(format!(
            "all of {FIRST} to {LAST} are taken"
        )))
    }

    /// Takes this port.
    pub(crate) fn take_exactly(number: u16) -> Result<Self, ServerError> {
        Self::try_take(number)?
            .ok_or_else(|| ServerError::Port(format!("{number} is taken by another program")))
    }

    fn try_take(number: u16) -> Result<Option<Self>, ServerError> {
        // In the temporary directory and not under `target`, because all checkouts of one user
        // share the ports.
        let dir = std::env::temp_dir().join(format!(
            "quorate-ports-{}",
            rustix::process::getuid().as_raw()
        ));
        fs::create_dir_all(&dir).map_err(ServerError::io(format!("create {}", dir.display())))?;
        let path = dir.join(number.to_string());
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(ServerError::io(format!("open {}", path.display())))?;
        if lock.try_lock().is_err() || !is_free(number) {
            return Ok(None);
        }
        if number
            .checked_add(BUS_OFFSET)
            .is_some_and(|bus| !is_free(bus))
        {
            return Ok(None);
        }
        Ok(Some(Self {
            number,
            _lock: lock,
        }))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_until_it_is_returned() {
        let first = Port::take().unwrap();
        let number = first.number;
        assert!((FIRST..=LAST).contains(&number));
        assert!(Port::try_take(number).unwrap().is_none(), "still ours");
        drop(first);
        assert!(Port::try_take(number).unwrap().is_some(), "free again");
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_given() {
        let port = Port::take().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).unwrap();
        let number = port.number;
        drop(port);
        assert!(Port::take_exactly(number).is_err());
        drop(listener);
    }
}
