//! Parameters that the worker supplies: shared state, the context, extractors of your own.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::context::TaskContext;
use crate::outcome::Failure;

/// A value that the worker supplies to a task from its context: it does not travel in the message.
///
/// Synchronous on purpose: nothing waits before the task runs. What it needs from the worker's state it names in
/// [`requires`](FromContext::requires), so that a gap is an error when the worker is built, not when the task runs.
///
/// ```
/// use coney_protocol::context::TaskContext;
/// use coney_protocol::inject::{FromContext, Requirements, State};
/// use coney_protocol::outcome::Failure;
///
/// #[derive(Clone)]
/// struct Pool;
///
/// struct Tenant { name: String, pool: Pool }
///
/// impl FromContext for Tenant {
///     fn from_context(ctx: &TaskContext) -> Result<Self, Failure> {
///         let State(pool) = State::from_context(ctx)?;
///         let name = ctx.headers().get("tenant").and_then(|v| v.as_str()).unwrap_or("main");
///         Ok(Self { name: name.to_owned(), pool })
///     }
///
///     fn requires(r: &mut Requirements) {
///         r.state::<Pool>();
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the worker cannot inject `{Self}`",
    label = "not supplied by the worker",
    note = "if it shall travel in the message, mark the parameter #[arg]",
    note = "implement coney::FromContext for it to make it an extractor"
)]
pub trait FromContext: Sized {
    /// Takes the value from the context.
    ///
    /// # Errors
    ///
    /// A [`Failure`] ends the attempt as if the task had returned it.
    fn from_context(ctx: &TaskContext) -> Result<Self, Failure>;

    /// Names the state that [`from_context`](FromContext::from_context) needs.
    fn requires(requirements: &mut Requirements);
}

/// State that all tasks of a worker share, given to the builder with `.state(..)`.
///
/// `T` is cloned for every run: use a type whose clone is cheap, such as a pool or an [`Arc`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<T: Clone + Send + Sync + 'static> FromContext for State<T> {
    fn from_context(ctx: &TaskContext) -> Result<Self, Failure> {
        ctx.states().get::<T>().map(Self).ok_or_else(|| {
            Failure::dead(format!(
                "the worker has no `State<{0}>`: add `.state(..)` to the builder",
                std::any::type_name::<T>()
            ))
        })
    }

    fn requires(requirements: &mut Requirements) {
        requirements.state::<T>();
    }
}

impl FromContext for TaskContext {
    fn from_context(ctx: &TaskContext) -> Result<Self, Failure> {
        Ok(ctx.clone())
    }

    fn requires(_: &mut Requirements) {}
}

/// The state types that a task needs.
#[derive(Clone, Debug, Default)]
pub struct Requirements(Vec<(TypeId, &'static str)>);

impl Requirements {
    /// Needs `State<T>`.
    pub fn state<T: 'static>(&mut self) {
        self.0.push((TypeId::of::<T>(), std::any::type_name::<T>()));
    }

    /// The names of those that `states` does not have.
    pub fn missing_in(&self, states: &States) -> impl Iterator<Item = &'static str> {
        self.0
            .iter()
            .filter(|(id, _)| !states.0.contains_key(id))
            .map(|(_, name)| *name)
    }
}

/// The state of a worker, one value of each type.
#[derive(Clone, Default)]
pub struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// Adds a value; true if there was none of its type.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> bool {
        self.0.insert(TypeId::of::<T>(), Arc::new(value)).is_none()
    }

    /// A clone of the value of type `T`.
    #[must_use]
    pub fn get<T: Clone + 'static>(&self) -> Option<T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref().cloned()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.0.len())
    }
}

/// One injected parameter: where its value comes from and what that needs.
pub struct Inject<T> {
    from: fn(&TaskContext) -> Result<T, Failure>,
    requires: fn(&mut Requirements),
}

/// An injected parameter of type `T`.
#[must_use]
pub const fn inject<T: FromContext>() -> Inject<T> {
    Inject {
        from: T::from_context,
        requires: T::requires,
    }
}

impl<T> fmt::Debug for Inject<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}

/// The injected parameters of a task: a tuple of [`Inject`]s.
pub trait Injects: fmt::Debug + 'static {
    /// The values, as a tuple.
    type Values;

    /// Takes all values from the context.
    #[doc(hidden)]
    fn take(&self, ctx: &TaskContext) -> Result<Self::Values, Failure>;

    /// Collects what they need.
    #[doc(hidden)]
    fn requires(&self, requirements: &mut Requirements);
}

macro_rules! impl_injects {
    ($($index:tt $ty:ident),*) => {
        impl<$($ty: 'static),*> Injects for ($(Inject<$ty>,)*) {
            type Values = ($($ty,)*);

            #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple uses none")]
            fn take(&self, ctx: &TaskContext) -> Result<Self::Values, Failure> {
                Ok(($((self.$index.from)(ctx)?,)*))
            }

            #[allow(unused_variables, reason = "the empty tuple uses none")]
            fn requires(&self, requirements: &mut Requirements) {
                $((self.$index.requires)(requirements);)*
            }
        }
    };
}

impl_injects!();
impl_injects!(0 A);
impl_injects!(0 A, 1 B);
impl_injects!(0 A, 1 B, 2 C);
impl_injects!(0 A, 1 B, 2 C, 3 D);
impl_injects!(0 A, 1 B, 2 C, 3 D, 4 E);
impl_injects!(0 A, 1 B, 2 C, 3 D, 4 E, 5 F);
impl_injects!(0 A, 1 B, 2 C, 3 D, 4 E, 5 F, 6 G);
impl_injects!(0 A, 1 B, 2 C, 3 D, 4 E, 5 F, 6 G, 7 H);
