//! How the system asks the program to stop: once to drain, again to leave at once.

pub(crate) use self::system::Signals;

#[cfg(unix)]
mod system {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, iterator};

    /// Listens for SIGTERM and SIGINT.
    pub(crate) struct Signals(iterator::Signals);

    impl Signals {
        /// From now on the first one means a drain; the second one exits inside the signal's own
        /// handler.
        pub(crate) fn listen() -> io::Result<Signals> {
            let asked = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
                flag::register(signal, Arc::clone(&asked))?;
            }
            iterator::Signals::new([SIGTERM, SIGINT]).map(Signals)
        }

        /// Waits for the first one, and says which it was.
        pub(crate) fn wait(mut self) -> &'static str {
            match self.0.forever().next() {
                Some(SIGINT) => "SIGINT",
                Some(_) | None => "SIGTERM",
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crossbeam_channel::{Receiver, bounded};

    /// What exits after a second request, as after a SIGINT elsewhere.
    const ASKED_AGAIN: i32 = 130;

    /// Where requests arrive: the console lets a process listen once.
    static REQUESTS: OnceLock<Receiver<()>> = OnceLock::new();
    /// There was one, and it was not the last server's.
    static ASKED: AtomicBool = AtomicBool::new(false);

    /// Listens for Ctrl-C, Ctrl-Break, a console that is closed, and the end of the session.
    pub(crate) struct Signals(Receiver<()>);

    impl Signals {
        /// From now on the first one means a drain; the second one exits.
        pub(crate) fn listen() -> io::Result<Signals> {
            ASKED.store(false, Ordering::Release);
            if let Some(requests) = REQUESTS.get() {
                return Ok(Signals(requests.clone()));
            }
            let (ask, requests) = bounded(1);
            ctrlc::set_handler(move || {
                if ASKED.swap(true, Ordering::AcqRel) || ask.try_send(()).is_err() {
                    std::process::exit(ASKED_AGAIN);
                }
            })
            .map_err(io::Error::other)?;
            Ok(Signals(REQUESTS.get_or_init(|| requests).clone()))
        }

        /// Waits for the first one, and says what it was.
        pub(crate) fn wait(self) -> &'static str {
            self.0.recv().expect("invariant: the handler has a sender for ever");
            "Ctrl-C"
        }
    }
}
