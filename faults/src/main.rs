//! Fault suite: real worker processes and a real broker while everything breaks, and an account of every task at the end.
//!
//! `cargo xtask faults` starts a broker and runs this on it. One program has both parts: `run` conducts, `worker` is one
//! of the processes that it starts, kills and starts again.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks to its user"
)]

mod account;
mod conductor;
mod crew;
mod dice;
mod drain;
mod faults;
mod hook;
mod journal;
mod management;
mod proxy;
mod report;
mod restarts;
mod schedule;
mod sender;
mod tasks;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Fault suite of coney; `cargo xtask faults` starts it with a broker")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send tasks, break things, account for every task.
    Run(conductor::Arguments),
    /// Run tasks; ends with its standard input.
    Worker(worker::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => conductor::run(arguments).await,
        Command::Worker(arguments) => worker::run(arguments).await.map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
