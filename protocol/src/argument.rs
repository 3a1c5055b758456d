//! Arguments of a task: how each travels, and how a body is bound to all of them.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::absent;
use crate::codec::body::RawCall;
use crate::codec::typed;
use crate::error::{ArgumentError, ArgumentErrorKind};

/// The most arguments a task can have.
pub const MAX_ARGUMENTS: usize = 8;

/// A value that can be an argument of a task: anything that is `Serialize` and owned `Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task argument",
    label = "does not travel in a message",
    note = "derive serde::Serialize and serde::Deserialize on it",
    note = "if the worker shall supply it, mark the parameter #[inject]"
)]
pub trait Argument: Sized {
    /// Appends the value as JSON.
    #[doc(hidden)]
    fn encode(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error>;

    /// Reads the value from JSON; `None` if the message does not have it.
    #[doc(hidden)]
    fn decode(raw: Option<&RawValue>) -> Result<Self, ArgumentErrorKind>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for T {
    fn encode(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(json, self)
    }

    fn decode(raw: Option<&RawValue>) -> Result<Self, ArgumentErrorKind> {
        match raw {
            Some(raw) => typed::from_raw(raw).map_err(ArgumentErrorKind::Invalid),
            None => absent::value().ok_or(ArgumentErrorKind::Missing),
        }
    }
}

/// One parameter of a task: its name, its type as written, and how it travels.
pub struct Param<T> {
    name: &'static str,
    ty: &'static str,
    encode: fn(&T, &mut Vec<u8>) -> Result<(), serde_json::Error>,
    decode: fn(Option<&RawValue>) -> Result<T, ArgumentErrorKind>,
}

/// A parameter called `name`, whose type is written `ty`.
#[must_use]
pub const fn param<T: Argument>(name: &'static str, ty: &'static str) -> Param<T> {
    Param {
        name,
        ty,
        encode: T::encode,
        decode: T::decode,
    }
}

impl<T> Param<T> {
    fn take(&self, task: &'static str, raw: Option<&RawValue>) -> Result<T, ArgumentError> {
        (self.decode)(raw).map_err(|kind| ArgumentError::new(task, self.name, self.ty, kind))
    }

    fn put(&self, value: &T, first: bool, json: &mut Vec<u8>) -> Result<(), ArgumentError> {
        if !first {
            json.push(b',');
        }
        // parameter names are Rust identifiers: nothing in them needs an escape
        json.push(b'"');
        json.extend_from_slice(self.name.as_bytes());
        json.extend_from_slice(b"\":");
        (self.encode)(value, json)
            .map_err(|e| ArgumentError::new("", self.name, self.ty, ArgumentErrorKind::Unsent(e)))
    }
}

impl<T> fmt::Debug for Param<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.ty)
    }
}

/// The parameters of a task: a tuple of [`Param`]s.
pub trait Params: fmt::Debug + 'static {
    /// The arguments, as a tuple.
    type Values;

    /// The names of the parameters, in order.
    #[doc(hidden)]
    fn names(&self) -> Vec<&'static str>;

    /// Appends the arguments as the members of a JSON object, without its braces.
    #[doc(hidden)]
    fn encode(&self, values: &Self::Values, json: &mut Vec<u8>) -> Result<(), ArgumentError>;

    /// Binds what a message brings, by position and by name.
    #[doc(hidden)]
    fn bind(&self, task: &'static str, call: &RawCall<'_>) -> Result<Self::Values, ArgumentError>;
}

/// Puts the pieces of a call into one slot for each parameter.
fn slots<'a, const N: usize>(
    task: &'static str,
    params: [(&'static str, &'static str); N],
    call: &RawCall<'a>,
) -> Result<[Option<&'a RawValue>; N], ArgumentError> {
    if call.args.len() > N {
        let got = call.args.len();
        return Err(ArgumentError::of_task(
            task,
            ArgumentErrorKind::TooMany { most: N, got },
        ));
    }
    let mut slots = [None; N];
    for (slot, arg) in slots.iter_mut().zip(&call.args) {
        *slot = Some(*arg);
    }
    for (name, value) in &call.kwargs {
        let Some(at) = params.iter().position(|(param, _)| param == name) else {
            let name = name.to_string();
            return Err(ArgumentError::of_task(
                task,
                ArgumentErrorKind::Unknown { name },
            ));
        };
        if at < call.args.len() {
            let (name, ty) = params[at];
            return Err(ArgumentError::new(task, name, ty, ArgumentErrorKind::Twice));
        }
        slots[at] = Some(*value);
    }
    Ok(slots)
}

macro_rules! impl_params {
    ($($index:tt $ty:ident),*) => {
        impl<$($ty: 'static),*> Params for ($(Param<$ty>,)*) {
            type Values = ($($ty,)*);

            fn names(&self) -> Vec<&'static str> {
                vec![$(self.$index.name),*]
            }

            #[allow(unused_variables, reason = "the empty tuple uses none")]
            fn encode(&self, values: &Self::Values, json: &mut Vec<u8>) -> Result<(), ArgumentError> {
                $(self.$index.put(&values.$index, $index == 0, json)?;)*
                Ok(())
            }

            #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple uses none")]
            fn bind(&self, task: &'static str, call: &RawCall<'_>) -> Result<Self::Values, ArgumentError> {
                let slots = slots(task, [$((self.$index.name, self.$index.ty)),*], call)?;
                Ok(($(self.$index.take(task, slots[$index])?,)*))
            }
        }
    };
}

impl_params!();
impl_params!(0 A);
impl_params!(0 A, 1 B);
impl_params!(0 A, 1 B, 2 C);
impl_params!(0 A, 1 B, 2 C, 3 D);
impl_params!(0 A, 1 B, 2 C, 3 D, 4 E);
impl_params!(0 A, 1 B, 2 C, 3 D, 4 E, 5 F);
impl_params!(0 A, 1 B, 2 C, 3 D, 4 E, 5 F, 6 G);
impl_params!(0 A, 1 B, 2 C, 3 D, 4 E, 5 F, 6 G, 7 H);
