//! What the process has used, as far as Linux says so under `/proc`.

use std::fs;

use serde_json::{Value as Json, json};

/// Ticks of the times in `/proc` in a second, the same on all that Linux runs on.
const TICKS: f64 = 100.0;

/// What Python's `resource.getrusage` says; none on other systems.
pub(super) fn usage() -> Option<Json> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    read_usage(&stat, &status)
}

/// The memory that the process has, such as `60.551MB`; none on other systems.
pub(super) fn memory() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(human(field(&status, "VmRSS")?.checked_mul(1024)?))
}

fn read_usage(stat: &str, status: &str) -> Option<Json> {
    // the program's name stands in parentheses, and may have spaces and parentheses of its own
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<u64> = fields
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    // numbered from the third field on, see proc_pid_stat(5)
    let number = |at: usize| fields.get(at - 3).copied();
    let seconds =
        |at| number(at).map(|ticks| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS);
    let of_status = |name| field(status, name).unwrap_or_default();
    Some(json!({
        "utime": seconds(14)?,
        "stime": seconds(15)?,
        "maxrss": of_status("VmHWM"),
        "ixrss": 0,
        "idrss": 0,
        "isrss": 0,
        "minflt": number(10)?,
        "majflt": number(12)?,
        "nswap": 0,
        "inblock": 0,
        "oublock": 0,
        "msgsnd": 0,
        "msgrcv": 0,
        "nsignals": 0,
        "nvcsw": of_status("voluntary_ctxt_switches"),
        "nivcsw": of_status("nonvoluntary_ctxt_switches"),
    }))
}

/// The number of a line of `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    value.split_whitespace().next()?.parse().ok()
}

/// Bytes as Celery writes them: five digits and the largest unit that fits.
fn human(bytes: u64) -> String {
    let units = [(40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")];
    let fitting = units.iter().find(|(shift, _)| bytes >= 1 << shift);
    let Some((shift, unit)) = fitting else {
        return format!("{bytes}b");
    };
    #[expect(clippy::cast_precision_loss, reason = "five digits are shown")]
    let size = bytes as f64 / (1_u64 << shift) as f64;
    let places: usize = match size {
        0.0..10.0 => 4,
        10.0..100.0 => 3,
        100.0..1000.0 => 2,
        _ => 1,
    };
    let text = format!("{size:.places$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_as_celery_does() {
        for (bytes, text) in [
            (0, "0b"),
            (1023, "1023b"),
            (1024, "1KB"),
            (63_492_325, "60.551MB"),
            (3 << 29, "1.5GB"),
            (1 << 40, "1TB"),
            (1_073_000_000, "1023.3MB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn usage_is_read_as_linux_writes_it() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 34244 0 5 0 87 17 0 0 20 0 9 0 100 200 300";
        let status = "Name:\ta\nVmHWM:\t   61624 kB\nvoluntary_ctxt_switches:\t123\n";
        let usage = read_usage(stat, status).expect("usage");
        assert_eq!(usage["utime"], 0.87);
        assert_eq!(usage["stime"], 0.17);
        assert_eq!(usage["minflt"], 34244);
        assert_eq!(usage["majflt"], 5);
        assert_eq!(usage["maxrss"], 61624);
        assert_eq!(usage["nvcsw"], 123);
        assert_eq!(read_usage("", ""), None);
    }
}
