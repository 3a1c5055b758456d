//! How the worker is, as its heartbeats tell.

use std::time::Duration;

use coney_protocol::event::{SOFTWARE, Vitals};

use super::Counts;

/// What is known without looking.
pub(crate) fn bare(freq: Duration) -> Vitals<'static> {
    let mut vitals = Vitals::default();
    vitals.freq = freq.as_secs_f64();
    vitals.sw_ident = SOFTWARE.into();
    vitals.sw_ver = env!("CARGO_PKG_VERSION").into();
    vitals.sw_sys = system().into();
    vitals
}

/// All of it.
pub(crate) fn full(freq: Duration, counts: Counts) -> Vitals<'static> {
    let mut vitals = bare(freq);
    vitals.active = Some(counts.active);
    vitals.processed = Some(counts.processed);
    vitals.loadavg = Some(load());
    vitals
}

/// The operating system, as Python names it.
fn system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "windows" => "Windows",
        other => other,
    }
}

/// The load of the machine over 1, 5 and 15 minutes; zeros where the system does not say.
fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    read_load(&text).unwrap_or_default()
}

fn read_load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(|word| word.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_read_as_linux_writes_it() {
        let text = "0.36 5.31 14.49 2/811 27272\n";
        assert_eq!(read_load(text), Some([0.36, 5.31, 14.49]));
        assert_eq!(read_load(""), None);
        assert_eq!(read_load("a b c"), None);
    }

    #[test]
    fn an_extra_heartbeat_tells_less() {
        let bare = bare(Duration::from_secs(5));
        assert_eq!(
            (bare.active, bare.processed, bare.loadavg),
            (None, None, None)
        );
        let counts = Counts {
            active: 1,
            processed: 2,
        };
        let full = full(Duration::from_secs(2), counts);
        assert_eq!((full.active, full.processed), (Some(1), Some(2)));
        assert!(full.loadavg.is_some());
    }
}
