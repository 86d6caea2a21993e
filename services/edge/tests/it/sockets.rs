//! What only shows on a real connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fake::{Fake, KNOWN};

/// Serves the edge for as long as the test runs.
async fn serve(fake: &Fake) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let edge = fake.edge();
    tokio::spawn(async move { axum::serve(listener, edge).await });
    address
}

fn head(path: &str, length: usize) -> String {
    let kind = "content-type: application/json";
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: k\r\n{kind}\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn the_sender_of_a_refused_body_sees_the_answer() {
    let fake = Fake::default();
    let mut connection = TcpStream::connect(serve(&fake).await).await.unwrap();
    let length = 64 << 20;
    connection.write_all(head("/v1/events", length).as_bytes()).await.unwrap();
    // A simple client writes everything before it reads.
    connection.write_all(&vec![b' '; length]).await.expect("the connection is not reset");
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_stranger_who_sends_much_sees_the_answer() {
    let fake = Fake::default();
    let mut connection = TcpStream::connect(serve(&fake).await).await.unwrap();
    let length = 8 << 20;
    let head = head("/v1/events", length).replace("x-api-key: k", "x-api-key: wrong");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&vec![b' '; length]).await.expect("the connection is not reset");
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(fake.calls().is_empty());
}

#[tokio::test]
async fn who_waits_for_permission_is_refused_at_once() {
    let fake = Fake::default();
    let mut connection = TcpStream::connect(serve(&fake).await).await.unwrap();
    let head = head("/v1/events", 64 << 20).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(10), connection.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_provider_that_goes_away_takes_its_delivery_along() {
    let fake = Fake::default();
    let mut connection = TcpStream::connect(serve(&fake).await).await.unwrap();
    connection.write_all(head(&format!("/v1/webhooks/{KNOWN}"), 1_000).as_bytes()).await.unwrap();
    connection.write_all(b"{\"half\": ").await.unwrap();
    until(&fake, "begins").await;
    drop(connection);
    until(&fake, "dropped").await;
    assert!(fake.calls().iter().all(|call| !call.message.contains("total=")), "{:?}", fake.calls());
}

/// Waits until the service was asked what `message` says.
async fn until(fake: &Fake, message: &str) {
    for _ in 0..1_000 {
        if fake.calls().iter().any(|call| call.message == message) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("'{message}' never came: {:?}", fake.calls());
}
