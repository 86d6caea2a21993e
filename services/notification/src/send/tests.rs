//! Attempts at real receivers on loopback.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use colloquy_outbound::Policy;
use colloquy_types::{Clock, SystemClock};
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::Smtp;

const SECRET: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

async fn receiver() -> (String, Seen) {
    let seen = Seen::default();
    let take = async |State(seen): State<Seen>, headers: HeaderMap, body: Bytes| {
        seen.lock().unwrap().push((headers, body));
        "thanks"
    };
    let gone = async || (StatusCode::GONE, "\u{1b}[31mnever\0again");
    let busy = async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "99999999")]);
    let redirect = async || (StatusCode::TEMPORARY_REDIRECT, [("location", "/take")]);
    let chunk = || Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096]));
    let endless = async move || Body::from_stream(futures::stream::repeat_with(chunk));
    let hang = async || std::future::pending::<()>().await;
    let routes = Router::new()
        .route("/take", post(take))
        .route("/gone", post(gone))
        .route("/busy", post(busy))
        .route("/redirect", post(redirect))
        .route("/endless", post(endless))
        .route("/hang", post(hang))
        .with_state(Arc::clone(&seen));
    (serve(routes).await, seen)
}

fn outgoing(kind: Kind, url: String) -> Outgoing {
    Outgoing {
        kind,
        url,
        message_id: Uuid::from_u128(7),
        event_type: "conversation.started".into(),
        at: SystemClock.now(),
        body: Bytes::from_static(br#"{"type":"conversation.started","timestamp":"2026-03-02T15:00:00.000Z","data":{}}"#),
        headers: vec![("x-team".into(), Secret("blue".into()))],
        secrets: vec![Secret(SECRET.into())],
    }
}

fn sender(smtp: Option<&Smtp>) -> Sender {
    Sender::with_timeout("127.0.0.0/8".parse().unwrap(), smtp, Duration::from_millis(500)).unwrap()
}

#[tokio::test]
async fn a_receiver_gets_what_it_can_verify_with_the_official_library() {
    let (base, seen) = receiver().await;
    let outgoing = outgoing(Kind::Webhook, format!("{base}/take"));
    let outcome = sender(None).attempt(&outgoing).await;
    assert_eq!(outcome.verdict, Verdict::Taken);
    assert_eq!((outcome.attempt.status_code, outcome.attempt.error), (Some(200), None));
    assert_eq!(outcome.attempt.response.as_deref(), Some("thanks"));
    let (headers, body) = seen.lock().unwrap().pop().unwrap();
    Webhook::new(&format!("whsec_{SECRET}")).unwrap().verify(&body, &headers).unwrap();
    assert_eq!(body, outgoing.body);
    assert_eq!(headers["webhook-id"], "msg_00000000000000000000000000000007");
    assert_eq!((&headers["content-type"], &headers["x-team"]), (&"application/json".parse().unwrap(), &"blue".parse().unwrap()));
    assert!(headers["user-agent"].to_str().unwrap().starts_with("colloquy/"));
}

#[tokio::test]
async fn each_bad_answer_leads_where_it_should() {
    let (base, seen) = receiver().await;
    let sender = sender(None);
    let attempt = async |path: &str| sender.attempt(&outgoing(Kind::Webhook, format!("{base}{path}"))).await;

    let gone = attempt("/gone").await;
    assert_eq!(gone.verdict, Verdict::Gone);
    assert_eq!(gone.attempt.response.as_deref(), Some(" [31mnever again"));

    assert_eq!(attempt("/busy").await.verdict, Verdict::Again(Some(Duration::from_secs(24 * 60 * 60))));

    let redirect = attempt("/redirect").await;
    assert_eq!((redirect.verdict, redirect.attempt.status_code), (Verdict::Again(None), Some(307)));
    assert!(seen.lock().unwrap().is_empty(), "the redirect was followed");

    let endless = attempt("/endless").await;
    assert_eq!(endless.verdict, Verdict::Taken);
    assert_eq!(endless.attempt.response.map(|text| text.len()), Some(1024));

    let hang = attempt("/hang").await;
    assert_eq!(hang.verdict, Verdict::Again(Some(Duration::from_secs(60))));
    assert_eq!((hang.attempt.status_code, hang.attempt.error.as_deref()), (None, Some("no answer in time")));

    let https = sender.attempt(&outgoing(Kind::Webhook, format!("{}/take", base.replace("http:", "https:")))).await;
    assert!(matches!(https.verdict, Verdict::Again(_)), "{https:?}");
}

#[tokio::test]
async fn an_address_of_the_network_behind_us_is_refused() {
    let (base, seen) = receiver().await;
    let guarded = Sender::new(Policy::default(), None).unwrap();
    let outcome = guarded.attempt(&outgoing(Kind::Webhook, format!("{base}/take"))).await;
    assert_eq!((outcome.verdict, outcome.attempt.status_code), (Verdict::Again(None), None));
    assert!(outcome.attempt.error.unwrap().contains("must not be reached"));
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn slack_gets_a_text_and_no_signature() {
    let (base, seen) = receiver().await;
    let outcome = sender(None).attempt(&outgoing(Kind::Slack, format!("{base}/take"))).await;
    assert_eq!(outcome.verdict, Verdict::Taken);
    let (headers, body) = seen.lock().unwrap().pop().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(!body["text"].as_str().unwrap().is_empty());
    assert_eq!(body.as_object().unwrap().len(), 1);
    assert!(!headers.contains_key("webhook-signature"));
}

/// A mail server that answers each `RCPT` with a line, and keeps what it is sent.
async fn mail_server(to_recipient: &'static str) -> (Smtp, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sink = Arc::clone(&sink);
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(b"220 mail.example ESMTP\r\n").await?;
                let mut in_data = false;
                while let Some(line) = lines.next_line().await? {
                    sink.lock().unwrap().push_str(&format!("{line}\n"));
                    let answer = match line.split(' ').next().unwrap_or_default() {
                        "." => {
                            in_data = false;
                            "250 queued as 42"
                        }
                        _ if in_data => continue,
                        "EHLO" => "250 mail.example",
                        "RCPT" => to_recipient,
                        "DATA" => {
                            in_data = true;
                            "354 go ahead"
                        }
                        _ => "250 fine",
                    };
                    write.write_all(format!("{answer}\r\n").as_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    (Smtp { url, from: "Colloquy <alerts@example.com>".into() }, seen)
}

#[tokio::test]
async fn e_mail_arrives_as_text_with_an_id_that_stays_the_same() {
    let (smtp, seen) = mail_server("250 fine").await;
    let sender = sender(Some(&smtp));
    for _ in 0..5 {
        let outcome = sender.attempt(&outgoing(Kind::Email, "mailto:ops@example.org".into())).await;
        assert_eq!(outcome.verdict, Verdict::Taken, "{outcome:?}");
        assert_eq!(outcome.attempt.status_code, Some(250));
        assert_eq!(outcome.attempt.response.as_deref(), Some("queued as 42"));
        tokio::task::yield_now().await;
    }
    let seen = seen.lock().unwrap();
    for part in ["RCPT TO:<ops@example.org>", "From: Colloquy <alerts@example.com>", "To: ops@example.org", "Subject: "] {
        assert_eq!(seen.matches(part).count(), 5, "{part} in {seen}");
    }
    assert_eq!(seen.matches("Message-ID: <msg_00000000000000000000000000000007@example.com>").count(), 5, "{seen}");
    // It is given back beside the next message's being sent, so not at each turn.
    assert!(seen.matches("EHLO").count() < 5, "no connection was used again: {seen}");
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_asked_again() {
    let (smtp, _) = mail_server("550 no such user\u{7}").await;
    let outcome = sender(Some(&smtp)).attempt(&outgoing(Kind::Email, "mailto:ops@example.org".into())).await;
    assert_eq!((outcome.verdict, outcome.attempt.status_code), (Verdict::Again(None), Some(550)));
    assert_eq!(outcome.attempt.error.as_deref(), Some("the mail server answered 550"));

    let nobody = Smtp { url: "smtp://127.0.0.1:1".into(), from: "a@example.com".into() };
    let outcome = sender(Some(&nobody)).attempt(&outgoing(Kind::Email, "mailto:ops@example.org".into())).await;
    assert!(matches!(outcome.verdict, Verdict::Again(_)));
    assert_eq!(outcome.attempt.status_code, None);

    let none = sender(None).attempt(&outgoing(Kind::Email, "mailto:ops@example.org".into())).await;
    assert_eq!(none.attempt.error.as_deref(), Some("no mail server is set up"));
}

#[tokio::test]
async fn wrong_settings_for_e_mail_are_told_without_the_password() {
    for (url, from) in [("http://user:hush@mail", "a@example.com"), ("smtp://user:hush@mail", "nobody")] {
        let smtp = Smtp { url: url.into(), from: from.into() };
        let error = Sender::new(Policy::default(), Some(&smtp)).err().unwrap();
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}
