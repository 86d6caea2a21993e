use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tempfile::TempDir;
use uuid::Uuid;

use super::upload::{PART_BYTES, PARTS_AT_ONCE};
use super::*;

const LIMIT: u64 = 64 << 20;

struct Store {
    objects: Objects,
    folder: TempDir,
}

fn files() -> Store {
    let folder = TempDir::new().unwrap();
    let objects = Objects::open(&ObjectsUrl::Folder(folder.path().join("objects")), LIMIT).unwrap();
    Store { objects, folder }
}

fn memory() -> Store {
    Store { objects: Objects::over(Arc::new(InMemory::new()), LIMIT), folder: TempDir::new().unwrap() }
}

/// A place in a bucket of an S3-compatible server; `None` where there is none.
fn s3() -> Option<Store> {
    let url = format!("{}/{}", colloquy_testkit::s3::bucket_url()?, Uuid::now_v7().simple()).parse().unwrap();
    Some(Store { objects: Objects::open(&url, LIMIT).unwrap(), folder: TempDir::new().unwrap() })
}

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(next).collect()
}

async fn store(objects: &Objects, bytes: &[u8]) -> StoredObject {
    let mut upload = objects.upload(organization("acme"));
    for chunk in bytes.chunks(300_000) {
        upload.write(chunk).await.unwrap();
    }
    upload.finish().await.unwrap()
}

async fn read(objects: &Objects, key: &ObjectKey, range: Range<u64>) -> Vec<u8> {
    let pieces: Vec<Bytes> = objects.read(key, range).try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
    pieces.concat()
}

fn files_under(folder: &FilePath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_under(&path)) } else { found.push(path) }
    }
    found
}

macro_rules! on_every_store {
    ($($case:ident),+ $(,)?) => {
        mod over_files { $( #[tokio::test] async fn $case() { super::$case(super::files()).await } )+ }
        mod over_memory { $( #[tokio::test] async fn $case() { super::$case(super::memory()).await } )+ }
        mod over_s3 { $( #[tokio::test] async fn $case() {
            if let Some(store) = super::s3() { super::$case(store).await }
        } )+ }
    };
}
on_every_store!(
    what_was_stored_is_read_back_in_any_range,
    the_same_content_is_one_object,
    too_much_is_refused_before_it_is_stored,
    nothing_is_not_an_object,
    what_was_never_stored_is_missing,
    nothing_is_left_of_an_upload_that_became_an_object,
);

async fn what_was_stored_is_read_back_in_any_range(Store { objects, .. }: Store) {
    // Less than a part, exactly one, and several with a rest.
    for length in [1, 5_000, PART_BYTES, 2 * PART_BYTES + 12_345] {
        let bytes = noise(length);
        let stored = store(&objects, &bytes).await;
        assert_eq!(stored.size, length as u64);
        assert_eq!(objects.size(&stored.key).await.unwrap(), Some(length as u64));
        assert!(read(&objects, &stored.key, 0..length as u64).await == bytes, "{length} bytes differ");
        let (from, to) = (length / 3, length - length / 5);
        assert!(read(&objects, &stored.key, from as u64..to as u64).await == bytes[from..to], "a range of {length} differs");
    }
}

async fn the_same_content_is_one_object(Store { objects, folder }: Store) {
    let bytes = noise(PART_BYTES + 1);
    let (first, second) = tokio::join!(store(&objects, &bytes), store(&objects, &bytes));
    assert_eq!(first, second);
    assert!(read(&objects, &first.key, 0..first.size).await == bytes);
    assert!(files_under(folder.path()).len() <= 1);
}

async fn too_much_is_refused_before_it_is_stored(Store { objects, folder }: Store) {
    let objects = Objects { limit: 10, ..objects };
    let mut upload = objects.upload(organization("acme"));
    upload.write(&[0; 10]).await.unwrap();
    assert!(matches!(upload.write(&[0]).await, Err(ObjectsError::TooLarge { limit: 10 })));
    drop(upload);
    objects.close().await;
    assert_eq!(files_under(folder.path()), Vec::<PathBuf>::new());
}

async fn nothing_is_not_an_object(Store { objects, .. }: Store) {
    assert!(matches!(objects.upload(organization("acme")).finish().await, Err(ObjectsError::Empty)));
}

async fn what_was_never_stored_is_missing(Store { objects, .. }: Store) {
    let key = ObjectKey::new(organization("acme"), &[7; 32]);
    assert_eq!(objects.size(&key).await.unwrap(), None);
    let read: Result<Vec<Bytes>, _> = objects.read(&key, 0..1).try_collect().await;
    assert!(matches!(read, Err(ObjectsError::Missing)));
}

async fn nothing_is_left_of_an_upload_that_became_an_object(Store { objects, .. }: Store) {
    store(&objects, &noise(2 * PART_BYTES + 1)).await;
    let left: Vec<_> = objects.store.list(Some(&Path::from(STAGING))).try_collect().await.unwrap();
    assert_eq!(left, []);
}

/// Writes noise until the upload wants to wait, and returns how much it took.
async fn write_until_it_waits(upload: &mut Upload) -> usize {
    let chunk = noise(100_000);
    let mut taken = 0;
    loop {
        let written = {
            let mut write = std::pin::pin!(upload.write(&chunk));
            // What was spawned gets its turn, so that it is the store alone that is waited for.
            let mut turns = 0;
            loop {
                match futures::poll!(&mut write) {
                    std::task::Poll::Ready(done) => break Some(done),
                    std::task::Poll::Pending if turns < 100 => turns += 1,
                    std::task::Poll::Pending => break None,
                }
                tokio::task::yield_now().await;
            }
        };
        match written {
            Some(done) => done.unwrap(),
            None => return taken,
        }
        taken += chunk.len();
        assert!(taken < LIMIT as usize - chunk.len(), "it takes everything");
    }
}

#[tokio::test]
async fn a_slow_store_makes_senders_wait_and_not_the_memory_grow() {
    let never = Duration::from_secs(100_000);
    let slow = ThrottledStore::new(InMemory::new(), ThrottleConfig { wait_put_per_call: never, ..ThrottleConfig::default() });
    let objects = Objects::over(Arc::new(slow), LIMIT);
    let mut uploads = Vec::new();
    for _ in 0..PARTS_IN_ALL / PARTS_AT_ONCE {
        let mut upload = objects.upload(organization("acme"));
        let taken = write_until_it_waits(&mut upload).await;
        assert!(taken > PARTS_AT_ONCE * PART_BYTES && taken <= (PARTS_AT_ONCE + 1) * PART_BYTES, "{taken} bytes were taken");
        uploads.push(upload);
    }
    let mut one_too_many = objects.upload(organization("acme"));
    let taken = write_until_it_waits(&mut one_too_many).await;
    assert!(taken <= PART_BYTES, "{taken} bytes were taken although there is no room");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_given_up() {
    let never = Duration::from_secs(100_000);
    let waits = ThrottleConfig { wait_put_per_call: never, wait_get_per_call: never, ..ThrottleConfig::default() };
    let objects = Objects::over(Arc::new(ThrottledStore::new(InMemory::new(), waits)), LIMIT);
    let key = ObjectKey::new(organization("acme"), &[7; 32]);
    assert!(matches!(objects.size(&key).await, Err(ObjectsError::TimedOut)));
    let read: Result<Vec<Bytes>, _> = objects.read(&key, 0..1).try_collect().await;
    assert!(matches!(read, Err(ObjectsError::TimedOut)));
    for length in [1, PART_BYTES + 1] {
        let mut upload = objects.upload(organization("acme"));
        upload.write(&noise(length)).await.unwrap();
        assert!(matches!(upload.finish().await, Err(ObjectsError::TimedOut)));
    }
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_lies_where_its_content_says_and_no_upload_is_left() {
    let Store { objects, folder } = files();
    let stored = store(&objects, b"abc").await;
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(stored.key.to_string(), format!("acme/ba/{hash}"));
    let path = folder.path().join("objects/acme/ba").join(hash);
    assert_eq!(files_under(folder.path()), [path]);
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_look_into_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let Store { folder, .. } = files();
    assert_eq!(folder.path().join("objects").metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let Store { objects, folder } = files();
    let mut upload = objects.upload(organization("acme"));
    upload.write(&noise(PART_BYTES + 1)).await.unwrap();
    assert_eq!(files_under(folder.path()).len(), 1, "the upload has begun");
    drop(upload);
    wait_until("the file is gone", || files_under(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn what_a_dead_process_left_is_swept_and_what_is_being_written_is_not() {
    let Store { objects, folder } = files();
    let stored = store(&objects, b"kept").await;
    let mut upload = objects.upload(organization("acme"));
    upload.write(&noise(PART_BYTES + 1)).await.unwrap();
    let left = folder.path().join("objects").join(STAGING).join("0123#1");
    let file = std::fs::File::create(&left).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
    assert_eq!(objects.sweep(Timestamp::from_millis(2_000_000).unwrap()).await.unwrap(), 1);
    assert!(!left.exists());
    let second = upload.finish().await.unwrap();
    assert_eq!(objects.size(&second.key).await.unwrap(), Some(PART_BYTES as u64 + 1));
    assert_eq!(objects.size(&stored.key).await.unwrap(), Some(4));
}

#[test]
fn a_key_names_only_its_own_organizations_objects() {
    let key = ObjectKey::new(organization("acme"), &[0xab; 32]);
    let text = key.to_string();
    assert_eq!(ObjectKey::read(&organization("acme"), &text), Some(key));
    assert_eq!(ObjectKey::read(&organization("other"), &text), None);
    let hash = "ab".repeat(32);
    for bad in ["", "acme", &hash, &format!("acme/cd/{hash}"), &format!("acme/../acme/ab/{hash}"), &text.to_uppercase()] {
        assert_eq!(ObjectKey::read(&organization("acme"), bad), None, "{bad}");
    }
}

#[test]
fn a_place_is_a_folder_or_a_bucket() {
    let parse = |text: &str| text.parse::<ObjectsUrl>();
    let bucket = |bucket: &str, prefix: &str| Ok(ObjectsUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
    assert_eq!(parse("file:///srv/audio"), Ok(ObjectsUrl::Folder("/srv/audio".into())));
    assert_eq!(parse("s3://calls"), bucket("calls", ""));
    assert_eq!(parse("s3://calls/eu/audio/"), bucket("calls", "eu/audio"));
    for bad in ["", "file://", "file:/x", "file://x", "s3://", "s3:///x", "s3://key:secret@calls", "gs://calls", "/srv"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
