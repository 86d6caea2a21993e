//! The shell every service stands in, so that all of them authenticate, fail, trace, report and stop alike.
//!
//! - [`Problem`] and [`Describe`]: errors, the same over gRPC and REST.
//! - [`Caller`] and [`auth`]: who is asking, and what they may do.
//! - [`transport`]: calling another service, in this process or over the network, through the same generated client.
//! - [`stack`]: the layers around every service.
//! - [`Progress`]: reads that wait for their own writes.
//! - [`server`] and [`Service`]: listening and stopping.
//! - [`readiness`], [`health`], [`liveness`] and [`probes`]: whether a process can do its work, and whether it does any.
//! - [`tls`]: who the services are to each other.
//! - [`telemetry`]: logs, traces and metrics.

pub mod auth;
mod caller;
mod client_span;
mod fields;
pub mod health;
pub mod liveness;
mod methods;
pub mod metrics;
mod observe;
pub mod probes;
mod problem;
mod progress;
pub mod readiness;
pub mod server;
mod service;
pub mod stack;
pub mod telemetry;
pub mod tls;
pub mod transport;

pub use caller::{Caller, Identity};
pub use fields::FieldErrors;
pub use problem::{Describe, FieldViolation, Problem};
pub use progress::{MIN_POSITION_WAIT, Progress};
pub use service::{Service, Task};
