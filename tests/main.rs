//! The one test binary.

mod support;
