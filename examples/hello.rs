//! The smallest server: one task, and everything else as it comes.

use ringback::{Attempt, Output, Server, TaskError};

fn process(attempt: &Attempt) -> Result<Output, TaskError> {
    println!("{}", attempt.input().path().display());
    Ok(Output::text("prueba"))
}

fn main() -> Result<(), ringback::Error> {
    Server::builder().task("process", process).bind("127.0.0.1:8080")?.run()
}
