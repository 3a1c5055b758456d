//! An encoded call becomes a publication: where it goes, what it says about the way back.

use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use coney_amqp::{Broker, DeclareError, Publication};
use coney_protocol::call::Prepared;
use coney_protocol::delay::Steps;
use coney_protocol::header::Header;
use coney_protocol::message::Message;
use coney_protocol::options::Target;
use coney_protocol::topology::{Preset, Route};
use coney_protocol::trace::TraceContext;
use coney_protocol::wire;
use foldhash::HashSet;
use tokio::sync::Mutex;

use crate::error::SendErrorKind;

/// What keeps a call from being sent, as far as it can be told before anything is sent.
pub(crate) fn objection<O, E>(call: &Prepared<O, E>, max_body: usize) -> Option<SendErrorKind> {
    let size = call.message.body.bytes.len();
    let limit = max_body;
    (size > limit).then_some(SendErrorKind::TooLarge { size, limit })
}

/// The queues that this client has declared, so that each is declared once.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    names: RwLock<HashSet<String>>,
    /// Lets one caller declare while the others wait for it.
    gate: Mutex<()>,
}

impl Declared {
    /// Makes sure that the queue is there, as far as its declaration is known.
    pub(crate) async fn ensure(
        &self,
        broker: &Broker,
        target: &Target,
    ) -> Result<(), DeclareError> {
        let Target::Queue(spec) = target else {
            return Ok(());
        };
        if self.knows(&spec.name) {
            return Ok(());
        }
        let _gate = self.gate.lock().await;
        if !self.knows(&spec.name) {
            broker.declare(&broker.preset().topology(spec)).await?;
            self.names_mut().insert(spec.name.to_string());
        }
        Ok(())
    }

    /// True if nothing has to be declared for a call.
    pub(crate) fn is_sure_of(&self, target: &Target) -> bool {
        match target {
            Target::Queue(spec) => self.knows(&spec.name),
            // only the name is known: a missing queue shows as an unroutable message
            _ => true,
        }
    }

    /// Declares the queue again before the next call: a message for it could not be routed.
    pub(crate) fn forget(&self, queue: &str) {
        self.names_mut().remove(queue);
    }

    fn knows(&self, queue: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(queue)
    }

    fn names_mut(&self) -> RwLockWriteGuard<'_, HashSet<String>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Completes the header with what only the client knows.
pub(crate) fn complete(
    header: &mut Header,
    origin: &str,
    reply_to: Option<&str>,
    trace: Option<TraceContext>,
) {
    header.origin = Some(origin.to_owned());
    header.reply_to = reply_to.map(str::to_owned);
    if let Some(trace) = trace {
        header.set_trace(trace);
    }
}

/// True if the message waits in the broker until it shall start.
///
/// It does where coney has declared the way from there to its queue. Who consumes any other queue waits with it: a worker
/// of Celery in its memory, one of coney in the broker.
pub(crate) fn waits(broker: &Broker, target: &Target, header: &Header) -> bool {
    let knows_the_way = match target {
        Target::Queue(_) => true,
        Target::Named(_) => broker.preset() == Preset::Native,
        _ => false,
    };
    knows_the_way && header.eta.is_some()
}

/// The publication of a message: through the delay ladder if it waits there.
pub(crate) fn publication(broker: &Broker, target: &Target, message: Message) -> Publication {
    let eta = message.header.eta;
    let eta = eta.filter(|_| waits(broker, target, &message.header));
    let (properties, body) = wire::outgoing(broker.preset(), message);
    let wait = eta.and_then(|eta| Steps::until(eta, broker.clock().now()));
    let route = match (target, wait) {
        (
            Target::Exchange {
                exchange,
                routing_key,
            },
            _,
        ) => Route::through(exchange.clone(), routing_key.clone()),
        (queue, Some(steps)) => steps.route(queue.name()),
        (queue, None) => broker.preset().route(queue.to_name()),
    };
    Publication::new(route, properties, body)
}
