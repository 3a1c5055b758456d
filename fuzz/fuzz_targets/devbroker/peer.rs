//! One client: a pipe to the broker, what is still to be said, and the answers that every client gives.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use coney_devbroker::fuzzing::PipeBroker;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::timeout;

use crate::watch::Watch;

/// The shortest time that the paused clock knows: it passes only when nothing is left to do.
const TICK: Duration = Duration::from_millis(1);

/// What a client asks for when it connects.
#[derive(Clone, Copy)]
pub(crate) struct Wishes {
    /// In bytes.
    pub(crate) frame_max: u32,
    /// In seconds.
    pub(crate) heartbeat: u16,
    /// It knows what RabbitMQ added to AMQP.
    pub(crate) capable: bool,
}

pub(crate) struct Peer {
    pipe: DuplexStream,
    /// What is still to be written.
    pub(crate) pending: Vec<u8>,
    pub(crate) watch: Watch,
    /// It reads nothing.
    pub(crate) deaf: bool,
    /// The broker hung up.
    pub(crate) ended: bool,
    /// The methods that came, if somebody wants to know.
    pub(crate) heard: Option<Vec<AMQPClass>>,
}

impl Peer {
    /// Connects and says nothing. `frame_max` is the broker's.
    pub(crate) fn silent(broker: &PipeBroker, name: &str, frame_max: u32) -> Self {
        Self {
            pipe: broker.connect(name),
            pending: Vec::new(),
            watch: Watch::new(frame_max as usize),
            deaf: false,
            ended: false,
            heard: None,
        }
    }

    /// Connects, says all that opens a connection, and opens two channels.
    pub(crate) fn open(broker: &PipeBroker, name: &str, wishes: Wishes) -> Self {
        let mut peer = Self::silent(broker, name, wishes.frame_max);
        peer.pending.extend(b"AMQP\0\0\x09\x01");
        peer.say(
            0,
            start_ok("PLAIN", b"\0guest\0guest", name, wishes.capable),
        );
        peer.say(0, tune_ok(2047, wishes.frame_max, wishes.heartbeat));
        peer.say(0, open("/"));
        peer.say(1, open_channel());
        peer.say(2, open_channel());
        peer
    }

    pub(crate) fn say(&mut self, channel: u16, method: AMQPClass) {
        self.frame(&AMQPFrame::Method(channel, method));
    }

    pub(crate) fn frame(&mut self, frame: &AMQPFrame) {
        let context = WriteContext::from(std::mem::take(&mut self.pending));
        let context = gen_frame(frame)(context).expect("memory can be written");
        self.pending = context.write;
    }

    /// Writes and reads what can be written and read now.
    fn go_on(&mut self, context: &mut Context<'_>) {
        while self.write(context) | self.read(context) {}
    }

    fn write(&mut self, context: &mut Context<'_>) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        match Pin::new(&mut self.pipe).poll_write(context, &self.pending) {
            Poll::Ready(Ok(written)) => {
                self.pending.drain(..written);
                true
            }
            Poll::Ready(Err(_)) => {
                self.pending.clear();
                false
            }
            Poll::Pending => false,
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> bool {
        if self.deaf || self.ended {
            return false;
        }
        let mut space = [0; 8192];
        let mut buffer = ReadBuf::new(&mut space);
        let read = Pin::new(&mut self.pipe).poll_read(context, &mut buffer);
        match (read, buffer.filled()) {
            (Poll::Pending, _) => false,
            (Poll::Ready(Err(_)), _) | (_, []) => {
                self.ended = true;
                false
            }
            (_, bytes) => {
                let mut heard = Vec::new();
                self.watch
                    .take(bytes, |channel, method| heard.push((channel, method)));
                for (channel, method) in heard {
                    self.answer(channel, &method);
                    self.heard
                        .iter_mut()
                        .for_each(|all| all.push(method.clone()));
                }
                true
            }
        }
    }

    /// Agrees to what the broker closes, and opens the channel again.
    fn answer(&mut self, number: u16, method: &AMQPClass) {
        match method {
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                self.say(number, AMQPClass::Channel(ok));
                self.say(number, open_channel());
            }
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                self.say(0, AMQPClass::Connection(ok));
            }
            _ => {}
        }
    }
}

/// Goes on until nobody has anything to do.
pub(crate) async fn settle<'a>(peers: impl IntoIterator<Item = &'a mut Peer>) {
    settle_for(peers, TICK).await;
}

/// The same, and then for some time in which things may happen by themselves.
pub(crate) async fn settle_for<'a>(peers: impl IntoIterator<Item = &'a mut Peer>, time: Duration) {
    let mut peers: Vec<_> = peers.into_iter().collect();
    let going_on = poll_fn(|context| {
        for peer in &mut peers {
            peer.go_on(context);
        }
        Poll::<()>::Pending
    });
    let _passed = timeout(time, going_on).await.is_err();
}

pub(crate) fn start_ok(mechanism: &str, response: &[u8], name: &str, capable: bool) -> AMQPClass {
    let mut capabilities = FieldTable::default();
    for capability in [
        "authentication_failure_close",
        "connection.blocked",
        "consumer_cancel_notify",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(capable));
    }
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    client_properties.insert("connection_name".into(), AMQPValue::LongString(name.into()));
    AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties,
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "en_US".into(),
    }))
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> AMQPClass {
    let tuned = connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    };
    AMQPClass::Connection(connection::AMQPMethod::TuneOk(tuned))
}

pub(crate) fn open(vhost: &str) -> AMQPClass {
    let open = connection::Open {
        virtual_host: vhost.into(),
    };
    AMQPClass::Connection(connection::AMQPMethod::Open(open))
}

pub(crate) fn open_channel() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))
}
