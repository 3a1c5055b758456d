//! What the operating system knows of a process: processor time and memory. Linux only; elsewhere nothing is known.

use std::fs;
use std::time::Duration;

/// One tick of `/proc/<pid>/stat`, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process, user and system.
///
/// The sum over its threads is exact to the nanosecond, but lacks threads that have ended; the sum for the process has
/// them, in hundredths of a second.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let threads = of_threads(pid)?;
    Some(threads.max(of_process(pid)?))
}

fn of_threads(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(times.sum()))
}

fn of_process(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name of the program, in brackets, may hold spaces
    let (_, fields) = text.rsplit_once(") ")?;
    let ticks: Vec<u32> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Some(TICK * ticks.iter().sum::<u32>())
}

/// Resident memory of a process, in MiB.
pub(crate) fn memory(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// The name of a program that runs.
pub(crate) fn program(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        let mut sum = 0u64;
        while cpu(pid).unwrap() < before + Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(memory(pid).unwrap() > 1.0);
        assert!(program(pid).is_some());
    }
}
