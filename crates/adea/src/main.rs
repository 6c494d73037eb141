//! Adea: a document database that `PouchDB` and other `CouchDB` clients sync with.
//!
//! The binary reads arguments and configuration, and lets one command run. What a command does
//! with data is decided in the crates below.

mod address;
mod arguments;
mod bench;
mod commands;
mod config;
mod telemetry;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use commands::{CommandError, Done};

fn main() -> ExitCode {
    // Before arguments, configuration or a runtime: a worker has none of them to give up.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|command| command == "js-worker")
    {
        return adea_script::worker::run();
    }
    match run(Arguments::parse().into_command()) {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::FaultsFound) => ExitCode::FAILURE,
        Err(error) => {
            commands::complain(&format!("adea: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<Done, CommandError> {
    match command {
        Command::Serve(settings) => commands::serve::run(settings),
        Command::Check(data) => commands::check::run(data),
        Command::Backup(arguments) => commands::backup::run(arguments),
        Command::Restore(arguments) => commands::restore::run(arguments),
        Command::Config(command) => commands::configuration::run(command),
        Command::Bench(arguments) => {
            bench::run(&arguments, Some(commands::engine_floor::write))?;
            Ok(Done::Well)
        }
        Command::BenchServer => {
            bench::serve_constant()?;
            Ok(Done::Well)
        }
        // Answered by `main` before it came to this.
        Command::JsWorker => Ok(Done::Well),
        Command::Version => {
            commands::say(concat!("adea ", env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(Done::Well)
        }
    }
}
