//! What is to be done for an order, one thing after the other, on whichever process.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Cx, DurableRuns, Failure, Fleet, Signal, Workflow};
use serde::{Deserialize, Serialize};

use crate::shop::Shop;

/// Who orders and who works have this in common.
pub const CHECKOUT: Workflow<Order, Receipt> = Workflow::new("checkout");

/// What an order waits for: somebody says yes or no.
pub const APPROVED: Signal<bool> = Signal::new("approved");

/// After how long others go on with what a process had that is dead.
pub const LEASE: Duration = Duration::from_secs(5);

/// How long somebody may take to approve.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What somebody wants.
#[expect(clippy::exhaustive_structs, reason = "who orders makes it")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub item: String,
    /// What it costs, in cents.
    pub cents: u32,
}

/// What they get for it.
#[expect(clippy::exhaustive_structs, reason = "it is what it is")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The payment.
    pub charge: String,
    /// Under which number it is shipped.
    pub parcel: String,
}

/// Each step is written down when it is over: whoever goes on after a crash does not do it again.
async fn checkout(cx: Cx, shop: Arc<Shop>, order: Order) -> Result<Receipt, Failure> {
    let id = cx.run_id().to_owned();
    // If the rest fails, or the order is cancelled, what was done is undone.
    cx.saga("order", async |cx, undo| {
        let (shop, id, order) = (&shop, &id, &order);
        let charge = cx
            .step_with("charge", |step| {
                shop.charge(id, order.cents, step.idempotency_key().to_owned())
            })
            .max_attempts(10)
            .await?;
        undo.with("refund", move || shop.say(id, "refund"));
        let (_, odd) = cx
            .join(
                cx.step("reserve", || shop.say(id, "reserve")),
                cx.step("look for fraud", || shop.looks_odd(id, order)),
            )
            .await?;
        undo.with("put back", move || shop.say(id, "put back"));
        if odd && !cx.signal(&APPROVED).timeout(PATIENCE).await? {
            return Err(Failure::fatal("it was not approved"));
        }
        let parcel = cx.step("ship", || shop.ship(id)).await?;
        cx.step("mail", || shop.say(id, "mail")).await?;
        Ok(Receipt { charge, parcel })
    })
    .await
}

/// The durable functions of a process that works.
///
/// # Errors
/// None, as they stand.
pub fn register(fleet: &Fleet, shop: Shop) -> quorate::Result<DurableRuns> {
    let shop = Arc::new(shop);
    let function = move |cx, order| checkout(cx, shop.clone(), order);
    fleet
        .durable()
        .register(&CHECKOUT, function)
        .lease(LEASE)
        .build()
}
