//! The time of each stage of the hot path.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::time::{Duration, Instant};

use coney_hot_path::{Stage, measured, runtime, stages};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Steps that are prepared together: not so many that their input leaves the processor's cache.
const TOGETHER: u64 = 64;

fn hot_path(criterion: &mut Criterion) {
    let runtime = runtime().expect("a runtime");
    let _within = runtime.enter();
    let mut group = criterion.benchmark_group("hot_path");
    for mut stage in stages().expect("all stages") {
        let messages = u64::try_from(stage.messages()).expect("a few");
        group.throughput(Throughput::Elements(messages));
        group.bench_function(stage.name(), |bencher| {
            bencher.iter_custom(|steps| time(&mut stage, steps));
        });
    }
    group.finish();
}

fn time(stage: &mut Stage, mut steps: u64) -> Duration {
    let mut total = Duration::ZERO;
    while steps > 0 {
        let now = steps.min(TOGETHER);
        let count = usize::try_from(now).expect("a few");
        stage.prepare(count).expect("input");
        let started = Instant::now();
        measured(stage).expect("all steps do their work");
        total += started.elapsed();
        steps -= now;
    }
    total
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
