//! A client that is there all the time: it is served whatever the others do, and finds nothing that they leave.

use std::time::Duration;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::{AMQPClass, basic, queue};
use coney_devbroker::fuzzing::PipeBroker;

use crate::peer::{Peer, Wishes, settle, settle_for};

/// Its queue.
const OWN: &str = "witness";

/// Until a broker must have noticed that a client is gone, by its heartbeats.
const NOTICED: Duration = Duration::from_secs(90);

pub(crate) struct Witness(Peer);

impl Witness {
    pub(crate) async fn connect(broker: &PipeBroker) -> Self {
        let wishes = Wishes {
            frame_max: 4096,
            heartbeat: 0,
            capable: true,
        };
        let mut peer = Peer::open(broker, OWN, wishes);
        peer.heard = Some(Vec::new());
        let mut witness = Self(peer);
        let declare = queue::Declare {
            queue: OWN.into(),
            exclusive: true,
            ..queue::Declare::default()
        };
        witness
            .0
            .say(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        settle([&mut witness.0]).await;
        witness.heard(is_declared);
        witness
    }

    /// Its question is answered at once.
    pub(crate) async fn is_served(&mut self) {
        let declare = queue::Declare {
            queue: OWN.into(),
            passive: true,
            ..queue::Declare::default()
        };
        self.0
            .say(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        settle([&mut self.0]).await;
        self.heard(is_declared);
    }

    /// With the other clients gone and their queues deleted there is nothing left.
    pub(crate) async fn finds_nothing_left(&mut self, broker: &PipeBroker) {
        settle_for([&mut self.0], NOTICED).await;
        broker.check();
        let left = broker.snapshot();
        assert_eq!(
            left.connections.len(),
            1,
            "connections: {:?}",
            left.connections
        );
        for queue in &left.vhosts[0].queues {
            assert!(queue.consumers.is_empty(), "consumers: {queue:?}");
            assert_eq!(queue.unacked, 0, "nobody has these: {queue:?}");
            assert_eq!(
                queue.exclusive,
                queue.name == OWN,
                "its owner is gone: {queue:?}"
            );
            if queue.name != OWN {
                self.delete(&queue.name).await;
            }
        }
        self.uses_its_queue().await;
        let left = broker.snapshot();
        assert_eq!(left.vhosts[0].queues.len(), 1);
        assert_eq!((left.memory, left.blocked), (0, false));
    }

    async fn delete(&mut self, queue: &str) {
        let delete = queue::Delete {
            queue: queue.into(),
            ..queue::Delete::default()
        };
        self.0
            .say(1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
        settle([&mut self.0]).await;
        self.heard(|method| matches!(method, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_))));
    }

    async fn uses_its_queue(&mut self) {
        let publish = basic::Publish {
            routing_key: OWN.into(),
            ..basic::Publish::default()
        };
        let header = AMQPContentHeader {
            class_id: 60,
            body_size: 1,
            properties: basic::AMQPProperties::default(),
        };
        let get = basic::Get {
            queue: OWN.into(),
            no_ack: true,
        };
        self.0
            .say(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
        self.0.frame(&AMQPFrame::Header(1, header));
        self.0.frame(&AMQPFrame::Body(1, vec![b'w']));
        self.0.say(1, AMQPClass::Basic(basic::AMQPMethod::Get(get)));
        settle([&mut self.0]).await;
        self.heard(|method| matches!(method, AMQPClass::Basic(basic::AMQPMethod::GetOk(_))));
    }

    /// The last thing that it heard is this.
    fn heard(&mut self, wanted: impl Fn(&AMQPClass) -> bool) {
        let heard = self.0.heard.as_mut().and_then(|all| {
            let last = all.pop();
            all.clear();
            last
        });
        assert!(heard.as_ref().is_some_and(wanted), "heard {heard:?}");
    }
}

fn is_declared(method: &AMQPClass) -> bool {
    matches!(method, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)))
}
