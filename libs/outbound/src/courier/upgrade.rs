//! Connections that change their protocol, as WebSockets begin.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Bounds, Courier, Failure, Request, beginning, uri_of};
use crate::retry_after::retry_after;

/// What became of a request to speak another protocol.
#[derive(Debug)]
pub enum Upgrade {
    /// The server switched. The connection is the caller's, and so is checking the headers of the answer.
    Switched(HeaderMap, Connection),
    /// The server answered in HTTP instead.
    Answered(Answer),
}

/// A connection that speaks whatever both sides agreed on.
#[derive(Debug)]
pub struct Connection(TokioIo<hyper::upgrade::Upgraded>);

impl Courier {
    /// Asks for a connection that speaks `protocol`.
    ///
    /// # Errors
    /// When there is no answer; see [`Failure`].
    pub async fn upgrade(&self, request: Request<'_>, protocol: HeaderValue, bounds: &Bounds) -> Result<Upgrade, Failure> {
        self.policy.check_form(request.url)?;
        let deadline = Instant::now() + bounds.timeout;
        let mut prepared = http::Request::new(Full::<Bytes>::new(request.body));
        *prepared.method_mut() = request.method;
        *prepared.uri_mut() = uri_of(request.url)?;
        *prepared.headers_mut() = request.headers;
        prepared.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        prepared.headers_mut().insert(UPGRADE, protocol);
        let answered = timeout_at(deadline, self.http.request(prepared)).await.map_err(|_| Failure::Timeout)?;
        let response = answered.map_err(|error| Failure::of(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (head, body) = response.into_parts();
            let retry_after = retry_after(&head.headers);
            let (body, whole) = beginning(body, bounds, deadline).await;
            return Ok(Upgrade::Answered(Answer { status: head.status.as_u16(), retry_after, body, whole }));
        }
        let headers = response.headers().clone();
        let switched = timeout_at(deadline, hyper::upgrade::on(response)).await.map_err(|_| Failure::Timeout)?;
        let connection = switched.map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Upgrade::Switched(headers, Connection(TokioIo::new(connection))))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io;
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http::Method;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;
    use url::Url;

    use super::*;
    use crate::resolver::{Lookup, SystemLookup};
    use crate::{Policy, Refused};

    const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(20), body_timeout: Duration::from_secs(5), max_bytes: 1000 };

    /// A server of one connection.
    async fn serve<F, Fut>(tasks: &mut JoinSet<()>, talk: F) -> Url
    where
        F: FnOnce(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/path", listener.local_addr().unwrap())).unwrap();
        tasks.spawn(async move { talk(listener.accept().await.unwrap().0).await });
        url
    }

    async fn head(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(read).unwrap().to_ascii_lowercase()
    }

    async fn ask(courier: &Courier, url: &Url) -> Result<Upgrade, Failure> {
        let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() };
        courier.upgrade(request, HeaderValue::from_static("echo"), &BOUNDS).await
    }

    fn courier() -> Courier {
        Courier::with("127.0.0.0/8".parse().unwrap(), Arc::new(SystemLookup), Vec::new()).unwrap()
    }

    #[tokio::test]
    async fn a_connection_changes_its_protocol_and_keeps_what_came_with_the_answer() {
        let mut tasks = JoinSet::new();
        let url = serve(&mut tasks, |mut stream| async move {
            let asked = head(&mut stream).await;
            assert!(asked.starts_with("get /path http/1.1\r\n"), "{asked}");
            assert!(asked.contains("\r\nconnection: upgrade\r\n") && asked.contains("\r\nupgrade: echo\r\n"), "{asked}");
            let answer = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Said: yes\r\n\r\nfirst";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let said = stream.read_u8().await.unwrap();
            stream.write_u8(said).await.unwrap();
        })
        .await;
        let Upgrade::Switched(headers, mut connection) = ask(&courier(), &url).await.unwrap() else { panic!("not switched") };
        assert_eq!(headers["x-said"], "yes");
        connection.write_all(b"!").await.unwrap();
        let mut said = [0; 6];
        connection.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"first!");
    }

    #[tokio::test]
    async fn a_server_that_does_not_switch_is_heard() {
        let mut tasks = JoinSet::new();
        let url = serve(&mut tasks, |mut stream| async move {
            head(&mut stream).await;
            let answer = "HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let Upgrade::Answered(answer) = ask(&courier(), &url).await.unwrap() else { panic!("switched") };
        assert_eq!((answer.status, answer.body.as_ref(), answer.whole), (429, b"no".as_slice(), true));
        assert_eq!(answer.retry_after, Some(Duration::from_secs(3)));
    }

    /// A name whose addresses change with every question.
    struct Rebinding(Mutex<Vec<IpAddr>>);

    impl Lookup for Rebinding {
        fn lookup(&self, _name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let next = self.0.lock().unwrap().pop();
            async move { Ok(next.into_iter().collect()) }.boxed()
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_its_address_after_the_check_is_refused() {
        let answers = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([1, 1, 1, 1])];
        let lookup: Arc<dyn Lookup> = Arc::new(Rebinding(Mutex::new(answers)));
        let courier = Courier::with(Policy::default(), Arc::clone(&lookup), Vec::new()).unwrap();
        let url = Url::parse("http://rebinding.example:1/").unwrap();
        assert_eq!(courier.policy().check_url_with(lookup.as_ref(), &url).await, Ok(()));
        let failure = ask(&courier, &url).await.unwrap_err();
        assert_eq!(failure, Failure::Refused(Refused::Address("rebinding.example".into())));
    }
}
