//! What a client says once its connection is open: frames to methods, contents and channels.

use std::collections::HashMap;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use tokio::io::AsyncRead;
use tokio::sync::watch;

use super::{Agreed, Alive, End, Input};
use crate::channel::{Channel, ChannelKey, LARGEST};
use crate::content::{Body, Content};
use crate::error::{Objection, Outcome};
use crate::frame::{self, Frame, FrameKind};
use crate::meter::Charge;
use crate::server::Client;
use crate::vhost::Signals;

/// The class of `basic`, the only one with contents.
const BASIC: u16 = 60;
const PUBLISH: u16 = 40;

/// What comes next on a channel.
#[derive(Debug)]
enum Phase {
    /// A method.
    Open,
    /// The content of a publication.
    Content(Box<Incoming>),
    /// The broker closed it and waits for the client's answer; all else is old.
    Closing,
}

/// A publication whose content is not complete.
#[derive(Debug)]
struct Incoming {
    publish: basic::Publish,
    /// Properties and size of the body, once they are there.
    header: Option<(Vec<u8>, usize)>,
    body: Vec<u8>,
    charge: Charge,
}

/// What the connection goes on with.
enum Next {
    Frame,
    Close,
}

/// An objection and the method that it is about, by class and method.
type About = (Objection, u16, u16);

/// One side of a connection: what comes from the client.
pub(super) struct Session {
    client: Arc<Client>,
    signals: Arc<Signals>,
    blocked: watch::Receiver<Option<String>>,
    agreed: Agreed,
    phases: HashMap<u16, Phase>,
    /// It sent a part of a message since it was looked whether publishers are blocked.
    published: bool,
}

impl Session {
    pub(super) fn new(client: Arc<Client>, signals: &Arc<Signals>, agreed: Agreed) -> Self {
        Self {
            client,
            signals: signals.clone(),
            blocked: signals.blocked(),
            agreed,
            phases: HashMap::new(),
            published: false,
        }
    }

    /// Does what the client says until the connection ends.
    pub(super) async fn run(
        &mut self,
        input: &mut Input<impl AsyncRead + Unpin>,
        alive: &Alive,
    ) -> End {
        loop {
            self.client.outbox.room().await;
            if std::mem::take(&mut self.published) {
                self.wait_while_blocked(alive).await;
            }
            let Ok(frame) = frame::read(input, self.agreed.frame_max).await else {
                return End::Lost;
            };
            alive.heard();
            match self.take(frame) {
                Ok(Next::Frame) => {}
                Ok(Next::Close) => return End::Closed,
                Err((objection, class, method)) => return End::Objection(objection, class, method),
            }
        }
    }

    /// Leaves a publisher's socket unread while publishers are blocked.
    async fn wait_while_blocked(&mut self, alive: &Alive) {
        let Some(reason) = self.blocked.borrow().clone() else {
            return;
        };
        // one message that has begun may end, or a large one would wait for the memory that it takes itself; others
        // may not go on meanwhile, or many that never end would take memory without end
        if self.unfinished() == 1 {
            return;
        }
        let reason = reason.chars().take(60).collect::<String>();
        let blocked = connection::Blocked {
            reason: reason.into(),
        };
        alive.pause(true);
        self.tell(connection::AMQPMethod::Blocked(blocked));
        let _never_gone = self.blocked.wait_for(Option::is_none).await.is_err();
        self.tell(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
        alive.pause(false);
    }

    /// How many messages have begun and are not complete.
    fn unfinished(&self) -> usize {
        let begun = |phase: &&Phase| matches!(phase, Phase::Content(_));
        self.phases.values().filter(begun).count()
    }

    fn tell(&self, method: connection::AMQPMethod) {
        if self.client.hears_blocked() {
            self.client.outbox.method(0, AMQPClass::Connection(method));
        }
    }

    fn key(&self, number: u16) -> ChannelKey {
        ChannelKey {
            connection: self.client.id,
            number,
        }
    }

    fn take(&mut self, frame: Frame) -> Result<Next, About> {
        let Frame { channel, kind } = frame;
        match kind {
            FrameKind::Heartbeat => return Ok(Next::Frame),
            FrameKind::Bad(objection) => return Err((objection, 0, 0)),
            FrameKind::BadMethod(objection, class, method) => {
                return Err((objection, class, method));
            }
            FrameKind::Method(method) if channel == 0 => return self.of_connection(*method),
            _ if channel == 0 => {
                let text = "a content belongs to a channel, not to channel 0";
                return Err((Objection::unexpected_frame(text), 0, 0));
            }
            _ => {}
        }
        match self.phases.remove(&channel) {
            None => self.opening(channel, kind),
            Some(Phase::Closing) => {
                self.closing(channel, &kind);
                Ok(())
            }
            Some(Phase::Open) => match kind {
                FrameKind::Method(method) => self.method(channel, *method),
                _ => {
                    let text = "expected method frame, got non method frame instead";
                    Err((Objection::unexpected_frame(text), 0, 0))
                }
            },
            Some(Phase::Content(incoming)) => self.content(channel, *incoming, kind),
        }?;
        Ok(Next::Frame)
    }

    fn of_connection(&self, method: AMQPClass) -> Result<Next, About> {
        use connection::AMQPMethod::{Close, UpdateSecret, UpdateSecretOk};
        match method {
            AMQPClass::Connection(Close(_)) => Ok(Next::Close),
            AMQPClass::Connection(UpdateSecret(_)) => {
                let ok = UpdateSecretOk(connection::UpdateSecretOk {});
                self.client.outbox.method(0, AMQPClass::Connection(ok));
                Ok(Next::Frame)
            }
            other => {
                let (class, method) = ids(&other);
                let text = "unexpected method in connection state running";
                Err((Objection::channel_error(text), class, method))
            }
        }
    }

    /// A frame on a channel that is not open.
    fn opening(&mut self, number: u16, kind: FrameKind) -> Result<(), About> {
        use channel::AMQPMethod::{CloseOk, Open, OpenOk};
        let FrameKind::Method(method) = kind else {
            return Err((Objection::channel_error("expected 'channel.open'"), 0, 0));
        };
        match *method {
            AMQPClass::Channel(Open(_)) => {}
            // of a channel that both sides closed at once
            AMQPClass::Channel(CloseOk(_)) => return Ok(()),
            other => {
                let (class, method) = ids(&other);
                let text = "expected 'channel.open'";
                return Err((Objection::channel_error(text), class, method));
            }
        }
        if number > self.agreed.channel_max {
            let max = self.agreed.channel_max;
            let text =
                format!("channel number {number} is above the negotiated channel_max ({max})");
            return Err((Objection::not_allowed(text), 20, 10));
        }
        let client = &self.client;
        let made = Channel::new(self.key(number), client.user.clone(), client.outbox.clone());
        client.host.with(|vhost| {
            vhost.channels.insert(made.key, made);
            let ok = AMQPClass::Channel(OpenOk(channel::OpenOk {}));
            client.outbox.method(number, ok);
        });
        self.phases.insert(number, Phase::Open);
        Ok(())
    }

    /// A frame on a channel that the broker closed.
    fn closing(&mut self, number: u16, kind: &FrameKind) {
        use channel::AMQPMethod::{Close, CloseOk};
        let method = match kind {
            FrameKind::Method(method) => Some(&**method),
            _ => None,
        };
        match method {
            Some(AMQPClass::Channel(CloseOk(_))) => return,
            Some(AMQPClass::Channel(Close(_))) => self.answer_close(number),
            _ => {}
        }
        self.phases.insert(number, Phase::Closing);
    }

    fn answer_close(&self, number: u16) {
        let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
        self.client.outbox.method(number, AMQPClass::Channel(ok));
    }

    fn method(&mut self, number: u16, method: AMQPClass) -> Result<(), About> {
        use channel::AMQPMethod::{Close, Open};
        let key = self.key(number);
        let (class, id) = ids(&method);
        let done = match method {
            AMQPClass::Channel(Close(_)) => {
                self.client.host.with(|vhost| vhost.close_channel(key));
                self.answer_close(number);
                return Ok(());
            }
            AMQPClass::Channel(Open(_)) => {
                Err(Objection::channel_error("second 'channel.open' seen"))
            }
            AMQPClass::Basic(basic::AMQPMethod::Publish(publish)) => {
                let incoming = Incoming {
                    publish,
                    header: None,
                    body: Vec::new(),
                    charge: self.signals.meter.charge(0),
                };
                self.phases
                    .insert(number, Phase::Content(Box::new(incoming)));
                return Ok(());
            }
            method => self.client.host.with(|vhost| vhost.handle(key, method)),
        };
        self.went(number, done, class, id)
    }

    /// Goes on with a channel, or closes it.
    fn went(
        &mut self,
        number: u16,
        done: Outcome<()>,
        class: u16,
        method: u16,
    ) -> Result<(), About> {
        let objection = match done {
            Ok(()) => {
                self.phases.insert(number, Phase::Open);
                return Ok(());
            }
            Err(objection) if objection.ends_connection => return Err((objection, class, method)),
            Err(objection) => objection,
        };
        tracing::debug!(reason = objection.text, "channel closed");
        let key = self.key(number);
        let outbox = &self.client.outbox;
        self.client.host.with(|vhost| {
            vhost.close_channel(key);
            let close = channel::Close {
                reply_code: objection.code,
                reply_text: objection.text.into(),
                class_id: class,
                method_id: method,
            };
            outbox.method(
                number,
                AMQPClass::Channel(channel::AMQPMethod::Close(close)),
            );
        });
        self.phases.insert(number, Phase::Closing);
        Ok(())
    }

    /// The next part of a publication.
    fn content(
        &mut self,
        number: u16,
        mut incoming: Incoming,
        kind: FrameKind,
    ) -> Result<(), About> {
        match (&incoming.header, kind) {
            (
                None,
                FrameKind::Header {
                    class,
                    size,
                    properties,
                },
            ) => {
                if class != BASIC {
                    let text = format!(
                        "expected content header for class {BASIC}, got one for class {class} instead"
                    );
                    return Err((Objection::unexpected_frame(text), BASIC, PUBLISH));
                }
                if size > LARGEST {
                    let text =
                        format!("message size {size} is larger than configured max size {LARGEST}");
                    return self.went(number, Err(Objection::precondition(text)), BASIC, PUBLISH);
                }
                incoming.header = Some((properties, size as usize));
            }
            (Some((_, size)), FrameKind::Body(part)) => {
                incoming.charge.grow(part.len());
                self.signals.check_memory();
                self.published = true;
                if incoming.body.is_empty() {
                    incoming.body = part;
                } else {
                    incoming.body.extend_from_slice(&part);
                }
                if incoming.body.len() > *size {
                    let text = "expected content body, got non content body frame instead";
                    return Err((Objection::unexpected_frame(text), BASIC, PUBLISH));
                }
            }
            (None, _) => {
                let text = format!(
                    "expected content header for class {BASIC}, got non content header frame instead"
                );
                return Err((Objection::unexpected_frame(text), BASIC, PUBLISH));
            }
            (Some(_), _) => {
                let text = "expected content body, got non content body frame instead";
                return Err((Objection::unexpected_frame(text), BASIC, PUBLISH));
            }
        }
        match &incoming.header {
            Some((_, size)) if *size == incoming.body.len() => self.publish(number, incoming),
            _ => {
                self.phases
                    .insert(number, Phase::Content(Box::new(incoming)));
                Ok(())
            }
        }
    }

    fn publish(&mut self, number: u16, incoming: Incoming) -> Result<(), About> {
        let key = self.key(number);
        let publish = incoming.publish;
        let (properties, _) = incoming.header.unwrap_or_default();
        let content = Content::new(
            publish.exchange.to_string(),
            publish.routing_key.to_string(),
            properties,
            Body::new(incoming.body, incoming.charge),
            &self.signals.meter,
        );
        self.published = true;
        let done = self.client.host.with(|vhost| {
            vhost.check_publish(
                key,
                &content.exchange,
                &content.routing_key,
                publish.immediate,
            )?;
            vhost.publish(key, content, publish.mandatory)
        });
        self.went(number, done, BASIC, PUBLISH)
    }
}

fn ids(method: &AMQPClass) -> (u16, u16) {
    (method.get_amqp_class_id(), method.get_amqp_method_id())
}
