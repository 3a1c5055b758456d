//! Transcripts of RabbitMQ in files: one for each area, scenarios with their lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Transcripts by the name of their scenario.
pub type Transcripts = BTreeMap<String, Vec<String>>;

/// The oldest supported version, of which every scenario is recorded.
pub const FULL: &str = "3.10";
/// The newest, of which only what differs is recorded.
pub const CHANGED: &str = "4.3";

/// What this version answered in this area.
pub fn load(version: &str, area: &str) -> Transcripts {
    let mut transcripts = read(FULL, area);
    if version != FULL {
        transcripts.extend(read(version, area));
    }
    transcripts
}

/// Writes what a version answered.
pub fn save(version: &str, area: &str, mut transcripts: Transcripts) {
    if version != FULL {
        let full = read(FULL, area);
        transcripts.retain(|name, lines| full.get(name) != Some(lines));
    }
    let path = path(version, area);
    if transcripts.is_empty() {
        // one of an earlier run
        let _ = fs::remove_file(path);
        return;
    }
    let mut text = format!("# RabbitMQ {version}\n");
    for (name, lines) in transcripts {
        let _ = write!(text, "\n## {name}\n{}\n", lines.join("\n"));
    }
    fs::create_dir_all(path.with_file_name("")).expect("the folder of recordings");
    fs::write(path, text).expect("a recording");
}

fn read(version: &str, area: &str) -> Transcripts {
    let text = fs::read_to_string(path(version, area)).unwrap_or_default();
    let scenarios = text.split("\n## ").skip(1).map(|scenario| {
        let mut lines = scenario.lines().map(str::to_owned);
        let name = lines.next().unwrap_or_default();
        (name, lines.filter(|line| !line.is_empty()).collect())
    });
    scenarios.collect()
}

fn path(version: &str, area: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/recorded");
    folder.join(version).join(format!("{area}.txt"))
}
