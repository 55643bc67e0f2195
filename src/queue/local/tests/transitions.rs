//! Any sequence of transitions, with restarts in between, against a model that asks
//! [`State::after`] and nothing else.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::job::Transition;

#[derive(Debug, Clone)]
enum Step {
    Submit,
    Claim,
    /// Of any lease that was ever given, good or stale.
    End(Transition, Index),
    Cancel(Index),
    Sweep,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        Just(Transition::Succeed),
        Just(Transition::Fail),
        Just(Transition::Retry),
        Just(Transition::Release),
    ];
    let step = prop_oneof![
        4 => Just(Step::Submit),
        5 => Just(Step::Claim),
        6 => (end, any::<Index>()).prop_map(|(end, lease)| Step::End(end, lease)),
        2 => any::<Index>().prop_map(Step::Cancel),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Debug)]
struct ModelJob {
    id: JobId,
    /// `None` once it is forgotten.
    state: Option<State>,
    attempt: u32,
    fence: u64,
    /// Whether the process died during one of its attempts.
    suspect: bool,
    /// Whether it waits for the time of its next attempt.
    waits: bool,
}

impl ModelJob {
    fn wants_to_be_alone(&self) -> bool {
        self.suspect && self.attempt + 1 >= LIMITS.max_attempts
    }
}

#[derive(Default)]
struct Model {
    /// In the order of acceptance.
    jobs: Vec<ModelJob>,
    /// Every lease that was given: whose, and its fence.
    leases: Vec<(usize, u64)>,
    /// Those that were not used yet.
    held: HashMap<LeaseId, Lease>,
}

impl Model {
    fn apply(&mut self, step: &Step, queue: &LocalQueue) {
        match step {
            Step::Submit => self.submit(queue),
            Step::Claim => self.claim(queue),
            Step::End(transition, lease) if !self.leases.is_empty() => {
                self.end(*transition, *lease.get(&self.leases), queue);
            }
            Step::Cancel(job) if !self.jobs.is_empty() => {
                self.cancel(job.index(self.jobs.len()), queue);
            }
            Step::Sweep => {
                let waiting = self.jobs.iter_mut().filter(|job| job.waits);
                let readied = waiting.map(|job| job.waits = false).count();
                assert_eq!(queue.sweep(in_secs(2000)).unwrap().readied, readied);
            }
            Step::End(..) | Step::Cancel(_) | Step::Restart => {}
        }
    }

    fn submit(&mut self, queue: &LocalQueue) {
        let request = ask(&format!("{}", self.jobs.len()));
        let id = request.id;
        assert!(matches!(queue.submit(request), Ok(Submitted::New(_))));
        let state = Some(State::Queued);
        self.jobs.push(ModelJob { id, state, attempt: 0, fence: 0, suspect: false, waits: false });
    }

    fn claim(&mut self, queue: &LocalQueue) {
        let is_ready = |job: &ModelJob| job.state == Some(State::Queued) && !job.waits;
        let Some(oldest) = self.jobs.iter().position(is_ready) else { return };
        let alone = self.jobs[oldest].wants_to_be_alone();
        if self.held.values().any(|lease| alone || lease.company() == Company::Alone) {
            // A worker would wait for those that run.
            return;
        }
        let claim = queue.claim().unwrap().unwrap();
        let company = if alone { Company::Alone } else { Company::Others };
        assert_eq!(claim.lease.company(), company);
        let job = &mut self.jobs[oldest];
        job.state = State::Queued.after(Transition::Claim);
        job.attempt += 1;
        assert_eq!((claim.job.id, claim.job.attempt), (job.id, job.attempt));
        assert!(claim.lease.id().fence > job.fence, "a fence must grow");
        job.fence = claim.lease.id().fence;
        self.leases.push((oldest, job.fence));
        self.held.insert(claim.lease.id(), claim.lease);
    }

    fn end(&mut self, transition: Transition, (job, fence): (usize, u64), queue: &LocalQueue) {
        let job = &mut self.jobs[job];
        let id = LeaseId { job: job.id, fence };
        let lease = self.held.remove(&id).unwrap_or_else(|| Lease::copy_of(id));
        let recorded = match transition {
            Transition::Succeed => queue.finish(lease, succeeded("done")),
            Transition::Retry => queue.retry(lease, failure("busy"), in_secs(1000)),
            Transition::Release => queue.release(lease),
            _ => {
                let outcome = Outcome { result: Err(failure("bad")), duration_s: None };
                queue.finish(lease, outcome)
            }
        };
        let good = job.fence == fence;
        let next = job.state.filter(|_| good).and_then(|state| state.after(transition));
        let expected = if next.is_some() { Recorded::Yes } else { Recorded::Stale };
        assert_eq!(recorded.unwrap(), expected, "{transition:?} of {job:?}");
        if next.is_some() {
            job.state = next;
            job.waits = transition == Transition::Retry;
            job.attempt -= u32::from(transition == Transition::Release);
        }
    }

    fn cancel(&mut self, job: usize, queue: &LocalQueue) {
        let job = &mut self.jobs[job];
        let expected = job.state.map(|state| match state {
            State::Queued => Canceled::Queued,
            State::Running => Canceled::Running,
            State::Succeeded | State::Failed | State::Canceled => Canceled::Forgotten,
        });
        assert_eq!(queue.cancel(job.id).unwrap(), expected);
        job.state = job.state.and_then(|state| state.after(Transition::Cancel));
        job.waits = false;
    }

    /// The process ended: running jobs are queued again, or given up after a last attempt alone.
    fn restart(&mut self) {
        for job in self.jobs.iter_mut().filter(|job| job.state == Some(State::Running)) {
            let lease = self.held.get(&LeaseId { job: job.id, fence: job.fence });
            let alone = lease.is_some_and(|lease| lease.company() == Company::Alone);
            let transition = if alone { Transition::Fail } else { Transition::Release };
            job.state = State::Running.after(transition);
            job.suspect = true;
            if !alone {
                job.attempt = job.attempt.min(LIMITS.max_attempts - 1);
            }
        }
        self.held.clear();
    }

    fn check(&self, queue: &LocalQueue) {
        for job in &self.jobs {
            let stored = queue.get(job.id).unwrap();
            let both = stored.map(|job| (job.state, job.attempt));
            assert_eq!(both, job.state.map(|state| (state, job.attempt)));
        }
        let count = |state| self.jobs.iter().filter(|job| job.state == Some(state)).count();
        let Depth { queued, running, .. } = queue.depth();
        assert_eq!((queued, running), (count(State::Queued), count(State::Running)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_rules_say(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = open_here(folder.path());
        let mut model = Model::default();
        for step in &steps {
            if let Step::Restart = step {
                drop(queue);
                queue = open_here(folder.path());
                model.restart();
            } else {
                model.apply(step, &queue);
            }
            model.check(&queue);
        }
    }
}
