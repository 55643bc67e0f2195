//! How many requests a client makes in a time: the generic cell rate algorithm (ITU-T I.371), which
//! keeps one moment for each client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ClientId;

/// As many requests as fit into this time at the rate may come at once.
const BURST: Duration = Duration::from_secs(5);
/// Clients that are remembered before the older half of them is forgotten. One that is forgotten
/// has its burst again.
const REMEMBERED: usize = 8 * 1024;

/// Counts the requests of every client.
pub(super) struct Meter {
    per_second: u32,
    clients: Mutex<Clients>,
}

/// When the requests that each client has made so far would have come at the rate.
#[derive(Default)]
struct Clients {
    recent: HashMap<ClientId, Instant>,
    earlier: HashMap<ClientId, Instant>,
}

impl Meter {
    /// Lets each client have so many requests a second; not 0.
    pub(super) fn new(per_second: u32) -> Meter {
        Meter { per_second, clients: Mutex::default() }
    }

    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Counts a request; or says how long the client has to wait, and counts none.
    pub(super) fn take(&self, client: &ClientId, now: Instant) -> Result<(), Duration> {
        let interval = Duration::from_secs(1) / self.per_second;
        // A count that a panic has left behind is as good as any.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let due = clients.recall(client).map_or(now, |due| due.max(now));
        let ahead = due.saturating_duration_since(now);
        if ahead + interval > BURST.max(interval) {
            return Err((ahead + interval).saturating_sub(BURST));
        }
        clients.remember(client, due + interval);
        Ok(())
    }
}

impl Clients {
    fn recall(&self, client: &ClientId) -> Option<Instant> {
        self.recent.get(client).or_else(|| self.earlier.get(client)).copied()
    }

    fn remember(&mut self, client: &ClientId, due: Instant) {
        match self.recent.get_mut(client) {
            Some(known) => *known = due,
            None => {
                if self.recent.len() >= REMEMBERED / 2 {
                    self.earlier = std::mem::take(&mut self.recent);
                }
                self.recent.insert(client.clone(), due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn client(n: u32) -> ClientId {
        ClientId::of_address(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn a_client_has_its_burst_and_then_its_rate() {
        let meter = Meter::new(10);
        let start = Instant::now();
        for _ in 0..50 {
            meter.take(&client(1), start).unwrap();
        }
        let wait = meter.take(&client(1), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        meter.take(&client(2), start).expect("another client is not concerned");
        meter.take(&client(1), start + wait).expect("it has waited");
        meter.take(&client(1), start + wait).unwrap_err();
        let later = start + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| meter.take(&client(1), later).is_ok()).count(), 50);
    }

    #[test]
    fn even_the_slowest_rate_lets_one_through() {
        let meter = Meter::new(1);
        let start = Instant::now();
        assert_eq!((0..9).filter(|_| meter.take(&client(1), start).is_ok()).count(), 5);
    }

    #[test]
    fn no_more_clients_are_remembered_than_may_be() {
        let meter = Meter::new(1);
        let start = Instant::now();
        for n in 0..100_000 {
            meter.take(&client(n), start).unwrap();
        }
        let clients = meter.clients.lock().unwrap();
        assert!(clients.recent.len() + clients.earlier.len() <= REMEMBERED);
        drop(clients);
        for _ in 0..4 {
            meter.take(&client(99_999), start).unwrap();
        }
        meter.take(&client(99_999), start).expect_err("it is remembered");
    }
}
