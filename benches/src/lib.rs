//! End-to-end benchmark: coney against hand-written lapin that does the same work on the same broker.
//!
//! One program has both sides. `run` conducts: it starts the participants as processes of their own, round by round,
//! takes the time by its own clock and asks the broker whether everything arrived. `role` is one of those processes; it
//! can be started by hand as well, to put a profiler on it.
//!
//! | participant | |
//! |---|---|
//! | [`participant::limit`] | the least that can be written: 16 bytes, one ack for a hundred messages |
//! | [`participant::rich`] | what any framework needs: properties, headers, JSON, a tokio task for each message |
//! | [`participant::coney`] | coney, as a user would write it |
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks to its user"
)]

mod conductor;
pub mod participant;
mod role;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// End-to-end benchmark of coney; `cargo xtask bench` starts it with a broker.
#[derive(Debug, Parser)]
#[command(name = "coney-benches")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the participants in turn and compare them.
    Run(conductor::Arguments),
    /// Measure how throughput and memory of coney grow with what is asked of it, and plot them.
    Growth(conductor::growth::Arguments),
    /// Be one participant's publisher, worker or caller.
    Role(role::Arguments),
}

/// Does what the command line says.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(arguments) => runtime(1).and_then(|rt| rt.block_on(conductor::run(arguments))),
        Command::Growth(arguments) => {
            runtime(1).and_then(|rt| rt.block_on(conductor::growth::run(arguments)))
        }
        Command::Role(arguments) => {
            runtime(arguments.threads()).and_then(|rt| rt.block_on(role::play(arguments)))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread that does everything, or several that share the work.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().context("no runtime")
}
