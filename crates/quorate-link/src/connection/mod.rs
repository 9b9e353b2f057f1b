//! One connection: commands in, replies out, in order.

mod encode;

pub use encode::Batch;
