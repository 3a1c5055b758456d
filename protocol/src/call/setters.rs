//! The options of a call, the same for typed calls and calls by name.

use std::time::{Duration, SystemTime};

use crate::call::{Call, DynamicCall};
use crate::codec::Serializer;
use crate::codec::compression::Compression;
use crate::context::TaskContext;
use crate::id::TaskId;
use crate::options::{Priority, Start, Target};
use crate::property::Value;
use crate::spec::{Queue, QueueSpec, RetryPolicy};
use crate::task::Task;

macro_rules! impl_setters {
    ($({$($generics:tt)*})? $ty:ty) => {
        impl $($($generics)*)? $ty {
            /// Sets the id; a duplicate send with the same id is the same task to everybody who watches.
            pub fn id(mut self, id: impl Into<TaskId>) -> Self {
                self.options.id = Some(id.into());
                self
            }

            /// Sends it to another queue than the task's own.
            pub fn queue<Q: Queue>(mut self) -> Self {
                self.options.target = Some(Target::Queue(Q::SPEC));
                self
            }

            /// Sends it to the queue of this name, which has to exist.
            pub fn queue_named(mut self, name: impl Into<String>) -> Self {
                self.options.target = Some(Target::Named(name.into()));
                self
            }

            /// Sends it to the queue that this declares.
            pub fn queue_spec(mut self, spec: QueueSpec) -> Self {
                self.options.target = Some(Target::Queue(spec));
                self
            }

            /// Publishes it to this exchange with this routing key: the exchange has to exist, and to lead to a queue.
            ///
            /// A delay is waited for by the worker's side, as the broker does not know the way.
            pub fn exchange(mut self, exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
                self.options.target = Some(Target::Exchange {
                    exchange: exchange.into(),
                    routing_key: routing_key.into(),
                });
                self
            }

            /// Starts it so much later.
            pub fn delay(mut self, delay: Duration) -> Self {
                self.options.start = Some(Start::After(delay));
                self
            }

            /// Starts it at this time, or at once if that is past.
            pub fn eta(mut self, time: SystemTime) -> Self {
                self.options.start = Some(Start::At(time));
                self
            }

            /// Gives it up if it has not started so long after sending.
            pub fn expires(mut self, after: Duration) -> Self {
                self.options.expires = Some(after);
                self
            }

            /// Sets the priority within the queue.
            pub fn priority(mut self, priority: Priority) -> Self {
                self.options.priority = Some(priority);
                self
            }

            /// Repeats failed attempts otherwise than the task says.
            pub fn retry(mut self, policy: RetryPolicy) -> Self {
                self.options.retry = Some(policy);
                self
            }

            /// Limits how long one attempt may take.
            pub fn timeout(mut self, limit: Duration) -> Self {
                self.options.timeout = Some(limit);
                self
            }

            /// Fires the token of an attempt after this time.
            pub fn soft_timeout(mut self, limit: Duration) -> Self {
                self.options.soft_timeout = Some(limit);
                self
            }

            /// Writes the body in another format than JSON.
            pub fn serializer(mut self, serializer: Serializer) -> Self {
                self.options.serializer = serializer;
                self
            }

            /// Compresses the body.
            pub fn compress(mut self, compression: Compression) -> Self {
                self.options.compression = Some(compression);
                self
            }

            /// Says whether nobody wants the result.
            pub fn ignore_result(mut self, ignore: bool) -> Self {
                self.options.ignore_result = Some(ignore);
                self
            }

            /// Makes it a child of a running task: the same workflow and trace, and no longer worth doing than its parent.
            pub fn child_of(mut self, parent: &TaskContext) -> Self {
                self.options.parent = Some(parent.lineage());
                self
            }

            /// Adds a header of your own, which the task sees in its context.
            pub fn header(
                mut self,
                name: impl Into<std::borrow::Cow<'static, str>>,
                value: impl Into<Value>,
            ) -> Self {
                self.options.headers.insert(name, value);
                self
            }
        }
    };
}

impl_setters!({<T: Task>} Call<T>);
impl_setters!({<O>} DynamicCall<O>);
