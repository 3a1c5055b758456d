//! Runs the scenarios of an area and compares.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;

use futures_util::stream::{self, StreamExt as _};

use crate::client::{MISSED, UNASKED};
use crate::compare;
use crate::recorded::{self, CHANGED, FULL, Transcripts};
use crate::scene::Scene;
use crate::target::Target;

/// How many scenarios of an area run at a time.
const AT_A_TIME: usize = 16;

/// A script and the name of what it finds out.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub script: for<'a> fn(&'a Scene<'a>) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

/// A list of scenarios from their functions.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        /// The scenarios of this area.
        pub const SCENARIOS: &[$crate::run::Scenario] = &[
            $($crate::run::Scenario { name: stringify!($name), script: |s| Box::pin($name(s)) }),*
        ];
    };
}

/// Runs an area as the environment says.
pub async fn area(area: &str, scenarios: &[Scenario]) {
    let only = std::env::var("CONEY_SCENARIO").unwrap_or_default();
    let scenarios: Vec<_> = scenarios
        .iter()
        .filter(|scenario| scenario.name.contains(&only))
        .collect();
    let rabbitmq = Target::rabbitmq();
    let complaints = match &rabbitmq {
        Some(rabbitmq)
            if std::env::var("CONEY_DIFFERENTIAL").is_ok_and(|mode| mode == "record") =>
        {
            assert!(only.is_empty(), "an area is recorded as a whole");
            record(rabbitmq, area, &scenarios).await
        }
        Some(rabbitmq) => live(rabbitmq, &scenarios).await,
        None => from_recordings(area, &scenarios).await,
    };
    assert!(complaints.is_empty(), "\n{complaints}");
}

/// Records RabbitMQ; complains of scripts that wait in vain or leave something, which are mistakes of the scripts.
async fn record(rabbitmq: &Target, area: &str, scenarios: &[&Scenario]) -> String {
    let seen = play(rabbitmq, scenarios).await;
    let version = rabbitmq.version().await;
    recorded::save(&version, area, seen.clone());
    let mistaken = |lines: &[String]| {
        lines
            .iter()
            .any(|line| line.contains(MISSED) || line.contains(UNASKED))
    };
    let mut complaints = String::new();
    for (name, lines) in seen
        .iter()
        .filter(|(_, lines)| version == FULL && mistaken(lines))
    {
        let _ = writeln!(complaints, "## {name}\n{}\n", lines.join("\n"));
    }
    complaints
}

/// Compares with a RabbitMQ that runs.
async fn live(rabbitmq: &Target, scenarios: &[&Scenario]) -> String {
    let version = match rabbitmq.version().await {
        old if old.starts_with('3') => FULL,
        _ => CHANGED,
    };
    let theirs = play(rabbitmq, scenarios).await;
    let ours = play(&Target::development().await, scenarios).await;
    compare::complaints(version, &theirs, &ours)
}

/// Compares with what was recorded.
async fn from_recordings(area: &str, scenarios: &[&Scenario]) -> String {
    let ours = play(&Target::development().await, scenarios).await;
    let complaints = [FULL, CHANGED]
        .map(|version| compare::complaints(version, &recorded::load(version, area), &ours));
    complaints.join("\n").trim().to_owned()
}

/// What each scenario sees on this broker.
async fn play(target: &Target, scenarios: &[&Scenario]) -> Transcripts {
    let runs = scenarios.iter().map(|scenario| async move {
        let scene = Scene::new(target).await;
        (scenario.script)(&scene).await;
        (scenario.name.to_owned(), scene.finish().await)
    });
    stream::iter(runs)
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}
