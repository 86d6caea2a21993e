//! How services read the event log, and how they write to it.
//!
//! - [`Reader`] and [`run`]: the loop every view is made by. It takes batches, joins what is waiting into one transaction, keeps
//!   trying while the store is away, and sets aside a record that cannot be applied, so that one bad record stops nothing.
//! - [`Appender`]: appends what a service itself has to say, such as a tag or an analysis.

mod append;
mod apply;
mod backoff;
mod check;
mod complete;
mod decode;
mod others;
mod reader;
mod run;
mod trace;
mod unknown;

pub use append::{Appended, Appender};
pub use check::check;
pub use reader::Reader;
pub use run::run;
pub use unknown::{UnknownEvent, UnknownEvents};
