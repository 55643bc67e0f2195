//! The one test binary.
//!
//! | module | what it holds the server to |
//! |---|---|
//! | `lifecycle` | a job from the request to its end |
//! | `kill` | a process that ends in the middle: kill -9, SIGTERM, a second signal |

mod kill;
mod lifecycle;
mod support;
