use std::collections::VecDeque;

use super::*;
use crate::job::{JobId, Parameters, Sha256, State};
use crate::queue::FEW;

fn input(content_type: Option<&str>, bytes: u64) -> InputInfo {
    let content_type = content_type.map(str::to_owned);
    InputInfo { name: None, content_type, bytes, sha256: Sha256([0; 32]), duration_s: None }
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn ahead(work: Vec<Load>) -> Ahead {
    Ahead { jobs: work.len() as u64, work, ready_at: None }
}

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// An estimator that has learnt that speech takes a tenth of its playing time, as WAV of 32 kB/s.
fn taught() -> Estimator {
    let estimator = Estimator::default();
    for seconds in [600.0, 30.0, 3.0, 600.0, 90.0] {
        let wav = input(Some("audio/wav"), (seconds * 32_000.0) as u64);
        estimator.learn("transcribe", &wav, Some(secs(seconds)), secs(seconds * 0.1));
    }
    estimator
}

/// A recording of 10 minutes that began to run so many seconds ago.
fn recording(elapsed: f64, reached: Reached) -> Running {
    let load = Load::playing("transcribe", secs(600.0));
    Running { load, elapsed: secs(elapsed), reached }
}

fn near(seconds: Option<f64>, expected: f64) {
    let seconds = seconds.expect("an estimate");
    assert!((seconds / expected - 1.0).abs() < 0.15, "{seconds} s, not {expected} s");
}

#[test]
fn nothing_is_estimated_before_anything_was_learnt() {
    let estimator = Estimator::default();
    let load = Load::of("transcribe", None, 1000, None);
    assert_eq!(estimator.until_done(1, &[], &ahead(vec![]), &load, NOW), None);
    assert_eq!(estimator.until_one_ends(1, &[]), None);
    assert_eq!(estimator.remaining(&recording(5.0, Reached::default())), None);
    assert_eq!(Estimator::retry_after(None), 1);
}

#[test]
fn a_short_clip_behind_two_long_recordings_was_told_that_it_is_next() {
    let estimator = taught();
    let clip = Load::of("transcribe", Some("audio/wav"), 3 * 32_000, None);
    let running = [recording(5.0, Reached::default()), recording(10.0, Reached::default())];
    near(estimator.until_done(2, &running, &ahead(vec![]), &clip, NOW), 50.0);
    near(estimator.until_done(3, &running, &ahead(vec![]), &clip, NOW), 0.3);
    near(estimator.until_one_ends(2, &running), 50.0);
}

#[test]
fn before_any_job_has_ended_the_running_ones_tell() {
    let estimator = Estimator::default();
    let running = [recording(12.0, Reached { progress: 0.2, after: secs(12.0) })];
    let clip = Load::of("transcribe", Some("audio/wav"), 32_000, None);
    let eta = estimator.until_done(1, &running, &ahead(vec![]), &clip, NOW);
    near(eta, 48.0);
}

#[test]
fn a_restart_does_not_forget_how_long_work_takes() {
    let job = |took: f64| {
        let ended = NOW.after(secs(took));
        let input = InputInfo { duration_s: Some(600.0), ..input(Some("audio/wav"), 19_200_000) };
        Job { input, started_at: Some(NOW), finished_at: Some(ended), ..finished("transcribe") }
    };
    let estimator = Estimator::default();
    // The clock was set during the last of them.
    estimator.recall(&[job(31_536_000.0), job(60.0), job(60.0)], secs(3600.0));
    near(estimator.remaining(&recording(0.0, Reached::default())), 60.0);
}

fn finished(task: &str) -> Job {
    Job {
        id: JobId::new(),
        task: task.into(),
        parameters: Parameters::new(),
        state: State::Succeeded,
        attempt: 1,
        created_at: NOW,
        started_at: None,
        finished_at: None,
        expires_at: None,
        input: input(None, 1),
        error: None,
        warnings: Vec::new(),
        callback: None,
    }
}

#[test]
fn each_worker_takes_the_next_job_when_it_is_free() {
    let estimator = taught();
    let of = |seconds: f64| Load::playing("transcribe", secs(seconds));
    let wait = |workers, work| estimator.until_done(workers, &[], &ahead(work), &of(10.0), NOW);
    near(wait(1, vec![of(600.0), of(300.0)]), 91.0);
    near(wait(2, vec![of(600.0), of(300.0)]), 31.0);
    // A long one on one worker, all short ones on the other.
    near(wait(2, [vec![of(600.0)], vec![of(30.0); 10]].concat()), 31.0);
    // Of many only the sum is told.
    let sum = Load { jobs: 1000, amount: 1000 * 60_000, ..of(0.0) };
    let many = Ahead { jobs: 1000, work: vec![sum], ready_at: None };
    near(estimator.until_done(4, &[], &many, &of(10.0), NOW), 1501.0);
    let running = [recording(50.0, Reached::default())];
    near(estimator.until_done(4, &running, &many, &of(10.0), NOW), 1503.5);
}

#[test]
fn a_job_that_waits_for_its_time_does_not_end_before() {
    let estimator = taught();
    let load = Load::playing("transcribe", secs(30.0));
    let later = Ahead { ready_at: Some(NOW.after(secs(100.0))), ..Ahead::default() };
    near(estimator.until_done(1, &[], &later, &load, NOW), 103.0);
}

#[test]
fn an_estimate_climbed_between_two_steps_of_progress() {
    let estimator = taught();
    for reached in [
        Reached::default(),
        Reached { progress: 0.1, after: secs(4.0) },
        Reached { progress: 0.4, after: secs(40.0) },
    ] {
        let told = |tenth: u32| {
            let elapsed = reached.after.as_secs_f64() + f64::from(tenth) / 10.0;
            estimator.remaining(&recording(elapsed, reached)).expect("an estimate")
        };
        let falls = (0..3000).all(|tenth| told(tenth + 1) < told(tenth) && told(tenth) > 0.0);
        assert!(falls, "{reached:?}");
    }
}

#[test]
fn progress_that_contradicts_what_was_expected_is_believed() {
    let estimator = taught();
    let slow = |progress: f64, after: f64| {
        estimator.remaining(&recording(after, Reached { progress, after: secs(after) }))
    };
    near(slow(0.1, 6.0), 54.0);
    near(slow(0.5, 300.0), 300.0);
    near(slow(0.9, 9.0), 1.0);
}

#[test]
fn a_compressed_recording_was_taken_for_a_short_one() {
    let estimator = taught();
    let alone = |content_type, bytes| {
        let load = Load::of("transcribe", Some(content_type), bytes, None);
        estimator.until_done(1, &[], &ahead(vec![]), &load, NOW).expect("an estimate")
    };
    // 10 minutes of speech of a type that has not come yet: better than a tenth of what it takes.
    let first = alone("audio/ogg; codecs=opus", 3_000_000);
    assert!((20.0..180.0).contains(&first), "{first}");
    let ogg = input(Some("audio/ogg"), 2_000_000);
    estimator.learn("transcribe", &ogg, Some(secs(400.0)), secs(40.0));
    near(Some(alone("Audio/OGG;codecs=opus", 3_000_000)), 60.0);
    near(Some(alone("audio/wav", 32_000 * 600)), 60.0);
}

#[test]
fn work_that_does_not_go_with_the_size_is_learnt_too() {
    let estimator = Estimator::default();
    for bytes in [100, 5_000, 20, 900, 3_000_000, 40, 700, 100, 8_000, 60_000] {
        estimator.learn("demo", &input(Some("text/plain"), bytes), None, secs(3.0));
    }
    for bytes in [1, 100, 10_000, 5_000_000] {
        let load = Load::of("demo", Some("text/plain"), bytes, None);
        near(estimator.until_done(1, &[], &ahead(vec![]), &load, NOW), 3.0);
    }
}

#[test]
fn tasks_are_told_apart_and_a_new_one_is_taken_for_any() {
    let estimator = taught();
    (0..10).for_each(|_| estimator.learn("thumbnail", &input(None, 1000), None, secs(0.2)));
    let alone = |task| {
        let load = Load::of(task, None, 1000, None);
        estimator.until_done(1, &[], &ahead(vec![]), &load, NOW)
    };
    near(alone("thumbnail"), 0.2);
    assert!(alone("never seen").is_some());
}

#[test]
fn a_client_that_invents_content_types_takes_no_memory() {
    let estimator = taught();
    for n in 0..2000 {
        let invented = input(Some(&format!("audio/x-{n}")), 32_000);
        estimator.learn("transcribe", &invented, Some(secs(1.0)), secs(0.1));
    }
    assert!(estimator.learned().kinds.len() <= KINDS);
    near(estimator.remaining(&recording(0.0, Reached::default())), 60.0);
}

#[test]
fn a_client_is_told_whole_seconds_within_bounds() {
    let told = [0.0, 0.2, 3.1, 1e9, f64::INFINITY].map(|eta| Estimator::retry_after(Some(eta)));
    assert_eq!(told, [1, 1, 4, 60, 60]);
}

/// Jobs of known lengths that come at random, and workers that take them, in a time that passes at once.
struct Simulation {
    random: fastrand::Rng,
    estimator: Estimator,
    workers: Vec<Option<Attempt>>,
    waiting: VecDeque<Simulated>,
    now: f64,
    /// Each estimate: of which job, when, and the moment that it told.
    told: Vec<(usize, f64, f64)>,
    /// When each job ended.
    ended: Vec<f64>,
}

#[derive(Clone)]
struct Simulated {
    number: usize,
    task: &'static str,
    input: InputInfo,
    played: Option<f64>,
    takes: f64,
}

struct Attempt {
    job: Simulated,
    began: f64,
}

impl Attempt {
    /// It tells its progress in tenths, and its playing time a twentieth after its beginning.
    fn running(&self, now: f64) -> Running {
        let done = (now - self.began) / self.job.takes;
        let progress = (done * 10.0).floor() / 10.0;
        let load = match self.job.played.filter(|_| done > 0.05) {
            Some(seconds) => Load::playing(self.job.task, secs(seconds)),
            None => Load::of_input(self.job.task, &self.job.input),
        };
        let reached = Reached { progress, after: secs(progress * self.job.takes) };
        Running { load, elapsed: secs(now - self.began), reached }
    }
}

impl Simulation {
    fn new(workers: usize, seed: u64) -> Simulation {
        Simulation {
            random: fastrand::Rng::with_seed(seed),
            estimator: Estimator::default(),
            workers: (0..workers).map(|_| None).collect(),
            waiting: VecDeque::new(),
            now: 0.0,
            told: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Two in three are speech of 3 s to 10 min in files of three types; the others take as long as a
    /// demonstration does, whatever their size.
    fn job(&mut self, number: usize) -> Simulated {
        let random = &mut self.random;
        let noise = 0.8 + 0.4 * random.f64();
        if random.u8(0..3) == 0 {
            let input = input(Some("text/plain"), random.u64(10..100_000));
            return Simulated { number, task: "demo", input, played: None, takes: 5.0 * noise };
        }
        let seconds = 3.0 * 200_f64.powf(random.f64());
        let types = [("audio/wav", 32_000.0), ("audio/mpeg", 16_000.0), ("audio/ogg", 4_000.0)];
        let (content_type, per_second) = types[random.usize(0..3)];
        let input = input(Some(content_type), (seconds * per_second) as u64);
        let takes = (0.3 + 0.1 * seconds) * noise;
        Simulated { number, task: "transcribe", input, played: Some(seconds), takes }
    }

    fn running(&self) -> Vec<Running> {
        self.workers.iter().flatten().map(|attempt| attempt.running(self.now)).collect()
    }

    /// The seconds until the job at this place in the queue will have ended, as a client is told.
    fn ask(&mut self, place: usize) {
        let mut loads = self.waiting.iter().map(|job| Load::of_input(job.task, &job.input));
        let (before, own) = (loads.clone().take(place).collect::<Vec<_>>(), loads.nth(place));
        let own = own.expect("it waits");
        let work = match before.len() as u64 <= FEW {
            true => before.clone(),
            false => sums(&before),
        };
        let ahead = Ahead { jobs: before.len() as u64, work, ready_at: None };
        let eta = self.estimator.until_done(self.workers.len(), &self.running(), &ahead, &own, NOW);
        let number = self.waiting[place].number;
        self.told.extend(eta.map(|eta| (number, self.now, self.now + eta)));
    }

    fn ask_running(&mut self) {
        for attempt in self.workers.iter().flatten() {
            let eta = self.estimator.remaining(&attempt.running(self.now));
            self.told.extend(eta.map(|eta| (attempt.job.number, self.now, self.now + eta)));
        }
    }

    /// Lets attempts end and begin until `until`.
    fn pass(&mut self, until: f64) {
        loop {
            for worker in &mut self.workers {
                if worker.is_none() {
                    let began = self.now;
                    *worker = self.waiting.pop_front().map(|job| Attempt { job, began });
                }
            }
            let ends = self.workers.iter().enumerate().filter_map(|(worker, attempt)| {
                attempt.as_ref().map(|attempt| (worker, attempt.began + attempt.job.takes))
            });
            let next = ends.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, end)| *end <= until);
            let Some((worker, end)) = next else { break };
            self.now = end;
            let Attempt { job, .. } = self.workers[worker].take().expect("it runs");
            let played = job.played.map(secs);
            self.estimator.learn(job.task, &job.input, played, secs(job.takes));
            self.ended[job.number] = end;
        }
        self.now = until;
    }

    /// The median of how far estimates of more than a second were off, relative to what happened.
    fn median_error(mut self, jobs: usize, a_second: f64) -> f64 {
        self.ended = vec![f64::INFINITY; jobs];
        for number in 0..jobs {
            let pause = -(1.0 - self.random.f64()).ln() / a_second;
            self.pass(self.now + pause);
            let job = self.job(number);
            self.waiting.push_back(job);
            self.ask(self.waiting.len() - 1);
            self.ask(self.waiting.len() / 2);
            self.ask_running();
        }
        self.pass(f64::MAX);
        let after = self.ended[jobs / 10];
        let told = self
            .told
            .iter()
            .filter(|(number, at, _)| *at > after && self.ended[*number] - at > 1.0);
        let mut errors: Vec<f64> = told
            .map(|&(number, at, end)| (end - self.ended[number]).abs() / (self.ended[number] - at))
            .collect();
        errors.sort_unstable_by(f64::total_cmp);
        assert!(errors.len() > jobs, "{}", errors.len());
        errors[errors.len() / 2]
    }
}

fn sums(loads: &[Load]) -> Vec<Load> {
    let mut sums: Vec<Load> = Vec::new();
    for load in loads {
        match sums.iter_mut().find(|sum| sum.kind == load.kind) {
            Some(sum) => {
                sum.jobs += 1;
                sum.amount += load.amount;
            }
            None => sums.push(load.clone()),
        }
    }
    sums
}

#[test]
fn estimates_come_near_to_what_then_happens() {
    // Jobs a second: 0.16 of them keep one worker busy.
    for (workers, a_second) in [(1, 0.08), (2, 0.25), (4, 0.6), (4, 3.0)] {
        for seed in 1..4 {
            let error = Simulation::new(workers, seed).median_error(600, a_second);
            assert!(error < 0.3, "{workers} workers, {a_second} jobs/s: off by {error:.2}");
            println!("{workers} workers, {a_second} jobs/s: off by {error:.2}");
        }
    }
}
