//! What a run prints at its end.

use std::collections::BTreeMap;

use crate::account::{Account, Fate, Sums};
use crate::schedule::Event;

/// How many ids of a kind of mistake are shown.
const SHOWN: usize = 30;

pub(crate) fn print(account: &Account, fates: &[Fate], schedule: &[Event]) {
    print_faults(schedule);
    println!();
    println!(
        "{:<10}{:>8}{:>11}{:>11}{:>9}{:>10}{:>8}{:>11}{:>7}{:>10}{:>9}{:>12}{:>17}",
        "tasks",
        "sent",
        "confirmed",
        "uncertain",
        "refused",
        "answered",
        "runs",
        "cut short",
        "dead",
        "given up",
        "touched",
        "duplicated",
        "published twice"
    );
    for (kind, sums) in &account.by_kind {
        print_row(&format!("{kind:?}").to_lowercase(), sums);
    }
    print_row("all", &account.all);
    for (fault, ids) in &account.faults {
        println!("\n{fault:?}: {}", ids.len());
        for fate in fates.iter().filter(|f| ids.contains(&f.id)).take(SHOWN) {
            println!("  {fate:?}");
        }
    }
}

fn print_faults(schedule: &[Event]) {
    let mut counts = BTreeMap::<_, usize>::new();
    for event in schedule {
        *counts.entry(event.fault.name()).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    println!("\n{} faults: {}", schedule.len(), counts.join(", "));
}

fn print_row(name: &str, sums: &Sums) {
    println!(
        "{name:<10}{:>8}{:>11}{:>11}{:>9}{:>10}{:>8}{:>11}{:>7}{:>10}{:>9}{:>12}{:>17}",
        sums.sent,
        sums.confirmed,
        sums.uncertain,
        sums.refused,
        sums.answered,
        sums.runs,
        sums.cut_short,
        sums.dead,
        sums.given_up,
        sums.touched,
        sums.duplicated,
        sums.published_twice
    );
}
