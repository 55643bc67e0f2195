//! Why `serve` has no model.

use super::Failure;

/// Why there is no model to transcribe with.
#[derive(Debug)]
pub(super) enum Unfound {
    /// None was named, and none is there. A server can do without where it has another task.
    None(Failure),
    /// There is something that cannot be used, or not by itself.
    #[cfg_attr(not(feature = "whisper"), expect(dead_code, reason = "no model is looked for"))]
    Wrong(Failure),
}

impl From<Unfound> for Failure {
    fn from(unfound: Unfound) -> Failure {
        match unfound {
            Unfound::None(failure) | Unfound::Wrong(failure) => failure,
        }
    }
}
