//! Places for connections: so many in all, and for one machine no more than a share of them.
//!
//! Whoever has an address has it for all of its connections: without a share, one pod could hold every place with
//! connections that do nothing, and shut out the kubelet's probes, the API server and every sidecar.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Listener, Peer, Stream};

/// One machine gets this part of the places.
const SHARE: usize = 8;

type Held = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The places of one server. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Places {
    free: Arc<Semaphore>,
    share: usize,
    held: Held,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Place {
    _permit: OwnedSemaphorePermit,
    /// Whose it is, if places of it are counted.
    machine: Option<IpAddr>,
    held: Held,
}

impl Places {
    pub(in crate::runtime) fn new(count: usize) -> Self {
        let share = (count / SHARE).max(1);
        Self { free: Arc::new(Semaphore::new(count)), share, held: Held::default() }
    }

    /// Accepts the next connection when there is a place; one of a machine that has its share is closed. `None` never
    /// comes: nobody closes the places. Cancel safe.
    pub(in crate::runtime) async fn accept(&self, listener: &mut Listener) -> Option<(Stream, Place)> {
        // The order matters: a connection that can't be served is not taken from the kernel's queue.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        loop {
            let stream = listener.accept().await;
            let machine = machine(stream.peer());
            if self.take(machine) {
                return Some((stream, Place { _permit: permit, machine, held: Arc::clone(&self.held) }));
            }
            tracing::debug!(
                ?machine,
                share = self.share,
                "a connection is closed: this machine has its share"
            );
        }
    }

    fn take(&self, machine: Option<IpAddr>) -> bool {
        let Some(machine) = machine else { return true };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(machine).or_default();
        let has_room = *count < self.share;
        *count += usize::from(has_room);
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(machine) = self.machine else { return };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&machine) {
            *count -= 1;
            if *count == 0 {
                held.remove(&machine);
            }
        }
    }
}

/// Whose places are counted: other machines'. What connects on this one is its own, by whatever address.
fn machine(peer: Peer) -> Option<IpAddr> {
    let Peer::Tcp(Some(address)) = peer else { return None };
    Some(address.ip().to_canonical()).filter(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 18: whoever asks, the others have room.
    #[test]
    fn one_machine_gets_its_share_and_has_it_back_when_connections_end() {
        let places = Places::new(16);
        let permit = || Arc::clone(&places.free).try_acquire_owned().unwrap();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| Some(address.parse().unwrap()));
        let take = |machine| {
            places.take(machine).then(|| Place { _permit: permit(), machine, held: Arc::clone(&places.held) })
        };
        let [first, second] = [take(one).unwrap(), take(one).unwrap()];
        assert!(take(one).is_none());
        assert!(take(other).is_some() && take(None).is_some());
        drop(first);
        let third = take(one).unwrap();
        assert!(take(one).is_none());
        drop([second, third]);
        assert!(places.held.lock().unwrap().is_empty());
    }

    #[test]
    fn this_machine_is_not_counted() {
        let of = |address: &str| machine(Peer::Tcp(Some(address.parse().unwrap())));
        for own in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(of(own), None, "{own}");
        }
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:2"));
        assert!(of("192.0.2.1:2").is_some());
        assert_eq!(machine(Peer::Unix { uid: Some(1) }), None);
    }
}
