use std::fmt;
use std::time::Duration;

/// Something that a recording lacks or has too much of, though its text is worth having.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// A stable word a program can branch on: `damaged`, `cut_off`, `gaps`, `trailing_data`,
    /// `another_track`, `track_left_out` or `clipped`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Time in the recording where it first shows, if it has one.
    pub at: Option<Duration>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.at {
            Some(at) => write!(f, " (at {:.1} s)", at.as_secs_f64()),
            None => Ok(()),
        }
    }
}
