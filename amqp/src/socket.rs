//! The socket below lapin: it reads the broker's greeting, and it can be cut.
//!
//! Three things lapin cannot do need a hand on the socket. It does not survive every message, so that they are looked at
//! first (`screen.rs`). It drops the server's properties, so product and version are
//! read here as they pass by. And nothing ends its I/O thread while the broker is silent: dropping a connection attempt
//! leaks thread and buffers for as long as the peer stays mute, and a blocked connection cannot even be closed, since
//! lapin writes nothing on it. [`Switch::cut`] makes the next read fail, which ends the thread in every state.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::task::AtomicWaker;
use lapin::tcp::AsyncTcpStream;

use crate::screen::Screen;
use crate::server::Server;

/// A greeting longer than this is not worth reading on.
const LONGEST_GREETING: usize = 64 * 1024;

/// A connected stream, plain or TLS.
pub(crate) type Transport = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// The socket that lapin reads and writes.
pub(crate) struct Socket {
    transport: Transport,
    switch: Arc<Switch>,
    greeting: Vec<u8>,
    screen: Screen,
}

impl Socket {
    pub(crate) fn new(transport: Transport, switch: Arc<Switch>) -> Self {
        Self {
            transport,
            switch,
            greeting: Vec::new(),
            screen: Screen::default(),
        }
    }

    /// Reads what lapin may see; zero bytes mean the end of the stream.
    fn poll_screened(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let held = self.screen.take(buffer);
            if held > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(held));
            }
            let transport = Pin::new(&mut self.transport);
            let seen = match self.screen.missing() {
                Some(missing) => {
                    let length = ready!(transport.poll_read(cx, missing))?;
                    if length == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    self.screen.arrived(length);
                    continue;
                }
                None => match ready!(transport.poll_read(cx, buffer))? {
                    0 => return Poll::Ready(Ok(0)),
                    length => self.screen.pass(&mut buffer[..length]),
                },
            };
            if seen > 0 {
                return Poll::Ready(Ok(seen));
            }
        }
    }

    fn listen(&mut self, bytes: &[u8]) {
        if self.switch.server.get().is_some() {
            return;
        }
        self.greeting.extend_from_slice(bytes);
        let server = match Server::from_greeting(&self.greeting) {
            None if self.greeting.len() < LONGEST_GREETING => return,
            server => server.unwrap_or_default(),
        };
        let _ = self.switch.server.set(server);
        self.greeting = Vec::new();
    }
}

/// A hand on a socket that lapin owns.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    server: OnceLock<Server>,
}

impl Switch {
    /// Ends the connection at once, without a word to the broker.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// What the broker said it is.
    pub(crate) fn server(&self) -> Server {
        self.server.get().cloned().unwrap_or_default()
    }

    fn check(&self, waker: &AtomicWaker, cx: &Context<'_>) -> io::Result<()> {
        waker.register(cx.waker());
        match self.cut.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(&self.switch.reader, cx)?;
        let read = self.poll_screened(cx, buffer);
        if let Poll::Ready(Ok(length)) = read {
            self.listen(&buffer[..length]);
        }
        read
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        // one buffer will do: lapin has two only where its ring buffer comes round
        let first = buffers.iter_mut().find(|buffer| !buffer.is_empty());
        match first {
            Some(buffer) => self.poll_read(cx, buffer),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(&self.switch.writer, cx)?;
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(&self.switch.writer, cx)?;
        Pin::new(&mut self.transport).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.check(&self.switch.writer, cx)?;
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switch.check(&self.switch.writer, cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_close(cx)
    }
}

/// Tokio, as lapin wants it, with our [`Socket`] as the type of its streams.
#[derive(Clone, Debug)]
pub(crate) struct Kit(Tokio);

impl Kit {
    /// Takes the current tokio runtime.
    pub(crate) fn current() -> Self {
        Self(Tokio::current())
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Socket;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // lapin does not call it; and the trait that delegating would have to name is private
        Err::<Socket, _>(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Socket>> + Send + 'static {
        // connections are opened in link.rs, where they can be given up
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
