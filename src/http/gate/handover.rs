//! Hands requests over to tiny_http so that none waits behind another's body.
//!
//! A thread of tiny_http's pool stays with a request until its body has been read. The pool starts a
//! new thread only where no thread waits, and counts those that are about to wake as waiting: of a
//! burst, some requests are put behind others, and wait as long as these take to arrive. A long body
//! is therefore handed over alone, while no other request is on its way to the acceptor.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The longest wait for requests to reach the acceptor. A request that tiny_http never hands out is
/// not waited for again.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Requests that are on their way to the acceptor.
    under_way: u64,
    /// A long body is being handed over.
    alone: bool,
}

impl Handover {
    /// Hands over a request whose body is here, or that has none.
    pub(super) fn beside_others<T, E>(&self, send: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut state = self.wait_while(self.lock(), |state| state.alone);
        state.under_way += 1;
        drop(state);
        send().inspect_err(|_| self.arrived())
    }

    /// Hands over a request whose body is still to come.
    pub(super) fn alone<T, E>(&self, send: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut state = self.wait_while(self.lock(), |state| state.alone);
        state.alone = true;
        let mut state = self.wait_while(state, |state| state.under_way > 0);
        state.under_way = 1;
        drop(state);
        let sent = send().inspect_err(|_| self.arrived());
        let mut state = self.wait_while(self.lock(), |state| state.under_way > 0);
        *state = State::default();
        drop(state);
        self.changed.notify_all();
        sent
    }

    /// The acceptor has a request.
    pub(super) fn arrived(&self) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            drop(state);
            self.changed.notify_all();
        }
    }

    fn wait_while<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| condition(state));
        waited.expect("invariant: no panic under this lock").0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("invariant: no panic under this lock")
    }
}
