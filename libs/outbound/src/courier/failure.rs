//! Why there is no answer.

use std::error::Error;
use std::io;
use std::iter::successors;

use hyper_util::client::legacy;

use super::connect::ConnectError;
use crate::Refused;

/// Why a request has no answer. No message holds more of a URL than its host: paths and queries carry secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The policy forbids it.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// It cannot stand in a request.
    #[error("the URL cannot be requested")]
    BadUrl,
    /// The name has no address, or nobody could be asked.
    #[error("host {0} cannot be resolved")]
    Unresolvable(String),
    /// No address of the host took the connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// There was no connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The server does not speak TLS, or did not prove who it is.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// There was no answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before there was an answer.
    #[error("the connection was closed before an answer")]
    Closed,
    /// The answer is not HTTP, or its head is too long.
    #[error("the answer is not understood: {0}")]
    BadAnswer(String),
    /// Anything else.
    #[error("the request failed: {0}")]
    Other(String),
}

impl Failure {
    /// Returns whether the server took too long, or was too long in taking the connection.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout | Self::ConnectTimeout)
    }

    pub(super) fn of(error: &legacy::Error) -> Self {
        let causes = || successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
        if let Some(error) = causes().find_map(|cause| cause.downcast_ref::<ConnectError>()) {
            return error.into();
        }
        let innermost = || causes().last().map_or_else(String::new, ToString::to_string);
        if let Some(error) = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>())
            && (error.is_parse() || error.is_parse_too_large())
        {
            return Self::BadAnswer(innermost());
        }
        let closed = causes().any(|cause| {
            let by_hyper = cause.downcast_ref::<hyper::Error>();
            let by_system = cause.downcast_ref::<io::Error>();
            by_hyper.is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed())
                || by_system.is_some_and(is_close)
        });
        if closed { Self::Closed } else { Self::Other(innermost()) }
    }
}

fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Refused(refused) => Self::Refused(refused.clone()),
            ConnectError::Unresolvable(host) => Self::Unresolvable(host.clone()),
            ConnectError::Tcp(error) => Self::Connect(error.kind().to_string()),
            ConnectError::Tls(error) => Self::Tls(error.to_string()),
            ConnectError::Timeout => Self::ConnectTimeout,
        }
    }
}
