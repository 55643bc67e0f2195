//! What the program says while it runs: lines on stderr.

use std::io::Write;
use std::time::SystemTime;

use env_logger::Builder;
use log::LevelFilter;

/// Sets the log up. `verbose` counts `-v`; without one RUST_LOG says what is logged.
pub(super) fn init(verbose: u8) {
    let mut log = Builder::new();
    log.filter_level(LevelFilter::Warn).filter_module("ringback", LevelFilter::Info);
    // A recording may be made of what its decoder complains of: a line for every hundred bytes.
    log.filter_module("symphonia", LevelFilter::Off);
    match verbose {
        0 => log.parse_default_env(),
        1 => log.filter_module("ringback", LevelFilter::Debug),
        _ => log.filter_level(LevelFilter::Trace).filter_module("ringback", LevelFilter::Trace),
    };
    log.format(|out, record| {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        writeln!(out, "{time} {:5} {}", record.level(), record.args())
    });
    log.init();
}
