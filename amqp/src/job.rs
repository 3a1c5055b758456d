//! One message to publish, checked and converted, with whom to tell about it.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{PublishError, PublishErrorKind};
use crate::ledger::Verdict;
use crate::properties::{self, Unfit};
use crate::publisher::Publication;

/// One message, with everything checked. On the heap, as it is handed on a few times.
pub(crate) struct Job(Box<Inner>);

struct Inner {
    publication: Publication,
    /// The message as lapin wants it, until it is published: lapin keeps it, and few are published twice.
    wire: Option<Wire>,
    header_frame: usize,
    deadline: Instant,
    answer: oneshot::Sender<Result<(), PublishError>>,
}

/// What lapin wants beside the payload.
pub(crate) struct Wire {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
}

impl Wire {
    fn of(publication: &Publication) -> Result<Self, Unfit> {
        Ok(Self {
            exchange: properties::short(&publication.exchange, "exchange")?,
            routing_key: properties::short(&publication.routing_key, "routing key")?,
            properties: properties::to_lapin(&publication.properties)?,
        })
    }
}

impl Job {
    /// Checks and converts a message, and makes up an id if it has none and may come back.
    pub(crate) fn new(
        mut publication: Publication,
        deadline: Instant,
        answer: oneshot::Sender<Result<(), PublishError>>,
    ) -> Result<Self, Unfit> {
        let id = &mut publication.properties.message_id;
        if publication.mandatory {
            id.get_or_insert_with(|| {
                let id = Uuid::now_v7().hyphenated();
                id.encode_lower(&mut Uuid::encode_buffer()).to_owned()
            });
        }
        Ok(Self(Box::new(Inner {
            wire: Some(Wire::of(&publication)?),
            header_frame: properties::header_frame(&publication.properties),
            publication,
            deadline,
            answer,
        })))
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.0.publication.properties.message_id.as_deref()
    }

    pub(crate) fn exchange(&self) -> &str {
        &self.0.publication.exchange
    }

    pub(crate) fn routing_key(&self) -> &str {
        &self.0.publication.routing_key
    }

    /// An upper bound of the size of its header frame, in bytes.
    pub(crate) fn header_frame(&self) -> usize {
        self.0.header_frame
    }

    /// When its caller gives up.
    pub(crate) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    pub(crate) fn payload(&self) -> &Bytes {
        &self.0.publication.payload
    }

    pub(crate) fn is_mandatory(&self) -> bool {
        self.0.publication.mandatory
    }

    /// What lapin wants beside the payload; made again for a message that was published before.
    pub(crate) fn take_wire(&mut self) -> Result<Wire, Unfit> {
        let wire = self.0.wire.take();
        wire.map_or_else(|| Wire::of(&self.0.publication), Ok)
    }

    /// Tells the caller.
    pub(crate) fn answer(self, result: Result<(), PublishError>) {
        // nobody listening is fine: the receipt was dropped
        let _ = self.0.answer.send(result);
    }

    /// Tells the caller that it was not published.
    pub(crate) fn fail(self, kind: PublishErrorKind) {
        self.answer(Err(PublishError::new(kind)));
    }

    /// Tells the caller what the broker said.
    pub(crate) fn settle(self, verdict: Verdict) {
        let route = |job: &Self| (job.exchange().to_owned(), job.routing_key().to_owned());
        match verdict {
            Verdict::Stored => self.answer(Ok(())),
            Verdict::Unroutable => {
                let (exchange, routing_key) = route(&self);
                self.fail(PublishErrorKind::Unroutable {
                    exchange,
                    routing_key,
                });
            }
            Verdict::Rejected => {
                let (exchange, routing_key) = route(&self);
                self.fail(PublishErrorKind::Rejected {
                    exchange,
                    routing_key,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coney_protocol::property::{Properties, Table};
    use coney_protocol::topology::Route;

    use super::*;

    fn job(publication: Publication) -> (Job, oneshot::Receiver<Result<(), PublishError>>) {
        let (answer, receipt) = oneshot::channel();
        let job = Job::new(publication, Instant::now(), answer);
        (job.expect("fits"), receipt)
    }

    fn publication() -> Publication {
        let mut properties = Properties::default();
        properties.headers = Table::new().with("a", 1i64);
        Publication::new(Route::to_queue("q".to_owned()), properties, "x")
    }

    #[test]
    fn a_message_published_again_is_the_same_with_the_same_id() {
        let (mut job, _receipt) = job(publication());
        let wires = [(); 3].map(|()| job.take_wire().expect("checked before"));
        for wire in &wires {
            assert_eq!(wire.exchange.as_str(), "");
            assert_eq!(wire.routing_key.as_str(), "q");
            assert_eq!(wire.properties, wires[0].properties);
            let id = wire
                .properties
                .message_id()
                .as_ref()
                .map(ShortString::as_str);
            assert_eq!(id, job.id());
        }
        assert!(job.id().is_some_and(|id| !id.is_empty()));
    }

    #[test]
    fn a_message_keeps_the_id_it_came_with() {
        let mut publication = publication();
        publication.properties.message_id = Some("mine".into());
        assert_eq!(job(publication).0.id(), Some("mine"));
    }

    #[test]
    fn a_message_that_never_comes_back_needs_no_id() {
        assert_eq!(job(publication().optional()).0.id(), None);
    }

    #[test]
    fn the_caller_learns_the_verdict() {
        for verdict in [Verdict::Stored, Verdict::Unroutable, Verdict::Rejected] {
            let (job, mut receipt) = job(publication());
            job.settle(verdict);
            let told = receipt.try_recv().expect("told");
            let (exchange, routing_key) = (String::new(), "q".to_owned());
            match told.as_ref().map_err(PublishError::kind) {
                Ok(()) => assert_eq!(verdict, Verdict::Stored),
                Err(kind) if verdict == Verdict::Unroutable => assert_eq!(
                    *kind,
                    PublishErrorKind::Unroutable {
                        exchange,
                        routing_key
                    }
                ),
                Err(kind) => assert_eq!(
                    *kind,
                    PublishErrorKind::Rejected {
                        exchange,
                        routing_key
                    }
                ),
            }
        }
    }
}
