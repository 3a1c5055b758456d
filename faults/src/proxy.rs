//! A TCP proxy in front of the broker: cuts, half-opens, delays and refuses the connections of one program.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::schedule::Way;

/// What becomes of bytes and connections.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Faults may overlap: the number of those that hold bytes on their way to the broker, and from it.
    held_out: usize,
    held_in: usize,
    refusing: usize,
    late_by: Duration,
}

/// The proxy of one program; its connections end with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    place: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    broker: String,
    weather: watch::Sender<Weather>,
    /// Cancelled to reset the connections of the moment.
    lines: Mutex<CancellationToken>,
}

impl Proxy {
    pub(crate) async fn start(broker: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port")?;
        let place = listener.local_addr()?;
        let shared = Arc::new(Shared {
            broker: broker.to_owned(),
            weather: watch::Sender::default(),
            lines: Mutex::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            Arc::clone(&shared),
            stop.clone(),
        )));
        Ok(Self {
            place,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// Where the program connects to.
    pub(crate) fn place(&self) -> SocketAddr {
        self.place
    }

    /// Resets every connection.
    pub(crate) fn cut(&self) {
        let mut lines = self.shared.lines();
        lines.cancel();
        *lines = CancellationToken::new();
    }

    /// Holds bytes back, or lets them go.
    pub(crate) fn hold(&self, way: Way, held: bool) {
        self.shared.weather.send_modify(|weather| {
            if way != Way::In {
                step(&mut weather.held_out, held);
            }
            if way != Way::Out {
                step(&mut weather.held_in, held);
            }
        });
    }

    /// Resets new connections, or takes them again.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared
            .weather
            .send_modify(|weather| step(&mut weather.refusing, refusing));
    }

    /// Lets every chunk be late by this.
    pub(crate) fn delay(&self, by: Duration) {
        self.shared
            .weather
            .send_modify(|weather| weather.late_by = by);
    }
}

fn step(count: &mut usize, up: bool) {
    *count = if up {
        *count + 1
    } else {
        count.saturating_sub(1)
    };
}

impl Shared {
    fn lines(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // out of descriptors for a moment
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if shared.weather.borrow().refusing > 0 {
            reset(&near);
            continue;
        }
        let cut = shared.lines().clone();
        let shared = Arc::clone(&shared);
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(async move { connect(near, &shared, cut).await }),
        );
    }
}

async fn connect(mut near: TcpStream, shared: &Shared, cut: CancellationToken) {
    let Ok(mut far) = TcpStream::connect(&shared.broker).await else {
        reset(&near);
        return;
    };
    // small frames are not to wait for acknowledgements of the kernel
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let out = pump(near_in, far_out, shared, |weather| weather.held_out);
        let back = pump(far_in, near_out, shared, |weather| weather.held_in);
        tokio::select! {
            () = out => return,
            () = back => return,
            () = cut.cancelled() => {}
        }
    }
    reset(&near);
    reset(&far);
}

/// Copies one way until either side ends.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    held: impl Fn(&Weather) -> usize,
) {
    let mut weather = shared.weather.subscribe();
    let mut chunk = vec![0; 65_536];
    loop {
        let length = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let late_by = match weather.wait_for(|weather| held(weather) == 0).await {
            Ok(weather) => weather.late_by,
            Err(_) => return,
        };
        if !late_by.is_zero() {
            tokio::time::sleep(late_by).await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Lets the connection end with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    let _gone_already = stream.set_zero_linger();
}
