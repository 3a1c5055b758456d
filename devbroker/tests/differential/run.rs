//! Runs the scenarios of an area and compares.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;

use futures_util::stream::{self, StreamExt as _};

use crate::management::Management;
use crate::recorded::{self, Transcripts};
use crate::scene::Scene;
use crate::target::Target;

/// How many scenarios of an area run at a time.
const AT_A_TIME: usize = 8;

/// A script and the name of what it finds out.
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
    let scenarios: Vec<_> = scenarios.iter().filter(|scenario| scenario.name.contains(&only)).collect();
    let rabbitmq = Target::RabbitMq(Management::new());
    let version = rabbitmq.version().await;
    let seen = play(&rabbitmq, &scenarios).await;
    if only.is_empty() {
        recorded::save(&version, area, seen.clone());
    }
    let mut missing = String::new();
    for (name, lines) in &seen {
        if !only.is_empty() || lines.iter().any(|line| line.contains("did not come") || line.contains("unasked")) {
            let _ = writeln!(missing, "## {name}\n{}\n", lines.join("\n"));
        }
    }
    assert!(missing.is_empty(), "{missing}");
}

/// What each scenario sees on this broker.
async fn play(target: &Target, scenarios: &[&Scenario]) -> Transcripts {
    let runs = scenarios.iter().map(|scenario| async move {
        let scene = Scene::new(target, scenario.name).await;
        (scenario.script)(&scene).await;
        (scenario.name.to_owned(), scene.finish().await)
    });
    stream::iter(runs).buffer_unordered(AT_A_TIME).collect().await
}
