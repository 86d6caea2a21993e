//! Who the services are to each other: TLS for gRPC, mutual where authorities are named, with files that may change.
//!
//! Certificates are short-lived where they are handed out by a cluster, so the files are read again every few seconds and new
//! connections use what they hold; a bad file changes nothing but a line in the log. Contents are compared, not times, so it does
//! not matter whether a file is written over or, as Kubernetes does, a symbolic link is exchanged.

mod config;
mod files;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::Task;
use config::Loaded;
use files::Contents;

pub use files::{TlsError, TlsFiles};

/// How often the files are read again.
const EVERY: Duration = Duration::from_secs(5);

/// What this process shows of itself and whom it trusts.
pub struct Tls {
    files: TlsFiles,
    any_name: bool,
    loaded: RwLock<Arc<Loaded>>,
    /// What the files held, or why they could not be read, when they were last looked at.
    seen: Mutex<Result<Contents, TlsError>>,
}

/// What became of reading the files again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// They hold what they held, good or bad.
    Unchanged,
    /// New connections use what they hold now.
    Changed,
    /// What they hold now cannot be used; what was there before goes on.
    Refused(TlsError),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        Self::load_as(files, false)
    }

    /// Reads the files to call a server of this machine at a loopback address, which stands in no certificate: any server is
    /// trusted that the authorities have signed.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub fn load_for_own_server(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        Self::load_as(files, true)
    }

    fn load_as(files: TlsFiles, any_name: bool) -> Result<Arc<Self>, TlsError> {
        let contents = files.read()?;
        let loaded = Loaded::new(&contents, any_name)?;
        Ok(Arc::new(Self { files, any_name, loaded: RwLock::new(Arc::new(loaded)), seen: Mutex::new(Ok(contents)) }))
    }

    /// Returns whether there is a certificate to serve with.
    pub fn serves(&self) -> bool {
        self.files.certificate.is_some()
    }

    /// Returns how to answer the next connection; `None` without a certificate.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.loaded().server()
    }

    /// Returns how to make the next connection.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.loaded().client()
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again.
    pub fn reload(&self) -> Reload {
        let now = self.files.read();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Reload::Unchanged;
        }
        let loaded = now.as_ref().map_err(TlsError::clone).and_then(|contents| Loaded::new(contents, self.any_name));
        *seen = now;
        match loaded {
            Ok(loaded) => {
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                Reload::Changed
            }
            Err(error) => Reload::Refused(error),
        }
    }

    /// Returns the task that reads the files again every few seconds until `stop`.
    pub fn watch(self: &Arc<Self>, stop: CancellationToken) -> Task {
        let tls = self.clone();
        Task::new("tls", async move {
            while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                let reading = tls.clone();
                match tokio::task::spawn_blocking(move || reading.reload()).await? {
                    Reload::Unchanged => {}
                    Reload::Changed => tracing::info!("the TLS files have changed; new connections use them"),
                    Reload::Refused(error) => tracing::warn!("the TLS files cannot be used, what they held before is: {error}"),
                }
            }
            Ok(())
        })
    }
}
