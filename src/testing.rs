//! Tests of an application: broker, client and worker in the test's own process, with time that the test moves.
//!
//! Nothing needs to be installed, nothing is shared, and any number of such tests run beside each other. A call goes
//! the whole way (encoded, published, confirmed, delivered, decoded, run, settled) through
//! [`coney-devbroker`](coney_devbroker), which speaks AMQP on a port of loopback.
//!
//! ```
//! use coney::prelude::*;
//! use coney::testing::{Performed, TestApp, TestError, assert_enqueued, perform, refute_enqueued};
//!
//! #[derive(Clone)]
//! struct Mailer {
//!     works: bool,
//! }
//!
//! #[task(retry(max = 3, backoff = fixed("10h")))]
//! async fn welcome(user: u64, State(mailer): State<Mailer>) -> coney::Result<String> {
//!     match mailer.works {
//!         true => Ok(format!("welcome, user {user}")),
//!         false => Err(Failure::retry("no mail server")),
//!     }
//! }
//!
//! # async fn the_test() -> Result<(), Box<dyn std::error::Error>> {
//! // one attempt of one task
//! let said = perform!(welcome(7), state = Mailer { works: true }).await;
//! assert_eq!(said.ok().as_deref(), Some("welcome, user 7"));
//!
//! // an application: what is sent waits until the test lets it run
//! let app = TestApp::builder().state(Mailer { works: false }).task::<welcome>().start().await?;
//! welcome::call(7).send(app.client()).await?;
//! assert_enqueued!(welcome, user = 7);
//! refute_enqueued!(welcome, user = 8);
//!
//! // four attempts, and up to thirty hours of back-off in between that take no time
//! let drained = app.drain().await?;
//! assert_eq!(drained.attempts, 4);
//! assert!(drained.passed > hours(0));
//! let letters = app.dead_letters::<coney::DefaultQueue>().await?;
//! assert_eq!(letters[0].reason.as_str(), "exhausted");
//! # Ok(())
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() { the_test().await.unwrap(); }
//! ```
//!
//! # Time
//!
//! The clock of an app stands still. [`drain`](TestApp::drain) sets it to when the next delayed call is due whenever
//! there is nothing else to do; [`advance`](TestApp::advance) moves it by hand. It is the clock that delays, retries,
//! expiry, cancelled tasks and the times of attempts go by, in the broker as in client and worker. What a task does
//! with `tokio::time`, and its time limits, go by real time: a task that sleeps for a second takes a second. A test with
//! `start_paused` does not work, for tokio then takes waiting for the network for idleness.
//!
//! # When what runs
//!
//! A test that looks at what is sent needs that nothing runs meanwhile, so nothing does until
//! [`drain`](TestApp::drain) or [`perform`](TestApp::perform). One that awaits results as production does calls
//! [`start_worker`](TestApp::start_worker) first.

mod app;
mod builder;
mod course;
mod crew;
mod current;
mod enqueued;
mod error;
mod expect;
mod macros;
mod perform;
mod view;

pub use self::app::{Drained, QueueContent, TestApp};
pub use self::builder::TestAppBuilder;
#[doc(hidden)]
pub use self::current::the_app;
pub use self::enqueued::{Enqueued, Waiting};
pub use self::error::TestError;
pub use self::expect::Expectation;
#[doc(hidden)]
pub use self::perform::Alone;
pub use self::perform::{Perform, Performed};
#[doc(inline)]
pub use crate::{assert_enqueued, perform, refute_enqueued};
/// The broker of a test: to break something on purpose, or look deeper.
#[doc(no_inline)]
pub use coney_devbroker as devbroker;
