//! The seconds of an attempt over the size of its input, and how far to believe that.

/// The weight that what was learnt keeps when one attempt more is learnt: the last ten count most.
const KEPT: f64 = 0.9;
/// How strongly a line is drawn to the origin, in attempts: those on inputs of nearly one size do not tell
/// how much of their time goes with it.
const TO_ORIGIN: f64 = 0.05;
/// Seconds below which attempts are not told apart.
const SHORTEST: f64 = 1e-3;
/// The part of an attempt's whole time at whose beginning an estimate slows down instead of reaching 0.
const TAIL: f64 = 0.1;

/// A line `seconds = start + rate * size`, drawn so that the errors relative to the seconds are least: a long
/// recording must not drown what short ones tell. All sums are weighted by age.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fit {
    attempts: f64,
    seconds: f64,
    /// Of `1 / seconds`, and of its square.
    inverse: f64,
    inverse_squared: f64,
    /// Of `size / seconds`, of its square, and of it and `1 / seconds` multiplied.
    pace: f64,
    pace_squared: f64,
    both: f64,
}

impl Fit {
    pub(super) fn learn(&mut self, size: f64, seconds: f64) {
        let inverse = 1.0 / seconds.max(SHORTEST);
        let pace = size.max(1.0) * inverse;
        let take = |sum: &mut f64, value: f64| *sum = *sum * KEPT + value;
        take(&mut self.attempts, 1.0);
        take(&mut self.seconds, seconds);
        take(&mut self.inverse, inverse);
        take(&mut self.inverse_squared, inverse * inverse);
        take(&mut self.pace, pace);
        take(&mut self.pace_squared, pace * pace);
        take(&mut self.both, inverse * pace);
    }

    /// The seconds of so many jobs, of this size together.
    pub(super) fn seconds(&self, jobs: f64, size: f64) -> f64 {
        let (start, rate) = self.line();
        jobs * start + size.max(jobs) * rate
    }

    /// The seconds of an attempt on an input of unknown size.
    pub(super) fn mean(&self) -> f64 {
        self.seconds / self.attempts
    }

    fn line(&self) -> (f64, f64) {
        let Fit { attempts, inverse, inverse_squared, pace, pace_squared, both, .. } = *self;
        let drawn = inverse_squared * (1.0 + TO_ORIGIN / attempts);
        let spread = drawn * pace_squared - both * both;
        let start = (inverse * pace_squared - both * pace) / spread;
        let rate = (drawn * pace - both * inverse) / spread;
        if start.is_nan() || start < 0.0 {
            (0.0, pace / pace_squared)
        } else if rate.is_nan() || rate < 0.0 {
            (inverse / inverse_squared, 0.0)
        } else {
            (start, rate)
        }
    }
}

/// How far estimates were off, as the mean of the logarithm of actual over expected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Error(f64);

impl Default for Error {
    /// Before anything was compared: by half.
    fn default() -> Error {
        Error(0.5)
    }
}

impl Error {
    pub(super) fn learn(&mut self, expected: f64, took: f64) {
        self.0 = self.0 * KEPT + off(expected, took) * (1.0 - KEPT);
    }

    /// The whole time of an attempt from what was expected of it and what its progress tells, each by how
    /// far it can be believed. Early progress tells little; an expectation that progress contradicts
    /// was not meant for this input.
    pub(super) fn weigh(&self, expected: f64, projected: f64, progress: f64) -> f64 {
        const EARLY: f64 = 0.05;
        let of_expected = self.0.max(off(expected, projected) / 2.0).max(0.05);
        let of_projected = EARLY / progress;
        let (a, b) = (of_expected.powi(-2), of_projected.powi(-2));
        ((logarithm(expected) * a + logarithm(projected) * b) / (a + b)).exp()
    }
}

fn off(expected: f64, took: f64) -> f64 {
    (logarithm(took) - logarithm(expected)).abs()
}

fn logarithm(seconds: f64) -> f64 {
    seconds.max(SHORTEST).ln()
}

/// What is left of `whole` seconds. It falls with every second, at first by one, and is never 0: how late an
/// attempt will be, nobody can tell, but the longer it is late the sooner it ends.
pub(super) fn rest(whole: f64, elapsed: f64) -> f64 {
    let (rest, tail) = (whole - elapsed, whole * TAIL);
    if rest >= tail || tail <= 0.0 { rest.max(0.0) } else { tail * tail / (2.0 * tail - rest) }
}
