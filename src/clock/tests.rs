use super::*;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;
const YEAR: i64 = 365 * DAY;
/// A moment in 2026.
const NOW: Timestamp = Timestamp::from_micros(1_795_506_577_000_000);

fn plus(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + micros)
}

/// A store that was left after the machine had been on for 100 s.
fn seen() -> Seen {
    let reading = Reading { wall: NOW, up: 100 * SECOND };
    Seen { time: NOW, reading, boot: Some("first".into()) }
}

/// Starts again 10 s later, with a system's clock that was set by `step`. Returns the queue's time, and
/// how long the machine is taken to have been off.
fn start(
    seen: Option<Seen>,
    boot: Option<&str>,
    up: i64,
    step: i64,
) -> (Timestamp, Option<Duration>) {
    let reading = Reading { wall: plus(NOW, 10 * SECOND + step), up };
    let resumed = Clock::resume_at(seen, None, reading, boot.map(str::to_owned));
    (Timestamp::from_micros(resumed.clock.start + up), resumed.off)
}

#[test]
fn a_process_that_starts_again_knows_how_much_time_has_passed() {
    for step in [0, 3600 * SECOND, -3600 * SECOND, DAY, -DAY, YEAR, -YEAR, -NOW.as_micros()] {
        let (time, off) = start(Some(seen()), Some("first"), 110 * SECOND, step);
        assert_eq!((time, off), (plus(NOW, 10 * SECOND), None), "after {step}");
    }
}

#[test]
fn a_machine_that_was_off_makes_nothing_expire() {
    for (step, off) in [(0, 10), (86_400, 86_410), (-86_400, 0)] {
        let started = start(Some(seen()), Some("second"), SECOND, step * SECOND);
        assert_eq!(started, (NOW, Some(Duration::from_secs(off))), "after {step} s");
    }
    // Neither start has a name, or the machine's clock went back, which it does not do.
    let nameless = Seen { boot: None, ..seen() };
    assert_eq!(start(Some(nameless), None, 110 * SECOND, 0), (NOW, Some(Duration::from_secs(10))));
    assert_eq!(start(Some(seen()), Some("first"), SECOND, 0).0, NOW);
}

#[test]
fn a_clock_that_was_never_set_says_nothing_of_the_time_between() {
    let in_1970 = Timestamp::from_micros(60 * SECOND);
    let reading = Reading { wall: in_1970, up: 60 * SECOND };
    let seen = Seen { time: in_1970, reading, boot: Some("first".into()) };
    assert_eq!(start(Some(seen), Some("second"), SECOND, 0), (in_1970, Some(Duration::ZERO)));
}

#[test]
fn a_store_without_a_clock_begins_with_the_systems_and_after_its_newest_job() {
    assert_eq!(start(None, None, SECOND, 0), (plus(NOW, 10 * SECOND), Some(Duration::ZERO)));
    let (reading, ahead) = (Reading { wall: NOW, up: 0 }, plus(NOW, YEAR));
    let resumed = Clock::resume_at(None, Some(ahead), reading, None);
    assert_eq!(resumed.clock.start, ahead.as_micros());
}

#[test]
fn what_is_told_moves_with_the_systems_clock_and_does_not_tremble() {
    let Resumed { clock, .. } = Clock::resume_at(None, None, Reading { wall: NOW, up: 0 }, None);
    let reading = |up: i64, step: i64| Reading { wall: plus(NOW, up + step), up };
    assert_eq!(clock.ahead(reading(SECOND, 0)), 0);
    assert_eq!(clock.ahead(reading(SECOND, STEP - 1)), 0);
    assert_eq!(clock.ahead(reading(SECOND, -YEAR)), -YEAR);
    assert_eq!(clock.ahead(reading(2 * SECOND, STEP - 1 - YEAR)), -YEAR);
    assert_eq!(clock.ahead(reading(2 * SECOND, DAY)), DAY);
    assert_eq!(clock.ahead(reading(3 * SECOND, 0)), 0);
}

#[test]
fn ids_sort_by_age_within_a_moment_and_across_a_restart() {
    let clock =
        |time| Clock::resume_at(None, Some(time), Reading { wall: NOW, up: up() }, None).clock;
    let first = clock(NOW);
    let second = clock(plus(first.now(), 2000));
    let ids: Vec<JobId> =
        (0..50).map(|_| first.new_job_id()).chain((0..50).map(|_| second.new_job_id())).collect();
    assert!(ids.is_sorted());
}
