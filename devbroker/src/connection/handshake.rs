//! From the first bytes of a client to `connection.open-ok`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{AMQPValue, FieldTable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::writer::Writer;
use super::{Agreed, Input, Opened, close, close_ok};
use crate::error::Objection;
use crate::frame::{self, FrameKind, Out, PROTOCOL};
use crate::outbox::Outbox;
use crate::server::{Broker, Client};
use crate::table::{is_too_deep, text};

/// The smallest frame that every side must take, in bytes.
const FRAME_MIN: u32 = 4096;

/// How many channels a connection may have.
const CHANNEL_MAX: u16 = 2047;

/// What is told as the version. Clients decide by it what they may use, so it begins with the RabbitMQ version whose
/// behaviour is followed, and our own comes after.
const VERSION: &str = concat!("3.10.8+devbroker.", env!("CARGO_PKG_VERSION"));

/// What this broker can do, in RabbitMQ's words.
const CAPABILITIES: [&str; 9] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "consumer_priorities",
    "direct_reply_to",
    "exchange_exchange_bindings",
    "per_consumer_qos",
    "publisher_confirms",
];

/// Why a client did not connect.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// With the method that it is about, by class and method.
    #[error("{}", .0.text)]
    Objection(Objection, u16, u16),
    #[error("it does not speak AMQP 0-9-1")]
    Protocol,
}

impl From<Objection> for Failure {
    fn from(objection: Objection) -> Self {
        Self::Objection(objection, 0, 0)
    }
}

/// A connection that is being opened.
struct Opening<R, W> {
    input: Input<R>,
    output: W,
}

/// Opens a connection, or tells the client why not.
pub(super) async fn open<R, W>(
    broker: &Broker,
    name: String,
    input: R,
    output: W,
) -> Result<Opened<R, W>, Failure>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut opening = Opening {
        input: BufReader::with_capacity(16 * 1024, input),
        output,
    };
    opening.greet().await?;
    let mut introduction = Introduction::default();
    let agreed = opening.agree(broker, name, &mut introduction).await;
    let (client, agreed) = match agreed {
        Ok(agreed) => agreed,
        Err(failure) => {
            opening.refuse(&failure, &introduction).await?;
            return Err(failure);
        }
    };
    let (input, output) = (opening.input, opening.output);
    Ok(Opened {
        input,
        writer: Writer::new(output, client.clone(), agreed.frame_max, agreed.heartbeat),
        client,
        agreed,
    })
}

/// What a client says of itself.
#[derive(Debug, Default)]
struct Introduction {
    properties: FieldTable,
    user: String,
    /// It wants to be told when it is not let in.
    hears_refusal: bool,
}

impl Introduction {
    fn can(&self, capability: &str) -> bool {
        let capabilities = self.properties.inner().get("capabilities");
        match capabilities {
            Some(AMQPValue::FieldTable(all)) => {
                all.inner().get(capability) == Some(&AMQPValue::Boolean(true))
            }
            _ => false,
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Opening<R, W> {
    async fn greet(&mut self) -> Result<(), Failure> {
        let mut protocol = [0; 8];
        self.input.read_exact(&mut protocol).await?;
        if &protocol != PROTOCOL {
            // the protocol's way to say what would be understood
            self.output.write_all(PROTOCOL).await?;
            self.output.shutdown().await?;
            return Err(Failure::Protocol);
        }
        self.send(connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(),
            mechanisms: "PLAIN AMQPLAIN".into(),
            locales: "en_US".into(),
        }))
        .await
    }

    async fn agree(
        &mut self,
        broker: &Broker,
        name: String,
        introduction: &mut Introduction,
    ) -> Result<(Arc<Client>, Agreed), Failure> {
        self.log_in(broker, introduction).await?;
        let agreed = self.tune(broker).await?;
        let open = match self.receive().await? {
            connection::AMQPMethod::Open(open) => open,
            connection::AMQPMethod::Close(close) => {
                let text = "unexpected method in connection state opening";
                let (class, method) = (close.get_amqp_class_id(), close.get_amqp_method_id());
                return Err(Failure::Objection(
                    Objection::channel_error(text),
                    class,
                    method,
                ));
            }
            _ => return Err(unexpected("connection.open").into()),
        };
        let (class, method) = (open.get_amqp_class_id(), open.get_amqp_method_id());
        let refused =
            |text: String| Failure::Objection(Objection::not_allowed(text), class, method);
        let vhost = open.virtual_host.as_str();
        let Some(host) = broker.host(vhost) else {
            return Err(refused(format!("vhost {vhost} not found")));
        };
        let user = &introduction.user;
        if !host.look(|vhost| vhost.access.admits(user)) {
            return Err(refused(format!(
                "access to vhost '{vhost}' refused for user '{user}'"
            )));
        }
        self.send(connection::AMQPMethod::OpenOk(connection::OpenOk {}))
            .await?;
        let outbox = Arc::new(Outbox::new(introduction.can("consumer_cancel_notify")));
        let properties = introduction.properties.clone();
        let id = broker.next_connection();
        let client = Client::new(id, name, properties, user, host, outbox);
        Ok((Arc::new(client), agreed))
    }

    async fn log_in(
        &mut self,
        broker: &Broker,
        introduction: &mut Introduction,
    ) -> Result<(), Failure> {
        let connection::AMQPMethod::StartOk(start) = self.receive().await? else {
            return Err(unexpected("connection.start-ok").into());
        };
        introduction.properties = start.client_properties;
        introduction.hears_refusal = introduction.can("authentication_failure_close");
        let response = start.response.as_bytes();
        let login = match start.mechanism.as_str() {
            "PLAIN" => plain(response),
            "AMQPLAIN" => amqplain(response),
            other => {
                introduction.hears_refusal = true;
                let text = format!("unknown authentication mechanism '{other}'");
                return Err(Objection::command_invalid(text).into());
            }
        };
        if let Some((user, _)) = login.filter(|(user, password)| broker.knows(user, password)) {
            introduction.user = user;
            introduction.hears_refusal = true;
            return Ok(());
        }
        Err(Objection::login_refused(format_args!(
            "Login was refused using authentication mechanism {}. For details see the broker logfile.",
            start.mechanism
        ))
        .into())
    }

    async fn tune(&mut self, broker: &Broker) -> Result<Agreed, Failure> {
        let limits = broker.limits;
        let heartbeat = limits.heartbeat.as_secs().try_into().unwrap_or(u16::MAX);
        self.send(connection::AMQPMethod::Tune(connection::Tune {
            channel_max: CHANNEL_MAX,
            frame_max: limits.frame_max,
            heartbeat,
        }))
        .await?;
        let connection::AMQPMethod::TuneOk(tuned) = self.receive().await? else {
            return Err(unexpected("connection.tune-ok").into());
        };
        within(
            "channel_max",
            tuned.channel_max.into(),
            1,
            CHANNEL_MAX.into(),
        )?;
        within("frame_max", tuned.frame_max, FRAME_MIN, limits.frame_max)?;
        Ok(Agreed {
            frame_max: tuned.frame_max as usize,
            channel_max: tuned.channel_max,
            heartbeat: Duration::from_secs(tuned.heartbeat.into()),
        })
    }

    async fn send(&mut self, method: connection::AMQPMethod) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        Out::Method(0, AMQPClass::Connection(method)).write(&mut bytes, FRAME_MIN as usize);
        Ok(self.output.write_all(&bytes).await?)
    }

    async fn receive(&mut self) -> Result<connection::AMQPMethod, Failure> {
        loop {
            let frame = frame::read(&mut self.input, frame::LARGEST_HANDSHAKE).await?;
            match frame.kind {
                FrameKind::Heartbeat => {}
                FrameKind::Method(method) => match *method {
                    AMQPClass::Connection(method) => return Ok(method),
                    _ => return Err(unexpected("a method of the handshake").into()),
                },
                FrameKind::Bad(objection) | FrameKind::BadMethod(objection, ..) => {
                    return Err(objection.into());
                }
                _ => return Err(unexpected("a method of the handshake").into()),
            }
        }
    }

    /// Tells a client that it is not let in, if it understands that.
    async fn refuse(
        &mut self,
        failure: &Failure,
        introduction: &Introduction,
    ) -> Result<(), Failure> {
        let Failure::Objection(objection, class, method) = failure else {
            return Ok(());
        };
        if introduction.hears_refusal {
            let mut bytes = Vec::new();
            let close = Out::Method(0, close(objection, *class, *method));
            close.write(&mut bytes, FRAME_MIN as usize);
            self.output.write_all(&bytes).await?;
            close_ok(&mut self.input, frame::LARGEST_HANDSHAKE).await;
        }
        Ok(self.output.shutdown().await?)
    }
}

fn server_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for capability in CAPABILITIES {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let texts = [
        ("product", "coney-devbroker"),
        ("version", VERSION),
        ("platform", "Rust"),
        (
            "information",
            "For development and tests only: keeps nothing on disk",
        ),
    ];
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, value) in texts {
        properties.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties
}

/// `\0user\0password`.
fn plain(response: &[u8]) -> Option<(String, String)> {
    let mut parts = response.split(|byte| *byte == 0).skip(1);
    let mut part = || String::from_utf8(parts.next()?.to_vec()).ok();
    Some((part()?, part()?))
}

/// A table with `LOGIN` and `PASSWORD`, without its length.
fn amqplain(response: &[u8]) -> Option<(String, String)> {
    if is_too_deep(response) {
        return None;
    }
    let table = [&u32::try_from(response.len()).ok()?.to_be_bytes(), response].concat();
    let (_, table) = parse_field_table(&*table).ok()?;
    let part = |name: &str| text(table.inner().get(name)?);
    Some((part("LOGIN")?, part("PASSWORD")?))
}

fn within(name: &str, value: u32, least: u32, most: u32) -> Result<(), Objection> {
    let (how, which, limit) = if value == 0 || value > most {
        ("higher", "maximum", most)
    } else if value < least {
        ("lower", "minimum", least)
    } else {
        return Ok(());
    };
    Err(Objection::not_allowed(format_args!(
        "negotiated {name} = {value} is {how} than the {which} allowed value ({limit})"
    )))
}

fn unexpected(wanted: &str) -> Objection {
    Objection::command_invalid(format_args!("expected {wanted}"))
}
