//! A TCP proxy that does to connections what networks do.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    None,
    /// Every piece of up to 16 KiB, in either direction, takes this much longer.
    Delay(Duration),
    /// Nobody listens: what is open breaks, and new connections are refused.
    Refuse,
    /// Connections stay open, new ones are made, and nothing ever comes through: a network that swallows packets.
    Swallow,
}

/// What connections watch: the present fault, and how often everything open was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    fault: Fault,
    cuts: u64,
}

/// A proxy between somebody and `target`. Ends when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    _serving: JoinSet<()>,
}

impl FaultProxy {
    /// Starts a proxy to `target` on a port of its own.
    pub async fn start(target: SocketAddr) -> Self {
        let address = ports::free_address();
        let (state, watched) = watch::channel(State { fault: Fault::None, cuts: 0 });
        let listener = TcpListener::bind(address).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(address, listener, target, watched));
        Self { address, state, _serving: serving }
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to connections from now on, open ones included.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Breaks every connection that is open. New ones are made as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

async fn serve(address: SocketAddr, first: TcpListener, target: SocketAddr, mut state: watch::Receiver<State>) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let fault = state.borrow_and_update().fault;
        if fault == Fault::Refuse {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.unwrap());
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            accepted = accept => if let Ok((stream, _)) = accepted {
                connections.spawn(carry(stream, target, state.clone()));
            },
        }
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let cuts = state.borrow_and_update().cuts;
    let pass = async {
        let mut passing = state.clone();
        if passing.wait_for(|state| state.fault != Fault::Swallow).await.is_err() {
            return;
        }
        let Ok(far) = TcpStream::connect(target).await else { return };
        near.set_nodelay(true).ok();
        far.set_nodelay(true).ok();
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        // A side that has no more to say may still listen: HTTP/2 and PostgreSQL do not use that, so either end ends both.
        tokio::select! {
            () = copy(near_read, far_write, state.clone()) => {}
            () = copy(far_read, near_write, state.clone()) => {}
        }
    };
    let mut watched = state.clone();
    tokio::select! {
        () = pass => {}
        _ = watched.wait_for(|state| state.cuts != cuts) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let fault = state.borrow_and_update().fault;
        match fault {
            Fault::None => {}
            Fault::Delay(wait) => tokio::time::sleep(wait).await,
            // What comes out of a hole in the network is what was sent again: TCP delivers late, never not.
            Fault::Swallow | Fault::Refuse => {
                if state.wait_for(|state| !matches!(state.fault, Fault::Swallow | Fault::Refuse)).await.is_err() {
                    return;
                }
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with itself.
    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await.ok();
                });
            }
        });
        (address, serving)
    }

    async fn answered(stream: &mut TcpStream, limit: Duration) -> Option<std::io::Result<u8>> {
        let once = async {
            stream.write_u8(7).await?;
            stream.read_u8().await
        };
        tokio::time::timeout(limit, once).await.ok()
    }

    const SOON: Duration = Duration::from_secs(5);
    const BRIEF: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_cut_breaks_what_is_open_and_nothing_else() {
        let (target, _serving) = echo().await;
        let proxy = FaultProxy::start(target).await;
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(answered(&mut open, SOON).await.unwrap().unwrap(), 7);
        proxy.cut();
        assert!(answered(&mut open, SOON).await.unwrap().is_err());
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(answered(&mut next, SOON).await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn what_was_swallowed_comes_once_the_network_is_back() {
        let (target, _serving) = echo().await;
        let proxy = FaultProxy::start(target).await;
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(answered(&mut open, SOON).await.unwrap().unwrap(), 7);
        proxy.set(Fault::Swallow);
        assert!(answered(&mut open, BRIEF).await.is_none());
        proxy.set(Fault::None);
        assert_eq!(tokio::time::timeout(SOON, open.read_u8()).await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn refused_means_refused_until_it_listens_again() {
        let (target, _serving) = echo().await;
        let proxy = FaultProxy::start(target).await;
        proxy.set(Fault::Refuse);
        crate::until(SOON, "connections are refused", || async { TcpStream::connect(proxy.address()).await.is_err() }).await;
        proxy.set(Fault::None);
        crate::until(SOON, "connections are made", || async { TcpStream::connect(proxy.address()).await.is_ok() }).await;
    }
}
