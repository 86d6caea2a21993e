//! Recordings: ranges, conditions, uploads.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use colloquy_edge::Settings;
use futures::stream;
use http::Method;

use crate::fake::{Fake, KNOWN, RECORDING, SHA256, request, send};

fn path() -> String {
    format!("/v1/conversations/{KNOWN}/audio")
}

#[tokio::test]
async fn the_whole_has_a_tag_a_type_and_a_length() {
    let fake = Fake::default();
    let answer = fake.get(&format!("{}?channel=user&min_position=2", path())).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, RECORDING));
    assert_eq!(answer.header("etag"), format!("\"{SHA256}\""));
    assert_eq!((answer.header("content-type"), answer.header("content-length")), ("audio/mpeg", "10"));
    assert_eq!((answer.header("accept-ranges"), answer.header("cache-control")), ("bytes", "private, no-cache"));
    let message = fake.last("ReadRecording").message;
    assert!(message.contains("channel: \"user\"") && message.contains("min_position: 2"), "{message}");
}

#[tokio::test]
async fn a_range_is_a_part() {
    let fake = Fake::default();
    let cases = [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-500", "56789", "bytes 5-9/10"),
        ("bytes=-500", "0123456789", "bytes 0-9/10"),
    ];
    for (range, body, content_range) in cases {
        let answer = fake.get_with(&path(), &[("range", range)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-range")), (206, content_range), "{range}");
        assert_eq!(answer.body, body.as_bytes(), "{range}");
        assert_eq!(answer.header("content-length"), body.len().to_string(), "{range}");
    }
    for range in ["bytes=4-2", "lines=1-2", "bytes=0-1,4-5", "nonsense"] {
        let answer = fake.get_with(&path(), &[("range", range)]).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 10), "{range}");
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_cannot_be_satisfied() {
    let fake = Fake::default();
    for range in ["bytes=10-", "bytes=99999999999999999999999-", "bytes=-0"] {
        let answer = fake.get_with(&path(), &[("range", range)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-range")), (416, "bytes */10"), "{range}");
        assert_eq!(answer.json()["status"], 416);
    }
}

#[tokio::test]
async fn conditions_are_heeded() {
    let fake = Fake::default();
    let etag = format!("\"{SHA256}\"");
    let answer = fake.get_with(&path(), &[("if-none-match", &etag)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag"), answer.body.len()), (304, etag.as_str(), 0));
    assert_eq!(fake.get_with(&path(), &[("if-none-match", "\"other\"")]).await.status, 200);
    let same = fake.get_with(&path(), &[("range", "bytes=0-1"), ("if-range", &etag)]).await;
    assert_eq!((same.status.as_u16(), same.body.as_slice()), (206, b"01".as_slice()));
    let changed = fake.get_with(&path(), &[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await;
    assert_eq!((changed.status.as_u16(), changed.body.as_slice()), (200, RECORDING));
}

#[tokio::test]
async fn head_answers_without_the_bytes() {
    let fake = Fake::default();
    let answer = fake.send(request(Method::HEAD, &path(), &[("range", "bytes=0-1")], Body::empty())).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-length"), answer.body.len()), (200, "10", 0));
    assert!(fake.last("ReadRecording").message.contains("head_only: true"));
    let missing = fake.send(request(Method::HEAD, "/v1/conversations/none/audio", &[], Body::empty())).await;
    assert_eq!((missing.status.as_u16(), missing.body.len()), (404, 0));
}

#[tokio::test]
async fn an_upload_is_passed_on_as_it_arrives() {
    let fake = Fake::default();
    let chunks = vec![Bytes::from(vec![0; 700_000]); 3].into_iter().map(Ok::<_, Infallible>);
    let body = Body::from_stream(stream::iter(chunks));
    let answer =
        fake.send(request(Method::PUT, &format!("{}?channel=agent", path()), &[("content-type", "audio/wav")], body)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-colloquy-position")), (201, "11"));
    assert_eq!((&answer.json()["size_bytes"], &answer.json()["channel"]), (&2_100_000.into(), &"agent".into()));
    assert!(fake.last("UploadRecording").message.contains("content_type: \"audio/wav\", channel: \"agent\""));
}

#[tokio::test]
async fn an_upload_must_be_audio_and_not_too_great() {
    let fake = Fake::default();
    for content_type in ["text/plain", "audio/*", "video/x-msvideo", "audio/"] {
        let answer = fake.send(request(Method::PUT, &path(), &[("content-type", content_type)], "x")).await;
        assert_eq!(answer.status, 415, "{content_type}");
    }
    assert_eq!(fake.send(request(Method::PUT, &path(), &[], "x")).await.status, 415);
    assert_eq!(fake.send(request(Method::PUT, &format!("{}?channel=x", path()), &[], "x")).await.bad_fields(), ["channel"]);

    let edge = || fake.edge_with(Settings { max_recording_bytes: 4, ..Settings::default() });
    let declared = [("content-type", "audio/wav"), ("content-length", "5")];
    assert_eq!(send(edge(), request(Method::PUT, &path(), &declared, "12345")).await.status, 413);
    let undeclared = Body::from_stream(stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"12345"))]));
    assert_eq!(send(edge(), request(Method::PUT, &path(), &[("content-type", "audio/wav")], undeclared)).await.status, 413);
    assert!(fake.calls().iter().all(|call| call.message == "begins"), "no upload was taken for whole");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_taken_for_whole() {
    let fake = Fake::default();
    let body = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("gone"))]));
    let answer = fake.send(request(Method::PUT, &path(), &[("content-type", "audio/wav")], body)).await;
    assert_eq!(answer.status, 400);
    assert!(fake.calls().iter().all(|call| call.message == "begins"), "{:?}", fake.calls());
}
