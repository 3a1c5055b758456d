//! Frames on their way to a client: all that waits is written at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{Alive, End};
use crate::frame::Out;
use crate::server::Client;

/// How much is put together before it is written, in bytes.
const BATCH: usize = 256 * 1024;

/// Writes what waits in an outbox. Whoever stops it in the middle may go on with it.
#[derive(Debug)]
pub(super) struct Writer<W> {
    output: W,
    client: Arc<Client>,
    frame_max: usize,
    heartbeat: Duration,
    /// What is taken from the outbox and not encoded yet, last first.
    taken: Vec<Out>,
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    sent: usize,
    /// What the buffer counts in the outbox, in bytes.
    counted: usize,
    /// No frame may follow.
    cut: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(
        output: W,
        client: Arc<Client>,
        frame_max: usize,
        heartbeat: Duration,
    ) -> Self {
        Self {
            output,
            client,
            frame_max,
            heartbeat,
            taken: Vec::new(),
            buffer: Vec::new(),
            sent: 0,
            counted: 0,
            cut: false,
        }
    }

    /// Writes, and beats, until the connection is lost.
    pub(super) async fn run(&mut self, alive: &Alive) -> End {
        if self.heartbeat.is_zero() {
            loop {
                if self.step().await.is_err() {
                    return End::Lost;
                }
            }
        }
        let mut beat = every(self.heartbeat / 2);
        let mut written = false;
        loop {
            tokio::select! {
                step = self.step() => match step {
                    Ok(()) => written = true,
                    Err(_) => return End::Lost,
                },
                _ = beat.tick() => {
                    if alive.silence() > self.heartbeat * 2 {
                        tracing::debug!(client = self.client.name, "missed heartbeats");
                        return End::Lost;
                    }
                    let waits = self.sent < self.buffer.len();
                    if !std::mem::take(&mut written) && !waits {
                        self.client.outbox.push(Out::Heartbeat);
                    }
                }
            }
        }
    }

    /// Writes what waits now.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        loop {
            self.step().await?;
            if self.taken.is_empty() && self.client.outbox.is_empty() {
                return self.output.shutdown().await;
            }
        }
    }

    /// Takes what waits and writes it, or goes on with what is left of the last time.
    async fn step(&mut self) -> io::Result<()> {
        if self.sent == self.buffer.len() {
            if self.cut {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if self.taken.is_empty() {
                self.taken = self.client.outbox.take().await;
                self.taken.reverse();
            }
            self.encode();
        }
        while self.sent < self.buffer.len() {
            let written = self.output.write(&self.buffer[self.sent..]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent += written;
        }
        self.done();
        Ok(())
    }

    fn encode(&mut self) {
        self.buffer.clear();
        self.sent = 0;
        while self.buffer.len() < BATCH
            && let Some(out) = self.taken.pop()
        {
            self.counted += out.size();
            if !self.client.may_write(out.frames(self.frame_max)) {
                self.cut = true;
                self.taken.clear();
                return;
            }
            out.write(&mut self.buffer, self.frame_max);
        }
    }

    /// Makes room in the outbox, and has deliveries go on if some waited for it.
    fn done(&mut self) {
        if self.buffer.capacity() > 2 * BATCH {
            // one large message must not keep its size for ever
            self.buffer = Vec::new();
            self.sent = 0;
        }
        let counted = std::mem::take(&mut self.counted);
        if self.client.outbox.written(counted) {
            let id = self.client.id;
            self.client.host.with(|vhost| vhost.resume(id));
        } else {
            // the last copy of a message may have been the one that was written
            self.client.host.freed();
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
