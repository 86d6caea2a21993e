//! Recordings in the object store, named by what they contain: `{organization}/{first two digits}/{SHA-256}`.
//!
//! A name is only known once the last byte has been hashed, so bytes are first written elsewhere and then moved to their name in
//! one step; nobody sees half a recording. What [`Upload::finish`] has answered survives a power failure. The same recording
//! twice is one object. Half-done uploads are removed when they are given up and, should the process have died, by
//! [`Objects::sweep`]; on S3 the parts of an upload whose process died are only visible to the bucket's own lifecycle rules
//! (`AbortIncompleteMultipartUpload`), which have to remove them.
//!
//! No wait is without end: every step has its time, after which whoever asked is told to come again.

mod outline;
mod s3;
mod upload;

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use colloquy_types::{OrganizationId, Timestamp};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::upload::Upload;

/// Where uploads are while they have no name yet. No organization's name begins with `_`.
const STAGING: &str = "_uploads";
/// How much is read at once, so that a slow reader holds little memory and no connection to the store.
const READ_BYTES: u64 = 2 << 20;
/// The longest piece handed to a reader.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// How long a question, or the bytes read at once, may take with all that is tried again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How many parts of all uploads together are on their way to the store, which bounds the memory they take.
const PARTS_IN_ALL: usize = 24;

/// Where recordings are kept, as the settings say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectsUrl {
    /// Files in this folder.
    Folder(PathBuf),
    /// An S3 bucket, reached as the usual `AWS_…` variables say.
    S3 {
        /// The bucket.
        bucket: String,
        /// What every key begins with; may be empty.
        prefix: String,
    },
}

/// The text says no place for recordings. It is not repeated, since somebody may have put a password into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 'file:///folder' or 's3://bucket/prefix'")]
pub(crate) struct BadObjectsUrl;

impl FromStr for ObjectsUrl {
    type Err = BadObjectsUrl;

    /// Reads a setting: `file:///folder` or `s3://bucket/prefix`.
    fn from_str(text: &str) -> Result<Self, BadObjectsUrl> {
        if let Some(folder) = text.strip_prefix("file://").filter(|folder| FilePath::new(folder).is_absolute()) {
            return Ok(Self::Folder(PathBuf::from(folder)));
        }
        if let Some(place) = text.strip_prefix("s3://") {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            if !bucket.is_empty() && !bucket.contains(['?', '#', '@', ':']) {
                return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() });
            }
        }
        Err(BadObjectsUrl)
    }
}

/// The name of an object: whose it is and what it contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectKey {
    organization: OrganizationId,
    sha256: String,
}

impl ObjectKey {
    fn new(organization: OrganizationId, sha256: &[u8]) -> Self {
        Self { organization, sha256: hex::encode(sha256) }
    }

    /// Reads the key of one of `organization`'s objects. Keys come from events, which an organization may write itself, so that
    /// any other key, above all another organization's, is none.
    pub(crate) fn read(organization: &OrganizationId, text: &str) -> Option<Self> {
        let sha256 = text.rsplit('/').next()?;
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let key = Self { organization: organization.clone(), sha256: sha256.to_owned() };
        (is_hash && key.to_string() == text).then_some(key)
    }

    /// Returns whose it is.
    pub(crate) const fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// Returns the hex SHA-256 of the content.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    fn path(&self) -> Path {
        Path::from(self.to_string())
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.organization, &self.sha256[..2], self.sha256)
    }
}

/// Why an object could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectsError {
    /// It is longer than allowed.
    #[error("a recording must be at most {limit} bytes")]
    TooLarge {
        /// How many bytes are allowed.
        limit: u64,
    },
    /// It has no bytes.
    #[error("a recording must not be empty")]
    Empty,
    /// It is not there.
    #[error("the object does not exist")]
    Missing,
    /// The object store failed. The cause is for [`ObjectsError::cause`] to tell: a server may repeat in it what it was sent.
    #[error("the object store failed")]
    Store(object_store::Error),
    /// The object store does not answer.
    #[error("the object store does not answer")]
    TimedOut,
}

impl ObjectsError {
    /// Returns what people who run the store may know of the cause: nothing secret, and nothing that was stored.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Store(error) => outline::of(error),
            other => other.to_string(),
        }
    }
}

/// Gives a step of the object store its time.
async fn within<T>(limit: Duration, step: impl Future<Output = object_store::Result<T>>) -> Result<T, ObjectsError> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ObjectsError::TimedOut),
    }
}

impl From<object_store::Error> for ObjectsError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Missing,
            error => Self::Store(error),
        }
    }
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredObject {
    /// Its name.
    pub(crate) key: ObjectKey,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// The object store. Clones share it.
#[derive(Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The folder of uploads, when objects are files: a store of files does not list those it has begun.
    staging_folder: Option<PathBuf>,
    limit: u64,
    /// Uploads being given up.
    aborts: TaskTracker,
    /// Uploads given up are not tried to be removed again from now on.
    closing: CancellationToken,
    /// Room for parts on their way.
    room: Arc<Semaphore>,
}

impl Objects {
    /// Opens the store; a folder is made if missing. Objects may have at most `limit` bytes.
    pub(crate) fn open(url: &ObjectsUrl, limit: u64) -> anyhow::Result<Self> {
        match url {
            ObjectsUrl::Folder(folder) => {
                make_private_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                // A sender was told that its recording is safe, so every write is synced.
                let store = LocalFileSystem::new_with_prefix(folder).context("cannot open the folder of recordings")?;
                Ok(Self { staging_folder: Some(folder.join(STAGING)), ..Self::over(Arc::new(store.with_fsync(true)), limit) })
            }
            ObjectsUrl::S3 { bucket, prefix } => {
                let s3 = s3::open(bucket, std::env::vars_os())?;
                Ok(Self::over(prefixed(s3, prefix), limit))
            }
        }
    }

    /// Returns the objects of any store whose answers can be relied upon.
    pub(crate) fn over(store: Arc<dyn ObjectStore>, limit: u64) -> Self {
        let room = Arc::new(Semaphore::new(PARTS_IN_ALL));
        Self { store, staging_folder: None, limit, aborts: TaskTracker::new(), closing: CancellationToken::new(), room }
    }

    /// Begins to store an object of `organization`.
    pub(crate) fn upload(&self, organization: OrganizationId) -> Upload {
        Upload::new(self.clone(), organization)
    }

    /// Returns the greatest size of an object.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the size of an object; `None` when it is not there.
    pub(crate) async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, ObjectsError> {
        match within(ANSWER_WITHIN, self.store.head(&key.path())).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(ObjectsError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a range of an object, in pieces of at most [`PIECE_BYTES`].
    pub(crate) fn read(&self, key: &ObjectKey, range: Range<u64>) -> BoxStream<'static, Result<Bytes, ObjectsError>> {
        let (store, path) = (Arc::clone(&self.store), key.path());
        let windows = stream::try_unfold(range.start, move |from| {
            let (store, path, end) = (Arc::clone(&store), path.clone(), range.end);
            async move {
                if from >= end {
                    return Ok::<_, ObjectsError>(None);
                }
                let to = end.min(from + READ_BYTES);
                let window = within(ANSWER_WITHIN, store.get_range(&path, from..to)).await?;
                Ok(Some((stream::iter(pieces(window).map(Ok)), to)))
            }
        });
        windows.try_flatten().boxed()
    }

    /// Removes uploads that nobody has written to since `before`: their process is gone.
    pub(crate) async fn sweep(&self, before: Timestamp) -> anyhow::Result<u64> {
        if let Some(folder) = self.staging_folder.clone() {
            return tokio::task::spawn_blocking(move || sweep_folder(&folder, before)).await?;
        }
        self.sweep_objects(before).await.map_err(|error| anyhow::anyhow!(error.cause()))
    }

    async fn sweep_objects(&self, before: Timestamp) -> Result<u64, ObjectsError> {
        let mut removed = 0;
        let mut staged = self.store.list(Some(&Path::from(STAGING)));
        while let Some(meta) = within(ANSWER_WITHIN, staged.try_next()).await? {
            if meta.last_modified.timestamp_millis() < before.as_millis() {
                match within(ANSWER_WITHIN, self.store.delete(&meta.location)).await {
                    Ok(()) => removed += 1,
                    // Another replica sweeps too.
                    Err(ObjectsError::Missing) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(removed)
    }

    /// Waits until every upload that was given up is gone, as far as the store lets it.
    pub(crate) async fn close(&self) {
        self.aborts.close();
        self.closing.cancel();
        self.aborts.wait().await;
    }
}

fn prefixed(store: impl ObjectStore, prefix: &str) -> Arc<dyn ObjectStore> {
    match prefix {
        "" => Arc::new(store),
        prefix => Arc::new(PrefixStore::new(store, prefix)),
    }
}

fn pieces(mut window: Bytes) -> impl Iterator<Item = Bytes> + Send {
    std::iter::from_fn(move || (!window.is_empty()).then(|| window.split_to(window.len().min(PIECE_BYTES))))
}

/// Makes a folder that only its owner may look into.
fn make_private_folder(folder: &FilePath) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn sweep_folder(folder: &FilePath, before: Timestamp) -> anyhow::Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).context("cannot list unfinished uploads"),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        // An upload may end while it is looked at.
        let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
        let age = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        if i64::try_from(age.as_millis()).is_ok_and(|modified| modified < before.as_millis()) {
            removed += u64::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(removed)
}

#[cfg(test)]
pub(crate) mod testing {
    //! What tests of recordings need besides.

    use super::*;

    pub(crate) const STAGING: &str = super::STAGING;

    /// Returns the objects of a bucket that is reached as `variables` say.
    pub(crate) fn in_bucket(
        bucket: &str,
        prefix: &str,
        variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        limit: u64,
    ) -> Objects {
        Objects::over(prefixed(s3::open(bucket, variables).unwrap(), prefix), limit)
    }

    impl Objects {
        /// Returns what lies beneath.
        pub(crate) fn testing_store(&self) -> &dyn ObjectStore {
            &*self.store
        }
    }
}
#[cfg(test)]
mod tests;
