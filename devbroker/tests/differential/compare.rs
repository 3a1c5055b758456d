//! Two transcripts beside each other.

use crate::known;
use crate::recorded::Transcripts;

/// What differs although it is not known to, or is known to differ and does not.
pub fn complaints(version: &str, theirs: &Transcripts, ours: &Transcripts) -> String {
    let complaints = ours.iter().filter_map(|(name, ours)| {
        let complaint = complaint(version, name, theirs.get(name), ours)?;
        Some(format!("## {name}\n{complaint}"))
    });
    complaints.collect::<Vec<_>>().join("\n")
}

fn complaint(
    version: &str,
    name: &str,
    theirs: Option<&Vec<String>>,
    ours: &[String],
) -> Option<String> {
    let Some(theirs) = theirs else {
        return Some(format!(
            "RabbitMQ {version} was not recorded: see CONEY_DIFFERENTIAL\n"
        ));
    };
    let theirs = known::without_everywhere(version, theirs);
    let ours = known::without_everywhere(version, ours);
    match known::reason(version, name) {
        None if theirs != ours => Some(beside(version, &theirs, &ours)),
        Some(reason) if theirs == ours => Some(format!(
            "agrees with RabbitMQ {version}: take it off known.rs ({reason})\n"
        )),
        _ => None,
    }
}

/// The lines of both, in their common order; those of one only are marked.
fn beside(version: &str, theirs: &[String], ours: &[String]) -> String {
    let mut text = format!("(- RabbitMQ {version}, + development broker)\n");
    let (mut i, mut j) = (0, 0);
    let lengths = common(theirs, ours);
    while i < theirs.len() || j < ours.len() {
        let line = if i < theirs.len() && j < ours.len() && theirs[i] == ours[j] {
            (i, j) = (i + 1, j + 1);
            format!("  {}\n", ours[j - 1])
        } else if j == ours.len() || (i < theirs.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            i += 1;
            format!("- {}\n", theirs[i - 1])
        } else {
            j += 1;
            format!("+ {}\n", ours[j - 1])
        };
        text.push_str(&line);
    }
    text
}

/// How many lines the rests from `i` and `j` have in common.
fn common(theirs: &[String], ours: &[String]) -> Vec<Vec<usize>> {
    let mut lengths = vec![vec![0; ours.len() + 1]; theirs.len() + 1];
    for i in (0..theirs.len()).rev() {
        for j in (0..ours.len()).rev() {
            lengths[i][j] = if theirs[i] == ours[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    lengths
}
