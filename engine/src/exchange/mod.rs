//! Channels between tasks: FIFO per (sender, receiver), bounded in bytes, accounted in the memory
//! pool; partitioning of batches over them; merging of watermarks and alignment of barriers.

mod channel;
mod merge;
mod outlet;
#[cfg(test)]
mod tests;

pub(crate) use channel::batch_bytes;
pub use channel::{Inbox, Sender, inbox};
pub use merge::{Event, Merge};
pub use outlet::Outlet;
