//! Whose upload is taken to tiny_http now, and whose has to wait: the rule, without threads or clocks.
//!
//! 1. So many uploads are behind the gate at once, and no more than a share of them of one client, unless
//!    it may be a proxy on this machine, which is all clients.
//! 2. A place that is free goes to the client that has the fewest; among equals, to who came first.
//! 3. Where none is free, a slow upload makes way for one that waits, if its client has more places than
//!    the other one would have; or if the other one has none at all. It is a slow one of the client that
//!    has the most. An upload that is not slow is never ended.
//!
//! So nobody waits behind the uploads of one other client, and slow ones keep nobody waiting who has
//! none. Nothing is remembered of a client but its uploads.

use std::collections::VecDeque;

use crossbeam_channel::Sender;

use crate::http::client_id::ClientId;

/// Names one upload, behind the gate or in front of it.
pub(super) type Number = u64;

/// How an upload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Brisk,
    /// It makes way for who waits.
    Slow,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Uploads behind the gate at once.
    pub(crate) places: usize,
    /// Those of one client.
    pub(crate) share: usize,
    /// Uploads of one client that wait.
    pub(crate) waiting: usize,
}

/// The uploads behind the gate, and those that wait to be there.
#[derive(Debug)]
pub(super) struct Turns {
    bounds: Bounds,
    placed: Vec<Placed>,
    /// By the order in which they came.
    waiting: VecDeque<Waiting>,
    next: Number,
}

/// An upload that has a place.
#[derive(Debug)]
struct Placed {
    number: Number,
    client: ClientId,
    pace: Pace,
    /// It was asked to make way.
    leaves: bool,
}

/// An upload that has none yet.
#[derive(Debug)]
struct Waiting {
    number: Number,
    client: ClientId,
    /// Told when there is one.
    bell: Sender<()>,
}

impl Turns {
    pub(super) fn new(bounds: Bounds) -> Turns {
        Turns { bounds, placed: Vec::new(), waiting: VecDeque::new(), next: 0 }
    }

    /// One more upload, whose `bell` is rung when it has a place: perhaps at once. `None` where as
    /// many of its client wait as may.
    pub(super) fn come(&mut self, client: ClientId, bell: Sender<()>) -> Option<Number> {
        let waiting = self.waiting.iter().filter(|upload| upload.client == client).count();
        if waiting >= self.bounds.waiting && !client.may_be_proxy() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting { number, client, bell });
        self.arrange();
        Some(number)
    }

    /// An upload is over, or waits no longer.
    pub(super) fn leave(&mut self, number: Number) {
        self.placed.retain(|upload| upload.number != number);
        self.waiting.retain(|upload| upload.number != number);
        self.arrange();
    }

    /// Notes how an upload goes.
    pub(super) fn goes(&mut self, number: Number, pace: Pace) {
        if let Some(upload) = self.placed.iter_mut().find(|upload| upload.number == number) {
            upload.pace = pace;
            upload.leaves &= pace == Pace::Slow;
        }
        self.arrange();
    }

    /// Whether an upload was asked to make way.
    pub(super) fn must_leave(&self, number: Number) -> bool {
        self.placed.iter().any(|upload| upload.number == number && upload.leaves)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.placed.len(), self.waiting.len())
    }

    /// Gives away what is free; asks for one more place where one is wanted.
    fn arrange(&mut self) {
        while let Some(next) = self.next() {
            if self.placed.len() >= self.bounds.places {
                return self.make_way_for(next);
            }
            let Some(Waiting { number, client, bell }) = self.waiting.remove(next) else { return };
            self.placed.push(Placed { number, client, pace: Pace::Brisk, leaves: false });
            // It hears of it, or has just left and is about to say so.
            let _ = bell.try_send(());
        }
    }

    /// The place in the line of the one that is to have the next place. Those whose client has its
    /// share wait for their own.
    fn next(&self) -> Option<usize> {
        let held =
            self.waiting.iter().map(|upload| (upload, self.held(&upload.client))).enumerate();
        let has_share =
            |upload: &Waiting, held| held < self.bounds.share || upload.client.may_be_proxy();
        let in_turn = held.filter(|(_, (upload, held))| has_share(upload, *held));
        in_turn.min_by_key(|(_, (_, held))| *held).map(|(at, _)| at)
    }

    /// One at a time: who leaves does so soon, and it is looked at again then.
    fn make_way_for(&mut self, next: usize) {
        if self.placed.iter().any(|upload| upload.leaves) {
            return;
        }
        let wanting = self.held(&self.waiting[next].client);
        let slow = (0..self.placed.len()).filter(|&at| self.placed[at].pace == Pace::Slow);
        let Some(most) = slow.max_by_key(|&at| self.held(&self.placed[at].client)) else { return };
        let most_held = self.held(&self.placed[most].client);
        self.placed[most].leaves = wanting == 0 || most_held > wanting + 1;
    }

    /// The places that a client has.
    fn held(&self, client: &ClientId) -> usize {
        self.placed.iter().filter(|upload| upload.client == *client).count()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    const BOUNDS: Bounds = Bounds { places: 4, share: 3, waiting: 5 };

    struct Line {
        turns: Turns,
        bells: Vec<Receiver<()>>,
    }

    impl Line {
        fn new() -> Line {
            Line { turns: Turns::new(BOUNDS), bells: Vec::new() }
        }

        fn come(&mut self, client: u8) -> Option<Number> {
            let (bell, rung) = bounded(1);
            let client = ClientId::of_address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)));
            let number = self.turns.come(client, bell)?;
            assert_eq!(number as usize, self.bells.len());
            self.bells.push(rung);
            Some(number)
        }

        fn come_all(&mut self, clients: &[u8]) {
            for client in clients {
                self.come(*client).unwrap();
            }
        }

        /// Who was told that there is a place since this was asked.
        fn told(&self) -> Vec<usize> {
            let rung = self.bells.iter().enumerate().filter(|(_, rung)| rung.try_recv().is_ok());
            rung.map(|(number, _)| number).collect()
        }

        fn leaving(&self) -> Vec<Number> {
            (0..self.bells.len() as Number).filter(|n| self.turns.must_leave(*n)).collect()
        }
    }

    #[test]
    fn no_client_has_more_than_its_share() {
        let mut line = Line::new();
        line.come_all(&[1, 1, 1, 1, 1]);
        assert_eq!(line.told(), [0, 1, 2]);
        line.come(2).unwrap();
        assert_eq!(line.told(), [5], "another one starts at once");
        line.turns.leave(1);
        assert_eq!(line.told(), [3], "the first that waits is the next");
        line.turns.leave(4);
        line.turns.leave(0);
        assert!(line.told().is_empty(), "who has left is not told");
    }

    #[test]
    fn a_proxy_on_this_machine_is_no_single_client() {
        let mut turns = Turns::new(BOUNDS);
        let local = ClientId::of_address(Ipv4Addr::LOCALHOST.into());
        let bells: Vec<Receiver<()>> = (0..BOUNDS.places + BOUNDS.waiting + 1)
            .map(|_| {
                let (bell, rung) = bounded(1);
                turns.come(local.clone(), bell).expect("it may wait");
                rung
            })
            .collect();
        let told = bells.iter().filter(|rung| rung.try_recv().is_ok()).count();
        assert_eq!(told, BOUNDS.places, "all of the places, beyond a client's share");
    }

    #[test]
    fn who_has_the_fewest_is_next() {
        let mut line = Line::new();
        line.come_all(&[1, 1, 2, 2, 1, 1, 2, 3]);
        assert_eq!(line.told(), [0, 1, 2, 3]);
        line.turns.leave(0);
        assert_eq!(line.told(), [7]);
        line.turns.leave(2);
        assert_eq!(line.told(), [4], "among equals, who came first");
    }

    #[test]
    fn no_more_of_a_client_wait_than_may() {
        let mut line = Line::new();
        line.come_all(&[1; 8]);
        assert_eq!(line.come(1), None);
        assert!(line.come(2).is_some());
        line.turns.leave(7);
        assert!(line.come(1).is_some());
    }

    #[test]
    fn the_slow_make_way_for_who_has_fewer() {
        let mut line = Line::new();
        line.come_all(&[1, 1, 1, 2, 3, 4]);
        assert!(line.leaving().is_empty(), "none of them is slow");
        line.turns.goes(3, Pace::Slow);
        assert_eq!(line.leaving(), [3], "for one who has none");
        line.turns.goes(0, Pace::Slow);
        assert_eq!(line.leaving(), [3], "one at a time");
        line.turns.leave(3);
        assert_eq!(line.leaving(), [0], "now for the other one");
        line.turns.leave(0);
        assert_eq!(line.told(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_slow_of_who_has_the_most_make_way_first() {
        let mut line = Line::new();
        line.come_all(&[2, 1, 1, 1]);
        line.turns.goes(0, Pace::Slow);
        line.turns.goes(2, Pace::Slow);
        line.turns.goes(3, Pace::Slow);
        line.turns.goes(3, Pace::Brisk);
        line.come(3).unwrap();
        assert_eq!(line.leaving(), [2]);
    }

    #[test]
    fn equals_do_not_push_each_other_out() {
        let mut line = Line::new();
        line.come_all(&[1, 1, 2, 2]);
        for number in 0..4 {
            line.turns.goes(number, Pace::Slow);
        }
        line.come_all(&[1, 2]);
        assert!(line.leaving().is_empty());
        line.turns.leave(2);
        assert_eq!(line.told(), [0, 1, 2, 3, 5]);
        assert!(line.leaving().is_empty());
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let mut line = Line::new();
        line.come_all(&[1, 2, 3, 4, 5, 6]);
        (0..6).for_each(|number| line.turns.leave(number));
        assert_eq!(line.turns.counts(), (0, 0));
    }
}
