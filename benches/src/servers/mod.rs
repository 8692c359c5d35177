//! Servers that a suite needs, started for it on this machine and gone with it.

pub(crate) mod kafka;
pub(crate) mod minio;
mod process;
