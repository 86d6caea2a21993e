//! A vendor's HTTP API, down to its bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// What the vendor does with a request.
#[derive(Clone)]
pub(crate) enum Then {
    /// Answers.
    Answer(String),
    /// Reads the request and keeps silent.
    Hang,
    /// Reads the request and hangs up.
    Drop,
    /// Hangs up without reading.
    Slam,
    /// Answers this, and then without end.
    Flood(u16),
}

/// Returns an answer with a body.
pub(crate) fn answer(status: u16, body: &str) -> Then {
    answer_with(status, "", body)
}

/// Returns an answer with further header lines.
pub(crate) fn answer_with(status: u16, headers: &str, body: &str) -> Then {
    Then::Answer(format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// A request as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// Method and path.
    pub(crate) line: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: String,
}

/// The API, which goes through its answers and repeats the last.
pub(crate) struct Fake {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(answers: Vec<Then>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let then = answers[number.min(answers.len() - 1)].clone();
                tokio::spawn(serve(stream, then, Arc::clone(&noted)));
            }
        });
        Self { url, seen, task }
    }

    /// Returns the requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the only request.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, then: Then, seen: Arc<Mutex<Vec<Seen>>>) {
    if matches!(then, Then::Slam) {
        // Closing with something unread resets the connection.
        let _ = stream.readable().await;
        return;
    }
    let request = read(&mut stream).await;
    seen.lock().unwrap().push(request);
    match then {
        Then::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
        Then::Hang => std::future::pending().await,
        Then::Drop | Then::Slam => {}
        Then::Flood(status) => {
            let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: 10000000000\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    }
}

async fn read(stream: &mut TcpStream) -> Seen {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).unwrap())
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    Seen { line, headers, body: String::from_utf8(body).unwrap() }
}
