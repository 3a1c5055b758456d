//! Takes messages through one stage of the hot path, for `cargo xtask instructions` to count with callgrind. Without a
//! stage it tells its own path and their names.
#![allow(
    clippy::print_stdout,
    reason = "a command-line program talks to its user"
)]

use anyhow::{Context, Result};
use coney_hot_path::{measured, runtime, stages};

/// Messages before the first that counts: what is made once has been made by then.
const WARM_UP: usize = 200;

/// Messages that count, at least.
const MESSAGES: usize = 400;

fn main() -> Result<()> {
    let runtime = runtime()?;
    let _within = runtime.enter();
    let mut stages = stages()?;
    let Some(name) = std::env::args().nth(1) else {
        println!("{}", std::env::current_exe()?.display());
        stages.iter().for_each(|stage| println!("{}", stage.name()));
        return Ok(());
    };
    let stage = stages.iter_mut().find(|stage| stage.name() == name);
    let stage = stage.with_context(|| format!("there is no stage `{name}`"))?;
    stage.prepare(WARM_UP.div_ceil(stage.messages()))?;
    stage.run()?;
    let steps = MESSAGES.div_ceil(stage.messages());
    stage.prepare(steps)?;
    measured(stage)?;
    println!("{}", steps * stage.messages());
    Ok(())
}
