//! Deliveries: from a provider's request to a record in the log, or into quarantine.

mod body;
mod intake;
mod interpret;
mod outcome;
mod recording;
#[cfg(test)]
mod tests;

pub(crate) use body::{Body, Spool};
pub(crate) use intake::{Delivered, Intake, Limits};
pub(crate) use recording::Recordings;
