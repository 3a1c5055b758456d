//! Attributes beside `#[task]` go where they belong.
#![deny(warnings, missing_docs)]
#![allow(unexpected_cfgs)]

use coney::prelude::*;

/// There.
#[task]
#[cfg(not(nowhere))]
pub async fn there(x: u8) -> u8 {
    x
}

/// Not there: its types do not even exist.
#[task(queue = Nowhere)]
#[cfg(nowhere)]
pub async fn not_there(x: Nothing) -> Nowhere {
    x
}

/// Old.
#[task]
#[deprecated(note = "use `there`")]
pub async fn old() {}

#[task]
#[doc(hidden)]
pub async fn hidden() {}

/// Generated.
macro_rules! generate {
    ($name:ident, $ty:ty, $facade:path) => {
        /// By a macro.
        #[task(crate = $facade)]
        pub async fn $name(value: $ty, ctx: TaskContext) -> $ty {
            let _ = ctx;
            value
        }
    };
}

generate!(generated, Option<u8>, ::coney);

/// With `$crate`-like hygiene: the argument's name comes from the macro.
macro_rules! inner_names {
    ($name:ident) => {
        /// By a macro.
        #[task]
        pub async fn $name(__args: u8, __injected: u8, value: u8) -> u8 {
            __args + __injected + value
        }
    };
}

inner_names!(with_odd_names);

fn main() {
    let _ = there::call(1);
    #[allow(deprecated)]
    let _ = (old(), old::call());
    let _ = hidden::call();
    let _ = generated::call(None);
    let _ = with_odd_names::call(1, 2, 3);
}
