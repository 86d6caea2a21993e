//! Peers that connect and do not speak.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What every HTTP/2 connection begins with. Whatever differs from it is HTTP/1, which has a time limit of its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a peer has said which protocol it speaks.
#[derive(Clone, Default)]
pub(super) struct Opened(Arc<AtomicBool>);

impl Opened {
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that notes when its peer has said which protocol it speaks.
pub(super) struct Opening<S> {
    stream: S,
    matched: usize,
    opened: Opened,
}

impl<S> Opening<S> {
    pub(super) fn new(stream: S, opened: Opened) -> Self {
        Self { stream, matched: 0, opened }
    }

    fn note(&mut self, bytes: &[u8]) {
        let expected = &PREFACE[self.matched..];
        let same = bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
        self.matched += same;
        if same < bytes.len() || self.matched == PREFACE.len() {
            self.opened.0.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && !self.opened.is_open() {
            self.note(&buffer.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open_after(parts: &[&[u8]]) -> bool {
        let opened = Opened::default();
        let mut opening = Opening::new(tokio::io::empty(), opened.clone());
        parts.iter().filter(|_| !opened.is_open()).for_each(|part| opening.note(part));
        opened.is_open()
    }

    #[test]
    fn a_peer_has_spoken_once_its_protocol_is_known() {
        assert!(is_open_after(&[PREFACE]));
        assert!(is_open_after(&[&PREFACE[..5], &PREFACE[5..]]));
        assert!(is_open_after(&[b"P", b"OST /"]));
        assert!(is_open_after(&[b"GET"]));
        assert!(!is_open_after(&[]));
        assert!(!is_open_after(&[b"PRI", b" * HTTP/2.0"]));
    }
}
