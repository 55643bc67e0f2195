//! A server from its settings to its end: the builder, the start-up list, the drain.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::api_key::ApiKey;
use crate::config::{CallbackPolicy, Config, CorsOrigin};
use crate::crew::Crew;
use crate::error::Error;
use crate::http::{Http, check_open_files};
use crate::janitor::Janitor;
use crate::notifier::{self, Notifier};
use crate::queue::Queue;
use crate::queue::local::{Limits, LocalQueue};
use crate::shared::{Bells, Ears, Phase, Shared};
use crate::signals::Signals;
use crate::spool::Spool;
use crate::task::{Attempt, Output, Task, TaskError, TaskOptions, Tasks};
use crate::worker;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// What a stop gives to the threads that have nothing long left to do.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// A server that listens but does not work yet. Made by [`Server::builder`].
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    ears: Ears,
    prepare: Vec<Prepare>,
}

type Prepare = Box<dyn FnOnce() -> Result<(), TaskError> + Send>;

/// Sets a server up. Every setting has a default; at least one task is needed.
#[must_use]
pub struct Builder {
    config: Config,
    tasks: Vec<Task>,
    prepare: Vec<Prepare>,
}

impl Builder {
    /// Registers a task. The first one is the default: what `POST /send` runs, and `POST /jobs`
    /// without `task`. The closure runs on several threads at once.
    pub fn task(
        self,
        name: impl Into<String>,
        run: impl Fn(&Attempt) -> Result<Output, TaskError> + Send + Sync + 'static,
    ) -> Builder {
        self.task_with(name, TaskOptions::new(), run)
    }

    /// Registers a task that refuses some requests before they are jobs.
    pub fn task_with(
        mut self,
        name: impl Into<String>,
        options: TaskOptions,
        run: impl Fn(&Attempt) -> Result<Output, TaskError> + Send + Sync + 'static,
    ) -> Builder {
        self.tasks.push(Task::new(name.into(), options, run));
        self
    }

    /// Something slow that has to be done before the first attempt, such as loading a model. The
    /// server listens and takes jobs meanwhile; `/readyz` answers 503. An error ends the server.
    pub fn prepare(
        mut self,
        work: impl FnOnce() -> Result<(), TaskError> + Send + 'static,
    ) -> Builder {
        self.prepare.push(Box::new(work));
        self
    }

    /// The folder for jobs and files. Default: `ringback-data` where the program was started.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.config.data = folder.into();
        self
    }

    /// How many attempts run at once. Default: the number of cores. At least 1.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.config.workers = workers.max(1);
        self
    }

    /// How many threads [`Attempt::threads`] grants to one attempt. Default: 0, which means every core
    /// while it is alone, and a fair share of them else.
    pub fn threads(mut self, threads: usize) -> Builder {
        self.config.threads = threads;
        self
    }

    /// How many jobs may wait; further ones get 503. Default: 1000. At least 1.
    pub fn max_queued(mut self, jobs: usize) -> Builder {
        self.config.max_queued = jobs.max(1);
        self
    }

    /// The longest request body, in bytes; longer ones get 413. Default: 512 MiB.
    pub fn max_body(mut self, bytes: u64) -> Builder {
        self.config.max_body = bytes;
        self
    }

    /// Bytes of the disk that new inputs must leave free; while there are fewer, they get 503. Default: a
    /// twentieth of the disk, at most 256 MiB.
    pub fn min_free(mut self, bytes: u64) -> Builder {
        self.config.min_free = Some(bytes);
        self
    }

    /// How long a finished job is kept. Default: 24 hours.
    pub fn keep(mut self, time: Duration) -> Builder {
        self.config.keep = time;
        self
    }

    /// How long one attempt may take, after which [`Attempt::is_canceled`] says true and its job
    /// fails. Default: 1 hour.
    pub fn attempt_timeout(mut self, time: Duration) -> Builder {
        self.config.attempt_timeout = time;
        self
    }

    /// How many attempts a job gets when they end in a panic, in a retryable error, or with the
    /// process. Default: 3. At least 1.
    pub fn max_attempts(mut self, attempts: u32) -> Builder {
        self.config.max_attempts = attempts.max(1);
        self
    }

    /// Which addresses callbacks may lead to. Default: [`CallbackPolicy::Any`] while listening on
    /// loopback, else [`CallbackPolicy::Public`].
    pub fn callbacks(mut self, policy: CallbackPolicy) -> Builder {
        self.config.callbacks = Some(policy);
        self
    }

    /// Lets in who shows this key (`Authorization: Bearer`), and nobody else. Given again, adds
    /// another one. Without one everybody may use the server, and it listens on loopback only.
    pub fn api_key(mut self, key: ApiKey) -> Builder {
        self.config.api_keys.push(key);
        self
    }

    /// Lets everybody who reaches the server use it, though it has no key and does not listen on
    /// loopback. Something in front of it should ask who comes.
    pub fn insecure(mut self) -> Builder {
        self.config.insecure = true;
        self
    }

    /// A name, without a port, under which the server is spoken to, such as that of a proxy in front
    /// of it. On loopback other names than this, `localhost` and addresses are refused, so that no
    /// page can make its visitors' browsers talk to the server under its own name (DNS rebinding);
    /// elsewhere once a name is given.
    pub fn host(mut self, name: impl Into<String>) -> Builder {
        self.config.hosts.push(name.into());
        self
    }

    /// Lets the pages of a site use the server from their visitors' browsers (CORS). Default: none
    /// but the server's own.
    pub fn cors_origin(mut self, origin: CorsOrigin) -> Builder {
        self.config.cors_origins.push(origin);
        self
    }

    /// How many jobs of one client (a key, else an address) may wait; further ones get 429.
    /// Default: half of [`max_queued`](Builder::max_queued), and all while listening on loopback.
    /// At least 1.
    pub fn per_client(mut self, jobs: usize) -> Builder {
        self.config.per_client = Some(jobs.max(1));
        self
    }

    /// How many requests a second one client may make, with five seconds' worth at once; further
    /// ones get 429. 0 is any number. Default: 1000, and any number while listening on loopback.
    pub fn rate(mut self, requests_per_second: u32) -> Builder {
        self.config.rate = Some(requests_per_second);
        self
    }

    /// Signs callbacks with this key (Standard Webhooks 1.0, 24 to 64 bytes). Given again, adds an
    /// older key whose signature is sent as well, while receivers change over.
    pub fn webhook_secret(mut self, key: impl Into<Vec<u8>>) -> Builder {
        self.config.webhook_secrets.push(key.into());
        self
    }

    /// Believes receivers whose certificate comes from this authority, beside those of the system.
    /// Given again, adds another one.
    #[cfg(feature = "tls")]
    pub fn callback_ca(mut self, authority: crate::CertificateAuthority) -> Builder {
        self.config.callback_authorities.push(authority);
        self
    }

    /// How long to wait between one attempt of a callback and the next; there is one attempt more
    /// than there are waits, and after the last the callback is dead. Default: 5 s, 5 min, 30 min,
    /// 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. Waits are up to a tenth longer than this.
    pub fn callback_waits(mut self, waits: impl IntoIterator<Item = Duration>) -> Builder {
        self.config.callback_waits = waits.into_iter().collect();
        self
    }

    /// How long one attempt of a callback may take in all. Default: 15 s. One that carries a file
    /// may take 1 s more for each MiB of it, 10 minutes at most.
    pub fn callback_timeout(mut self, time: Duration) -> Builder {
        self.config.callback_timeout = time;
        self
    }

    /// How long a stop waits for running attempts before they go back to the queue. Default: 30 s.
    pub fn drain(mut self, time: Duration) -> Builder {
        self.config.drain = time;
        self
    }

    /// Takes the address (port 0 picks one) and opens the queue. Jobs of an earlier process are
    /// back in it then.
    ///
    /// # Errors
    /// When there is no task, a task has a name twice, the process may open too few files, the address is taken or can be reached by
    /// others while no key protects it, or the data folder cannot be used or is in use by another
    /// process.
    pub fn bind(self, addr: impl ToSocketAddrs) -> Result<Server, Error> {
        let Builder { config, tasks, prepare } = self;
        let tasks = Tasks::new(tasks)?;
        check_open_files(config.workers)?;
        let listener = listen(addr)?;
        let addr = listener.local_addr().map_err(|error| Error::listen("its address", error))?;
        if !addr.ip().is_loopback() && config.api_keys.is_empty() && !config.insecure {
            return Err(Error::Unprotected { addr });
        }
        let spool = Spool::open_with(&config.data.join("spool"), &config.data, config.min_free)
            .map_err(|source| Error::Data { folder: config.data.clone(), source })?;
        let spool = Arc::new(spool);
        let limits = Limits {
            max_queued: config.max_queued,
            per_client: config.per_client(addr),
            max_attempts: config.max_attempts,
            keep: config.keep,
            parking: notifier::parking(&config.callback_waits),
        };
        let (queue, recovered) = LocalQueue::open(&config.data, Arc::clone(&spool), limits)?;
        if !recovered.is_empty() {
            log::info!("taken back: {recovered}");
        }
        let (bells, ears) = Bells::new();
        let queue: Arc<dyn Queue> = Arc::new(queue);
        let shared = Arc::new(Shared::new(config, addr, tasks, queue, spool, bells));
        Ok(Server { listener, shared, ears, prepare })
    }
}

/// Bytes that may wait on this side to be sent to one client.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 * 1024;

fn listen(addr: impl ToSocketAddrs) -> Result<TcpListener, Error> {
    let mut addrs = addr.to_socket_addrs().map_err(|error| Error::listen("that address", error))?;
    let addr = addrs.next().ok_or_else(|| {
        Error::listen("that address", io::Error::other("the name has no address"))
    })?;
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // A restart may take the address while connections of the last run are in TIME_WAIT.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it; without it a reply over 1 KB waits 40 ms for an ACK.
        socket.set_tcp_nodelay(true)?;
        // And this: who does not read has no more than that made for it, where its own system takes
        // nothing more. Otherwise it would be megabytes, thousands of answers to one client.
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(UNSENT)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|error| Error::listen(addr.to_string(), error))
}

impl Server {
    /// Begins a server's settings.
    pub fn builder() -> Builder {
        Builder { config: Config::default(), tasks: Vec::new(), prepare: Vec::new() }
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Which addresses callbacks may lead to, now that the listening address is known.
    pub fn callback_policy(&self) -> CallbackPolicy {
        self.shared.callbacks
    }

    /// Whether it lets in only who shows a key.
    pub fn asks_for_key(&self) -> bool {
        !self.shared.config.api_keys.is_empty()
    }

    /// Works until SIGTERM, SIGINT or SIGHUP (elsewhere than on Unix: until Ctrl-C), then drains. A second
    /// signal ends the process at once.
    ///
    /// # Errors
    /// As [`start`](Server::start), and when signals cannot be listened for.
    pub fn run(self) -> Result<(), Error> {
        self.run_announced(|server| log::info!("listening on http://{}", server.addr()))
    }

    /// As [`run`](Server::run), with an `announce` of the program's own. It is called when a signal
    /// already means a drain, and clients may connect; before what [`Builder::prepare`] was given.
    ///
    /// # Errors
    /// As [`run`](Server::run).
    pub fn run_announced(self, announce: impl FnOnce(&Server)) -> Result<(), Error> {
        let mut signals = Signals::listen().map_err(Error::Threads)?;
        announce(&self);
        let running = self.start()?;
        let signal = signals.wait();
        log::info!(
            "{signal}: draining, for at most {:?}; again to leave at once",
            running.shared.config.drain
        );
        running.stop();
        Ok(())
    }

    /// Starts every thread and returns when the server is ready for work.
    ///
    /// # Errors
    /// When a thread cannot be started, or what [`Builder::prepare`] was given fails.
    pub fn start(self) -> Result<Running, Error> {
        let Server { listener, shared, ears, prepare } = self;
        shared.recall();
        let http =
            Http::start(listener, Arc::clone(&shared), ears.finished).map_err(Error::Threads)?;
        let notifier =
            Notifier::start(Arc::clone(&shared), ears.delivery_due).map_err(Error::Threads)?;
        let janitor =
            Janitor::start(Arc::clone(&shared), ears.sweep_due).map_err(Error::Threads)?;
        let mut running = Running { shared, http, notifier, janitor, workers: Crew::new() };
        for work in prepare {
            if let Err(error) = work() {
                running.stop();
                return Err(Error::Prepare(error.to_string()));
            }
        }
        for n in 1..=running.shared.config.workers {
            let shared = Arc::clone(&running.shared);
            running
                .workers
                .hire(format!("worker-{n}"), move || worker::run(&shared, n))
                .map_err(Error::Threads)?;
        }
        running.shared.enter(Phase::Ready);
        Ok(running)
    }
}

/// A server at work. [`stop`](Running::stop) drains it; dropping it leaves its threads running.
pub struct Running {
    shared: Arc<Shared>,
    http: Http,
    notifier: Notifier,
    janitor: Janitor,
    workers: Crew,
}

impl Running {
    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Drains: takes no new jobs, lets running attempts finish within the time that
    /// [`Builder::drain`] set, gives those that do not back to the queue, keeps undelivered
    /// outcomes for the next start, and ends every thread.
    pub fn stop(self) {
        let Running { shared, http, notifier, janitor, mut workers } = self;
        let deadline = Instant::now() + shared.config.drain;
        shared.enter(Phase::Draining);
        shared.queue.close();
        if !workers.finish_by(deadline) {
            shared.attempts.drain();
        }
        workers.join_by(deadline.max(Instant::now() + LAST_STEPS));
        match shared.queue.release_all() {
            Ok(0) => {}
            Ok(jobs) => log::warn!("{jobs} jobs did not finish in time and are queued again"),
            Err(error) => log::error!("unfinished jobs could not be queued again: {error}"),
        }
        // From each one's turn: a callback that hangs must not use up the time of the others.
        let last = || deadline.max(Instant::now() + LAST_STEPS);
        notifier.stop(last());
        janitor.stop(last());
        http.stop(last());
        log::info!("stopped");
    }
}
