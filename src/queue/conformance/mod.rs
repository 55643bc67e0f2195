//! What every queue must do: a list of checks that each implementation runs, a test for each.
//!
//! An implementation gives a function that opens a queue in a folder; opening the same folder
//! again, after the queue is dropped, is a restart.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ring::digest;
use tempfile::TempDir;

use super::local::Limits;
use super::*;
use crate::job::{Failure, InputInfo, Sha256};
use crate::spool::{NewInput, Spool};

pub(super) mod concurrency;
pub(super) mod deliveries;
pub(super) mod finishing;
pub(super) mod restart;
pub(super) mod submitting;

/// Opens a queue in a folder, with its files in the spool.
pub(super) type Open = fn(&Path, Arc<Spool>, Limits) -> Arc<dyn Queue>;

/// Makes a test of each check, for the queue that `$open` opens.
macro_rules! conformance_tests {
    ($open:path) => {
        $crate::queue::conformance::conformance_tests! { $open;
            submitting: a_new_job_is_queued_as_it_was_asked_for,
                the_oldest_is_claimed_first,
                no_more_are_queued_than_may_be,
                one_sender_has_its_share_and_no_more,
                a_key_finds_its_job,
                a_key_lives_as_long_as_its_job,
                the_same_work_is_done_once,
                other_work_is_not_coalesced,
                a_coalesced_request_is_replayed_by_its_key,
                a_refused_file_is_deleted,
                a_large_input_is_a_file_until_its_job_ends,
                a_lost_input_fails_its_job,
                ahead_counts_older_ready_jobs,
                lists_are_paged_newest_first;
            finishing: outputs_come_back_as_they_were_given,
                a_failure_is_kept,
                a_retry_waits_for_its_time,
                a_release_does_not_count,
                all_leases_are_given_back_at_once,
                a_stale_lease_changes_nothing,
                a_stale_output_file_is_deleted,
                a_canceled_job_stays_canceled,
                a_finished_job_is_forgotten,
                every_illegal_transition_is_refused,
                a_closed_queue_hands_nothing_out,
                expired_jobs_are_swept,
                a_sweep_says_when_to_come_again;
            deliveries: an_outcome_sets_its_delivery_due,
                a_canceled_job_is_told_of,
                deliveries_move_on_by_their_record,
                an_ended_delivery_stays_as_it_is,
                one_receiver_hides_no_other,
                deliveries_in_flight_are_left_out,
                many_hosts_of_one_sender_hide_no_other_sender,
                hosts_that_fail_are_left_out_apart_from_others,
                a_host_that_fails_is_parked_for_all_its_senders,
                pending_deliveries_are_counted,
                a_pending_delivery_keeps_its_job,
                a_delivery_that_never_ends_keeps_its_job_a_week_longer;
            concurrency: waiting_workers_are_woken,
                nothing_is_lost_and_nothing_is_done_twice,
                canceled_jobs_leave_no_worker_asleep;
            restart: queued_and_running_jobs_are_taken_back,
                a_job_that_ends_the_process_is_given_up,
                a_job_that_died_beside_others_is_not_given_up,
                a_canceled_attempt_is_company,
                a_release_is_no_crash,
                everything_finished_is_as_before,
                more_than_may_be_queued_are_all_taken_back,
                what_the_last_process_left_is_cleared;
        }
    };
    ($open:path; $($part:ident: $($check:ident),+;)+) => {
        $($(
            #[test]
            fn $check() {
                $crate::queue::conformance::check($open, $crate::queue::conformance::$part::$check);
            }
        )+)+
    };
}

pub(super) use conformance_tests;

/// Runs one check in a folder of its own.
pub(super) fn check(open: Open, check: fn(&Bed)) {
    let folder = tempfile::tempdir().unwrap();
    check(&Bed { folder, open });
}

/// What a check works in.
pub(super) struct Bed {
    folder: TempDir,
    open: Open,
}

/// As much time as a healthy machine under load never takes.
const SOON: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits {
    max_queued: 100,
    per_client: usize::MAX,
    max_attempts: 3,
    keep: Duration::from_secs(3600),
    parking: Parking { first: Duration::from_secs(5) },
};

impl Bed {
    fn open(&self) -> Arc<dyn Queue> {
        self.open_with(LIMITS)
    }

    fn open_with(&self, limits: Limits) -> Arc<dyn Queue> {
        (self.open)(self.folder.path(), self.spool(), limits)
    }

    fn spool(&self) -> Arc<Spool> {
        Arc::new(Spool::open(&self.folder.path().join("spool")).unwrap())
    }

    /// The files in a folder of the spool.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.folder.path().join("spool").join(folder)).unwrap();
        listed.map(|found| found.unwrap().path()).collect()
    }

    /// A request whose input is a file.
    fn ask_large(&self, text: &str) -> Submission {
        let mut receiving = self.spool().receive(None).unwrap();
        let filler = vec![b' '; crate::spool::INLINE_MAX];
        receiving.write_all(&filler).unwrap();
        receiving.write_all(text.as_bytes()).unwrap();
        let received = receiving.finish().unwrap();
        let mut request = ask(text);
        request.input.bytes = received.bytes;
        request.input.sha256 = received.sha256;
        request.body = received.body;
        request
    }

    /// A file for a task to have made, kept.
    fn keep_output(&self, id: JobId, text: &str) -> StoredOutput {
        let path = self.folder.path().join("made");
        fs::write(&path, text).unwrap();
        let made = crate::task::OutputFile {
            path,
            name: "made.txt".into(),
            content_type: "text/plain".into(),
        };
        let (path, bytes) = self.spool().keep_output(id, &made).unwrap();
        let data =
            StoredData::File { path, name: made.name, content_type: made.content_type, bytes };
        StoredOutput { data, formats: Vec::new(), warnings: Vec::new() }
    }
}

/// A request for work on a text.
pub(super) fn ask(text: &str) -> Submission {
    let sha256 = digest::digest(&digest::SHA256, text.as_bytes());
    Submission {
        id: JobId::new(),
        task: "shout".into(),
        parameters: Parameters::new(),
        input: InputInfo {
            name: Some(format!("{text}.txt")),
            content_type: Some("text/plain".into()),
            bytes: text.len() as u64,
            sha256: Sha256(sha256.as_ref().try_into().unwrap()),
            duration_s: None,
        },
        body: NewInput::Inline(text.as_bytes().to_vec()),
        callback: None,
        created_at: Timestamp::now(),
        client: String::new(),
        sender: "somebody".into(),
        idempotency_key: None,
        coalesce: false,
    }
}

impl Submission {
    pub(super) fn calling(mut self, url: &str) -> Submission {
        self.callback = Some(url.into());
        self
    }

    pub(super) fn with_key(mut self, key: &str) -> Submission {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(super) fn of(mut self, client: &str) -> Submission {
        self.client = client.into();
        self
    }

    pub(super) fn from(mut self, sender: &str) -> Submission {
        self.sender = sender.into();
        self
    }

    pub(super) fn coalescing(mut self) -> Submission {
        self.coalesce = true;
        self
    }
}

/// Shorter words for what most checks do.
pub(super) trait Shorthand {
    fn add(&self, request: Submission) -> Job;
    fn take(&self) -> Claim;
    fn end(&self, claim: Claim, text: &str);
    fn job(&self, id: JobId) -> Job;
    fn work_off(&self, request: Submission) -> JobId;
}

impl Shorthand for Arc<dyn Queue> {
    fn add(&self, request: Submission) -> Job {
        match self.submit(request).unwrap() {
            Submitted::New(job) => *job,
            other => panic!("not a new job: {other:?}"),
        }
    }

    /// Claims; a queue that should have a job and sleeps on it fails the check instead of hanging it.
    fn take(&self) -> Claim {
        let (claimed, claim) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(|| claimed.send(self.claim().unwrap()).unwrap());
            let claim = claim.recv_timeout(SOON).unwrap_or_else(|_| {
                self.close();
                panic!("no job was handed out, with {:?}", self.depth());
            });
            claim.expect("the queue is open")
        })
    }

    fn end(&self, claim: Claim, text: &str) {
        assert_eq!(self.finish(claim.lease, succeeded(text)).unwrap(), Recorded::Yes);
    }

    fn job(&self, id: JobId) -> Job {
        self.get(id).unwrap().expect("the job is kept")
    }

    fn work_off(&self, request: Submission) -> JobId {
        let id = self.add(request).id;
        let claim = self.take();
        assert_eq!(claim.job.id, id);
        self.end(claim, "done");
        id
    }
}

pub(super) fn succeeded(text: &str) -> Outcome {
    let output = StoredOutput {
        data: StoredData::Text(text.into()),
        formats: Vec::new(),
        warnings: Vec::new(),
    };
    Outcome { result: Ok(output), duration_s: None }
}

fn failed(code: &str) -> Outcome {
    Outcome { result: Err(failure(code)), duration_s: None }
}

pub(super) fn failure(code: &str) -> Failure {
    Failure { code: code.into(), message: format!("it is {code}") }
}

fn text_of(claim: &Claim) -> String {
    match claim.body.as_ref().unwrap() {
        InputBody::Inline(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        InputBody::File(path) => fs::read_to_string(path).unwrap(),
    }
}

/// A moment this many seconds from now.
pub(super) fn in_secs(seconds: u64) -> Timestamp {
    Timestamp::now().after(Duration::from_secs(seconds))
}
