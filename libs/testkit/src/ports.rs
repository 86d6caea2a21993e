//! Loopback ports that are known before anybody listens.
//!
//! A process that others must find under an address they are told at their own start cannot use port 0.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Below the ports that kernels give out by themselves, so that no connection of anybody's takes one in between.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// Returns a loopback address that nobody listens on, and that this process has not given out before.
pub fn free_address() -> SocketAddr {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_with(HashSet::new);
    for _ in 0..COUNT {
        let random = Uuid::new_v4().as_u64_pair().0 % u64::from(COUNT);
        let port = FIRST + u16::try_from(random).unwrap();
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT);
}
