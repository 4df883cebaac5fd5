//! The `signet` binary: machine identity for everything that runs.
//!
//! Reads arguments, calls the server, the agent or their clients, and writes what came of it: text for people, one
//! JSON document with `-o json`, one line `error[CODE]: what, what to do` on standard error when it failed, with
//! several mistakes one by one below it.

mod api;
mod args;
mod clock;
mod command;
mod error;
mod failure;
mod file;
mod folder;
mod health;
mod local;
mod notify;
mod output;
mod register;
mod runtime;
mod style;

use failure::Failure;
use std::process::ExitCode;
use std::time::Instant;

/// A command that was understood and did not succeed.
const REFUSED: u8 = 1;
/// A command that could not be understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = match args::Cli::read() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version go to standard output and succeed; mistakes go to standard error.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(USAGE));
        }
    };
    match command::run(cli, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(if failure.is_usage { USAGE } else { REFUSED })
        }
    }
}

/// What every command returns.
type Outcome<T = ()> = Result<T, Failure>;
