//! Requests that were sent ahead: before the answer to the one before was there. A client can ask for
//! thousands of answers at once that way and read none; it is served one of them after the other, and
//! of all such clients one at a time, so that they weigh no more than one who waits for each answer.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// The longest that one of them waits for those of others: the one at hand may take long, too.
const PATIENCE: Duration = Duration::from_millis(100);

/// Lets one through after the other.
pub(super) struct Ahead {
    back: Sender<()>,
    turn: Receiver<()>,
}

/// The turn, until this is dropped.
pub(super) struct Turn<'a> {
    ahead: &'a Ahead,
}

impl Ahead {
    pub(super) fn new() -> Ahead {
        let (back, turn) = bounded(1);
        let ahead = Ahead { back, turn };
        drop(Turn { ahead: &ahead });
        ahead
    }

    /// Waits for the turn; for a while.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        self.turn.recv_timeout(PATIENCE).ok().map(|()| Turn { ahead: self })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // There is room: there is one turn, and it was out.
        let _ = self.ahead.back.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_turn() {
        let ahead = Ahead::new();
        let turn = ahead.turn();
        assert!(turn.is_some());
        assert!(ahead.turn().is_none());
        drop(turn);
        assert!(ahead.turn().is_some());
    }
}
