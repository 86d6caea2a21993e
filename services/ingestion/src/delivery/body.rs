//! A delivery's body while it streams in: small ones stay in memory, larger ones go to an unnamed temporary file.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Bodies larger than this go to a file.
pub(crate) const IN_MEMORY_BYTES: usize = 1 << 20;
/// What all bodies that are just streaming in may hold in memory together. When it is used up, small ones go to files too.
const BUDGET_BYTES: usize = 64 << 20;
/// The budget is counted in pages.
const PAGE_BYTES: usize = 16 << 10;

/// Where bodies go while they stream in.
#[derive(Clone)]
pub(crate) struct Spool {
    directory: PathBuf,
    budget: Arc<Semaphore>,
}

impl Spool {
    /// Returns a spool whose files are in `directory`.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, budget: Arc::new(Semaphore::new(BUDGET_BYTES / PAGE_BYTES)) }
    }

    /// Begins a body of at most `limit` bytes.
    pub(crate) fn begin(&self, limit: u64) -> BodyWriter {
        BodyWriter { spool: self.clone(), limit, length: 0, memory: Vec::new(), permit: None, file: None }
    }
}

/// A body that is streaming in.
pub(crate) struct BodyWriter {
    spool: Spool,
    limit: u64,
    length: u64,
    memory: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
    file: Option<tokio::fs::File>,
}

impl BodyWriter {
    /// Takes the next bytes.
    pub(crate) async fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.length += chunk.len() as u64;
        if self.length > self.limit {
            return Err(Error::BodyTooLarge { limit: self.limit });
        }
        if self.file.is_none() && self.fits(chunk.len()) {
            self.memory.extend_from_slice(chunk);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let directory = self.spool.directory.clone();
                let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory));
                let mut file = tokio::fs::File::from_std(made.await.map_err(|_| Error::Interrupted)?.map_err(Error::Spool)?);
                file.write_all(&self.memory).await.map_err(Error::Spool)?;
                self.memory = Vec::new();
                self.permit = None;
                self.file.insert(file)
            }
        };
        file.write_all(chunk).await.map_err(Error::Spool)
    }

    /// Returns whether `more` bytes may be held in memory, and takes them from the budget.
    fn fits(&mut self, more: usize) -> bool {
        let wanted = self.memory.len() + more;
        if wanted > IN_MEMORY_BYTES {
            return false;
        }
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = wanted.div_ceil(PAGE_BYTES).saturating_sub(held);
        if missing == 0 {
            return true;
        }
        // At most 64 pages a body.
        let Ok(permit) = Arc::clone(&self.spool.budget).try_acquire_many_owned(missing as u32) else { return false };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        true
    }

    /// Ends the body.
    pub(crate) async fn finish(self) -> Result<Body, Error> {
        let content = match self.file {
            None => Content::Memory(Bytes::from(self.memory)),
            Some(mut file) => {
                file.flush().await.map_err(Error::Spool)?;
                Content::File(file.into_std().await)
            }
        };
        Ok(Body { length: self.length, content, _permit: self.permit })
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { length: bytes.len() as u64, content: Content::Memory(bytes), _permit: None }
    }
}

/// A whole body.
pub(crate) struct Body {
    length: u64,
    content: Content,
    _permit: Option<OwnedSemaphorePermit>,
}

enum Content {
    Memory(Bytes),
    File(std::fs::File),
}

impl Body {
    /// Returns its size in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.length
    }

    /// Returns it whole, in memory. Blocks when it is in a file.
    pub(crate) fn into_bytes(self) -> Result<Bytes, Error> {
        match self.content {
            Content::Memory(bytes) => Ok(bytes),
            Content::File(mut file) => {
                let mut bytes = Vec::with_capacity(usize::try_from(self.length).unwrap_or_default());
                file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).map_err(Error::Spool)?;
                Ok(Bytes::from(bytes))
            }
        }
    }

    /// Hands it to `take` piece by piece, until `take` fails. Blocks when it is in a file.
    pub(crate) fn read_through(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        match &mut self.content {
            Content::Memory(bytes) => bytes.chunks(PIECE_BYTES).try_for_each(take),
            Content::File(file) => {
                file.seek(SeekFrom::Start(0)).map_err(Error::Spool)?;
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    match file.read(&mut piece) {
                        Ok(0) => return Ok(()),
                        Ok(length) => take(&piece[..length])?,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(Error::Spool(error)),
                    }
                }
            }
        }
    }
}

/// How much of a body is read at once.
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    async fn written(spool: &Spool, bytes: &[u8]) -> Body {
        let mut body = spool.begin(1 << 30);
        for chunk in bytes.chunks(100_000) {
            body.push(chunk).await.unwrap();
        }
        body.finish().await.unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_as_it_came_whether_in_memory_or_in_a_file() {
        let spool = Spool::new(std::env::temp_dir());
        for length in [0, 1, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, 3 * IN_MEMORY_BYTES + 7] {
            let expected = pattern(length);
            let mut body = written(&spool, &expected).await;
            assert_eq!(matches!(body.content, Content::File(_)), length > IN_MEMORY_BYTES, "{length}");
            let mut read = Vec::new();
            body.read_through(|piece| {
                read.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            assert_eq!(read, expected);
            assert_eq!(written(&spool, &expected).await.into_bytes().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_at_the_first_byte_too_many() {
        let mut body = Spool::new(std::env::temp_dir()).begin(10);
        body.push(&[0; 10]).await.unwrap();
        assert!(matches!(body.push(&[0]).await, Err(Error::BodyTooLarge { limit: 10 })));
    }

    #[tokio::test]
    async fn bodies_go_to_files_when_together_they_hold_too_much_memory() {
        let spool = Spool { directory: std::env::temp_dir(), budget: Arc::new(Semaphore::new(2)) };
        let first = written(&spool, &pattern(PAGE_BYTES + 1)).await;
        let second = written(&spool, &pattern(10)).await;
        assert!(matches!(first.content, Content::Memory(_)));
        assert!(matches!(second.content, Content::File(_)));
        drop(first);
        assert!(matches!(written(&spool, &pattern(10)).await.content, Content::Memory(_)));
    }
}
