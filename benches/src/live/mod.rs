//! Live streams: events that are due at times of the clock go into a topic, rows come out of a
//! pipeline, and each row's way is timed.
//!
//! An event is stamped with the time at which it was due, not with that at which it was sent: what
//! waits behind a slow pipeline, or behind a slow sender, counts in full.

pub(crate) mod arrivals;
pub(crate) mod events;
pub(crate) mod pass;
mod reader;
mod sender;
