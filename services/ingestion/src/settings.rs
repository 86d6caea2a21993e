//! Ingestion's settings.

use std::path::PathBuf;

use colloquy_storage::DatabaseUrl;

use crate::log::{LogEngine, LogSettings};
use crate::quarantine::Bounds;
use colloquy_storage::MasterKey;

/// What ingestion must be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where sources and quarantine are kept.
    pub database: DatabaseUrl,
    /// What keeps the event log.
    pub engine: LogEngine,
    /// Bounds of the event log.
    pub log: LogSettings,
    /// Encrypts the sources' secrets and quarantined bodies. Losing it loses them; every replica needs the same.
    pub master_key: MasterKey,
    /// The folder for bodies too large for memory, while they stream in. Files in it have no name and go when they are closed.
    pub spool_dir: PathBuf,
    /// The largest body of a source that carries no audio, in bytes.
    pub max_body_bytes: u64,
    /// The largest body of a source that carries audio, in bytes.
    pub max_audio_body_bytes: u64,
    /// How much one source may have in quarantine.
    pub quarantine: Bounds,
}

impl Settings {
    /// The default of [`Settings::max_body_bytes`].
    pub const MAX_BODY_BYTES: u64 = 8 << 20;
    /// The default of [`Settings::max_audio_body_bytes`].
    pub const MAX_AUDIO_BODY_BYTES: u64 = 128 << 20;

    /// Returns settings with everything in `data_dir` and defaults for the rest.
    pub fn in_folder(data_dir: PathBuf, master_key: MasterKey) -> Self {
        Self {
            database: DatabaseUrl::SqliteFolder(data_dir.clone()),
            spool_dir: data_dir.join("spool"),
            engine: LogEngine::Embedded { folder: data_dir },
            log: LogSettings::default(),
            master_key,
            max_body_bytes: Self::MAX_BODY_BYTES,
            max_audio_body_bytes: Self::MAX_AUDIO_BODY_BYTES,
            quarantine: Bounds::default(),
        }
    }
}
