//! Serves one development broker until it is interrupted.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use coney_devbroker::DevBroker;

/// An AMQP 0-9-1 broker in memory, for development and tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The port on 127.0.0.1; 0 for a free one.
    #[arg(long, default_value_t = 5672)]
    port: u16,
    /// How much messages may take before publishers are blocked, in MiB.
    #[arg(long, default_value_t = 512)]
    memory: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // nothing is left to do if even that cannot be written
            let _ignored = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let builder = DevBroker::builder()
        .port(arguments.port)
        .memory_limit(arguments.memory.saturating_mul(1024 * 1024));
    let broker = builder.start().await?;
    writeln!(
        io::stdout(),
        "{}\nFor development and tests only: nothing is kept on disk. Ctrl-C ends it.",
        broker.url()
    )?;
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    Ok(())
}
