//! A small client that says exactly what a test wants it to say.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use coney_devbroker::DevBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A message as it was delivered or returned.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) properties: AMQPProperties,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects as guest to `/` and opens channel 1.
    pub(crate) async fn new(broker: &DevBroker) -> Self {
        Self::named(broker, "test").await
    }

    pub(crate) async fn named(broker: &DevBroker, name: &str) -> Self {
        let mut client = Self::log_in(broker.address(), "guest", "/", name, 0)
            .await
            .expect("let in");
        client.open(1).await;
        client
    }

    pub(crate) async fn raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("small frames at once");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// What the server objects to, if it does.
    pub(crate) async fn log_in(
        address: SocketAddr,
        user: &str,
        vhost: &str,
        name: &str,
        heartbeat: u16,
    ) -> Result<Self, connection::Close> {
        let mut client = Self::raw(address).await;
        client.write(b"AMQP\0\0\x09\x01").await;
        client.frame().await;
        client.send(0, start_ok(user, name)).await;
        if let AMQPClass::Connection(connection::AMQPMethod::Close(close)) = client.method().await {
            return Err(close);
        }
        let tuned = connection::TuneOk {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat,
        };
        client
            .send(
                0,
                AMQPClass::Connection(connection::AMQPMethod::TuneOk(tuned)),
            )
            .await;
        let open = connection::Open {
            virtual_host: vhost.into(),
        };
        client
            .send(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)))
            .await;
        match client.method().await {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => Err(close),
            _ => Ok(client),
        }
    }

    pub(crate) async fn open(&mut self, number: u16) {
        let open = channel::AMQPMethod::Open(channel::Open {});
        self.send(number, AMQPClass::Channel(open)).await;
        self.method().await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    pub(crate) async fn send(&mut self, number: u16, method: AMQPClass) {
        let bytes = encode(&AMQPFrame::Method(number, method));
        self.write(&bytes).await;
    }

    /// The next frame; an error if the connection is gone.
    pub(crate) async fn try_frame(&mut self) -> io::Result<AMQPFrame> {
        timeout(DEADLINE, async {
            loop {
                if let Ok((rest, frame)) = parse_frame(&*self.read) {
                    let used = self.read.len() - rest.len();
                    self.read.drain(..used);
                    return Ok(frame);
                }
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        })
        .await
        .expect("a frame in time")
    }

    pub(crate) async fn frame(&mut self) -> AMQPFrame {
        self.try_frame().await.expect("connected")
    }

    /// The next method.
    pub(crate) async fn method(&mut self) -> AMQPClass {
        loop {
            if let AMQPFrame::Method(_, method) = self.frame().await {
                return method;
            }
        }
    }

    /// Whether the connection ends; what still comes is ignored.
    pub(crate) async fn is_dropped(&mut self) -> bool {
        while self.try_frame().await.is_ok() {}
        true
    }

    pub(crate) async fn declare(
        &mut self,
        name: &str,
        arguments: &[(&str, AMQPValue)],
    ) -> queue::DeclareOk {
        let declare = queue::Declare {
            queue: name.into(),
            durable: true,
            arguments: table(arguments),
            ..queue::Declare::default()
        };
        self.send(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
            .await;
        loop {
            if let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = self.method().await {
                return ok;
            }
        }
    }

    /// Waits until the broker has done all that was sent before.
    pub(crate) async fn barrier(&mut self) {
        self.qos(0).await;
    }

    pub(crate) async fn qos(&mut self, prefetch_count: u16) {
        let qos = basic::Qos {
            prefetch_count,
            global: false,
        };
        self.basic(basic::AMQPMethod::Qos(qos)).await;
        while !matches!(
            self.method().await,
            AMQPClass::Basic(basic::AMQPMethod::QosOk(_))
        ) {}
    }

    pub(crate) async fn basic(&mut self, method: basic::AMQPMethod) {
        self.send(1, AMQPClass::Basic(method)).await;
    }

    pub(crate) async fn confirms(&mut self) {
        let select = confirm::Select { nowait: false };
        let select = confirm::AMQPMethod::Select(select);
        self.send(1, AMQPClass::Confirm(select)).await;
        self.method().await;
    }

    /// Publishes to a queue.
    pub(crate) async fn publish(&mut self, queue: &str, body: &[u8]) {
        self.publish_with(queue, body, AMQPProperties::default())
            .await;
    }

    pub(crate) async fn publish_with(
        &mut self,
        queue: &str,
        body: &[u8],
        properties: AMQPProperties,
    ) {
        self.publish_to("", queue, body, properties).await;
    }

    /// Publishes to an exchange.
    pub(crate) async fn publish_to(
        &mut self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: AMQPProperties,
    ) {
        let publish = basic::Publish {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            ..basic::Publish::default()
        };
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        let mut bytes = encode(&AMQPFrame::Method(1, publish));
        let header = AMQPContentHeader {
            class_id: 60,
            body_size: body.len() as u64,
            properties,
        };
        bytes.extend(encode(&AMQPFrame::Header(1, header)));
        for part in body.chunks(131_064) {
            bytes.extend(encode(&AMQPFrame::Body(1, part.to_vec())));
        }
        self.write(&bytes).await;
    }

    pub(crate) async fn consume(&mut self, queue: &str, tag: &str, no_ack: bool) {
        let consume = basic::Consume {
            queue: queue.into(),
            consumer_tag: tag.into(),
            no_ack,
            nowait: true,
            ..basic::Consume::default()
        };
        self.basic(basic::AMQPMethod::Consume(consume)).await;
    }

    /// The next message that is delivered.
    pub(crate) async fn delivery(&mut self) -> Delivered {
        loop {
            if let AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) = self.method().await {
                return self
                    .content(deliver.delivery_tag, deliver.redelivered)
                    .await;
            }
        }
    }

    /// Fetches a message, if there is one.
    pub(crate) async fn get(&mut self, queue: &str) -> Option<Delivered> {
        let get = basic::Get {
            queue: queue.into(),
            no_ack: false,
        };
        self.basic(basic::AMQPMethod::Get(get)).await;
        loop {
            match self.method().await {
                AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) => {
                    return Some(self.content(ok.delivery_tag, ok.redelivered).await);
                }
                AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_)) => return None,
                _ => {}
            }
        }
    }

    async fn content(&mut self, tag: u64, redelivered: bool) -> Delivered {
        let AMQPFrame::Header(_, header) = self.frame().await else {
            panic!("a method has no content");
        };
        let mut body = Vec::new();
        while (body.len() as u64) < header.body_size {
            match self.frame().await {
                AMQPFrame::Body(_, part) => body.extend(part),
                other => panic!("no body: {other:?}"),
            }
        }
        Delivered {
            tag,
            redelivered,
            properties: header.properties,
            body,
        }
    }

    pub(crate) async fn ack(&mut self, delivery_tag: u64) {
        let ack = basic::Ack {
            delivery_tag,
            multiple: false,
        };
        self.basic(basic::AMQPMethod::Ack(ack)).await;
    }

    pub(crate) async fn nack(&mut self, delivery_tag: u64, requeue: bool) {
        let nack = basic::Nack {
            delivery_tag,
            multiple: false,
            requeue,
        };
        self.basic(basic::AMQPMethod::Nack(nack)).await;
    }
}

fn start_ok(user: &str, name: &str) -> AMQPClass {
    let yes = AMQPValue::Boolean(true);
    let capabilities = table(&[
        ("authentication_failure_close", yes.clone()),
        ("connection.blocked", yes.clone()),
        ("consumer_cancel_notify", yes),
    ]);
    let start = connection::StartOk {
        client_properties: table(&[
            ("capabilities", AMQPValue::FieldTable(capabilities)),
            ("connection_name", long(name)),
        ]),
        mechanism: "PLAIN".into(),
        response: format!("\0{user}\0{user}").into(),
        locale: "en_US".into(),
    };
    AMQPClass::Connection(connection::AMQPMethod::StartOk(start))
}

pub(crate) fn encode(frame: &AMQPFrame) -> Vec<u8> {
    let context = WriteContext::from(Vec::new());
    gen_frame(frame)(context).expect("written").write
}

pub(crate) fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

pub(crate) fn int(number: i32) -> AMQPValue {
    AMQPValue::LongInt(number)
}
