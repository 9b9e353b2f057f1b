//! The world outside: a payment service, a shelf, a parcel service. Each takes its time, and says what it did.

use std::time::Duration;

use quorate::Failure;

use crate::workflow::Order;

/// From here on somebody looks at an order.
const MUCH: u32 = 10_000;

/// The world outside, as one process sees it.
#[derive(Clone, Debug)]
pub struct Shop {
    /// What the process is called.
    name: String,
    /// How long everything takes.
    pace: Duration,
}

impl Shop {
    /// As the process of this name sees it; everything takes so long.
    #[must_use]
    pub fn new(name: impl Into<String>, pace: Duration) -> Self {
        Self {
            name: name.into(),
            pace,
        }
    }

    /// Takes money. Whoever is asked again with the same key has done it before.
    ///
    /// # Errors
    /// None: the bank is friendly.
    pub async fn charge(&self, id: &str, cents: u32, key: String) -> Result<String, Failure> {
        self.does(id, &format!("charge {}.{:02}", cents / 100, cents % 100))
            .await;
        Ok(format!("charge-{}", &key[..8]))
    }

    /// Whether somebody had better look at it.
    ///
    /// # Errors
    /// None.
    pub async fn looks_odd(&self, id: &str, order: &Order) -> Result<bool, Failure> {
        let is_odd = order.cents >= MUCH;
        let verdict = if is_odd {
            "somebody has to approve it"
        } else {
            "fine"
        };
        self.does(id, &format!("look for fraud: {verdict}")).await;
        Ok(is_odd)
    }

    /// Sends a parcel.
    ///
    /// # Errors
    /// None.
    pub async fn ship(&self, id: &str) -> Result<String, Failure> {
        self.does(id, "ship").await;
        Ok(format!("parcel-{id}"))
    }

    /// Does something else.
    ///
    /// # Errors
    /// None.
    pub async fn say(&self, id: &str, what: &str) -> Result<(), Failure> {
        self.does(id, what).await;
        Ok(())
    }

    async fn does(&self, id: &str, what: &str) {
        println!("{}: {id}: begins to {what}", self.name);
        tokio::time::sleep(self.pace).await;
        println!("{}: {id}: did {what}", self.name);
    }
}
