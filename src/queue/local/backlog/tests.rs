use proptest::prelude::*;

use super::*;

fn entry(sender: &str, kind: &str, bytes: u64, ready: bool) -> Entry {
    let load = Load { kind: Kind::any(kind), jobs: 1, amount: bytes };
    Entry { load, sender: sender.into(), ready }
}

/// What a count over all jobs would give.
#[derive(Default)]
struct Model(BTreeMap<i64, (u64, usize, bool)>);

impl Model {
    fn ahead(&self, seq: i64) -> Option<(u64, u64)> {
        self.0.get(&seq)?;
        let before = self.0.range(..seq).filter(|(_, (_, _, ready))| *ready);
        Some(before.fold((0, 0), |(jobs, bytes), (_, (more, _, _))| (jobs + 1, bytes + more)))
    }
}

fn told(ahead: Option<Ahead>) -> Option<(u64, u64)> {
    ahead.map(|ahead| (ahead.jobs, ahead.work.iter().map(|load| load.amount).sum()))
}

const SENDERS: [&str; 3] = ["ann", "bob", "cid"];

proptest! {
    #[test]
    fn places_and_shares_are_what_a_count_gives(
        steps in proptest::collection::vec((0..6_u8, 0..6_000_i64, 0..9_u64, 0..3_usize), 1..400),
        far in 0..40_u32,
    ) {
        let (backlog, mut model) = (SharedBacklog::default(), Model::default());
        // Jobs that fail again and again stand far before those that have just come.
        let place = |at: i64| if at % 7 == 0 { at } else { at + (1 << far) };
        for (what, at, bytes, who) in steps {
            let seq = place(at);
            match what {
                0 => {
                    backlog.apply(vec![Move::Leave(seq)]);
                    model.0.remove(&seq);
                }
                1 => {
                    backlog.apply(vec![Move::Ready(seq)]);
                    if let Some((_, _, ready)) = model.0.get_mut(&seq) {
                        *ready = true;
                    }
                }
                _ => {
                    let kind = ["speech", "slides"][usize::from(what % 2)];
                    let entry = entry(SENDERS[who], kind, bytes, what != 2);
                    backlog.apply(vec![Move::Enter(seq, entry)]);
                    model.0.insert(seq, (bytes, who, what != 2));
                }
            }
            prop_assert_eq!(told(backlog.ahead(seq)), model.ahead(seq));
        }
        for &seq in model.0.keys() {
            prop_assert_eq!(told(backlog.ahead(seq)), model.ahead(seq));
        }
        for (who, sender) in SENDERS.iter().enumerate() {
            let queued = model.0.values().filter(|(_, other, _)| *other == who).count();
            prop_assert_eq!(backlog.queued_by(sender), queued);
        }
        backlog.apply(model.0.keys().map(|&seq| Move::Leave(seq)).collect());
        let Backlog { ready, delayed, runs, kinds, senders } = &*backlog.lock();
        prop_assert!(ready.is_empty() && delayed.is_empty() && runs.iter().all(BTreeMap::is_empty));
        prop_assert_eq!((kinds.len(), senders.len()), (0, 0));
    }
}

#[test]
fn a_few_jobs_ahead_are_told_in_their_order_and_many_in_sums() {
    let backlog = SharedBacklog::default();
    let few = i64::try_from(FEW).unwrap();
    for seq in 0..few + 2 {
        let kind = if seq % 2 == 0 { "speech" } else { "slides" };
        backlog.apply(vec![Move::Enter(seq, entry("ann", kind, seq as u64, true))]);
    }
    let ahead = backlog.ahead(few).unwrap();
    let amounts: Vec<u64> = ahead.work.iter().map(|load| load.amount).collect();
    assert_eq!(amounts, (0..FEW).collect::<Vec<_>>());
    let ahead = backlog.ahead(few + 1).unwrap();
    let jobs: Vec<u64> = ahead.work.iter().map(|load| load.jobs).collect();
    assert_eq!((ahead.jobs, jobs), (FEW + 1, vec![FEW / 2 + 1, FEW / 2]));
}

#[test]
fn a_client_that_invents_content_types_does_not_make_the_sums_grow() {
    let backlog = SharedBacklog::default();
    for seq in 0..10_000 {
        backlog.apply(vec![Move::Enter(seq, entry("ann", &format!("kind {seq}"), 1, true))]);
    }
    let ahead = backlog.ahead(9_999).unwrap();
    assert_eq!(told(Some(ahead.clone())), Some((9_999, 9_999)));
    assert!(ahead.work.len() <= KINDS + 1, "{}", ahead.work.len());
}
