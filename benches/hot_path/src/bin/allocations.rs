//! Counts the allocations of each stage of the hot path, per message. Growing a block counts as one more.
#![allow(
    clippy::print_stdout,
    reason = "a command-line program talks to its user"
)]

use anyhow::Result;
use coney_hot_path::{Stage, measured, runtime, stages};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Steps before the first that counts: what is made once has been made by then.
const WARM_UP: usize = 200;

/// Steps that count.
const STEPS: usize = 1000;

fn main() -> Result<()> {
    let runtime = runtime()?;
    let _within = runtime.enter();
    let _counting = dhat::Profiler::builder().testing().build();
    println!("| stage | allocations | bytes |\n|---|--:|--:|");
    for mut stage in stages()? {
        let (blocks, bytes) = count(&mut stage)?;
        println!("| {} | {blocks:.1} | {bytes:.0} |", stage.name());
    }
    Ok(())
}

/// Allocations and allocated bytes per message.
fn count(stage: &mut Stage) -> Result<(f64, f64)> {
    stage.prepare(WARM_UP)?;
    measured(stage)?;
    stage.prepare(STEPS)?;
    let before = dhat::HeapStats::get();
    measured(stage)?;
    let after = dhat::HeapStats::get();
    let messages = STEPS * stage.messages();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = |before: u64, after: u64| (after - before) as f64 / messages as f64;
    Ok((
        each(before.total_blocks, after.total_blocks),
        each(before.total_bytes, after.total_bytes),
    ))
}
