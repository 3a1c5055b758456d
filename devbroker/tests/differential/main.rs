//! The same scripted scenarios against RabbitMQ and the development broker: what the client saw has to be the same.
//!
//! Without a RabbitMQ the development broker is compared with recordings of RabbitMQ 3.10 and 4.3. `CONEY_URL` (and
//! `CONEY_MANAGEMENT_URL`) name a RabbitMQ to compare with instead; with `CONEY_DIFFERENTIAL=record` its answers are
//! recorded. `CONEY_SCENARIO` runs only scenarios whose names contain it.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(missing_debug_implementations, reason = "nobody prints a scene")]

use std::collections::{BTreeMap, BTreeSet};

mod client;
mod compare;
mod connection;
mod content;
mod known;
#[path = "../../../tests/support/management.rs"]
mod management;
mod method;
#[path = "../../../tests/support/place.rs"]
mod place;
mod recorded;
mod run;
mod scenarios;
mod scene;
mod target;
mod transcript;
mod value;

/// A test for each area.
macro_rules! areas {
    ($($area:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $area() {
                run::area(stringify!($area), scenarios::$area::SCENARIOS).await;
            }
        )*

        #[test]
        fn every_scenario_has_a_name_of_its_own() {
            let all = [$(scenarios::$area::SCENARIOS),*].concat();
            let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
            assert_eq!(names.len(), all.len());
        }

        #[test]
        fn known_differences_are_of_this_suite() {
            let all = [$(scenarios::$area::SCENARIOS),*].concat();
            for name in known::KNOWN.iter().flat_map(|known| known.scenarios) {
                assert!(all.iter().any(|scenario| scenario.name == *name), "{name}");
            }
            for everywhere in known::EVERYWHERE {
                let seen = [$(
                    recorded::load(recorded::FULL, stringify!($area)),
                    recorded::load(everywhere.version, stringify!($area)),
                )*];
                let mut lines = seen.iter().flat_map(BTreeMap::values).flatten();
                let pattern = everywhere.pattern();
                assert!(lines.any(|line| pattern.is_match(line)), "{}", everywhere.reason);
            }
        }
    };
}

areas![
    acks,
    channels,
    confirms,
    consumers,
    contents,
    dead_letters,
    exchanges,
    expiry,
    handshake,
    limits,
    permissions,
    queues,
    quorum,
    replies,
    routing,
    streams,
];
