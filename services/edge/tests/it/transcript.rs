//! Forms of a transcript.

use crate::fake::{Fake, KNOWN};

fn path(query: &str) -> String {
    format!("/v1/conversations/{KNOWN}/transcript{query}")
}

#[tokio::test]
async fn the_format_or_the_accept_header_decides() {
    let fake = Fake::default();
    let cases = [
        ("?format=json", "text/vtt", "application/json"),
        ("?format=text", "*/*", "text/plain; charset=utf-8"),
        ("?format=srt", "*/*", "application/x-subrip"),
        ("?format=vtt", "application/json", "text/vtt"),
        ("", "*/*", "application/json"),
        ("", "text/vtt;q=0.9, application/x-subrip", "application/x-subrip"),
        ("", "text/*", "text/plain; charset=utf-8"),
    ];
    for (query, accept, content_type) in cases {
        let answer = fake.get_with(&path(query), &[("accept", accept)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, content_type), "{query} {accept}");
        assert!(answer.header("vary").contains("accept"));
    }
    let answer = fake.get(&path("?format=vtt&language=de&min_position=3")).await;
    assert_eq!((answer.body.as_slice(), answer.header("content-language")), (b"written as Vtt".as_slice(), "de"));
    assert!(fake.last("RenderTranscript").message.contains("language: \"de\", min_position: 3"));
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let fake = Fake::default();
    assert_eq!(fake.get_with(&path(""), &[("accept", "image/png")]).await.status, 406);
    assert_eq!(fake.get(&path("?format=docx")).await.bad_fields(), ["format"]);
}

#[tokio::test]
async fn long_text_is_compressed_for_those_who_ask() {
    let fake = Fake::default();
    let gzip = [("accept-encoding", "gzip"), ("x-api-key", "k")];
    let answer = fake.get_with("/v1/conversations", &gzip).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(fake.get("/v1/conversations").await.header("content-encoding"), "");
    assert_eq!(
        fake.get_with(&path("?format=text"), &gzip).await.header("content-encoding"),
        "",
        "small bodies are sent as they are"
    );
    let recording = fake.get_with(&format!("/v1/conversations/{KNOWN}/audio"), &gzip).await;
    assert_eq!(recording.header("content-encoding"), "");
}
