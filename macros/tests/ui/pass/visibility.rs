//! Every visibility, in every place a function can stand, under the strictest lints.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused, nonstandard_style)]
#![deny(private_interfaces, private_bounds, non_local_definitions)]

use coney::prelude::*;

/// Queues are types of their own.
mod queues {
    use coney::Queue;

    /// Seen by the parent only.
    #[derive(Debug, Queue)]
    pub(super) struct Internal;
}

/// A public task on a private queue.
#[task(queue = queues::Internal)]
pub async fn public(x: i64) -> i64 {
    x
}

/// Never called by name.
#[task]
async fn private() {}

/// Outer.
pub mod outer {
    use coney::prelude::*;

    /// Inner.
    pub mod inner {
        use coney::prelude::*;

        /// For the crate.
        #[task]
        pub(crate) async fn of_the_crate(x: u8) -> u8 {
            x
        }

        /// For the parent.
        #[task]
        pub(super) async fn of_the_parent(x: u8) -> u8 {
            x
        }

        /// For a module above.
        #[task]
        pub(in crate::outer) async fn of_outer(x: u8) -> u8 {
            x
        }
    }

    /// Uses what it may.
    #[task]
    pub async fn uses_them() {
        let _ = (inner::of_the_parent::call(1), inner::of_outer::call(1));
        inner::of_the_parent(1).await;
        inner::of_outer(1).await;
    }
}

// one import brings function and type
use outer::inner::of_the_crate as renamed;

fn main() {
    #[task]
    async fn local(x: u8) -> u8 {
        x
    }

    let _ = (public::call(1), private::call(), renamed::call(1), local::call(1));
    let _ = (renamed(1), local(1));
    let _ = outer::uses_them::call();
}
