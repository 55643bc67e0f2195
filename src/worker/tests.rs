//! Workers on a queue that fails at each point of an attempt.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::crew::Crew;
use crate::janitor::Janitor;
use crate::job::{InputInfo, Parameters, Sha256, Timestamp};
use crate::queue::faulty::{Fault, Faulty};
use crate::queue::local::{Limits, LocalQueue};
use crate::queue::{Queue, Submission, Submitted};
use crate::shared::Bells;
use crate::spool::{NewInput, Spool};
use crate::task::{Task, TaskOptions, Tasks};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two workers and a janitor on a queue with one fault.
struct Workshop {
    shared: Arc<Shared>,
    faulty: Arc<Faulty>,
    workers: Crew,
    janitor: Janitor,
    finished: Receiver<JobId>,
    folder: TempDir,
}

impl Workshop {
    fn open(n: usize, fault: Fault) -> Workshop {
        let folder = tempfile::tempdir().unwrap();
        let (spool, queue) = open_queue(folder.path());
        let faulty = Arc::new(Faulty::new(queue, n, fault));
        let (bells, ears) = Bells::new();
        let shared = Arc::new(Shared::new(
            Config { workers: 2, ..Config::default() },
            SocketAddr::from(([127, 0, 0, 1], 1)),
            tasks(),
            Arc::clone(&faulty) as Arc<dyn Queue>,
            spool,
            bells,
        ));
        let janitor = Janitor::start(Arc::clone(&shared), ears.sweep_due).unwrap();
        let mut workers = Crew::new();
        for n in 1..=2 {
            let shared = Arc::clone(&shared);
            workers.hire(format!("worker-{n}"), move || run(&shared, n)).unwrap();
        }
        Workshop { shared, faulty, workers, janitor, finished: ears.finished, folder }
    }

    fn submit(&self, task: &str) -> JobId {
        let request = request(task);
        let id = request.id;
        assert!(matches!(self.shared.queue.submit(request), Ok(Submitted::New(_))));
        id
    }

    fn ended(&self, id: JobId) -> Job {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The fault may be met here as well.
            if let Ok(Some(job)) = self.shared.queue.get(id)
                && job.state.is_finished()
            {
                return job;
            }
            assert!(Instant::now() < deadline, "the job does not end");
            // Word of an end, or a look without it: a fault may have cost the word.
            let _ = self.finished.recv_timeout(Duration::from_millis(50));
        }
    }

    /// A worker takes its attempt off the list a moment after its end is stored.
    fn comes_to_rest(&self, context: &str) {
        let deadline = Instant::now() + PATIENCE;
        let busy = || (self.shared.queue.depth().running, self.shared.attempts.len());
        while busy() != (0, 0) {
            assert!(Instant::now() < deadline, "{:?} run for ever with {context}", busy());
            std::thread::yield_now();
        }
    }

    /// Stops everything; true when no thread was lost.
    fn close(self) -> (bool, TempDir) {
        let workers = self.shared.board.lines().len();
        self.shared.queue.close();
        let joined = self.workers.join_by(Instant::now() + PATIENCE);
        let swept = self.janitor.stop(Instant::now() + PATIENCE);
        (workers == 2 && joined && swept, self.folder)
    }
}

fn open_queue(folder: &Path) -> (Arc<Spool>, Arc<dyn Queue>) {
    let spool = Arc::new(Spool::open(&folder.join("spool")).unwrap());
    let limits = Limits {
        max_queued: 100,
        per_client: 100,
        max_attempts: 3,
        keep: Duration::from_secs(3600),
        parking: crate::queue::Parking { first: Duration::from_secs(5) },
    };
    let (queue, _) = LocalQueue::open(folder, Arc::clone(&spool), limits).unwrap();
    (spool, Arc::new(queue))
}

fn tasks() -> Tasks {
    let task = |name: &str, run: fn(&Attempt) -> Result<Output, TaskError>| {
        Task::new(name.into(), TaskOptions::new(), run)
    };
    Tasks::new(vec![
        task("good", |_| Ok(Output::text("done"))),
        task("bad", |_| Err(TaskError::permanent("no").with_code("bad"))),
        task("once", |attempt| match attempt.number() {
            1 => Err(TaskError::retryable("not yet")),
            _ => Ok(Output::text("done")),
        }),
    ])
    .unwrap()
}

fn request(task: &str) -> Submission {
    Submission {
        id: JobId::new(),
        task: task.into(),
        parameters: Parameters::new(),
        input: InputInfo {
            name: None,
            content_type: None,
            bytes: 1,
            sha256: Sha256([0; 32]),
            duration_s: None,
        },
        body: NewInput::Inline(vec![0]),
        callback: Some("http://127.0.0.1:9/".into()),
        created_at: Timestamp::now(),
        client: String::new(),
        sender: String::new(),
        idempotency_key: None,
        coalesce: false,
    }
}

/// Every task meets a fault at call `n`, and ends as it would without one, once; the workers go on.
fn survives(n: usize, fault: Fault) {
    let context = format!("{fault:?} at call {n}");
    let workshop = Workshop::open(n, fault);
    let tasks = [("good", State::Succeeded), ("bad", State::Failed), ("once", State::Succeeded)];
    let jobs = tasks.map(|(task, end)| (workshop.submit(task), task, end));
    for (id, task, end) in jobs {
        let job = workshop.ended(id);
        assert_eq!(job.state, end, "{task} with {context}: {job:?}");
    }
    // Both workers still work.
    let more = [workshop.submit("good"), workshop.submit("good")];
    for id in more {
        assert_eq!(workshop.ended(id).state, State::Succeeded, "{context}");
    }
    workshop.comes_to_rest(&context);
    let finished = workshop.faulty.finished.load(Ordering::SeqCst);
    let (whole, folder) = workshop.close();
    assert!(whole, "a thread is lost with {context}");
    let (_, queue) = open_queue(folder.path());
    let ended = queue.pending(queue.clock().now()).unwrap().deliveries;
    assert!(finished <= ended, "a job ended twice with {context}: {finished} of {ended}");
}

/// Calls that three jobs need, with four attempts and some sweeps between them.
const CALLS: usize = 16;

fn survives_at_each_call(fault: Fault) {
    std::thread::scope(|scope| {
        let cases: Vec<_> = (0..CALLS).map(|n| scope.spawn(move || survives(n, fault))).collect();
        cases.into_iter().for_each(|case| case.join().expect("see above"));
    });
}

#[test]
fn a_job_ends_once_whichever_call_the_store_refuses() {
    survives_at_each_call(Fault::Refused);
}

#[test]
fn a_job_ends_once_whichever_answer_of_the_store_is_lost() {
    survives_at_each_call(Fault::AnswerLost);
}

#[test]
fn a_job_ends_once_wherever_the_worker_panics() {
    survives_at_each_call(Fault::Panic);
}

#[test]
fn a_worker_whose_store_fails_rests_and_hears_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (_, queue) = open_queue(folder.path());
    std::thread::scope(|scope| {
        let rest = scope.spawn(|| queue.wait_closed(PATIENCE));
        assert!(!queue.wait_closed(Duration::from_millis(1)));
        let began = Instant::now();
        queue.close();
        assert!(rest.join().unwrap());
        assert!(began.elapsed() < PATIENCE / 2);
    });
}
