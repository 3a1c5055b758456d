//! A TCP proxy in front of the broker, to break connections in every way a test wants.
//!
//! Shared: the tests of `coney-amqp` include this file too.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::place::place;

/// The broker's `connection.blocked`, with the reason `low on memory`.
const BLOCKED: &[u8] = b"\x01\0\0\0\0\0\x12\0\x0a\0\x3c\x0dlow on memory\xce";

/// The broker's `connection.unblocked`.
const UNBLOCKED: &[u8] = b"\x01\0\0\0\0\0\x04\0\x0a\0\x3d\xce";

/// The broker's `connection.close` with 530 NOT_ALLOWED, which names no method.
const CLOSE: &[u8] = b"\x01\0\0\0\0\0\x16\0\x0a\0\x32\x02\x12\x0bNOT_ALLOWED\0\0\0\0\xce";

/// A TCP proxy in front of the broker. All its connections end with it.
pub(crate) struct Proxy {
    place: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    /// Cancelled to cut the connections of the moment.
    lines: Mutex<CancellationToken>,
    refuses: AtomicBool,
    open: AtomicUsize,
    accepted: AtomicUsize,
    /// What one connection's client is told, as if the broker said so.
    words: broadcast::Sender<(usize, &'static [u8])>,
    /// How many bytes the client of a first connection may send before it is told to go.
    close_after: AtomicUsize,
    /// True while nothing that the broker says comes through.
    deaf: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let place = listener.local_addr().expect("port").to_string();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            lines: Mutex::new(stop.child_token()),
            refuses: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            words: broadcast::Sender::new(8),
            close_after: AtomicUsize::new(usize::MAX),
            deaf: watch::Sender::new(false),
        });
        let accept = accept(listener, Arc::clone(&shared), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Self {
            place,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// The URL of a virtual host through the proxy.
    pub(crate) fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@{}/{vhost}", self.place)
    }

    /// Host and port of the proxy.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// How many connections are open.
    pub(crate) fn open_lines(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.shared.lines.lock().expect("no panic in here").cancel();
    }

    /// Refuses new connections, or takes them again.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Holds back whatever the broker says from now on, or lets it through again; what clients say goes on arriving.
    pub(crate) fn hold_answers(&self, holds: bool) {
        self.shared.deaf.send_replace(holds);
    }

    /// Tells the client of a quiet connection that the broker is short of memory, or no longer.
    ///
    /// Connections are counted from 0; the first is the one that publishes.
    pub(crate) fn block(&self, line: usize, is_blocked: bool) {
        let words = if is_blocked { BLOCKED } else { UNBLOCKED };
        self.shared.words.send((line, words)).expect("a connection");
    }

    /// Tells the client of the first connection that it did something forbidden and has to go, in the middle of what it
    /// sends: once it has sent so many bytes more.
    pub(crate) fn close_after(&self, bytes: usize) {
        self.shared.close_after.store(bytes, Ordering::SeqCst);
    }
}

impl Shared {
    /// Counts what the client of the first connection sent: true when it is time for it to go.
    fn is_over(&self, sent: usize) -> bool {
        let left = self.close_after.load(Ordering::SeqCst);
        let now = if left > sent { left - sent } else { usize::MAX };
        if left != usize::MAX {
            self.close_after.store(now, Ordering::SeqCst);
        }
        left <= sent
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            return;
        };
        if shared.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let line = {
            let mut lines = shared.lines.lock().expect("no panic in here");
            if lines.is_cancelled() {
                *lines = stop.child_token();
            }
            lines.clone()
        };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        shared.open.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            line.run_until_cancelled(forward(near, number, &shared))
                .await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Copies both ways until either side ends.
async fn forward(near: TcpStream, number: usize, shared: &Shared) -> Option<()> {
    let mut words = shared.words.subscribe();
    let mut deaf = shared.deaf.subscribe();
    let far = TcpStream::connect(&place().amqp).await.ok()?;
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut held = Vec::new();
    loop {
        tokio::select! {
            length = near_in.read(&mut up) => match length.ok()? {
                0 => return None,
                length => {
                    if number == 0 && shared.is_over(length) {
                        near_out.write_all(CLOSE).await.ok()?;
                    }
                    far_out.write_all(&up[..length]).await.ok()?;
                }
            },
            length = far_in.read(&mut down), if held.is_empty() => match length.ok()? {
                0 => return None,
                length => held.extend_from_slice(&down[..length]),
            },
            () = async { drop(deaf.wait_for(|deaf| !deaf).await) }, if !held.is_empty() => {
                near_out.write_all(&held).await.ok()?;
                held.clear();
            }
            Ok((line, bytes)) = words.recv() => if line == number {
                near_out.write_all(bytes).await.ok()?;
            },
        }
    }
}
