//! One connection to a broker: frames out, and what arrives in a box from which the script takes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::content::Content;
use crate::method::{self, Method};

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// How long a script waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits once something it expected did not come.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// Something that arrived on a channel.
#[derive(Clone, Debug)]
pub struct Event {
    pub channel: u16,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Method(Method, Option<Content>),
    /// What no client can read.
    Unreadable(String),
    /// The broker has closed the socket.
    End,
}

impl Event {
    /// The method's name; `end` at the end of the connection.
    pub fn name(&self) -> &'static str {
        match &self.what {
            What::Method(method, _) => method.name,
            What::Unreadable(_) => "unreadable",
            What::End => "end",
        }
    }

    /// The event as a transcript has it.
    pub fn show(&self) -> String {
        match &self.what {
            What::Method(method, Some(content)) => format!("{} {}", method.show(), content.show()),
            What::Method(method, None) => method.show(),
            What::Unreadable(text) => format!("unreadable: {text}"),
            What::End => "end of the connection".to_owned(),
        }
    }

    /// A number among the method's fields, 0 without.
    pub fn number(&self, field: &str) -> u64 {
        match &self.what {
            What::Method(method, _) => method.number(field),
            _ => 0,
        }
    }

    /// A text among the method's fields, empty without.
    pub fn text(&self, field: &str) -> String {
        match &self.what {
            What::Method(method, _) => method.text(field),
            _ => String::new(),
        }
    }

    /// The address that a request wants its reply at.
    pub fn reply_to(&self) -> String {
        match &self.what {
            What::Method(_, Some(content)) => content.property("reply-to"),
            _ => String::new(),
        }
    }

    /// Whether nothing more comes on this channel after it.
    fn ends(&self, channel: u16) -> bool {
        match self.name() {
            "channel.close" => self.channel == channel,
            "connection.close" | "end" => true,
            _ => false,
        }
    }
}

/// What has arrived and was not taken.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub struct State {
    pub events: VecDeque<Event>,
    /// Channels whose end the script has seen.
    pub closed: BTreeSet<u16>,
    /// The script has seen the end of the connection, or the broker's wish for it.
    pub over: bool,
    /// The script has seen the end of the connection.
    pub ended: bool,
    /// Channels that the script has opened.
    pub opened: BTreeSet<u16>,
    /// What became of the publishes of a channel: acknowledged or not, by number.
    pub confirms: BTreeMap<u16, BTreeMap<u64, bool>>,
    /// How often a channel that waits for its confirms has published.
    pub published: BTreeMap<u16, u64>,
    /// Something expected did not come.
    pub disappointed: bool,
}

impl Inbox {
    /// Locks what has arrived.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, channel: u16, what: What) {
        self.lock().events.push_back(Event { channel, what });
        self.changed.notify_waiters();
    }

    /// Until when to wait for something that begins now.
    pub fn deadline(&self) -> Instant {
        let disappointed = self.lock().disappointed;
        Instant::now() + if disappointed { IMPATIENCE } else { PATIENCE }
    }

    /// Takes the first event of the channel that is wanted, or the one that ends the channel; `None` if neither comes.
    pub async fn take(&self, channel: u16, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let deadline = self.deadline();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(event) = state.find(channel, &wanted) {
                    return Some(event);
                }
                if state.over || state.closed.contains(&channel) {
                    return None;
                }
            }
            if timeout_at(deadline, changed).await.is_err() {
                self.lock().disappointed = true;
                return None;
            }
        }
    }

    /// Waits for the broker to close the socket.
    pub async fn end(&self) -> Option<Event> {
        {
            let mut state = self.lock();
            if state.ended {
                return None;
            }
            state.over = false;
        }
        let mut found = None;
        while !matches!(
            &found,
            Some(Event {
                what: What::End,
                ..
            })
        ) {
            found = Some(self.take(0, |event| event.name() == "end").await?);
        }
        found
    }
}

impl State {
    fn find(&mut self, channel: u16, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let over = self.over;
        let ends = |event: &Event| event.ends(channel) && !over;
        let fits = |event: &Event| (event.channel == channel && wanted(event)) || ends(event);
        let at = self.events.iter().position(fits)?;
        let event = self.events.remove(at)?;
        match event.name() {
            "channel.close" | "channel.close-ok" => {
                self.closed.insert(channel);
            }
            "connection.close" | "connection.close-ok" => self.over = true,
            "end" => (self.over, self.ended) = (true, true),
            _ => {}
        }
        Some(event)
    }
}

/// A connection; dropped, it closes its socket.
#[derive(Debug)]
pub struct Connection {
    /// Its letter in the transcript.
    pub letter: char,
    pub inbox: Arc<Inbox>,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    reader: JoinHandle<()>,
}

impl Connection {
    /// Connects and reads from then on.
    pub async fn to(authority: &str, letter: char) -> Self {
        let stream = TcpStream::connect(authority).await;
        let stream = stream.unwrap_or_else(|e| panic!("no broker at {authority}: {e}"));
        stream.set_nodelay(true).expect("a socket");
        let (input, output) = stream.into_split();
        let inbox = Arc::new(Inbox::default());
        let reader = tokio::spawn(read(input, inbox.clone()));
        Self {
            letter,
            inbox,
            writer: tokio::sync::Mutex::new(output),
            reader,
        }
    }

    /// Closes the socket.
    pub async fn hang_up(&self) {
        let _ = self.writer.lock().await.shutdown().await;
        self.reader.abort();
    }

    /// Writes bytes as they are. The broker may have closed the socket: then what it said before is what counts.
    pub async fn write(&self, bytes: &[u8]) {
        let _ = self.writer.lock().await.write_all(bytes).await;
    }

    /// Takes an event as [`Inbox::take`] does, and answers a close. Not sooner: until then the script may send what
    /// the broker has to ignore.
    pub async fn take(&self, channel: u16, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let event = self.inbox.take(channel, wanted).await?;
        let answer = match event.name() {
            "channel.close" => "channel.close-ok",
            "connection.close" => "connection.close-ok",
            _ => return Some(event),
        };
        self.write(&frame(METHOD, event.channel, &method::encode(answer).0))
            .await;
        Some(event)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let channel = channel.to_be_bytes();
    [&[kind], &channel[..], &method::long(payload), &[END]].concat()
}

/// Puts what arrives into the box until the socket ends.
async fn read(mut input: OwnedReadHalf, inbox: Arc<Inbox>) {
    let mut partial: BTreeMap<u16, (Method, Option<Content>)> = BTreeMap::new();
    while let Some((kind, channel, payload)) = read_frame(&mut input).await {
        let Some(event) = assemble(&mut partial, kind, channel, &payload) else {
            continue;
        };
        inbox.put(channel, event);
    }
    inbox.put(0, What::End);
}

async fn read_frame(input: &mut OwnedReadHalf) -> Option<(u8, u16, Vec<u8>)> {
    let mut start = [0; 7];
    input.read_exact(&mut start).await.ok()?;
    if start.starts_with(b"AMQP") {
        input.read_u8().await.ok()?;
        return Some((b'A', 0, start[4..].to_vec()));
    }
    let size = u32::from_be_bytes([start[3], start[4], start[5], start[6]]);
    let mut payload = vec![0; size as usize + 1];
    input.read_exact(&mut payload).await.ok()?;
    assert_eq!(
        payload.pop(),
        Some(END),
        "the broker sends a frame without its end"
    );
    Some((start[0], u16::from_be_bytes([start[1], start[2]]), payload))
}

/// A frame that completes something gives an event.
fn assemble(
    partial: &mut BTreeMap<u16, (Method, Option<Content>)>,
    kind: u8,
    channel: u16,
    payload: &[u8],
) -> Option<What> {
    match kind {
        HEARTBEAT => return None,
        b'A' => {
            return Some(What::Unreadable(format!(
                "the broker offers AMQP {payload:?}"
            )));
        }
        METHOD => {
            let Some(method) = method::decode(payload) else {
                return Some(What::Unreadable(format!("method {payload:?}")));
            };
            if !matches!(
                method.name,
                "basic.deliver" | "basic.get-ok" | "basic.return"
            ) {
                return Some(What::Method(method, None));
            }
            partial.insert(channel, (method, None));
        }
        HEADER => partial.get_mut(&channel)?.1 = Content::new(payload),
        BODY => {
            let content = partial.get_mut(&channel)?.1.as_mut()?;
            content.body.extend_from_slice(payload);
            content.frames.push(payload.len());
        }
        _ => return Some(What::Unreadable(format!("frame type {kind}"))),
    }
    let content = partial.get(&channel)?.1.as_ref()?;
    if (content.body.len() as u64) < content.size {
        return None;
    }
    let (method, content) = partial.remove(&channel)?;
    Some(What::Method(method, content))
}
