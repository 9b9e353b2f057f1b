//! The executions of a fleet.

use super::Fleet;
use crate::execution::Executions;

impl Fleet {
    /// The executions kept under `name`, for a replay engine of your own. A name has 1 to 128 letters, digits and
    /// `_ . / -`; the calls refuse another one.
    #[must_use]
    pub fn executions(&self, name: &str) -> Executions {
        Executions::new(self.inner.executions.clone(), &self.namespace, name)
    }
}
