//! Nothing in scope changes what the expansion means, and it brings nothing into scope.
#![allow(dead_code, non_camel_case_types)]

mod plain {
    use ::coney::{Queue, State, TaskContext, TaskError, task};

    // names that the expansion would trip over if it were not written with full paths
    struct Result;
    struct Option;
    struct Future;
    trait Send {}
    trait Task {}
    mod core {}
    mod std {}
    mod coney {}

    #[derive(Queue)]
    struct Q;

    #[derive(Debug, TaskError)]
    enum E {
        #[defer(after = "1s")]
        Later,
    }

    impl ::std::fmt::Display for E {
        fn fmt(&self, _: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
            Ok(())
        }
    }
    impl ::std::error::Error for E {}

    // tasks and arguments of one name
    #[task(queue = Q, timeout = "1s", retry(max = 1, backoff = fixed("1s")), priority = low, ack = "early")]
    async fn a(a: u8, b: u8, State(c): State<u8>, ctx: TaskContext) -> ::std::result::Result<u8, E> {
        let _ = ctx;
        Ok(a + b + c)
    }

    #[task]
    async fn b(a: u8) -> u8 {
        a
    }

    #[task(blocking)]
    fn run(run: u8, call: u8) -> u8 {
        run + call
    }

    pub fn all() {
        let _ = (a::call(1, 2), b::call(1), run::call(1, 2));
    }
}

mod bare {
    #![no_implicit_prelude]

    use ::coney::{task, Queue};

    #[derive(Queue)]
    struct Q;

    #[task(queue = Q, expires = "1h")]
    async fn f(x: u8) -> u8 {
        x
    }

    #[task]
    async fn elsewhere(x: u8) -> u8;

    pub fn all() {
        let _ = (f::call(1), elsewhere::call(1));
    }
}

mod helpers_stay_hidden {
    use coney::prelude::*;

    #[task]
    async fn f(x: u8) -> u8 {
        x
    }

    // an inherent constant of our own, not a method of a helper trait that leaked
    struct Shape;
    trait Mine {
        const FALLIBLE: u8 = 3;
    }
    impl Mine for Shape {}

    pub fn all() -> u8 {
        let _ = f::call(1);
        Shape::FALLIBLE
    }
}

fn main() {
    plain::all();
    bare::all();
    helpers_stay_hidden::all();
}
