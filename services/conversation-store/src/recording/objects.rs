//! Recordings in the object store, named by what they contain: `{organization}/{first two digits}/{SHA-256}`.
//!
//! A name is only known once the last byte has been hashed, so bytes are first written elsewhere and then moved to their name in
//! one step; nobody sees half a recording. What [`Upload::finish`] has answered survives a power failure. The same recording
//! twice is one object. Half-done uploads are removed when they are given up and, should the process have died, by
//! [`Objects::sweep`]; on S3 an unfinished multipart upload is only visible to the bucket's own lifecycle rules
//! (`AbortIncompleteMultipartUpload`), which have to remove it.

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use colloquy_types::{OrganizationId, Timestamp};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::media_type::HEAD_BYTES;

/// Where uploads are while they have no name yet. No organization's name begins with `_`.
const STAGING: &str = "_uploads";
/// How much is written at once; S3 wants parts of at least 5 MiB, and some of its kin want all parts equally long.
const PART_BYTES: usize = 8 << 20;
/// How much is read at once, so that a slow reader holds little memory and no connection to the store.
const READ_BYTES: u64 = 2 << 20;
/// The longest piece handed to a reader.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// How long one request to S3 is tried again before the caller is told.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// The object store failed.
    #[error("the object store failed")]
    Store(#[source] object_store::Error),
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
                let retry = RetryConfig { max_retries: 5, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
                let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build();
                let s3 = s3.with_context(|| format!("cannot set up the S3 bucket {bucket}"))?;
                let store: Arc<dyn ObjectStore> = match prefix.as_str() {
                    "" => Arc::new(s3),
                    prefix => Arc::new(PrefixStore::new(s3, prefix)),
                };
                Ok(Self::over(store, limit))
            }
        }
    }

    /// Returns the objects of any store whose answers can be relied upon.
    pub(crate) fn over(store: Arc<dyn ObjectStore>, limit: u64) -> Self {
        Self { store, staging_folder: None, limit, aborts: TaskTracker::new() }
    }

    /// Begins to store an object of `organization`.
    pub(crate) fn upload(&self, organization: OrganizationId) -> Upload {
        Upload {
            objects: self.clone(),
            organization,
            staging: Path::from_iter([STAGING, &Uuid::new_v4().simple().to_string()]),
            multipart: None,
            part: BytesMut::new(),
            hash: digest::Context::new(&digest::SHA256),
            size: 0,
            head: Vec::new(),
        }
    }

    /// Returns the greatest size of an object.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the size of an object; `None` when it is not there.
    pub(crate) async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, ObjectsError> {
        match self.store.head(&key.path()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
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
                let window = store.get_range(&path, from..to).await?;
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
        let mut removed = 0;
        let mut staged = self.store.list(Some(&Path::from(STAGING)));
        while let Some(meta) = staged.try_next().await? {
            if meta.last_modified.timestamp_millis() < before.as_millis() {
                self.store.delete(&meta.location).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Waits until every upload that was given up is gone.
    pub(crate) async fn close(&self) {
        self.aborts.close();
        self.aborts.wait().await;
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

/// An object being written. Dropping it before [`Upload::finish`] gives it up.
pub(crate) struct Upload {
    objects: Objects,
    organization: OrganizationId,
    staging: Path,
    multipart: Option<Box<dyn MultipartUpload>>,
    part: BytesMut,
    hash: digest::Context,
    size: u64,
    head: Vec<u8>,
}

impl Upload {
    /// Writes the next bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectsError> {
        let limit = self.objects.limit;
        self.size =
            self.size.checked_add(bytes.len() as u64).filter(|size| *size <= limit).ok_or(ObjectsError::TooLarge { limit })?;
        self.hash.update(bytes);
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.part.extend_from_slice(bytes);
        while self.part.len() >= PART_BYTES {
            let part = self.part.split_to(PART_BYTES).freeze();
            self.put_part(part).await?;
        }
        Ok(())
    }

    /// Returns the first bytes written, at most [`HEAD_BYTES`].
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns how many bytes were written.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Gives the bytes their name. When it answers they are there to stay.
    pub(crate) async fn finish(mut self) -> Result<StoredObject, ObjectsError> {
        if self.size == 0 {
            return Err(ObjectsError::Empty);
        }
        let key = ObjectKey::new(self.organization.clone(), self.hash.clone().finish().as_ref());
        let rest = std::mem::take(&mut self.part).freeze();
        // What fits into one write is whole or not there; but a file that is being written has a name of its own, which only
        // the folder of uploads is swept for.
        if self.multipart.is_none() && self.objects.staging_folder.is_none() {
            self.objects.store.put(&key.path(), rest.into()).await.map_err(ObjectsError::Store)?;
            return Ok(StoredObject { key, size: self.size });
        }
        if !rest.is_empty() {
            self.put_part(rest).await?;
        }
        if let Some(multipart) = &mut self.multipart {
            multipart.complete().await.map_err(ObjectsError::Store)?;
        }
        self.multipart = None;
        if let Err(error) = self.objects.store.rename(&self.staging, &key.path()).await {
            // The sweep removes it when this fails too.
            self.objects.store.delete(&self.staging).await.ok();
            return Err(ObjectsError::Store(error));
        }
        Ok(StoredObject { key, size: self.size })
    }

    async fn put_part(&mut self, part: Bytes) -> Result<(), ObjectsError> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => none.insert(self.objects.store.put_multipart(&self.staging).await.map_err(ObjectsError::Store)?),
        };
        multipart.put_part(part.into()).await.map_err(ObjectsError::Store)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut multipart) = self.multipart.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.objects.aborts.spawn(async move {
                if let Err(error) = multipart.abort().await {
                    tracing::warn!("an unfinished upload could not be removed: {error}");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
