//! The program of the end-to-end benchmark; `cargo xtask bench` builds and starts it with a broker.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    coney_benches::main(coney_benches::Cli::parse())
}
