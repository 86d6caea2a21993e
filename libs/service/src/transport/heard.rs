//! Hearing from the other side before anything is entrusted to it.
//!
//! The kernel accepts connections for a process that is still starting, or that hangs. Who speaks HTTP/2 begins with its
//! settings, so the first byte tells that there is somebody.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A connection that tells when its peer has said something.
pub(super) struct Listening<S> {
    stream: S,
    heard: Option<oneshot::Sender<()>>,
}

impl<S> Listening<S> {
    /// Returns the connection, and what resolves with its first byte; it fails when the connection is dropped before that.
    pub(super) fn new(stream: S) -> (Self, oneshot::Receiver<()>) {
        let (heard, first) = oneshot::channel();
        (Self { stream, heard: Some(heard) }, first)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before
            && let Some(heard) = self.heard.take()
        {
            // Whoever asked may have stopped waiting.
            let _ = heard.send(());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
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
