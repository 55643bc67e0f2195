//! The connections that are open now: how many there may be, and how they end when the gate does.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::http::client_id::ClientId;
use crate::http::waiting::ConnectionNumber;
use crate::memory;

/// How many connections may be on their way out at once, to make room.
const LEAVING_MAX: usize = 8;
/// How long the next one to come waits for them: they have nothing left to do.
const LEAVING_TIME: Duration = Duration::from_millis(20);

/// A crowd, after whose end memory is given back to the system.
const CROWD: usize = 64;

/// The list of open connections.
pub(super) struct Roster {
    seats: Mutex<Seats>,
    /// Somebody has left.
    left: Condvar,
    most: usize,
    closing: AtomicBool,
}

#[derive(Default)]
struct Seats {
    /// By the order in which they came.
    by_number: BTreeMap<u64, Arc<Seat>>,
    /// How many of them were asked to make room.
    leaving: usize,
    /// How many there were at once, since memory was given back last.
    most: usize,
    /// The number of the next one.
    next: u64,
}

/// One open connection.
pub(super) struct Seat {
    pub(super) client: TcpStream,
    whose: ClientId,
    /// Between two requests: nothing is lost when it ends now.
    idle: AtomicBool,
    /// It was asked to make room. Set under the lock only.
    leaving: AtomicBool,
}

/// A connection's place on the list, for as long as this lives.
pub(super) struct Guest {
    pub(super) seat: Arc<Seat>,
    pub(super) number: ConnectionNumber,
    roster: Arc<Roster>,
}

impl Roster {
    pub(super) fn new(most: usize) -> Roster {
        Roster {
            seats: Mutex::default(),
            left: Condvar::new(),
            most,
            closing: AtomicBool::new(false),
        }
    }

    /// Puts a connection on the list. Where there is no place, the oldest of those that are between two
    /// requests has to go; where all are busy, this one is given back. No client has more than half of
    /// the places, unless it is on this machine: it may be a proxy, and then is all clients.
    pub(super) fn admit(
        self: &Arc<Roster>,
        client: TcpStream,
        whose: ClientId,
    ) -> Result<Guest, TcpStream> {
        let crowded = |seats: &mut Seats| seats.leaving >= LEAVING_MAX;
        let (mut seats, _) = self
            .left
            .wait_timeout_while(self.lock(), LEAVING_TIME, crowded)
            .expect("invariant: no panic under this lock");
        let share = if whose.is_local() { self.most } else { self.most.div_ceil(2) };
        let has_place = !self.is_closing()
            && (seats.staying_of(&whose) < share || seats.make_room(|seat| seat.whose == whose))
            && (seats.staying() < self.most || seats.make_room(|_| true));
        if !has_place {
            return Err(client);
        }
        let seat = Arc::new(Seat {
            client,
            whose,
            idle: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
        });
        let number = seats.next;
        seats.next += 1;
        seats.by_number.insert(number, Arc::clone(&seat));
        seats.most = seats.most.max(seats.by_number.len());
        Ok(Guest { seat, number, roster: Arc::clone(self) })
    }

    /// Asks the oldest idle connections to go, as many as may be on their way out: the system has no file
    /// for a new one.
    pub(super) fn give_files_back(&self) {
        let mut seats = self.lock();
        while seats.make_room(|_| true) {}
    }

    /// Ends the idle connections; the others end after their request.
    pub(super) fn close(&self) {
        // Set before the look at who is idle, as they look after saying that they are.
        self.closing.store(true, Ordering::SeqCst);
        self.lock().by_number.values().filter(|seat| seat.is_idle()).for_each(|seat| seat.end());
    }

    /// Ends all connections, whatever they are at.
    pub(super) fn cut(&self) {
        for seat in self.lock().by_number.values() {
            // It may be gone already.
            let _ = seat.client.shutdown(Shutdown::Both);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().by_number.len()
    }

    #[cfg(test)]
    pub(super) fn busy(&self) -> usize {
        self.lock().by_number.values().filter(|seat| !seat.is_idle()).count()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("invariant: no panic under this lock")
    }
}

impl Seats {
    /// Whether of a crowd few are left. True once.
    fn have_emptied(&mut self) -> bool {
        let left = self.by_number.len();
        let have_emptied = self.most >= CROWD && left <= self.most / 8;
        if have_emptied {
            self.most = left;
        }
        have_emptied
    }

    /// How many have not been asked to go.
    fn staying(&self) -> usize {
        self.by_number.len() - self.leaving
    }

    /// How many of a client's have not.
    fn staying_of(&self, whose: &ClientId) -> usize {
        let theirs = |seat: &&Arc<Seat>| seat.whose == *whose && !seat.leaves();
        self.by_number.values().filter(theirs).count()
    }

    /// Asks the oldest idle connection of `those` to go. False where none is idle, or so many are on
    /// their way out that there might not be files for more.
    fn make_room(&mut self, those: impl Fn(&Seat) -> bool) -> bool {
        if self.leaving >= LEAVING_MAX {
            return false;
        }
        let may_go = |seat: &&Arc<Seat>| seat.is_idle() && !seat.leaves() && those(seat);
        let Some(oldest) = self.by_number.values().find(may_go) else { return false };
        oldest.leaving.store(true, Ordering::SeqCst);
        oldest.end();
        self.leaving += 1;
        true
    }
}

impl Seat {
    fn is_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst)
    }

    fn leaves(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Only reading ends: one that has just begun a request is still answered. Elsewhere than on
    /// Unix that resets the connection and wakes nobody; `idle::wait` looks at the roster there.
    fn end(&self) {
        if cfg!(unix) {
            // That it is gone already does no harm.
            let _ = self.client.shutdown(Shutdown::Read);
        }
    }
}

impl Guest {
    /// Leaves the list. Gives the client back, unless the list is being gone through.
    pub(super) fn into_client(self) -> Option<TcpStream> {
        let seat = Arc::clone(&self.seat);
        drop(self);
        Arc::into_inner(seat).map(|seat| seat.client)
    }

    /// A request has begun.
    pub(super) fn begin(&self) {
        self.seat.idle.store(false, Ordering::SeqCst);
    }

    /// Whether the request at hand is the last one of its connection.
    pub(super) fn is_last(&self) -> bool {
        self.roster.is_closing() || self.seat.leaves()
    }

    /// A request has ended. Says whether another one may begin.
    pub(super) fn rest(&self) -> bool {
        self.seat.idle.store(true, Ordering::SeqCst);
        !self.is_last()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut seats = self.roster.lock();
        seats.by_number.remove(&self.number);
        seats.leaving -= usize::from(self.seat.leaves());
        self.roster.left.notify_one();
        let have_emptied = seats.have_emptied();
        drop(seats);
        if have_emptied {
            memory::give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn local() -> ClientId {
        ClientId::of_address([127, 0, 0, 1].into())
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// Elsewhere than on Unix it ends by itself, once it looks up.
    fn has_ended(guest: &Guest) -> bool {
        cfg!(not(unix)) || matches!((&guest.seat.client).read(&mut [0]), Ok(0))
    }

    #[test]
    fn a_place_is_free_again_when_its_guest_has_gone() {
        let roster = Arc::new(Roster::new(1));
        let guest = roster.admit(pair().1, local()).ok().unwrap();
        guest.begin();
        assert!(roster.admit(pair().1, local()).is_err());
        drop(guest);
        assert!(roster.admit(pair().1, local()).is_ok());
        assert_eq!(roster.len(), 0);
    }

    #[test]
    fn memory_is_given_back_once_a_crowd_has_gone() {
        let mut seats = Seats { most: CROWD - 1, ..Seats::default() };
        assert!(!seats.have_emptied(), "it was none");
        seats.most = CROWD;
        assert!(seats.have_emptied());
        assert!(!seats.have_emptied());
    }

    #[test]
    fn the_oldest_idle_connection_makes_room() {
        let roster = Arc::new(Roster::new(3));
        let guests: Vec<(TcpStream, Guest)> = (0..3)
            .map(|_| {
                let (client, served) = pair();
                (client, roster.admit(served, local()).ok().unwrap())
            })
            .collect();
        guests[0].1.begin();
        let late = roster.admit(pair().1, local()).ok().unwrap();
        assert_eq!(
            guests.iter().map(|(_, guest)| guest.is_last()).collect::<Vec<_>>(),
            [false, true, false]
        );
        assert!(has_ended(&guests[1].1));
        drop(guests);
        assert_eq!(roster.len(), 1);
        late.begin();
        assert!(!late.is_last());
    }

    #[test]
    fn closing_ends_who_is_idle_and_lets_the_others_finish() {
        let roster = Arc::new(Roster::new(2));
        let (_one, idle) = pair();
        let (mut two, busy) = pair();
        let (idle, busy) =
            (roster.admit(idle, local()).ok().unwrap(), roster.admit(busy, local()).ok().unwrap());
        assert!(idle.rest());
        busy.begin();
        roster.close();
        assert!(has_ended(&idle));
        assert!(!busy.rest());
        assert!(roster.admit(pair().1, local()).is_err());
        roster.cut();
        assert_eq!(two.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn one_client_has_no_more_than_half_of_the_places() {
        let roster = Arc::new(Roster::new(4));
        let admit =
            |address: [u8; 4]| roster.admit(pair().1, ClientId::of_address(address.into())).ok();
        let (greedy, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let first = admit(greedy).unwrap();
        let second = admit(greedy).unwrap();
        second.begin();
        let third = admit(greedy).expect("its own idle one makes room");
        assert!(first.is_last());
        third.begin();
        assert!(admit(greedy).is_none());
        let _others = [admit(other).unwrap(), admit([127, 0, 0, 1]).unwrap()];
    }
}
