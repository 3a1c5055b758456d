//! The same scripted scenarios against RabbitMQ and the development broker: what the client saw has to be the same.
//!
//! Without a RabbitMQ the development broker is compared with recordings of RabbitMQ 3.10 and 4.3. `CONEY_URL` (and
//! `CONEY_MANAGEMENT_URL`) name a RabbitMQ to compare with instead; with `CONEY_DIFFERENTIAL=record` its answers are
//! recorded. `CONEY_SCENARIO` runs only scenarios whose names contain it.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(missing_debug_implementations, reason = "nobody prints a scene")]

mod client;
mod compare;
mod connection;
mod content;
mod known;
#[path = "../../../tests/support/management.rs"]
mod management;
mod method;
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
        fn known_differences_are_those_of_scenarios() {
            let all = [$(scenarios::$area::SCENARIOS),*].concat();
            let is_known = |name: &&str| all.iter().any(|scenario| scenario.name == *name);
            for known in known::KNOWN {
                assert!(known.scenarios.iter().all(|name| is_known(&name)), "{}", known.reason);
            }
            let names: std::collections::BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
            assert_eq!(names.len(), all.len(), "two scenarios have the same name");
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
