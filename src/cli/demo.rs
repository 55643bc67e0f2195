//! The task `demo`: harmless work that takes its time, to see a queue fill and drain by.

use std::time::Duration;

use ringback::{Attempt, Builder, Output, Parameters, TaskError, TaskOptions};

/// The name it is registered under; the teaching view looks for it.
pub(super) const NAME: &str = "demo";
/// How long it works without being told, and at most, in seconds.
const DEFAULT: f64 = 1.0;
const LONGEST: f64 = 60.0;
/// Steps of its progress.
const STEPS: u32 = 20;

/// Adds the task.
pub(super) fn register(builder: Builder) -> Builder {
    let options = TaskOptions::new()
        .check_parameters(|given| seconds(given).map(drop))
        .playing_time(|given| seconds(given).ok());
    builder.task_with(NAME, options, run)
}

/// Sleeps in steps: a job costs no more than its place with a worker.
fn run(attempt: &Attempt) -> Result<Output, TaskError> {
    let time = seconds(attempt.parameters()).map_err(TaskError::permanent)?;
    for step in 1..=STEPS {
        attempt.sleep(time / STEPS)?;
        attempt.progress(step as f32 / STEPS as f32);
    }
    Ok(Output::text(format!("worked for {}", humantime::format_duration(time))))
}

/// The parameter `seconds`. There is no other one.
fn seconds(given: &Parameters) -> Result<Duration, String> {
    if let Some(unknown) = given.names().find(|name| *name != "seconds") {
        return Err(format!("There is no parameter {unknown:?}; the task takes `seconds`."));
    }
    let seconds = given.get("seconds").filter(|text| !text.is_empty());
    let seconds = seconds.map_or(Ok(DEFAULT), str::parse::<f64>);
    match seconds {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err(format!("`seconds` is a number from 0 to {LONGEST}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_bounded() {
        let seconds = |value: &str| {
            let mut given = Parameters::new();
            given.push("seconds", value);
            super::seconds(&given)
        };
        assert_eq!(super::seconds(&Parameters::new()), Ok(Duration::from_secs(1)));
        assert_eq!(seconds(""), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("60"), Ok(Duration::from_secs(60)));
        for bad in ["60.1", "-1", "inf", "NaN", "1e9", "soon"] {
            assert!(seconds(bad).unwrap_err().contains("0 to 60"), "{bad:?}");
        }
    }
}
