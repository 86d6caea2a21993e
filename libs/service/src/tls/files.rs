//! The files of TLS, as they are.

use std::fmt;
use std::path::{Path, PathBuf};

/// Which files TLS is made from. Without any, `https://` targets are verified against this machine's authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain, and its private key, both PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The authorities that sign the services' certificates, PEM. With them a server demands a certificate of its callers.
    pub authorities: Option<PathBuf>,
}

/// TLS cannot be made from the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct TlsError {
    setting: &'static str,
    message: String,
}

impl TlsError {
    pub(super) fn new(setting: &'static str, message: impl fmt::Display) -> Self {
        Self { setting, message: message.to_string() }
    }
}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) authorities: Option<Vec<u8>>,
}

impl TlsFiles {
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let certificate = match &self.certificate {
            Some((certificate, key)) => Some((read("tls-cert", certificate)?, read("tls-key", key)?)),
            None => None,
        };
        let authorities = self.authorities.as_deref().map(|path| read("tls-ca", path)).transpose()?;
        Ok(Contents { certificate, authorities })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::new(setting, format!("cannot read {}: {error}", path.display())))
}
