//! One client: from its first byte to its last.

mod handshake;
mod session;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::error::Objection;
use crate::frame::{self, FrameKind};
use crate::server::{Broker, Client};
use session::Session;
use writer::Writer;

/// What the clients of a virtual host hear that is removed, in RabbitMQ's words.
const VHOST_IS_DOWN: &str = "broker forced connection closure with reason 'vhost is down'";

/// How long a client may take until its connection is open.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How long a client may take to answer `connection.close`.
const CLOSING: Duration = Duration::from_secs(5);

/// The same when the broker stops.
const STOPPING: Duration = Duration::from_millis(500);

type Input<R> = BufReader<R>;

/// What two sides agreed on.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    /// In bytes.
    frame_max: usize,
    channel_max: u16,
    /// None if it is zero.
    heartbeat: Duration,
}

/// When something came from the client.
#[derive(Debug)]
struct Alive {
    start: Instant,
    /// Milliseconds since the start.
    heard: AtomicU64,
    /// Nothing is read from it, so that its silence means nothing.
    paused: AtomicBool,
}

impl Alive {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }

    fn heard(&self) {
        let since = self.start.elapsed().as_millis();
        self.heard.store(since as u64, Ordering::Relaxed);
    }

    fn pause(&self, paused: bool) {
        self.heard();
        self.paused.store(paused, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        if self.paused.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client closed it.
    Closed,
    /// It is lost, or dropped on purpose.
    Lost,
    /// The broker objects to something, which came with this class and method.
    Objection(Objection, u16, u16),
    /// The broker closes it.
    Forced(String),
}

/// Serves one client over a socket.
pub(crate) async fn serve_socket(broker: Arc<Broker>, stream: TcpStream) {
    // small frames must not wait for each other; a socket that cannot do it is slow but right
    let _slow = stream.set_nodelay(true);
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        tracing::debug!("a client was gone before it connected");
        return;
    };
    let (input, output) = stream.into_split();
    serve(broker, format!("{peer} -> {local}"), input, output).await;
}

/// Serves one client, whatever its bytes travel over.
pub(crate) async fn serve<R, W>(broker: Arc<Broker>, name: String, input: R, output: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let stop = broker.stop.clone();
    let opening = timeout(HANDSHAKE, handshake::open(&broker, name, input, output));
    let opened = tokio::select! {
        opened = opening => opened,
        () = stop.cancelled() => return,
    };
    match opened {
        Ok(Ok(opened)) => opened.serve(&broker).await,
        Ok(Err(reason)) => tracing::debug!(%reason, "a client did not connect"),
        Err(_) => tracing::debug!("a client took too long to connect"),
    }
}

/// A connection that is open.
#[derive(Debug)]
struct Opened<R, W> {
    input: Input<R>,
    writer: Writer<W>,
    client: Arc<Client>,
    agreed: Agreed,
}

/// Gives back all that is a connection's own, however it ends.
struct Entered<'a> {
    broker: &'a Broker,
    client: &'a Client,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let id = self.client.id;
        self.client.host.with(|vhost| vhost.close_connection(id));
        self.broker.leave(id);
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Opened<R, W> {
    async fn serve(mut self, broker: &Broker) {
        let client = self.client.clone();
        broker.enter(client.clone());
        let entered = Entered {
            broker,
            client: &client,
        };
        let alive = Alive::new();
        let mut session = Session::new(client.clone(), &broker.signals, self.agreed);
        let end = tokio::select! {
            end = session.run(&mut self.input, &alive) => end,
            end = self.writer.run(&alive) => end,
            () = client.cut.cancelled() => End::Lost,
            () = client.closed.cancelled() => End::Forced(client.reason()),
            () = client.host.removed.cancelled() => End::Forced(VHOST_IS_DOWN.to_owned()),
        };
        drop(session);
        // before the client hears of it, so that what it had is free when it does
        drop(entered);
        self.finish(end, broker, &alive).await;
    }

    async fn finish(mut self, end: End, broker: &Broker, alive: &Alive) {
        let outbox = self.client.outbox.clone();
        match end {
            End::Lost => {}
            End::Closed => {
                let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                outbox.method(0, AMQPClass::Connection(ok));
                let _in_time = timeout(CLOSING, self.writer.flush()).await;
            }
            End::Objection(objection, class, method) => {
                tracing::debug!(reason = objection.text, "connection closed");
                outbox.method(0, close(&objection, class, method));
                let answered = close_ok(&mut self.input, self.agreed.frame_max);
                let _in_time = tokio::select! {
                    end = timeout(CLOSING, answered) => end.is_ok(),
                    _ = self.writer.run(alive) => false,
                };
            }
            End::Forced(reason) => {
                outbox.method(0, close(&Objection::forced(reason), 0, 0));
                let limit = if broker.stop.is_cancelled() {
                    STOPPING
                } else {
                    CLOSING
                };
                let _in_time = tokio::select! {
                    end = timeout(limit, drain(&mut self.input)) => end.is_ok(),
                    _ = self.writer.run(alive) => false,
                };
            }
        }
    }
}

/// `connection.close` for an objection.
fn close(objection: &Objection, class_id: u16, method_id: u16) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
        reply_code: objection.code,
        reply_text: objection.text.as_str().into(),
        class_id,
        method_id,
    }))
}

/// Reads until the client answers `connection.close` or goes.
async fn close_ok(input: &mut Input<impl AsyncRead + Unpin>, frame_max: usize) {
    use connection::AMQPMethod::{Close, CloseOk};
    while let Ok(frame) = frame::read(input, frame_max).await {
        match frame.kind {
            FrameKind::Method(method) => {
                if let AMQPClass::Connection(CloseOk(_) | Close(_)) = *method {
                    return;
                }
            }
            FrameKind::Bad(_) | FrameKind::BadMethod(..) => return drain(input).await,
            _ => {}
        }
    }
}

/// Reads until the client goes, whatever it sends: it may be in the middle of a frame.
async fn drain(input: &mut Input<impl AsyncRead + Unpin>) {
    let mut buffer = [0; 4096];
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
