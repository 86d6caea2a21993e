//! The recording service through its generated client.

use std::sync::Arc;

use axum::Extension;
use bytes::Bytes;
use colloquy_events::{Data, Recording, RecordingChannel};
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::conversation::v1::recording_service_client::RecordingServiceClient;
use colloquy_proto::conversation::v1::recording_service_server::RecordingServiceServer;
use colloquy_proto::conversation::v1::{read_recording_response, store_object_request, upload_recording_request};
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_service::{Caller, Identity};
use colloquy_types::KeyId;
use futures::stream;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::grpc::Handler;
use super::testing::{NOW, World, conversation_id, event, organization};

pub(super) type Client = RecordingServiceClient<Transport>;

fn client(world: &World, caller: Caller) -> Client {
    let routes = Routes::new(RecordingServiceServer::new(Handler::new(Arc::clone(&world.recordings))));
    let slot = LocalSlot::new();
    slot.fill(routes.into_axum_router().layer(Extension(caller)));
    RecordingServiceClient::new(slot.transport())
}

fn key(name: &str, scopes: &str) -> Caller {
    let scopes = scopes.parse().unwrap();
    Caller::Key(Arc::new(Identity { key_id: KeyId::generate(), organization_id: organization(name), scopes }))
}

/// Returns a client that may do everything with recordings of `acme`.
pub(super) fn everything(world: &World) -> Client {
    client(world, key("acme", "conversations:write,audio:read"))
}

/// Makes the conversation exist; returns a client that may do everything.
async fn existing(world: World) -> (World, Client) {
    world.start_conversation().await;
    let client = everything(&world);
    (world, client)
}

fn wav(seconds: u32) -> Vec<u8> {
    let data = seconds * 16_000;
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend(8_000_u32.to_le_bytes());
    wav.extend(16_000_u32.to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(data.to_le_bytes());
    wav.extend((0..data).map(|byte| (byte % 251) as u8));
    wav
}

pub(super) fn head(content_type: &str, channel: &str) -> pb::UploadRecordingHead {
    pb::UploadRecordingHead {
        conversation_id: conversation_id().to_string(),
        content_type: content_type.to_owned(),
        channel: channel.to_owned(),
    }
}

pub(super) async fn upload(
    client: &mut Client,
    head: pb::UploadRecordingHead,
    bytes: &[u8],
) -> Result<pb::UploadRecordingResponse, Status> {
    use upload_recording_request::Part;
    let chunks = bytes.chunks(100_000).map(|chunk| Part::Chunk(Bytes::copy_from_slice(chunk)));
    let parts: Vec<_> = std::iter::once(Part::Head(head)).chain(chunks).collect();
    let requests = parts.into_iter().map(|part| pb::UploadRecordingRequest { part: Some(part) });
    client.upload_recording(stream::iter(requests)).await.map(tonic::Response::into_inner)
}

pub(super) fn wanted(channel: &str, first: Option<u64>, last: Option<u64>) -> pb::ReadRecordingRequest {
    pb::ReadRecordingRequest {
        conversation_id: "retell:call_1".to_owned(),
        channel: channel.to_owned(),
        range: (first.is_some() || last.is_some()).then_some(pb::ByteRange { first, last }),
        head_only: false,
        min_position: 0,
    }
}

pub(super) async fn read(
    client: &mut Client,
    request: pb::ReadRecordingRequest,
) -> Result<(pb::ReadRecordingHead, Vec<u8>), Status> {
    use read_recording_response::Part;
    let mut parts = client.read_recording(request).await?.into_inner();
    let Some(Part::Head(head)) = parts.message().await?.and_then(|message| message.part) else { panic!("the head comes first") };
    let mut bytes = Vec::new();
    while let Some(message) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = message.part else { panic!("only chunks follow") };
        assert!(chunk.len() <= 256 << 10);
        bytes.extend(chunk);
    }
    Ok((head, bytes))
}

fn problem(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    (status.code(), reason.unwrap_or_default())
}

fn bad_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    details.bad_request().unwrap().field_violations.iter().map(|bad| bad.field.clone()).collect()
}

/// Runs each case with recordings in a folder, and with recordings in a bucket where there is one.
macro_rules! in_every_place {
    ($($case:ident),+ $(,)?) => {
        mod in_a_folder { $(
            #[tokio::test] async fn $case() { super::$case(crate::recording::testing::sqlite().await.unwrap()).await }
        )+ }
        mod in_a_bucket { $( #[tokio::test] async fn $case() {
            if let Some(world) = crate::recording::testing::s3().await { super::$case(world).await }
        } )+ }
    };
}
in_every_place!(
    what_was_uploaded_is_read_back_whole_and_in_ranges,
    a_range_behind_the_end_tells_the_size,
    a_head_alone_has_no_bytes,
    without_a_channel_the_mixed_or_only_recording_is_read,
    the_last_upload_of_a_channel_is_the_one_that_is_read,
    bad_uploads_are_refused_and_leave_nothing,
    another_organization_finds_nothing,
    an_event_cannot_name_another_organizations_object,
    every_method_needs_its_scope,
    a_read_waits_for_its_position,
    an_upload_the_log_did_not_take_is_no_recording,
);

async fn what_was_uploaded_is_read_back_whole_and_in_ranges(world: World) {
    let (world, mut client) = existing(world).await;
    let bytes = wav(40);
    let stored = upload(&mut client, head("audio/mpeg", ""), &bytes).await.unwrap();
    assert_eq!((stored.size_bytes, stored.position), (bytes.len() as u64, world.progress.current().0));

    let (head, read_back) = read(&mut client, wanted("", None, None)).await.unwrap();
    assert!(read_back == bytes);
    assert_eq!((head.content_type.as_str(), head.sha256.as_str()), ("audio/wav", stored.sha256.as_str()));
    let Ok(recording) = &world.log.outcomes()[0] else { panic!("it was stored") };
    assert_eq!((recording.duration_ms, recording.channel), (Some(40_000), RecordingChannel::Mixed));

    let size = bytes.len() as u64;
    let cases = [
        (Some(0), Some(0), 0, 1),
        (Some(300_000), Some(600_000), 300_000, 300_001),
        (Some(size - 5), None, size - 5, 5),
        (None, Some(7), size - 7, 7),
        (Some(10), Some(u64::MAX), 10, size - 10),
    ];
    for (first, last, from, length) in cases {
        let (head, part) = read(&mut client, wanted("", first, last)).await.unwrap();
        assert_eq!((head.first, head.length, head.size_bytes), (from, length, size));
        assert!(part == bytes[from as usize..(from + length) as usize]);
    }
}

async fn a_range_behind_the_end_tells_the_size(world: World) {
    let (_world, mut client) = existing(world).await;
    upload(&mut client, head("audio/basic", ""), b"0123456789").await.unwrap();
    for (first, last) in [(Some(10), None), (Some(u64::MAX), Some(u64::MAX)), (None, Some(0))] {
        let status = read(&mut client, wanted("", first, last)).await.unwrap_err();
        assert_eq!(problem(&status), (Code::OutOfRange, "RANGE_NOT_SATISFIABLE".to_owned()));
        assert!(status.message().contains("10 bytes"), "{status}");
    }
    let status = read(&mut client, wanted("", Some(5), Some(4))).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["range.last"]);
}

async fn a_head_alone_has_no_bytes(world: World) {
    let (_world, mut client) = existing(world).await;
    upload(&mut client, head("audio/basic", ""), b"0123456789").await.unwrap();
    let request = pb::ReadRecordingRequest { head_only: true, ..wanted("", Some(2), Some(3)) };
    let (head, bytes) = read(&mut client, request).await.unwrap();
    assert_eq!((head.size_bytes, head.first, head.length, bytes.len()), (10, 2, 2, 0));
}

async fn without_a_channel_the_mixed_or_only_recording_is_read(world: World) {
    let (_world, mut client) = existing(world).await;
    upload(&mut client, head("audio/basic", "user"), b"user").await.unwrap();
    assert_eq!(read(&mut client, wanted("", None, None)).await.unwrap().1, b"user");
    upload(&mut client, head("audio/basic", "agent"), b"agent").await.unwrap();
    let status = read(&mut client, wanted("", None, None)).await.unwrap_err();
    assert_eq!(problem(&status), (Code::NotFound, "RECORDING_NOT_FOUND".to_owned()));
    upload(&mut client, head("audio/basic", "mixed"), b"mixed").await.unwrap();
    assert_eq!(read(&mut client, wanted("", None, None)).await.unwrap().1, b"mixed");
    assert_eq!(read(&mut client, wanted("agent", None, None)).await.unwrap().1, b"agent");
    let status = read(&mut client, wanted("both", None, None)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["channel"]);
}

async fn the_last_upload_of_a_channel_is_the_one_that_is_read(world: World) {
    let (world, mut client) = existing(world).await;
    for bytes in [b"first", b"other", b"first", b"other", b"other"] {
        world.clock.advance_millis(1);
        upload(&mut client, head("audio/basic", ""), bytes).await.unwrap();
        assert_eq!(read(&mut client, wanted("", None, None)).await.unwrap().1, bytes);
    }
    assert_eq!(world.log.outcomes().len(), 4, "the same again changes nothing");
}

async fn bad_uploads_are_refused_and_leave_nothing(world: World) {
    let (world, mut client) = existing(world).await;
    for content_type in ["", "audio", "text/html", "image/png", "audio/a b", "audio/x\r\ny: z"] {
        let status = upload(&mut client, head(content_type, ""), b"x").await.unwrap_err();
        assert_eq!(bad_fields(&status), ["head.content_type"], "{content_type}");
    }
    let status = upload(&mut client, head("application/octet-stream", ""), b"no recording").await.unwrap_err();
    assert_eq!(bad_fields(&status), ["head.content_type"]);
    let named = pb::UploadRecordingHead { conversation_id: "nobody".to_owned(), ..head("nonsense", "left") };
    let status = upload(&mut client, named, b"x").await.unwrap_err();
    assert_eq!(bad_fields(&status), ["head.conversation_id", "head.channel", "head.content_type"]);
    let status = upload(&mut client, head("audio/wav", ""), b"").await.unwrap_err();
    assert_eq!(bad_fields(&status), ["chunk"]);
    let status = upload(&mut client, head("audio/wav", ""), &vec![0; (1 << 20) + 1]).await.unwrap_err();
    assert_eq!(problem(&status), (Code::ResourceExhausted, "RECORDING_TOO_LARGE".to_owned()));
    let status = client.upload_recording(stream::empty()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["head"]);
    let missing = pb::UploadRecordingHead { conversation_id: "retell:nobody".to_owned(), ..head("audio/wav", "") };
    let status = upload(&mut client, missing, b"x").await.unwrap_err();
    assert_eq!(problem(&status), (Code::NotFound, "CONVERSATION_NOT_FOUND".to_owned()));
    assert_eq!(world.log.outcomes(), []);
    assert!(upload(&mut client, head("application/octet-stream", ""), &wav(1)).await.is_ok());
}

async fn another_organization_finds_nothing(world: World) {
    let (world, mut client_of_acme) = existing(world).await;
    upload(&mut client_of_acme, head("audio/wav", ""), &wav(1)).await.unwrap();
    let mut other = client(&world, key("other", "conversations:write,audio:read"));
    let id = pb::ReadRecordingRequest { conversation_id: conversation_id().to_string(), ..wanted("", None, None) };
    for request in [id, wanted("", None, None)] {
        let status = read(&mut other, request).await.unwrap_err();
        assert_eq!(problem(&status), (Code::NotFound, "CONVERSATION_NOT_FOUND".to_owned()));
    }
    let status = upload(&mut other, head("audio/wav", ""), &wav(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

async fn an_event_cannot_name_another_organizations_object(world: World) {
    let (world, mut client) = existing(world).await;
    let mut theirs = world.recordings.objects.upload(organization("other"));
    theirs.write(b"their secret").await.unwrap();
    let theirs = theirs.finish().await.unwrap();
    let stolen = Data::RecordingAvailable(Recording {
        url: None,
        object_key: Some(theirs.key.to_string()),
        sha256: None,
        size_bytes: None,
        content_type: Some("text/html".to_owned()),
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    });
    world.log.write(event("stolen", NOW, 0, stolen)).await;
    let status = read(&mut client, wanted("", None, None)).await.unwrap_err();
    assert_eq!(problem(&status), (Code::NotFound, "RECORDING_NOT_FOUND".to_owned()));
}

async fn every_method_needs_its_scope(world: World) {
    let (world, _) = existing(world).await;
    let store = |mut client: Client| async move {
        use store_object_request::Part;
        let parts = [Part::OrganizationId("acme".to_owned()), Part::Chunk(Bytes::from_static(b"fLaC"))];
        client.store_object(stream::iter(parts.map(|part| pb::StoreObjectRequest { part: Some(part) }))).await
    };
    let all = "conversations:read,conversations:write,transcripts:read,audio:read,analytics:read,events:write,webhooks:write";
    assert_eq!(store(client(&world, key("acme", all))).await.unwrap_err().code(), Code::PermissionDenied);
    let stored = store(client(&world, Caller::Service)).await.unwrap().into_inner();
    assert_eq!((stored.size_bytes, stored.sniffed_content_type.as_str()), (4, "audio/flac"));
    assert_eq!(stored.object_key, format!("acme/{}/{}", &stored.sha256[..2], stored.sha256));

    let mut reader = client(&world, key("acme", "audio:read,conversations:read"));
    assert_eq!(upload(&mut reader, head("audio/wav", ""), b"x").await.unwrap_err().code(), Code::PermissionDenied);
    let mut writer = client(&world, key("acme", "conversations:write,conversations:read"));
    assert_eq!(read(&mut writer, wanted("", None, None)).await.unwrap_err().code(), Code::PermissionDenied);
    let mut nobody = client(&world, Caller::Anonymous);
    assert_eq!(read(&mut nobody, wanted("", None, None)).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(upload(&mut nobody, head("audio/wav", ""), b"x").await.unwrap_err().code(), Code::Unauthenticated);
}

async fn a_read_waits_for_its_position(world: World) {
    let (world, mut client) = existing(world).await;
    let ahead = world.progress.current().0 + 1;
    let progress = world.progress.clone();
    let mut waiting = client.clone();
    let request = pb::ReadRecordingRequest { min_position: ahead, ..wanted("", None, None) };
    let read_later = tokio::spawn(async move { read(&mut waiting, request).await.map(|(_, bytes)| bytes) });
    upload(&mut client, head("audio/basic", ""), b"late").await.unwrap();
    progress.advance_to(colloquy_types::Position(ahead));
    assert_eq!(read_later.await.unwrap().unwrap(), b"late");
}

async fn an_upload_the_log_did_not_take_is_no_recording(world: World) {
    let (world, mut client) = existing(world).await;
    world.log.set_down(true);
    assert!(upload(&mut client, head("audio/basic", ""), b"again").await.is_err());
    let status = read(&mut client, wanted("", None, None)).await.unwrap_err();
    assert_eq!(problem(&status), (Code::NotFound, "RECORDING_NOT_FOUND".to_owned()));
    world.log.set_down(false);
    upload(&mut client, head("audio/basic", ""), b"again").await.unwrap();
    assert_eq!(read(&mut client, wanted("", None, None)).await.unwrap().1, b"again");
}
