//! How long work takes here, learnt from the attempts that succeeded, for `eta_s` and `Retry-After`.
//!
//! Every kind of work has a [`Fit`]: the seconds of an attempt as a line over the size of its input. The
//! size is the playing time where that is known, else the length in bytes, apart for every content
//! type: an hour of speech is 115 MB or 15. All times come in as arguments, so that a test can pass
//! years in no time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::job::{InputInfo, Job, Timestamp};
use crate::queue::Ahead;

mod fit;
mod line;
#[cfg(test)]
mod tests;

use self::fit::Fit;

/// The shortest and longest wait that a client is told, in seconds.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=60;
/// Kinds that are remembered; the one that was met with longest ago makes room.
const KINDS: usize = 256;
/// The longest content type that is told apart, in bytes.
const CONTENT_TYPE_MAX: usize = 64;

/// What determines how long an attempt takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Empty for all tasks together.
    task: Arc<str>,
    size: Size,
}

/// How the size of an input is measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Size {
    /// Playing time in milliseconds.
    Playing,
    /// Bytes of this content type.
    Typed(Arc<str>),
    /// Bytes of any content type.
    Bytes,
}

impl Kind {
    /// Jobs of all tasks and types.
    pub(crate) fn mixed() -> Kind {
        Kind::any("")
    }

    /// Jobs of a task, whatever their types.
    pub(crate) fn any(task: &str) -> Kind {
        Kind { task: task.into(), size: Size::Bytes }
    }

    fn playing(task: &str) -> Kind {
        Kind { task: task.into(), size: Size::Playing }
    }

    fn typed(task: &str, content_type: &str) -> Kind {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.is_empty() || essence.len() > CONTENT_TYPE_MAX {
            true => Kind::any(task),
            false => {
                let essence = essence.to_ascii_lowercase().into();
                Kind { task: task.into(), size: Size::Typed(essence) }
            }
        }
    }
}

/// The work of one job, or of several of a kind together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    pub(crate) jobs: u64,
    /// Their sizes together: milliseconds or bytes, as the kind has it.
    pub(crate) amount: u64,
}

impl Load {
    /// One job's work.
    pub(crate) fn of(
        task: &str,
        content_type: Option<&str>,
        bytes: u64,
        duration_s: Option<f64>,
    ) -> Load {
        match (duration_s, content_type) {
            (Some(seconds), _) => {
                Load::playing(task, Duration::try_from_secs_f64(seconds).unwrap_or_default())
            }
            (None, Some(content_type)) => {
                Load { kind: Kind::typed(task, content_type), jobs: 1, amount: bytes }
            }
            (None, None) => Load { kind: Kind::any(task), jobs: 1, amount: bytes },
        }
    }

    /// The work of one job whose input plays for so long.
    pub(crate) fn playing(task: &str, time: Duration) -> Load {
        let amount = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Load { kind: Kind::playing(task), jobs: 1, amount }
    }

    /// The work of one job as far as its input is known before the attempt.
    pub(crate) fn of_input(task: &str, input: &InputInfo) -> Load {
        Load::of(task, input.content_type.as_deref(), input.bytes, input.duration_s)
    }
}

/// An attempt that runs now.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) load: Load,
    pub(crate) elapsed: Duration,
    pub(crate) reached: Reached,
}

impl Running {
    /// An attempt that begins now.
    pub(crate) fn begun(load: Load) -> Running {
        Running { load, elapsed: Duration::ZERO, reached: Reached::default() }
    }
}

/// How far an attempt has said it is, and how long after its beginning it said so.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Reached {
    /// From 0 to 1.
    pub(crate) progress: f64,
    pub(crate) after: Duration,
}

impl Reached {
    /// The seconds of the whole attempt, if it goes on as it began; `None` too early to tell.
    fn projected(self) -> Option<f64> {
        const TELLING: f64 = 0.02;
        (self.progress >= TELLING).then(|| self.after.as_secs_f64() / self.progress)
    }
}

/// What has been learnt.
#[derive(Debug, Default)]
pub(crate) struct Estimator(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    kinds: HashMap<Kind, (Fit, u64)>,
    /// Counts what was learnt: the age of a kind.
    attempts: u64,
    /// How far off the estimates were.
    error: fit::Error,
}

impl Estimator {
    /// Takes in an attempt that succeeded. `played` is how long its input plays, if the task found out.
    pub(crate) fn learn(
        &self,
        task: &str,
        input: &InputInfo,
        played: Option<Duration>,
        took: Duration,
    ) {
        let mut learned = self.learned();
        let played = played.or_else(|| Duration::try_from_secs_f64(input.duration_s?).ok());
        let load = match played {
            Some(time) => Load::playing(task, time),
            None => Load::of(task, input.content_type.as_deref(), input.bytes, None),
        };
        if let Some(expected) = learned.seconds(&load) {
            learned.error.learn(expected, took.as_secs_f64());
        }
        let typed = input.content_type.as_deref().map(|words| Kind::typed(task, words));
        let any = Kind::any(task);
        let typed = typed.filter(|typed| *typed != any);
        if let Some(time) = played {
            learned.learn(Kind::playing(task), time.as_millis() as f64, took);
        }
        for kind in typed.into_iter().chain([any, Kind::mixed()]) {
            learned.learn(kind, input.bytes as f64, took);
        }
    }

    /// Takes in what earlier runs of the server did: jobs that succeeded, newest first. Attempts of more than
    /// `longest` were not: the clock was set in between.
    pub(crate) fn recall(&self, jobs: &[Job], longest: Duration) {
        for job in jobs.iter().rev() {
            if let (Some(started), Some(finished)) = (job.started_at, job.finished_at) {
                let took = finished.since(started);
                if took <= longest {
                    self.learn(&job.task, &job.input, None, took);
                }
            }
        }
    }

    /// Seconds until a queued job will have ended, on so many workers of which some run attempts now;
    /// `None` before anything was learnt.
    pub(crate) fn until_done(
        &self,
        workers: usize,
        running: &[Running],
        ahead: &Ahead,
        load: &Load,
        now: Timestamp,
    ) -> Option<f64> {
        let (learned, guessed) = (self.learned(), Learned::guessed(running));
        let learned = if learned.kinds.is_empty() { &guessed } else { &*learned };
        let own = learned.seconds(load)?;
        let mut line = line::Line::new(workers, learned.busy_for(running));
        let in_order = ahead.jobs == ahead.work.len() as u64;
        for work in &ahead.work {
            let seconds = learned.seconds(work)?;
            match in_order {
                true => line.take(seconds),
                false => line.share(seconds),
            }
        }
        let may_begin = ahead.ready_at.map_or(0.0, |at| at.since(now).as_secs_f64());
        Some(line.next_free().max(may_begin) + own)
    }

    /// Seconds until a running attempt will have ended; `None` before anything tells.
    pub(crate) fn remaining(&self, running: &Running) -> Option<f64> {
        self.learned().remaining(running)
    }

    /// Seconds until a worker takes the next job; `None` before anything was learnt.
    pub(crate) fn until_one_ends(&self, workers: usize, running: &[Running]) -> Option<f64> {
        let learned = self.learned();
        learned.seconds(&Load { kind: Kind::mixed(), jobs: 1, amount: 0 })?;
        Some(line::Line::new(workers, learned.busy_for(running)).next_free())
    }

    /// Whole seconds after which asking again makes sense, from an estimate; 1 without one.
    pub(crate) fn retry_after(eta: Option<f64>) -> u64 {
        let seconds = eta.map_or(1, |eta| eta.ceil() as u64);
        seconds.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().expect("invariant: no panic under this lock")
    }
}

/// About how many bytes a second of sound takes in files of this type: for the first of them, of which no
/// more is known. What is learnt from that replaces it.
fn bytes_per_second(content_type: &str) -> Option<f64> {
    let (class, subtype) = content_type.split_once('/')?;
    Some(match subtype.trim_start_matches("x-") {
        _ if class == "video" => 150_000.0,
        _ if class != "audio" => return None,
        "wav" | "wave" | "vnd.wave" | "aiff" => 64_000.0,
        "flac" => 50_000.0,
        "ogg" | "opus" | "webm" => 5_000.0,
        _ => 16_000.0,
    })
}

impl Learned {
    /// What the progress of running attempts tells before any has ended.
    fn guessed(running: &[Running]) -> Learned {
        let mut guessed = Learned::default();
        for Running { load, reached, .. } in running {
            if let Some(whole) = reached.projected() {
                for kind in [load.kind.clone(), Kind::mixed()] {
                    guessed.learn(kind, load.amount as f64, Duration::from_secs_f64(whole));
                }
            }
        }
        guessed
    }

    fn learn(&mut self, kind: Kind, size: f64, took: Duration) {
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            let oldest = self.kinds.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(oldest) = oldest.map(|(kind, _)| kind.clone()) {
                self.kinds.remove(&oldest);
            }
        }
        self.attempts += 1;
        let (fit, at) = self.kinds.entry(kind).or_default();
        fit.learn(size, took.as_secs_f64());
        *at = self.attempts;
    }

    /// The seconds that attempts on this will take together. What is not known of their kind is taken
    /// from the task's others, then from everything.
    fn seconds(&self, load: &Load) -> Option<f64> {
        let (jobs, amount) = (load.jobs as f64, load.amount as f64);
        let fit = |kind: &Kind| self.kinds.get(kind).map(|(fit, _)| fit);
        if let Some(fit) = fit(&load.kind) {
            return Some(fit.seconds(jobs, amount));
        }
        if let Size::Typed(content_type) = &load.kind.size
            && let Some(per_second) = bytes_per_second(content_type)
            && let Some(fit) = fit(&Kind { size: Size::Playing, ..load.kind.clone() })
        {
            return Some(fit.seconds(jobs, amount / per_second * 1000.0));
        }
        let task = Kind { size: Size::Bytes, ..load.kind.clone() };
        let fit = fit(&task).or_else(|| fit(&Kind::mixed()))?;
        Some(match &load.kind.size {
            Size::Playing => jobs * fit.mean(),
            Size::Typed(_) | Size::Bytes => fit.seconds(jobs, amount),
        })
    }

    /// The seconds that each running attempt still needs. One of which nothing can be told counts as
    /// ending now.
    fn busy_for(&self, running: &[Running]) -> Vec<f64> {
        running.iter().map(|running| self.remaining(running).unwrap_or(0.0)).collect()
    }

    fn remaining(&self, running: &Running) -> Option<f64> {
        let expected = self.seconds(&running.load);
        let whole = match (expected, running.reached.projected()) {
            (Some(expected), Some(projected)) => {
                self.error.weigh(expected, projected, running.reached.progress)
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        Some(fit::rest(whole, running.elapsed.as_secs_f64()))
    }
}
