//! An order that is charged, reserved, approved and shipped, although a process dies in the middle.

mod shop;
mod workflow;

pub use shop::Shop;
pub use workflow::{APPROVED, CHECKOUT, LEASE, Order, Receipt, register};
