//! Arguments of a task: how each travels, and how a body is bound to all of them.

mod rest;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::absent;
use crate::codec::body::RawCall;
use crate::codec::typed;
use crate::error::{ArgumentError, ArgumentErrorKind};

pub use rest::{Args, Kwargs};

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
    /// How much of a call it takes.
    #[doc(hidden)]
    const SHARE: Share = Share::One;

    /// Appends the value as JSON: one value, or the items of a list or the members of an object without the brackets.
    #[doc(hidden)]
    fn encode(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error>;

    /// Reads the value from its share of a call.
    #[doc(hidden)]
    fn decode(piece: Piece<'_, '_>) -> Result<Self, ArgumentErrorKind>;
}

/// How much of a call a parameter takes.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One argument.
    One,
    /// All arguments by position that no parameter before it takes.
    Args,
    /// All arguments by name that no other parameter takes.
    Kwargs,
}

/// The share of a call that one parameter takes.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum Piece<'s, 'a> {
    /// One argument, if the call has it.
    One(Option<&'a RawValue>),
    /// What is left of the arguments by position.
    Args(&'s [&'a RawValue]),
    /// What is left of the arguments by name.
    Kwargs(Vec<(&'s Cow<'a, str>, &'a RawValue)>),
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for T {
    fn encode(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(json, self)
    }

    fn decode(piece: Piece<'_, '_>) -> Result<Self, ArgumentErrorKind> {
        match piece {
            Piece::One(Some(raw)) => typed::from_raw(raw).map_err(ArgumentErrorKind::Invalid),
            _ => absent::value().ok_or(ArgumentErrorKind::Missing),
        }
    }
}

/// One parameter of a task: its name, its type as written, and how it travels.
pub struct Param<T> {
    name: &'static str,
    ty: &'static str,
    share: Share,
    encode: fn(&T, &mut Vec<u8>) -> Result<(), serde_json::Error>,
    decode: fn(Piece<'_, '_>) -> Result<T, ArgumentErrorKind>,
}

/// A parameter called `name`, whose type is written `ty`.
#[must_use]
pub const fn param<T: Argument>(name: &'static str, ty: &'static str) -> Param<T> {
    Param {
        name,
        ty,
        share: T::SHARE,
        encode: T::encode,
        decode: T::decode,
    }
}

/// The arguments of a call as JSON: the items of a list and the members of an object, without the brackets.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Arguments by position.
    pub args: Vec<u8>,
    /// Arguments by name.
    pub kwargs: Vec<u8>,
}

impl<T> Param<T> {
    fn slot(&self) -> Slot {
        Slot {
            name: self.name,
            ty: self.ty,
            share: self.share,
        }
    }

    fn take(&self, task: &'static str, piece: Piece<'_, '_>) -> Result<T, ArgumentError> {
        (self.decode)(piece).map_err(|kind| ArgumentError::new(task, self.name, self.ty, kind))
    }

    fn put(&self, value: &T, by_position: bool, json: &mut Encoded) -> Result<(), ArgumentError> {
        let by_position = by_position || self.share == Share::Args;
        let part = match by_position {
            true => &mut json.args,
            false => &mut json.kwargs,
        };
        let before = part.len();
        if before > 0 {
            part.push(b',');
        }
        if !by_position && self.share == Share::One {
            // parameter names are Rust identifiers: nothing in them needs an escape
            part.push(b'"');
            part.extend_from_slice(self.name.as_bytes());
            part.extend_from_slice(b"\":");
        }
        let start = part.len();
        (self.encode)(value, part).map_err(|e| {
            ArgumentError::new("", self.name, self.ty, ArgumentErrorKind::Unsent(e))
        })?;
        if part.len() == start {
            // nothing is left over: no comma either
            part.truncate(before);
        }
        Ok(())
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

    /// Appends the arguments as JSON: by name, or by position where a parameter takes all further ones.
    #[doc(hidden)]
    fn encode(&self, values: &Self::Values, json: &mut Encoded) -> Result<(), ArgumentError>;

    /// Binds what a message brings, by position and by name.
    #[doc(hidden)]
    fn bind(&self, task: &'static str, call: &RawCall<'_>) -> Result<Self::Values, ArgumentError>;
}

/// What a parameter is called and takes.
#[derive(Clone, Copy)]
struct Slot {
    name: &'static str,
    ty: &'static str,
    share: Share,
}

/// How many parameters come before the one that takes all further arguments by position, if one does.
fn before_args(slots: &[Slot]) -> Option<usize> {
    slots.iter().position(|slot| slot.share == Share::Args)
}

/// Puts the pieces of a call into one slot for each parameter.
fn pieces<'s, 'a, const N: usize>(
    task: &'static str,
    slots: [Slot; N],
    call: &'s RawCall<'a>,
) -> Result<[Piece<'s, 'a>; N], ArgumentError> {
    let takes_args = before_args(&slots);
    let takes_kwargs = slots.iter().position(|slot| slot.share == Share::Kwargs);
    let is_one = |slot: &Slot| slot.share == Share::One;
    // by position come those before the one that takes the rest, or all
    let most = match takes_args {
        Some(at) => slots[..at].iter().filter(|slot| is_one(slot)).count(),
        None => slots.iter().filter(|slot| is_one(slot)).count(),
    };
    let (placed, rest) = call.args.split_at(call.args.len().min(most));
    if takes_args.is_none() && !rest.is_empty() {
        let got = call.args.len();
        return Err(ArgumentError::of_task(
            task,
            ArgumentErrorKind::TooMany { most, got },
        ));
    }
    let mut pieces = slots.map(|_| Piece::One(None));
    let mut filled = [false; N];
    let ones = (0..N).filter(|at| is_one(&slots[*at]));
    for (at, arg) in ones.zip(placed) {
        pieces[at] = Piece::One(Some(*arg));
        filled[at] = true;
    }
    let mut further = Vec::new();
    for (name, value) in &call.kwargs {
        let known = slots
            .iter()
            .position(|slot| is_one(slot) && slot.name == name);
        match known {
            Some(at) if filled[at] => {
                let Slot { name, ty, .. } = slots[at];
                return Err(ArgumentError::new(task, name, ty, ArgumentErrorKind::Twice));
            }
            Some(at) => pieces[at] = Piece::One(Some(*value)),
            None if takes_kwargs.is_some() => further.push((name, *value)),
            None => {
                let name = name.to_string();
                return Err(ArgumentError::of_task(
                    task,
                    ArgumentErrorKind::Unknown { name },
                ));
            }
        }
    }
    if let Some(at) = takes_args {
        pieces[at] = Piece::Args(rest);
    }
    if let Some(at) = takes_kwargs {
        pieces[at] = Piece::Kwargs(further);
    }
    Ok(pieces)
}

macro_rules! impl_params {
    ($($index:tt $ty:ident $piece:ident),*) => {
        impl<$($ty: 'static),*> Params for ($(Param<$ty>,)*) {
            type Values = ($($ty,)*);

            fn names(&self) -> Vec<&'static str> {
                vec![$(self.$index.name),*]
            }

            #[allow(unused_variables, reason = "the empty tuple uses none")]
            fn encode(&self, values: &Self::Values, json: &mut Encoded) -> Result<(), ArgumentError> {
                let placed = before_args(&[$(self.$index.slot()),*]).unwrap_or(0);
                $(self.$index.put(&values.$index, $index < placed, json)?;)*
                Ok(())
            }

            #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple uses none")]
            fn bind(&self, task: &'static str, call: &RawCall<'_>) -> Result<Self::Values, ArgumentError> {
                let [$($piece),*] = pieces(task, [$(self.$index.slot()),*], call)?;
                Ok(($(self.$index.take(task, $piece)?,)*))
            }
        }
    };
}

impl_params!();
impl_params!(0 A a);
impl_params!(0 A a, 1 B b);
impl_params!(0 A a, 1 B b, 2 C c);
impl_params!(0 A a, 1 B b, 2 C c, 3 D d);
impl_params!(0 A a, 1 B b, 2 C c, 3 D d, 4 E e);
impl_params!(0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f);
impl_params!(0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g);
impl_params!(0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g, 7 H h);
