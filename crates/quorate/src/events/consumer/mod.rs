//! Consumer groups: the instances of a service share the work of a kept topic.
//!
//! A consumer takes a batch when it is asked for more than it has, and hands it out one by one. Two tasks
//! stand behind it: one takes, and parks while there is nothing to take; one settles what was handed out,
//! many deliveries in one call, and gives back what nobody asked for in time.

mod calls;
mod desk;
mod handle;
mod listen;
mod settler;
mod stream;
mod taker;

pub use handle::ConsumerGroup;
pub use listen::GroupListen;
pub use settler::Settling;
pub use stream::Consumer;
