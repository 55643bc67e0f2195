//! How the system asks the program to stop: once to drain, again to leave at once.

pub(crate) use self::system::Signals;

#[cfg(unix)]
mod system {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::{flag, iterator};

    /// Listens for SIGTERM, SIGINT and SIGHUP.
    pub(crate) struct Signals(iterator::Signals);

    impl Signals {
        /// From now on the first one means a drain; a second SIGTERM or SIGINT exits inside the signal's
        /// own handler. A second SIGHUP does not: a terminal that closes may send several.
        pub(crate) fn listen() -> io::Result<Signals> {
            let asked = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
                flag::register(signal, Arc::clone(&asked))?;
            }
            let signals = iterator::Signals::new([SIGTERM, SIGINT])?;
            if !is_hangup_ignored() {
                signals.handle().add_signal(SIGHUP)?;
            }
            Ok(Signals(signals))
        }

        /// Waits for the first one, and says which it was.
        pub(crate) fn wait(&mut self) -> &'static str {
            match self.0.forever().next() {
                Some(SIGINT) => "SIGINT",
                Some(SIGHUP) => "SIGHUP",
                Some(_) | None => "SIGTERM",
            }
        }
    }

    /// Whether the program was started under `nohup`, which wants it to outlive its terminal. Only Linux
    /// tells.
    fn is_hangup_ignored() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
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
        pub(crate) fn wait(&mut self) -> &'static str {
            self.0.recv().expect("invariant: the handler has a sender for ever");
            "Ctrl-C"
        }
    }
}
