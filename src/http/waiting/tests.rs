//! The waiter on a real queue, with a job that nobody works on.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tiny_http::{Header, TestRequest};

use super::*;
use crate::config::Config;
use crate::job::{InputInfo, Parameters, Sha256, Timestamp};
use crate::queue::Submission;
use crate::queue::local::{Limits, LocalQueue};
use crate::shared::Bells;
use crate::spool::{NewInput, Spool};
use crate::task::{Output, Task, TaskOptions, Tasks};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    job: JobId,
    parking: Parking,
    departures: Sender<ConnectionNumber>,
    ripe: Receiver<Parked>,
    thread: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl House {
    fn open() -> House {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(&folder.path().join("spool")).unwrap());
        let config = Config::default();
        let limits = Limits {
            max_queued: config.max_queued,
            per_client: config.max_queued,
            max_attempts: config.max_attempts,
            keep: config.keep,
            parking: crate::queue::Parking { first: Duration::from_secs(5) },
        };
        let (queue, _) = LocalQueue::open(folder.path(), Arc::clone(&spool), limits).unwrap();
        let (bells, ears) = Bells::new();
        let task = Task::new("echo".into(), TaskOptions::new(), |_| Ok(Output::text("")));
        let tasks = Tasks::new(vec![task]).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let shared = Arc::new(Shared::new(config, addr, tasks, Arc::new(queue), spool, bells));
        let job = submit(&shared);
        let (departures, departed) = bounded(8);
        let (waiter, parking, ripe) = waiter(shared, ears.finished, departed);
        let thread = std::thread::spawn(move || waiter.run());
        House { job, parking, departures, ripe, thread, _folder: folder }
    }

    /// Parks a request of this connection, for longer than the test takes.
    fn park(&self, connection: ConnectionNumber) {
        let header = Header::from_bytes(CONNECTION_FIELD, connection.to_string()).unwrap();
        let request = TestRequest::new().with_header(header).into();
        let until = Instant::now() + 2 * PATIENCE;
        let wait = Wait { job: self.job, until, resume: Resume::Show };
        assert!(self.parking.park(request, wait).is_ok());
    }

    fn wait_for_parked(&self, requests: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.parking.taken.load(Ordering::Relaxed) != requests {
            assert!(Instant::now() < deadline, "not so many are parked");
            std::thread::yield_now();
        }
    }
}

fn submit(shared: &Shared) -> JobId {
    let id = JobId::new();
    let submission = Submission {
        id,
        task: "echo".into(),
        parameters: Parameters::new(),
        input: InputInfo {
            name: None,
            content_type: None,
            bytes: 0,
            sha256: Sha256([0; 32]),
            duration_s: None,
        },
        body: NewInput::Inline(Vec::new()),
        callback: None,
        created_at: Timestamp::now(),
        client: String::new(),
        sender: String::new(),
        idempotency_key: None,
        coalesce: false,
    };
    shared.queue.submit(submission).unwrap();
    id
}

#[test]
fn nothing_stays_parked_for_a_client_that_has_gone() {
    let house = House::open();
    (1..=3).for_each(|connection| house.park(connection));
    // It may be told before the request is parked; the gate tells it until that is over.
    let deadline = Instant::now() + PATIENCE;
    while house.parking.taken.load(Ordering::Relaxed) != 2 {
        assert!(Instant::now() < deadline, "it stays parked");
        house.departures.send(2).unwrap();
    }
    house.departures.send(9).unwrap();
    assert!(house.ripe.try_recv().is_err(), "the others wait on");
    house.parking.close();
    let left: Vec<Parked> = house.ripe.iter().collect();
    let numbers: Vec<_> = left.iter().filter_map(|parked| connection(&parked.request)).collect();
    assert_eq!(numbers, [1, 3]);
    drop(left);
    house.wait_for_parked(0);
    house.thread.join().unwrap();
}
