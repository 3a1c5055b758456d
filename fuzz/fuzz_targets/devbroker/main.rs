//! Two clients that say anything to the development broker, in any order, and a third that must not feel it.
//!
//! The broker runs on a clock that only moves when everything has come to rest: what never comes to rest is a time-out
//! of the fuzzer, and what waits for a time-out of the broker gets it at once.

#![no_main]

mod content;
mod methods;
mod names;
mod parts;
mod peer;
mod script;
mod watch;
mod witness;

use std::cell::LazyCell;
use std::time::Duration;

use coney_devbroker::Clock;
use coney_devbroker::fuzzing::PipeBroker;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use script::{Script, Settings};
use witness::Witness;

/// Longer than any time-out of the broker, in time that passes only when nothing happens.
const EVER: Duration = Duration::from_secs(120);

thread_local! {
    static RUNTIME: LazyCell<Runtime> = LazyCell::new(|| {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        builder.build().expect("a runtime without I/O")
    });
}

fuzz_target!(|input: &[u8]| {
    RUNTIME.with(|runtime| runtime.block_on(run(input)));
});

async fn run(input: &[u8]) {
    let (settings, parts) = Settings::read(input);
    let clock = Clock::stopped();
    let broker = PipeBroker::new(clock.clone(), settings.memory_limit, settings.frame_max);
    let mut witness = Witness::connect(&broker).await;
    let mut script = Script::new(parts, settings, &broker, &clock);
    script.play().await;
    broker.faults().unblock();
    broker.faults().release_confirms("/");
    witness.is_served().await;
    drop(script);
    witness.finds_nothing_left(&broker).await;
    drop(witness);
    timeout(EVER, broker.stop()).await.expect("all tasks end");
}
