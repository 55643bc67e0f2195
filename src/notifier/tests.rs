//! The notifier on a real queue, against a real receiver.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::sink::{Answer, Call, CallbackSink};
use super::*;
use crate::config::Config;
use crate::job::{
    Callback, DeliveryAttempt, DeliveryState, Failure, InputInfo, JobId, Parameters, Sha256,
    Timestamp,
};
use crate::queue::local::{Limits, LocalQueue};
use crate::queue::{Canceled, Outcome, StoredData, StoredOutput, Submission};
use crate::shared::Bells;
use crate::spool::{NewInput, Spool};
use crate::task::{Output, OutputFile, Task, TaskOptions, Tasks};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is known to be about to happen gets this long to happen wrongly.
const A_MOMENT: Duration = Duration::from_millis(60);
const TICK: Duration = Duration::from_millis(5);

/// A queue with a notifier and nothing else: the test is its workers.
struct House {
    folder: Arc<tempfile::TempDir>,
    shared: Arc<Shared>,
    doorbell: Receiver<()>,
    notifier: Option<Notifier>,
}

impl House {
    fn open(config: Config) -> House {
        let mut house = House::without_notifier(config);
        house.start();
        house
    }

    fn without_notifier(config: Config) -> House {
        House::on(Arc::new(tempfile::tempdir().expect("a folder")), config)
    }

    fn on(folder: Arc<tempfile::TempDir>, config: Config) -> House {
        let spool = Arc::new(Spool::open(&folder.path().join("spool")).expect("a spool"));
        let limits = Limits {
            max_queued: config.max_queued,
            per_client: config.max_queued,
            max_attempts: config.max_attempts,
            keep: config.keep,
            parking: parking(&config.callback_waits),
        };
        let (queue, _) =
            LocalQueue::open(folder.path(), Arc::clone(&spool), limits).expect("a queue");
        let (bells, ears) = Bells::new();
        let task = Task::new("echo".into(), TaskOptions::new(), |_| Ok(Output::text("")));
        let tasks = Tasks::new(vec![task]).expect("a task");
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let shared = Shared::new(config, addr, tasks, Arc::new(queue), spool, bells);
        House { folder, shared: Arc::new(shared), doorbell: ears.delivery_due, notifier: None }
    }

    fn start(&mut self) {
        let notifier = Notifier::start(Arc::clone(&self.shared), self.doorbell.clone());
        self.notifier = Some(notifier.expect("threads"));
    }

    /// Ends the process as far as the queue can tell, and opens it again.
    fn reopen(mut self) -> House {
        self.stop(PATIENCE);
        let (folder, config) = (Arc::clone(&self.folder), self.shared.config.clone());
        drop(self);
        House::on(folder, config)
    }

    #[track_caller]
    fn stop(&mut self, time: Duration) {
        if let Some(notifier) = self.notifier.take() {
            assert!(notifier.stop(Instant::now() + time), "a thread did not end");
        }
    }

    fn submit(&self, callback: &str) -> JobId {
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
            callback: Some(callback.to_owned()),
            created_at: Timestamp::now(),
            client: String::new(),
            sender: String::new(),
            idempotency_key: None,
            coalesce: false,
        };
        self.shared.queue.submit(submission).expect("room");
        id
    }

    /// Takes a new job through its life up to its end.
    fn finish(&self, callback: &str, result: Result<StoredData, Failure>) -> JobId {
        let id = self.submit(callback);
        let claim = self.shared.queue.claim().expect("a queue").expect("a job");
        assert_eq!(claim.job.id, id);
        let result =
            result.map(|data| StoredOutput { data, formats: Vec::new(), warnings: Vec::new() });
        let outcome = Outcome { result, duration_s: None };
        self.shared.queue.finish(claim.lease, outcome).expect("finished");
        self.shared.bells.job_finished(id);
        id
    }

    fn finish_with_text(&self, callback: &str) -> JobId {
        self.finish(callback, Ok(StoredData::Text("done".into())))
    }

    fn callback(&self, id: JobId) -> Callback {
        let job = self.shared.queue.get(id).expect("a queue").expect("a job");
        job.callback.expect("a callback")
    }

    fn ledger(&self, id: JobId) -> Vec<DeliveryAttempt> {
        self.shared.queue.deliveries(id).expect("a queue").expect("a job")
    }

    /// Waits until the callback stands as `expected`.
    #[track_caller]
    fn expect_state(&self, id: JobId, expected: DeliveryState) -> Callback {
        self.wait_for(id, |callback| callback.state == expected)
    }

    #[track_caller]
    fn wait_for(&self, id: JobId, holds: impl Fn(&Callback) -> bool) -> Callback {
        wait_until(|| holds(&self.callback(id)));
        self.callback(id)
    }
}

#[track_caller]
fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(notifier) = self.notifier.take() {
            notifier.stop(Instant::now());
        }
    }
}

/// Retries after these waits, and patience for slow receivers.
fn waits(waits: &[Duration]) -> Config {
    Config { callback_waits: waits.to_vec(), callback_timeout: PATIENCE, ..Config::default() }
}

#[test]
fn an_outcome_is_told_and_written_down() {
    let sink = CallbackSink::start();
    let house = House::open(waits(&[TICK]));
    let id = house.finish_with_text(&sink.url());
    let call = sink.recv_timeout(PATIENCE);
    let body = call.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["data"], "done");
    assert_eq!(body["id"], id.to_string());
    assert_eq!(body["task"], "echo");
    let callback = house.expect_state(id, DeliveryState::Delivered);
    assert_eq!((callback.attempts, callback.next_attempt_at), (1, None));
    let ledger = house.ledger(id);
    assert_eq!(ledger.len(), 1);
    assert_eq!((ledger[0].attempt, ledger[0].status), (1, Some(200)));
    assert_eq!((&ledger[0].error, ledger[0].next_attempt_at), (&None, None));
    sink.expect_none(A_MOMENT);
}

#[test]
fn failures_and_cancels_are_told() {
    let sink = CallbackSink::start();
    let house = House::open(waits(&[TICK]));
    let failure = Failure { code: "undecodable".into(), message: "no audio in it".into() };
    house.finish(&sink.url(), Err(failure));
    let body = sink.recv_timeout(PATIENCE).json();
    assert_eq!((&body["success"], &body["error"]), (&false.into(), &"no audio in it".into()));
    let id = house.submit(&sink.url());
    assert_eq!(house.shared.queue.cancel(id).expect("a queue"), Some(Canceled::Queued));
    house.shared.bells.job_finished(id);
    let body = sink.recv_timeout(PATIENCE).json();
    assert_eq!(
        (&body["success"], &body["error"], &body["id"]),
        (&false.into(), &"the job was canceled".into(), &id.to_string().into())
    );
}

#[test]
fn a_file_is_told_as_a_form() {
    let sink = CallbackSink::start();
    let house = House::open(waits(&[TICK]));
    let scratch = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(scratch.path(), b"WEBVTT").expect("written");
    let id = house.submit(&sink.url());
    let claim = house.shared.queue.claim().expect("a queue").expect("a job");
    let file = OutputFile {
        path: scratch.path().to_owned(),
        name: "talk.vtt".into(),
        content_type: "text/vtt".into(),
    };
    let (path, bytes) = house.shared.spool.keep_output(id, &file).expect("kept");
    let data = StoredData::File { path, name: file.name, content_type: file.content_type, bytes };
    let result = Ok(StoredOutput { data, formats: Vec::new(), warnings: Vec::new() });
    let outcome = Outcome { result, duration_s: None };
    house.shared.queue.finish(claim.lease, outcome).expect("finished");
    house.shared.bells.job_finished(id);
    let call = sink.recv_timeout(PATIENCE);
    assert!(call.header("content-type").starts_with("multipart/form-data; boundary="));
    let body = String::from_utf8(call.body).expect("text");
    assert!(body.contains(&format!("name=\"id\"\r\n\r\n{id}\r\n")), "{body}");
    assert!(body.contains("filename=\"talk.vtt\"\r\nContent-Type: text/vtt\r\n\r\nWEBVTT\r\n--"));
    house.expect_state(id, DeliveryState::Delivered);
}

#[test]
fn a_receiver_that_was_down_hears_of_it_later() {
    let mut sink = CallbackSink::start_down();
    let house = House::open(waits(&[TICK; 200]));
    let id = house.finish_with_text(&sink.url());
    let callback = house.wait_for(id, |callback| callback.attempts >= 2);
    assert!(callback.last_error.expect("an error").contains("refused"));
    sink.up();
    sink.recv_timeout(PATIENCE);
    let callback = house.expect_state(id, DeliveryState::Delivered);
    assert_eq!(house.ledger(id).len(), callback.attempts as usize);
}

#[test]
fn every_attempt_has_the_same_id_and_its_own_time() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::Status(500), Answer::Close, Answer::redirect("http://127.0.0.1/")]);
    let house = House::open(waits(&[TICK; 5]));
    let id = house.finish_with_text(&sink.url());
    let calls: Vec<Call> = (0..4).map(|_| sink.recv_timeout(PATIENCE)).collect();
    let ids: HashSet<&str> = calls.iter().map(|call| call.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1);
    house.expect_state(id, DeliveryState::Delivered);
    let ledger = house.ledger(id);
    let statuses: Vec<_> = ledger.iter().map(|line| line.status).collect();
    assert_eq!(statuses, [Some(500), None, Some(302), Some(200)]);
    for (line, call) in ledger.iter().zip(&calls) {
        assert_eq!(call.header("webhook-timestamp"), line.at.as_secs().to_string());
    }
    // No attempt came before it was due.
    for pair in ledger.windows(2) {
        assert!(pair[1].at >= pair[0].next_attempt_at.expect("a time"), "{ledger:?}");
    }
}

#[test]
fn exhausted_attempts_and_410_are_dead() {
    let sink = CallbackSink::start();
    sink.answer_always(Answer::Status(404));
    let house = House::open(waits(&[TICK; 2]));
    let id = house.finish_with_text(&sink.url());
    let callback = house.expect_state(id, DeliveryState::Dead);
    assert_eq!((callback.attempts, callback.next_attempt_at), (3, None));
    (0..3).for_each(|_| drop(sink.recv_timeout(PATIENCE)));
    sink.answer_always(Answer::Status(410));
    let id = house.finish_with_text(&sink.url());
    let callback = house.expect_state(id, DeliveryState::Dead);
    assert_eq!(callback.attempts, 1);
    assert!(callback.last_error.expect("an error").contains("410 Gone"));
    sink.recv_timeout(PATIENCE);
    sink.expect_none(A_MOMENT);
}

#[test]
fn retry_after_is_honoured() {
    let sink = CallbackSink::start();
    sink.answer_always(Answer::retry_after(503, 3600));
    let house = House::open(waits(&[TICK; 5]));
    let id = house.finish_with_text(&sink.url());
    let call = sink.recv_timeout(PATIENCE);
    let callback = house.wait_for(id, |callback| callback.attempts == 1);
    let line = &house.ledger(id)[0];
    let next = callback.next_attempt_at.expect("a time");
    assert_eq!(line.next_attempt_at, Some(next));
    assert!(next.since(line.at) >= Duration::from_secs(3600), "{call:?}");
    sink.expect_none(A_MOMENT);
}

#[test]
fn an_undelivered_outcome_survives_a_restart() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::Status(500)]);
    let house = House::open(waits(&[A_MOMENT, A_MOMENT]));
    let id = house.finish_with_text(&sink.url());
    let first = sink.recv_timeout(PATIENCE);
    house.wait_for(id, |callback| callback.attempts == 1);
    let mut house = house.reopen();
    house.start();
    let second = sink.recv_timeout(PATIENCE);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    house.expect_state(id, DeliveryState::Delivered);
    assert_eq!(house.ledger(id).iter().map(|line| line.attempt).collect::<Vec<_>>(), [1, 2]);
    // What was due while nobody was there goes out at once.
    let house = house.reopen();
    let id = house.finish_with_text(&sink.url());
    let mut house = house.reopen();
    house.start();
    assert_eq!(sink.recv_timeout(PATIENCE).json()["id"], id.to_string());
}

#[test]
fn a_receiver_that_hangs_delays_no_other() {
    let hanging = CallbackSink::start();
    hanging.answer_always(Answer::Hang);
    let well = CallbackSink::start();
    let mut house = House::open(waits(&[TICK]));
    let stuck: Vec<JobId> = (0..20).map(|_| house.finish_with_text(&hanging.url())).collect();
    hanging.recv_timeout(PATIENCE);
    for _ in 0..20 {
        let id = house.finish_with_text(&well.url());
        assert_eq!(well.recv_timeout(PATIENCE).json()["id"], id.to_string());
    }
    hanging.expect_none(A_MOMENT);
    // A stop that cannot wait breaks them off and does not blame the receiver.
    let began = Instant::now();
    house.stop(Duration::ZERO);
    assert!(began.elapsed() < PATIENCE / 2);
    for id in stuck {
        assert_eq!(house.callback(id).attempts, 0);
        assert_eq!(house.callback(id).state, DeliveryState::Pending);
    }
}

#[test]
fn a_host_that_keeps_failing_is_parked() {
    let dead = CallbackSink::start();
    dead.answer_always(Answer::Status(500));
    // Parked for the first wait at first: longer than this test takes.
    let house = House::open(waits(&[Duration::from_secs(600)]));
    let ids: Vec<JobId> = (0..12).map(|_| house.finish_with_text(&dead.url())).collect();
    let tried = || ids.iter().filter(|id| house.callback(**id).attempts > 0).count();
    wait_until(|| tried() >= 5);
    let well = CallbackSink::start();
    house.finish_with_text(&well.url());
    well.recv_timeout(PATIENCE);
    // One more may have been in flight when the fifth failure in a row parked it.
    assert!(tried() <= 6, "{}", tried());
    assert!(ids.iter().all(|id| house.callback(*id).state == DeliveryState::Pending));
}

#[test]
fn a_parked_host_is_probed_and_gets_everything_when_it_is_back() {
    let mut dead = CallbackSink::start_down();
    let house = House::open(waits(&[A_MOMENT; 50]));
    let ids: Vec<JobId> = (0..20).map(|_| house.finish_with_text(&dead.url())).collect();
    let tried = |id: &&JobId| house.callback(**id).attempts > 0;
    wait_until(|| ids.iter().filter(tried).count() >= 5);
    dead.up();
    for id in ids {
        house.expect_state(id, DeliveryState::Delivered);
    }
}

#[test]
fn a_deleted_job_is_told_no_more() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::Status(500)]);
    let house = House::open(waits(&[A_MOMENT]));
    let id = house.finish_with_text(&sink.url());
    sink.recv_timeout(PATIENCE);
    house.wait_for(id, |callback| callback.attempts == 1);
    assert_eq!(house.shared.queue.cancel(id).expect("a queue"), Some(Canceled::Forgotten));
    sink.expect_none(2 * A_MOMENT);
    let id = house.finish_with_text(&sink.url());
    assert_eq!(sink.recv_timeout(PATIENCE).json()["id"], id.to_string());
}

#[test]
fn a_stop_waits_for_the_posts_in_flight() {
    let sink = CallbackSink::start();
    sink.answer_always(Answer::Late(A_MOMENT, Box::new(Answer::Status(200))));
    let mut house = House::open(waits(&[TICK]));
    let id = house.finish_with_text(&sink.url());
    sink.recv_timeout(PATIENCE);
    house.stop(PATIENCE);
    assert_eq!(house.callback(id).state, DeliveryState::Delivered);
}

#[test]
fn many_outcomes_arrive_once_each() {
    let sinks = [CallbackSink::start(), CallbackSink::start(), CallbackSink::start()];
    let house = House::open(waits(&[TICK]));
    let mut expected: HashSet<String> = HashSet::new();
    for n in 0..300 {
        expected.insert(house.finish_with_text(&sinks[n % 3].url()).to_string());
    }
    let mut arrived = HashSet::new();
    for n in 0..300 {
        let call = sinks[n % 3].recv_timeout(PATIENCE);
        let id = call.json()["id"].as_str().expect("an id").to_owned();
        assert!(arrived.insert(id), "twice: {call:?}");
    }
    assert_eq!(arrived, expected);
    sinks.iter().for_each(|sink| sink.expect_none(Duration::from_millis(5)));
}
