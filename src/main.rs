//! The `ringback` program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, cli::Failure::ReaderGone) {
                cli::out::note(format_args!("ringback: {failure}"));
            }
            failure.exit_code()
        }
    }
}
