//! What can go wrong, and whether trying again can help.

use std::time::Duration;

/// The request was not made, because where it would have gone is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only `http` and `https` are spoken.
    #[error("the scheme must be http or https, not {0}")]
    Scheme(String),
    /// A user name or password in a URL ends up in logs.
    #[error("the URL must not carry a user name or password")]
    Credentials,
    /// There is nobody to ask.
    #[error("the URL has no host")]
    NoHost,
    /// The name has no address, or its name servers do not answer.
    #[error("host {0} cannot be resolved")]
    Unresolvable(String),
    /// The host is, or resolves to, an address outside the public internet that is not listed. Which address is not said,
    /// since whoever gave the name may not know the network behind it.
    #[error("host {0} is in a network that must not be reached")]
    Address(String),
}

/// Why a request failed. No message holds more of a URL than its host: paths and queries carry signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The policy forbids the URL or one it redirects to.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// The server answered, but not with what was asked for.
    #[error("the server answered with status {code}")]
    Status {
        /// The status code.
        code: u16,
        /// How long it asked to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// More redirects than allowed, or a loop of them.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// How many were allowed.
        limit: usize,
    },
    /// A redirect does not say where to, or not in a way that can be understood.
    #[error("the server redirects to something that is no URL")]
    BadRedirect,
    /// The body is, or is said to be, longer than allowed.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// How many bytes were allowed.
        limit: u64,
    },
    /// Connecting, waiting or reading took too long.
    #[error("timed out")]
    Timeout,
    /// The name did not resolve, the connection failed, TLS failed, or the answer broke off.
    #[error("network failure: {0}")]
    Network(String),
    /// The client could not be made, since the system's TLS certificates cannot be read.
    #[error("the HTTP client could not be built: {0}")]
    Build(String),
}

impl Error {
    /// Returns whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout | Self::Network(_) => true,
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500..=599),
            Self::Refused(_) | Self::TooManyRedirects { .. } | Self::BadRedirect | Self::TooLarge { .. } | Self::Build(_) => {
                false
            }
        }
    }

    /// Returns how long the server asked to wait before the next try: at most a day, so that no answer can park work for ever.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns what a failure of the HTTP client means here.
    pub(crate) fn from_reqwest(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let causes = || std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<Refused>()) {
            return Self::Refused(refused.clone());
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        // The outer errors only say that sending or decoding failed; the innermost says why.
        Self::Network(causes().last().map_or_else(String::new, ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_retried() {
        let status = |code| Error::Status { code, retry_after: None };
        for code in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(status(code).is_retryable(), "{code}");
        }
        for code in [201, 204, 206, 304, 400, 401, 403, 404, 410, 413, 451] {
            assert!(!status(code).is_retryable(), "{code}");
        }
        assert!(Error::Timeout.is_retryable());
        assert!(Error::Network("reset".into()).is_retryable());
        assert!(!Error::Refused(Refused::NoHost).is_retryable());
        assert!(!Error::TooLarge { limit: 1 }.is_retryable());
        assert!(!Error::TooManyRedirects { limit: 1 }.is_retryable());
    }
}
