//! Sending workflows: the results of all ends are expected before the first task is sent.

use std::sync::Arc;

use coney_protocol::workflow::{Sealed, WorkflowSender};
use serde_json::Value as Json;

use crate::client::Client;
use crate::error::SendError;
use crate::handle::TaskHandle;

impl WorkflowSender for Client {
    fn reply_queue(&self) -> Option<String> {
        Some(self.replies().queue().to_owned())
    }

    async fn deliver_workflow<O: Send + 'static>(
        &self,
        workflow: Sealed<O>,
    ) -> Result<Vec<TaskHandle<O, Json>>, SendError> {
        let Sealed {
            heads,
            ends,
            answer,
            ..
        } = workflow;
        let queue = heads.first().map(|head| head.target.name().to_owned());
        let queue = queue.unwrap_or_default();
        let mut handles = Vec::with_capacity(ends.len());
        for end in ends {
            let task: Arc<str> = end.task.into();
            let ticket = match end.is_wanted {
                true => Some(self.expect(&end.id, &task, &queue).await?),
                false => None,
            };
            let way_back = self.way_back();
            handles.push(TaskHandle::new(task, end.id, ticket, answer, way_back));
        }
        let mut submitted = Vec::with_capacity(heads.len());
        for mut head in heads {
            let (siblings, id) = (head.siblings.take(), head.message.header.id.clone());
            submitted.push((self.submit(head).await?, siblings, id));
        }
        for (head, siblings, id) in submitted {
            let _head: TaskHandle<O, Json> = head.confirmed(self).await?;
            if let Some(siblings) = siblings {
                siblings.add(id);
            }
        }
        Ok(handles)
    }
}
