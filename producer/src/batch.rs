//! Many calls, confirmed together.

use std::future::Future;

use coney_protocol::call::{Call, Prepared, Sender};
use coney_protocol::error::EncodeError;
use coney_protocol::task::Task;

use crate::client::Client;
use crate::error::SendError;
use crate::handle::TaskHandle;

/// The outcome of one call of a batch.
pub type Sent<T> = Result<TaskHandle<<T as Task>::Output, <T as Task>::Error>, SendError>;

impl Client {
    /// Sends many calls of a task, pipelined: one outcome for each call, in their order.
    ///
    /// The calls are encoded before the first `.await`, so neither they nor the iterator need be `Send`. One that
    /// fails keeps no other from being sent.
    ///
    /// # Delivery
    ///
    /// Each `Ok` is a confirmed message, as with [`Call::send`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, an unknown number of the calls has been sent.
    pub fn send_all<T: Task>(
        &self,
        calls: impl IntoIterator<Item = Call<T>>,
    ) -> impl Future<Output = Vec<Sent<T>>> + Send {
        let now = self.now();
        let prepared = calls.into_iter().map(|call| call.prepare_at(now));
        let prepared: Vec<_> = prepared.collect();
        self.deliver_all(prepared)
    }

    async fn deliver_all<O: Send + 'static, E: 'static>(
        &self,
        calls: Vec<Result<Prepared<O, E>, EncodeError>>,
    ) -> Vec<Result<TaskHandle<O, E>, SendError>> {
        let mut submitted = Vec::with_capacity(calls.len());
        for call in calls {
            submitted.push(match call {
                Ok(mut call) => {
                    let siblings = call.siblings.take();
                    let submitted = self.submit(call).await;
                    submitted.map(|call| (call, siblings))
                }
                Err(error) => Err(error.into()),
            });
        }
        let mut outcomes = Vec::with_capacity(submitted.len());
        for call in submitted {
            outcomes.push(match call {
                Ok((call, siblings)) => {
                    let handle = call.confirmed(self).await;
                    if let (Ok(handle), Some(siblings)) = (&handle, siblings) {
                        siblings.add(handle.id().clone());
                    }
                    handle
                }
                Err(error) => Err(error),
            });
        }
        outcomes
    }
}
