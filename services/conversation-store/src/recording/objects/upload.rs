//! An object on its way into the store, in parts.
//!
//! A part is sent while the next one fills, several at a time; how many, for one upload and for all together, is bounded, and so is
//! the memory: whoever sends faster than the store takes it has to wait. What was begun is cleaned away by a task of its own,
//! since whoever uploads may go away at any point: also while the store is just about to say what the upload is called.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use colloquy_types::OrganizationId;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use super::{ANSWER_WITHIN, ObjectKey, Objects, ObjectsError, STAGING, StoredObject, s3, within};
use crate::recording::media_type::HEAD_BYTES;

/// How much is written at once: as little as S3 allows. Some of its kin want all parts equally long.
pub(super) const PART_BYTES: usize = 5 << 20;
/// How many parts of one upload are on their way at once.
pub(super) const PARTS_AT_ONCE: usize = 3;
/// How long a part may take with all that is tried again.
const PART_WITHIN: Duration = Duration::from_secs(30);
/// How long the parts may take to become one object under its name.
const NAMED_WITHIN: Duration = s3::REQUEST_TIMEOUT;
/// How long parts on their way are waited for when an upload is given up: one that arrived later would be left behind.
const LAST_PARTS_WITHIN: Duration = Duration::from_secs(5);

/// How long is waited before an upload that could not be removed is removed again: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(64);

/// An object being written. Dropping it before [`Upload::finish`] gives it up.
pub(crate) struct Upload {
    objects: Objects,
    organization: OrganizationId,
    staging: Path,
    /// What the store knows of it; none as long as all of it fits into one part, and once it has its name.
    begun: Option<Begun>,
    part: BytesMut,
    hash: digest::Context,
    size: u64,
    head: Vec<u8>,
}

struct Begun {
    stage: Stage,
    parts: JoinSet<Result<(), ObjectsError>>,
}

enum Stage {
    /// The store was asked for it. Not cancelled with whoever asked: what it answers has to be given up by that name.
    Opening(JoinHandle<Result<Box<dyn MultipartUpload>, ObjectsError>>),
    /// Parts are taken.
    Open(Box<dyn MultipartUpload>),
    /// The store failed to begin it.
    Failed,
}

impl Begun {
    /// Returns where parts go, once the store has said so.
    async fn open(&mut self) -> Result<&mut Box<dyn MultipartUpload>, ObjectsError> {
        if let Stage::Opening(opening) = &mut self.stage {
            let opened = opening.await.unwrap_or(Err(ObjectsError::TimedOut));
            self.stage = Stage::Failed;
            self.stage = Stage::Open(opened?);
        }
        match &mut self.stage {
            Stage::Open(multipart) => Ok(multipart),
            Stage::Opening(_) | Stage::Failed => Err(ObjectsError::TimedOut),
        }
    }

    /// Waits until at most `left` parts are on their way.
    async fn wait_for_parts(&mut self, left: usize) -> Result<(), ObjectsError> {
        while self.parts.len() > left {
            match self.parts.join_next().await {
                Some(sent) => sent.unwrap_or(Err(ObjectsError::TimedOut))?,
                None => break,
            }
        }
        Ok(())
    }

    /// Removes all that the store has of it, and tries again for a while when the store is away.
    async fn give_up(mut self, objects: Objects, staging: Path) {
        let opened = self.open().await.is_ok();
        let last = tokio::time::timeout(LAST_PARTS_WITHIN, async { while self.parts.join_next().await.is_some() {} });
        if last.await.is_err() {
            self.parts.shutdown().await;
        }
        if !opened {
            return;
        }
        let mut wait = FIRST_WAIT;
        loop {
            let Err(error) = self.remove(&objects, &staging).await else { return };
            if wait > LONGEST_WAIT || objects.closing.is_cancelled() {
                tracing::warn!("an unfinished upload could not be removed: {}", error.cause());
                return;
            }
            tokio::select! {
                () = objects.closing.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait *= 2;
        }
    }

    async fn remove(&mut self, objects: &Objects, staging: &Path) -> Result<(), ObjectsError> {
        let gone = |removed: Result<(), ObjectsError>| match removed {
            Err(ObjectsError::Missing) => Ok(()),
            removed => removed,
        };
        gone(within(ANSWER_WITHIN, self.open().await?.abort()).await)?;
        // It may have become an object in the moment it was given up.
        gone(within(ANSWER_WITHIN, objects.store.delete(staging)).await)
    }
}

impl Upload {
    pub(super) fn new(objects: Objects, organization: OrganizationId) -> Self {
        Self {
            objects,
            organization,
            staging: Path::from_iter([STAGING, &Uuid::new_v4().simple().to_string()]),
            begun: None,
            part: BytesMut::new(),
            hash: digest::Context::new(&digest::SHA256),
            size: 0,
            head: Vec::new(),
        }
    }

    /// Writes the next bytes. Waits while the store has enough to do.
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
        if self.begun.is_none() && self.objects.staging_folder.is_none() {
            within(PART_WITHIN, self.objects.store.put(&key.path(), rest.into())).await?;
            return Ok(StoredObject { key, size: self.size });
        }
        if !rest.is_empty() {
            self.put_part(rest).await?;
        }
        if let Some(begun) = &mut self.begun {
            begun.wait_for_parts(0).await?;
            within(NAMED_WITHIN, begun.open().await?.complete()).await?;
        }
        within(NAMED_WITHIN, self.objects.store.rename(&self.staging, &key.path())).await?;
        self.begun = None;
        Ok(StoredObject { key, size: self.size })
    }

    async fn put_part(&mut self, part: Bytes) -> Result<(), ObjectsError> {
        let begun = match &mut self.begun {
            Some(begun) => begun,
            none => {
                let (store, staging) = (Arc::clone(&self.objects.store), self.staging.clone());
                let opening = tokio::spawn(async move { within(ANSWER_WITHIN, store.put_multipart(&staging)).await });
                none.insert(Begun { stage: Stage::Opening(opening), parts: JoinSet::new() })
            }
        };
        begun.wait_for_parts(PARTS_AT_ONCE - 1).await?;
        let room = Arc::clone(&self.objects.room).acquire_owned().await.map_err(|_| ObjectsError::TimedOut)?;
        let sending = begun.open().await?.put_part(part.into());
        begun.parts.spawn(async move {
            let _room = room;
            within(PART_WITHIN, sending).await
        });
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.objects.aborts.spawn(begun.give_up(self.objects.clone(), self.staging.clone()));
        }
    }
}
