//! How much of something each client has at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_id::ClientId;

/// What clients have now; nothing is kept of one that has none.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    held: Mutex<HashMap<ClientId, usize>>,
}

/// One of a client's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    whose: ClientId,
}

impl Shares {
    /// At most so many for each.
    pub(crate) fn new(most: usize) -> Arc<Shares> {
        Arc::new(Shares { most, held: Mutex::default() })
    }

    /// One more for this client; `None` where it has as many as it may. A client on this machine may
    /// have any number: it may be a proxy, and then is all clients.
    pub(crate) fn take(self: &Arc<Shares>, whose: ClientId) -> Option<Share> {
        let mut held = self.held();
        let theirs = held.get(&whose).copied().unwrap_or(0);
        if theirs >= self.most && !whose.is_local() {
            return None;
        }
        held.insert(whose.clone(), theirs + 1);
        drop(held);
        Some(Share { shares: Arc::clone(self), whose })
    }

    /// Counts are whole after every step: a panic elsewhere takes nothing from them.
    fn held(&self) -> MutexGuard<'_, HashMap<ClientId, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        match held.get_mut(&self.whose) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            Some(_) | None => drop(held.remove(&self.whose)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_and_no_more() {
        let shares = Shares::new(2);
        let client = |address: [u8; 4]| ClientId::of_address(address.into());
        let (greedy, other, local) =
            (client([10, 0, 0, 1]), client([10, 0, 0, 2]), client([127, 0, 0, 1]));
        let first = shares.take(greedy.clone()).unwrap();
        let _second = shares.take(greedy.clone()).unwrap();
        assert!(shares.take(greedy.clone()).is_none());
        let other = shares.take(other).unwrap();
        let _many: Vec<Share> = (0..9).map(|_| shares.take(local.clone()).unwrap()).collect();
        drop(first);
        assert!(shares.take(greedy).is_some());
        drop(other);
        assert_eq!(shares.held().len(), 2, "nothing is kept of who has none");
    }
}
