//! Calling another service.
//!
//! A generated client runs over a [`Transport`], which is either connections or, in one process, the other service itself: the
//! same client, the same encoding, the same layers, no second code path (design.md, decision 8).
//!
//! - [`outgoing`]: what every call carries, its deadline, and calling again.
//! - [`LocalSlot`]: a service of this process.
//! - [`connect`]: a service elsewhere, on as many addresses as it has.

mod balance;
mod deadline;
mod failure;
mod heard;
mod local;
mod member;
mod outgoing;
mod pool;
mod replay;
mod resolve;
mod retry;
mod target;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;

use crate::tls::{Tls, TlsError};

pub use local::LocalSlot;
pub use outgoing::outgoing;
pub use target::{Target, TargetError};

/// What a generated client runs over. It never fails of itself: a call that cannot be made, or whose connection breaks, is
/// answered `UNAVAILABLE`.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The greatest message any service sends or takes: a batch of events.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Returns a transport to the service at `target`. It connects when it is first used, to every address there is, and reconnects
/// by itself; names are looked up again every few seconds. A call goes to whichever of two connections is less busy, never to
/// one that is known not to answer; when there is none it is refused at once. Over TLS it is `tls` that says whom to trust and
/// what to show.
///
/// # Errors
/// When TLS is asked for and nobody can be trusted.
pub fn connect(target: Target, tls: &Arc<Tls>) -> Result<Transport, TlsError> {
    let tls = if target.is_tls() {
        tls.client()?;
        Some(tls.clone())
    } else {
        None
    };
    let pool = pool::Pool::new(target, tls, Box::new(resolve::Dns));
    Ok(BoxCloneSyncService::new(balance::Balanced::new(Arc::new(pool))))
}
