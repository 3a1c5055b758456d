//! Assertions in one line.

/// Checks that a call is enqueued: sent, and not finished. Returns all that fit.
///
/// Arguments are compared by name, those that are not given may be anything. What else is expected follows behind a
/// semicolon: `queue = Mail`, `count = 2`, `after = hours(1)`, `at = time`, `within = mins(5)`, `attempt = 2`,
/// `id = handle.id()`; see [`Expectation`](crate::testing::Expectation).
///
/// It means the app that was started on this thread; `in app,` names another.
///
/// ```
/// # use coney::prelude::*;
/// # use coney::testing::{TestApp, TestError, assert_enqueued, refute_enqueued};
/// #[task]
/// async fn welcome(user: u64, language: String) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = TestApp::start().await?;
/// welcome::call(7, "sv".to_owned()).delay(hours(1)).send(app.client()).await?;
///
/// assert_enqueued!(welcome, user = 7);
/// let calls = assert_enqueued!(in app, welcome, language = "sv"; count = 1, after = hours(1));
/// assert_eq!(calls[0].named["user"], 7);
/// refute_enqueued!(welcome, user = 8);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! assert_enqueued {
    (in $app:expr, $($expected:tt)+) => {
        $crate::__expectation!($($expected)+).met_by(&$app)
    };
    ($($expected:tt)+) => {
        $crate::__expectation!($($expected)+).met_by(&$crate::testing::the_app())
    };
}

/// Checks that no such call is enqueued: the contrary of [`assert_enqueued!`](crate::testing::assert_enqueued).
#[macro_export]
macro_rules! refute_enqueued {
    (in $app:expr, $($expected:tt)+) => {
        $crate::__expectation!($($expected)+).refuted_by(&$app)
    };
    ($($expected:tt)+) => {
        $crate::__expectation!($($expected)+).refuted_by(&$crate::testing::the_app())
    };
}

/// Runs one attempt of a call the whole way, with an app of its own, and says what came of it when it is awaited.
///
/// The call is encoded, sent, decoded, run and settled. Options: `state = value`, as often as there are states;
/// `attempt = 3`; `patience = secs(60)`. For calls with options of their own, and tasks that send others, see
/// [`TestApp::perform`](crate::testing::TestApp::perform).
///
/// # Panics
///
/// If the attempt cannot be made: state is missing, or the task does not end.
///
/// ```
/// # use coney::prelude::*;
/// # use coney::testing::{Performed, perform};
/// #[derive(Clone)]
/// struct Greeting(&'static str);
///
/// #[task]
/// async fn welcome(user: u64, State(greeting): State<Greeting>) -> String {
///     format!("{}, user {user}", greeting.0)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let said = perform!(welcome(7), state = Greeting("Hello")).await;
/// assert_eq!(said.ok().as_deref(), Some("Hello, user 7"));
/// # }
/// ```
#[macro_export]
macro_rules! perform {
    ($($task:ident)::+ ($($argument:expr),* $(,)?) $(, $option:ident = $value:expr)* $(,)?) => {{
        let attempt = $crate::testing::Alone::new($($task)::+::call($($argument),*))$(.$option($value))*;
        async move {
            match attempt.run().await {
                ::core::result::Result::Ok(performed) => performed,
                ::core::result::Result::Err(error) => ::core::panic!("{error:?}"),
            }
        }
    }};
}

/// What `assert_enqueued!` and `refute_enqueued!` say about a call.
#[doc(hidden)]
#[macro_export]
macro_rules! __expectation {
    ($task:path $(, $name:ident = $value:expr)* $(,)? $(; $($options:tt)*)?) => {
        $crate::__expected!(
            [$crate::testing::Expectation::of::<$task>()
                $(.argument(::core::stringify!($name), &$value))*]
            $($($options)*)?
        )
    };
}

/// The options of an expectation; a queue is a type, all others are values.
#[doc(hidden)]
#[macro_export]
macro_rules! __expected {
    ([$($made:tt)*]) => { $($made)* };
    ([$($made:tt)*] queue = $queue:ty $(, $($more:tt)*)?) => {
        $crate::__expected!([$($made)*.queue::<$queue>()] $($($more)*)?)
    };
    ([$($made:tt)*] $option:ident = $value:expr $(, $($more:tt)*)?) => {
        $crate::__expected!([$($made)*.$option($value)] $($($more)*)?)
    };
}
