//! Which broker the tests use: the RabbitMQ at `CONEY_URL`, or a development broker in this process.
//!
//! Shared: the tests of `coney-amqp` and of the fault suite include this file too.

use std::sync::{OnceLock, mpsc};
use std::thread;

use coney_devbroker::DevBroker;

/// Where a broker and its management API answer, each as host and port, and what the broker calls itself.
#[derive(Clone, Debug)]
pub struct Place {
    #[allow(dead_code, reason = "not all tests that include this ask")]
    pub product: &'static str,
    pub amqp: String,
    pub management: String,
}

/// The broker of this process.
pub fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| match std::env::var("CONEY_URL") {
        Ok(url) if !url.is_empty() => rabbitmq(&url),
        _ => embedded(),
    })
}

/// The management API is the one at `CONEY_MANAGEMENT_URL`; the one on port 15672 of the broker's host if that is not
/// set.
fn rabbitmq(url: &str) -> Place {
    let host = host_of(url);
    let amqp = match host.rsplit_once(':') {
        // not a colon within an IPv6 address
        Some((_, port)) if !port.ends_with(']') => host.to_owned(),
        _ => format!("{host}:5672"),
    };
    let management = match std::env::var("CONEY_MANAGEMENT_URL") {
        Ok(url) => host_of(&url).to_owned(),
        Err(_) => {
            let host = amqp.rsplit_once(':').map_or(&*amqp, |(host, _)| host);
            format!("{host}:15672")
        }
    };
    Place {
        product: "RabbitMQ",
        amqp,
        management,
    }
}

/// Host and port of a URL, without the login.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// Starts a development broker that lives as long as the process, on a thread of its own: the runtime of a test ends
/// with the test.
fn embedded() -> Place {
    let (tell, told) = mpsc::channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let starting = DevBroker::builder().management(0).start();
            let broker = starting.await.expect("a free port of 127.0.0.1");
            let management = broker.management_url().expect("asked for");
            let place = Place {
                product: "coney-devbroker",
                amqp: broker.address().to_string(),
                management: host_of(&management).to_owned(),
            };
            tell.send(place).expect("somebody asked");
            std::future::pending::<()>().await;
        });
    };
    thread::Builder::new()
        .name("devbroker".to_owned())
        .spawn(serve)
        .expect("a thread");
    told.recv().expect("the development broker starts")
}
