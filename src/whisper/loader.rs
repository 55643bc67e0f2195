//! The model in memory: loaded when an attempt first needs it, and let go of when none has needed it
//! for long. A thread of its own looks when that is; it sleeps while there is nothing to let go of.

use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Engine, EngineError};
use crate::memory;

/// How long a state that is not used is kept beside another one.
const STATE_IDLE: Duration = Duration::from_secs(60);

/// Loads a model, and unloads it.
#[derive(Debug)]
pub(super) struct Loader {
    slot: Arc<Slot>,
    tidier: Mutex<Option<Tidier>>,
}

/// What the loader shares with its thread.
#[derive(Debug)]
struct Slot {
    path: PathBuf,
    seats: usize,
    /// How long a model that is not used stays; `None` for ever.
    idle: Option<Duration>,
    held: Mutex<Held>,
    /// Known from the first load on, also while the model is not in memory.
    is_multilingual: OnceLock<bool>,
}

#[derive(Debug)]
struct Held {
    engine: Option<Arc<Engine>>,
    users: usize,
    /// When it was used last, if nobody does.
    used: Instant,
}

/// The thread `model-idle`. It ends when `wake` closes.
#[derive(Debug)]
struct Tidier {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

/// A model that is in use, and therefore stays.
pub(super) struct InUse<'a> {
    loader: &'a Loader,
    engine: Arc<Engine>,
}

impl Loader {
    /// For the model at `path`. Nothing is loaded yet.
    pub(super) fn new(path: PathBuf, seats: usize, idle: Option<Duration>) -> Loader {
        let held = Mutex::new(Held { engine: None, users: 0, used: Instant::now() });
        let slot = Slot { path, seats, idle, held, is_multilingual: OnceLock::new() };
        Loader { slot: Arc::new(slot), tidier: Mutex::new(None) }
    }

    /// The model, loaded where it is not in memory. Others who ask meanwhile wait for it.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub(super) fn get(&self) -> Result<InUse<'_>, EngineError> {
        let mut held = self.slot.lock();
        let engine = match &held.engine {
            Some(engine) => Arc::clone(engine),
            None => {
                let engine = Arc::new(Engine::load(&self.slot.path, self.slot.seats)?);
                self.slot.is_multilingual.get_or_init(|| engine.is_multilingual());
                Arc::clone(held.engine.insert(engine))
            }
        };
        held.users += 1;
        Ok(InUse { loader: self, engine })
    }

    /// Whether the model knows more languages than English; `None` before it was loaded.
    pub(super) fn is_multilingual(&self) -> Option<bool> {
        self.slot.is_multilingual.get().copied()
    }

    /// Calls the thread, and starts it where there is none yet.
    fn wake(&self) {
        let mut tidier = self.tidier.lock().unwrap_or_else(PoisonError::into_inner);
        if tidier.is_none() {
            match Tidier::start(Arc::clone(&self.slot)) {
                Ok(started) => *tidier = Some(started),
                Err(error) => log::warn!("no thread to give memory back with: {error}"),
            }
        }
        if let Some(tidier) = &*tidier {
            // A call that waits already is enough.
            let _ = tidier.wake.try_send(());
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let tidier = self.tidier.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Tidier { wake, thread }) = tidier {
            drop(wake);
            if thread.join().is_err() {
                log::error!("the thread model-idle panicked");
            }
        }
    }
}

impl Deref for InUse<'_> {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut held = self.loader.slot.lock();
        held.users -= 1;
        held.used = Instant::now();
        drop(held);
        self.loader.wake();
    }
}

impl Tidier {
    fn start(slot: Arc<Slot>) -> io::Result<Tidier> {
        let (wake, woken) = bounded(1);
        let thread = thread::Builder::new()
            .name("model-idle".to_owned())
            .spawn(move || tidy_until_closed(&slot, &woken))?;
        Ok(Tidier { wake, thread })
    }
}

fn tidy_until_closed(slot: &Slot, woken: &Receiver<()>) {
    loop {
        let called = match slot.tidy(Instant::now()) {
            Some(at) => woken.recv_deadline(at),
            None => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match called {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // A panic while the model loads leaves none, which is as it was.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what was not used for long; says when there will be more of that.
    fn tidy(&self, now: Instant) -> Option<Instant> {
        let mut held = self.lock();
        let engine = held.engine.as_ref()?;
        let due = match self.idle {
            Some(idle) if held.users == 0 => held.used.checked_add(idle),
            Some(_) | None => None,
        };
        if due.is_some_and(|due| due <= now) {
            let unloaded = held.engine.take();
            drop(held);
            drop(unloaded);
            memory::give_back();
            log::info!("the model was not used for long, and is no longer in memory");
            return None;
        }
        let engine = Arc::clone(engine);
        drop(held);
        let (dropped, next) = engine.drop_idle_states(now, STATE_IDLE);
        if dropped > 0 {
            memory::give_back();
        }
        [due, next].into_iter().flatten().min()
    }
}
