//! The one test binary.
//!
//! | module | what it holds the server to |
//! |---|---|
//! | `access` | keys, names, other sites' pages, rates and shares |
//! | `attack` | what a stranger may send to the real program, while another client is served |
//! | `callbacks` | the ring back, from the request to the receiver |
//! | `depth` | a long queue |
//! | `crowd` | many receivers that hang or fail, beside a live one |
//! | `spelling` | how a callback's URL may be written, and where its password is shown |
//! | `tls` | receivers with certificates of a private authority |
//! | `estimates` | what clients are told to expect |
//! | `clients` | what clients in the field send that no standard says |
//! | `http` | the wire contract: refusals, repeats, waits, pages |
//! | `time` | a system's clock that is set, while the server runs and between two runs |
//! | `uploads` | inputs on their way in: forms and raw bodies, broken, cut off, stalled |
//! | `poison` | jobs that kill the process, and innocent ones beside them |
//! | `lifecycle` | a job from the request to its end |
//! | `cli` | the program at the shell |
//! | `ladder` | the eight programs of `examples/ladder/`, and the chapter about them |
//! | `memory` | what goes back to the system when nobody needs it |
//! | `model` | models at the shell |
//! | `kill` | a process that ends in the middle: kill -9, SIGTERM, a second signal |
//! | `service` | the recipes for systemd and proxies; the log that strangers do not write |
//! | `pages` | the pages for people, the browser client, and what they are told |
//! | `warnings` | what a result falls short of: on the job, in lists, in callbacks |
//! | `restart` | what a stop leaves for the next start: queued, running, undelivered |
//! | `starved` | a system that has no file, no thread or no memory to give |
//! | `terminal` | signals; an output that is closed, full, or has no reader |
//! | `stored` | what is answered after a commit |

mod access;
#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
mod attack;
mod callbacks;
#[cfg(feature = "cli")]
mod cli;
mod clients;
mod crowd;
mod depth;
mod estimates;
mod full;
mod http;
#[cfg(all(feature = "cli", feature = "whisper"))]
mod kill;
mod ladder;
mod lifecycle;
#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
mod memory;
#[cfg(all(feature = "cli", feature = "whisper"))]
mod model;
mod pages;
#[cfg(unix)]
mod poison;
mod restart;
#[cfg(all(feature = "cli", feature = "whisper"))]
mod service;
mod spelling;
#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
mod starved;
mod stored;
mod support;
#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
mod terminal;
#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
mod time;
#[cfg(all(feature = "cli", feature = "tls"))]
mod tls;
#[cfg(feature = "whisper")]
mod transcribe;
mod uploads;
mod warnings;
