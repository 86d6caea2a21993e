//! Live streams over real sockets.

pub(crate) mod access;
mod filters;
mod limits;
pub(crate) mod log;
mod resuming;
mod stage;
mod watching;
