//! Recordings in a bucket while the network to it fails, and while callers go away.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use bytes::Bytes;
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::conversation::v1::read_recording_response;
use colloquy_proto::conversation::v1::upload_recording_request::Part;
use colloquy_testkit::{Fault, FaultProxy, until};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use url::Url;
use uuid::Uuid;

use super::objects::testing::{STAGING, in_bucket};
use super::objects::{Objects, ObjectsUrl};
use super::testing::{World, conversation_id, with_objects};
use super::tests::{Client, everything, head, read, upload, wanted};

const LIMIT: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

/// A bucket behind a network that can be hurt.
struct Bucket {
    proxy: FaultProxy,
    endpoint: Url,
    name: String,
    /// What the keys of this test begin with.
    prefix: String,
    objects: Objects,
}

fn variable(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
}

impl Bucket {
    /// Returns a place of its own; `None` where there is no server, or none without TLS that a proxy could stand before.
    async fn start() -> Option<Self> {
        let url: ObjectsUrl = colloquy_testkit::s3::bucket_url()?.parse().unwrap();
        let ObjectsUrl::S3 { bucket, prefix } = url else { panic!("not a bucket") };
        let endpoint: Url = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])?.parse().unwrap();
        if endpoint.scheme() != "http" {
            return None;
        }
        let target = endpoint.socket_addrs(|| None).unwrap()[0];
        let proxy = FaultProxy::start(target).await;
        let prefix = format!("{prefix}/{}", Uuid::now_v7().simple()).trim_start_matches('/').to_owned();
        let through = OsString::from(format!("http://{}", proxy.address()));
        let variables = std::env::vars_os().chain([(OsString::from("AWS_ENDPOINT_URL_S3"), through)]);
        let objects = in_bucket(&bucket, &prefix, variables, 64 << 20);
        Some(Self { proxy, endpoint, name: bucket, prefix, objects })
    }

    /// Returns the keys of multipart uploads that were begun and neither completed nor aborted.
    async fn unfinished(&self) -> Vec<String> {
        let url = format!("{}/{}?uploads=", self.endpoint.as_str().trim_end_matches('/'), self.name);
        let mut request: HttpRequest = http::Request::get(url).body(HttpRequestBody::empty()).unwrap();
        let credential = AwsCredential {
            key_id: variable(&["AWS_ACCESS_KEY_ID"]).unwrap_or_default(),
            secret_key: variable(&["AWS_SECRET_ACCESS_KEY"]).unwrap_or_default(),
            token: variable(&["AWS_SESSION_TOKEN"]),
        };
        let region = variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or_else(|| "us-east-1".to_owned());
        AwsAuthorizer::new(&credential, "s3", &region).try_authorize(&mut request, None).unwrap();
        let client = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
        let answer = client.execute(request).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let text = String::from_utf8(answer.into_body().bytes().await.unwrap().to_vec()).unwrap();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.filter(|key| key.starts_with(&self.prefix)).map(str::to_owned).collect()
    }

    async fn objects_left_in_staging(&self) -> Vec<object_store::ObjectMeta> {
        self.objects.testing_store().list(Some(&Path::from(STAGING))).try_collect().await.unwrap()
    }

    async fn world(&self) -> (World, Client) {
        let world = with_objects(self.objects.clone()).await;
        world.start_conversation().await;
        let client = everything(&world);
        (world, client)
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(length)
    .collect()
}

fn assert_unavailable(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("OBJECT_STORE_UNAVAILABLE"));
    assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()), "no hint when to come again: {status}");
    for secret in [variable(&["AWS_SECRET_ACCESS_KEY"]), variable(&["AWS_ENDPOINT"])].into_iter().flatten() {
        assert!(!format!("{status:?}").contains(&secret), "{status:?}");
    }
}

/// Sends `bytes` and then neither more nor an end.
fn unending(bytes: &[u8]) -> impl futures::Stream<Item = pb::UploadRecordingRequest> + Send + 'static {
    let mut parts = vec![Part::Head(head("audio/basic", ""))];
    parts.extend(bytes.chunks(MIB).map(|chunk| Part::Chunk(Bytes::copy_from_slice(chunk))));
    stream::iter(parts.into_iter().map(|part| pb::UploadRecordingRequest { part: Some(part) })).chain(stream::pending())
}

#[tokio::test]
async fn twenty_mebibytes_go_in_and_out_through_grpc() {
    let Some(bucket) = Bucket::start().await else { return };
    let (_world, mut client) = bucket.world().await;
    let bytes = noise(20 * MIB + 7);
    let stored = upload(&mut client, head("audio/basic", ""), &bytes).await.unwrap();
    assert_eq!(stored.size_bytes, bytes.len() as u64);
    let (head, whole) = read(&mut client, wanted("", None, None)).await.unwrap();
    assert!(whole == bytes);
    assert_eq!((head.size_bytes, head.content_type.as_str()), (bytes.len() as u64, "audio/basic"));
    let from = 5 * MIB as u64 - 3;
    let (_, part) = read(&mut client, wanted("", Some(from), Some(from + 6 * MIB as u64))).await.unwrap();
    assert!(part == bytes[from as usize..=(from as usize + 6 * MIB)]);
    assert_eq!(bucket.unfinished().await, [""; 0]);
    assert_eq!(bucket.objects_left_in_staging().await, []);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_multipart_upload() {
    let Some(bucket) = Bucket::start().await else { return };
    let (_world, client) = bucket.world().await;
    let mut leaving = client.clone();
    let call = tokio::spawn(async move { leaving.upload_recording(unending(&noise(12 * MIB))).await });
    until(LIMIT, "the upload has begun", || async { bucket.unfinished().await.len() == 1 }).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    until(LIMIT, "the upload is gone", || async { bucket.unfinished().await.is_empty() }).await;
    assert_eq!(bucket.objects_left_in_staging().await, []);
}

#[tokio::test]
async fn a_caller_that_goes_away_at_the_very_beginning_leaves_no_multipart_upload() {
    let Some(bucket) = Bucket::start().await else { return };
    let (world, _client) = bucket.world().await;
    // Given up at whatever point the first parts are: before the store has named the upload, or while it takes them.
    for turns in 0_u32..40 {
        let mut upload = world.recordings.objects.upload("acme".parse().unwrap());
        let bytes = noise(6 * MIB);
        let mut write = Box::pin(async move { upload.write(&bytes).await });
        for _ in 0..turns {
            if let Some(written) = write.as_mut().now_or_never() {
                written.unwrap();
                break;
            }
            tokio::time::sleep(Duration::from_millis(u64::from(turns > 10))).await;
        }
    }
    bucket.objects.close().await;
    assert_eq!(bucket.unfinished().await, [""; 0]);
}

#[tokio::test]
async fn an_upload_during_an_outage_says_come_again_and_then_works() {
    let Some(bucket) = Bucket::start().await else { return };
    let (_world, mut client) = bucket.world().await;
    let bytes = noise(12 * MIB);
    let mut interrupted = client.clone();
    let (more, rest) = tokio::sync::oneshot::channel::<()>();
    let parts = unending(&bytes[..11 * MIB]).take(12).chain(stream::once(async move {
        rest.await.ok();
        pb::UploadRecordingRequest { part: Some(Part::Chunk(Bytes::from(noise(MIB)))) }
    }));
    let call = tokio::spawn(async move { interrupted.upload_recording(parts).await });
    until(LIMIT, "the upload has begun", || async { bucket.unfinished().await.len() == 1 }).await;
    bucket.proxy.set(Fault::Refuse);
    more.send(()).ok();
    let began = Instant::now();
    assert_unavailable(&call.await.unwrap().unwrap_err());
    assert!(began.elapsed() < LIMIT, "it took {:?}", began.elapsed());
    assert_unavailable(&upload(&mut client, head("audio/basic", ""), b"short").await.unwrap_err());

    bucket.proxy.set(Fault::None);
    upload(&mut client, head("audio/basic", ""), &bytes).await.unwrap();
    assert!(read(&mut client, wanted("", None, None)).await.unwrap().1 == bytes);
    until(LIMIT, "what was interrupted is gone", || async { bucket.unfinished().await.is_empty() }).await;
}

#[tokio::test]
async fn a_read_that_an_outage_interrupts_says_come_again_and_then_works() {
    let Some(bucket) = Bucket::start().await else { return };
    let (_world, mut client) = bucket.world().await;
    let bytes = noise(20 * MIB);
    upload(&mut client, head("audio/basic", ""), &bytes).await.unwrap();

    let mut parts = client.read_recording(wanted("", None, None)).await.unwrap().into_inner();
    let mut got = 0;
    let interrupted = loop {
        match parts.message().await {
            Ok(Some(message)) => {
                if let Some(read_recording_response::Part::Chunk(chunk)) = message.part {
                    got += chunk.len();
                    bucket.proxy.set(Fault::Refuse);
                }
            }
            Ok(None) => panic!("it ended after {got} bytes as if that were all"),
            Err(status) => break status,
        }
    };
    assert_unavailable(&interrupted);
    assert!((1..bytes.len()).contains(&got));
    assert_unavailable(&read(&mut client, wanted("", None, None)).await.unwrap_err());

    bucket.proxy.set(Fault::None);
    assert!(read(&mut client, wanted("", None, None)).await.unwrap().1 == bytes);
    assert_eq!(
        read(
            &mut client,
            pb::ReadRecordingRequest { conversation_id: conversation_id().to_string(), ..wanted("", Some(1), Some(1)) }
        )
        .await
        .unwrap()
        .1,
        &bytes[1..2]
    );
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_not_waited_for_without_end() {
    let Some(bucket) = Bucket::start().await else { return };
    let (_world, mut client) = bucket.world().await;
    upload(&mut client, head("audio/basic", ""), b"kept").await.unwrap();
    bucket.proxy.set(Fault::Swallow);
    let began = Instant::now();
    assert_unavailable(&read(&mut client, wanted("", None, None)).await.unwrap_err());
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    bucket.proxy.set(Fault::None);
    assert_eq!(read(&mut client, wanted("", None, None)).await.unwrap().1, b"kept");
}
