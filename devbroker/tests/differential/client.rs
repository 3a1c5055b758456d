//! The language of the scenarios: what a client does on a channel and what it waits for.
//!
//! Every step adds lines to the transcript. A step whose channel has ended adds that line instead, so that a script
//! never stops half-way and two transcripts can be compared to the end.

use std::sync::Arc;

use tokio::time::Instant;

use crate::connection::{BODY, Connection, Event, HEADER, METHOD, What, frame};
use crate::content;
use crate::method;
use crate::transcript::Transcript;

/// What a transcript says when something did not come.
pub const MISSED: &str = "what was expected did not come";
/// What a transcript says in front of what nobody waited for.
pub const UNASKED: &str = "unasked";

/// A channel that [`Channel::until_gone`] looks with.
const LOOKOUT: u16 = 2000;

/// The code of RESOURCE_LOCKED.
const LOCKED: u64 = 405;

/// One channel of a connection.
#[derive(Clone, Debug)]
pub struct Channel {
    connection: Arc<Connection>,
    transcript: Transcript,
    id: u16,
    frame_max: usize,
    /// Each publish waits for its confirm, which the transcript does not show: then the queues have the message.
    waits: bool,
}

/// Setting up.
impl Channel {
    /// Channel 0.
    pub fn new(connection: Arc<Connection>, transcript: Transcript) -> Self {
        Self {
            connection,
            transcript,
            id: 0,
            frame_max: 131_072,
            waits: false,
        }
    }

    /// Has each publish wait for its confirm.
    pub async fn waiting(mut self) -> Self {
        self.write("confirm.select").await;
        self.wait("confirm.select-ok").await;
        self.waits = true;
        self
    }

    /// Splits frames at this many bytes.
    pub fn with_frame_max(mut self, frame_max: usize) -> Self {
        self.frame_max = frame_max;
        self
    }

    /// Opens the connection, which the transcript does not show.
    pub async fn shake_hands(&self, vhost: &str, user: &str, password: &str, capabilities: &str) {
        self.connection.write(b"AMQP\0\0\x09\x01").await;
        self.wait("connection.start").await;
        let login = format!("mechanism=PLAIN response=\"\\0{user}\\0{password}\" locale=en_US");
        // words that are no fields go into the table, which is the first field
        self.write(&format!("connection.start-ok {login} {capabilities}"))
            .await;
        self.wait("connection.tune").await;
        let tune = format!("channel-max=2047 frame-max={} heartbeat=0", self.frame_max);
        self.write(&format!("connection.tune-ok {tune}")).await;
        self.write(&format!("connection.open virtual-host={vhost}"))
            .await;
        self.wait("connection.open-ok").await;
    }

    /// Another channel of the connection, opened, whose publishes wait for their confirms.
    pub async fn channel(&self, id: u16) -> Self {
        self.plain(id).await.waiting().await
    }

    /// Another channel of the connection, opened.
    pub async fn plain(&self, id: u16) -> Self {
        let channel = self.unopened(id);
        channel.write("channel.open").await;
        channel.wait("channel.open-ok").await;
        channel
    }

    /// Another channel of the connection, not opened.
    pub fn unopened(&self, id: u16) -> Self {
        self.connection.inbox.lock().opened.insert(id);
        let waits = false;
        Self {
            id,
            waits,
            ..self.clone()
        }
    }

    /// Opens the channel again if it was closed.
    pub async fn reopen(&self) {
        {
            let mut state = self.connection.inbox.lock();
            if !state.closed.remove(&self.id) {
                return;
            }
            state.published.remove(&self.id);
            state.confirms.remove(&self.id);
        }
        self.call("channel.open").await;
        if self.waits {
            self.write("confirm.select").await;
            self.wait("confirm.select-ok").await;
        }
    }

    /// Closes the socket without a word.
    pub async fn hang_up(&self) {
        self.say("closes the socket");
        self.connection.hang_up().await;
        self.connection.inbox.lock().over = true;
    }
}

/// Doing.
impl Channel {
    /// Sends a method that has no content.
    pub async fn send(&self, line: &str) {
        self.say(line);
        self.write(line).await;
    }

    /// Sends a method and waits for its answer.
    pub async fn call(&self, line: &str) -> Option<Event> {
        self.send(line).await;
        let name = line.split(' ').next().unwrap_or(line);
        self.see(|event| event.name().strip_prefix(name) == Some("-ok"))
            .await
    }

    /// Declares a queue and returns its name.
    pub async fn queue(&self, line: &str) -> String {
        let answer = self.call(&format!("queue.declare queue={line}")).await;
        answer
            .map(|answer| answer.text("queue"))
            .unwrap_or_default()
    }

    /// Declares a queue passively: how many messages and consumers it has.
    pub async fn counts(&self, queue: &str) {
        self.queue(&format!("{queue} passive")).await;
    }

    /// Publishes; `key=` is short for `routing-key=`, words that are no fields are properties.
    pub async fn publish(&self, line: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let shown = if body.len() > 60 {
            format!("{} bytes", body.len())
        } else {
            format!("{:?}", String::from_utf8_lossy(body))
        };
        self.say(&format!("publish {line} {shown}"));
        let words = line.split(' ').map(|word| match word.strip_prefix("key=") {
            Some(key) => format!("routing-key={key}"),
            None => word.to_owned(),
        });
        let line = words.collect::<Vec<_>>().join(" ");
        if self.is_closed() {
            self.record(None);
            return;
        }
        let (payload, properties) = method::encode(&format!("basic.publish {line}"));
        let header = content::encode_header(&properties, body.len() as u64);
        let mut bytes = [
            frame(METHOD, self.id, &payload),
            frame(HEADER, self.id, &header),
        ]
        .concat();
        for part in body.chunks(self.frame_max - 8) {
            bytes.extend(frame(BODY, self.id, part));
        }
        self.connection.write(&bytes).await;
        if self.waits {
            self.stored().await;
        }
    }

    /// Waits for the confirm of what was published last, and records it only if it is none.
    async fn stored(&self) {
        let number = {
            let mut state = self.connection.inbox.lock();
            let number = state.published.entry(self.id).or_default();
            *number += 1;
            *number
        };
        if self.await_confirms(number).await
            && self
                .confirmed(number)
                .is_some_and(|text| text.ends_with("nack"))
        {
            self.say_seen("nack");
        }
    }

    /// Publishes to a queue through the default exchange, one message for each body.
    pub async fn fill(&self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            self.publish(&format!("key={queue}"), body).await;
        }
    }

    /// Puts the channel into confirm mode.
    pub async fn confirm(&self) {
        self.call("confirm.select").await;
    }

    /// Gets one message and returns its delivery tag, 0 without.
    pub async fn get(&self, line: &str) -> u64 {
        self.send(&format!("basic.get queue={line}")).await;
        let answer = self
            .see(|event| event.name().starts_with("basic.get-"))
            .await;
        answer.map_or(0, |answer| answer.number("delivery-tag"))
    }

    /// Consumes and returns the consumer tag.
    pub async fn consume(&self, line: &str) -> String {
        let answer = self.call(&format!("basic.consume queue={line}")).await;
        answer
            .map(|answer| answer.text("consumer-tag"))
            .unwrap_or_default()
    }

    /// Limits each consumer to come.
    pub async fn prefetch(&self, count: u16) {
        self.call(&format!("basic.qos prefetch-count={count}"))
            .await;
    }

    /// Acknowledges one delivery.
    pub async fn ack(&self, tag: u64) {
        self.send(&format!("basic.ack delivery-tag={tag}")).await;
    }

    /// Hands one delivery back to its queue.
    pub async fn requeue(&self, tag: u64) {
        self.send(&format!("basic.nack delivery-tag={tag} requeue"))
            .await;
    }

    /// Rejects one delivery for good.
    pub async fn reject(&self, tag: u64) {
        self.send(&format!("basic.reject delivery-tag={tag}")).await;
    }

    /// Writes a frame of any kind.
    pub async fn frame(&self, kind: u8, payload: &[u8]) {
        self.say(&format!("frame of type {kind}, {} bytes", payload.len()));
        self.connection.write(&frame(kind, self.id, payload)).await;
    }

    /// Writes bytes as they are.
    pub async fn bytes(&self, bytes: &[u8]) {
        self.say(&format!("bytes \"{}\"", bytes.escape_ascii()));
        self.connection.write(bytes).await;
    }
}

/// Seeing.
impl Channel {
    /// Waits for an event and records it.
    pub async fn see(&self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let event = self.connection.take(self.id, wanted).await;
        self.record(event.as_ref());
        event
    }

    /// Waits for a method of this name.
    pub async fn expect(&self, name: &str) -> Option<Event> {
        self.see(|event| event.name() == name).await
    }

    /// Waits for the next message and returns its delivery tag, 0 without.
    pub async fn delivery(&self) -> u64 {
        let delivery = self.expect("basic.deliver").await;
        delivery.map_or(0, |delivery| delivery.number("delivery-tag"))
    }

    /// Waits for the next message of one consumer.
    pub async fn delivery_to(&self, consumer: &str) -> u64 {
        let ours = |event: &Event| {
            event.name() == "basic.deliver" && event.text("consumer-tag") == consumer
        };
        self.see(ours)
            .await
            .map_or(0, |delivery| delivery.number("delivery-tag"))
    }

    /// Waits for this many messages.
    pub async fn deliveries(&self, count: usize) {
        for _ in 0..count {
            self.delivery().await;
        }
    }

    /// Waits for whatever comes next, so often: the order is compared too.
    pub async fn frames(&self, count: usize) {
        for _ in 0..count {
            self.see(|_| true).await;
        }
    }

    /// Waits until all publishes up to this one are confirmed, in whatever portions.
    pub async fn confirms(&self, last: u64) {
        if self.await_confirms(last).await {
            self.say_seen(&self.confirmed(last).unwrap_or_default());
        }
    }

    /// Whether all publishes up to this one were confirmed before the channel ended, which is recorded.
    async fn await_confirms(&self, last: u64) -> bool {
        let is_confirm = |event: &Event| matches!(event.name(), "basic.ack" | "basic.nack");
        while self.confirmed(last).is_none() {
            match self.connection.take(self.id, is_confirm).await {
                Some(event) if is_confirm(&event) => self.note(&event),
                other => {
                    self.record(other.as_ref());
                    return false;
                }
            }
        }
        true
    }

    fn note(&self, confirm: &Event) {
        let What::Method(method, _) = &confirm.what else {
            return;
        };
        let tag = confirm.number("delivery-tag");
        let first = if method.bit("multiple") { 1 } else { tag };
        let mut state = self.connection.inbox.lock();
        let confirms = state.confirms.entry(self.id).or_default();
        for number in first..=tag {
            confirms
                .entry(number)
                .or_insert(confirm.name() == "basic.ack");
        }
    }

    /// What became of publishes 1 to `last`, once all is known.
    fn confirmed(&self, last: u64) -> Option<String> {
        let state = self.connection.inbox.lock();
        let confirms = state.confirms.get(&self.id)?;
        let words = (1..=last).map(|number| {
            let word = if *confirms.get(&number)? {
                "ack"
            } else {
                "nack"
            };
            Some(format!("{number} {word}"))
        });
        Some(format!(
            "confirms: {}",
            words.collect::<Option<Vec<_>>>()?.join(", ")
        ))
    }

    /// Waits for the broker to close the channel or the connection.
    pub async fn closed(&self) {
        self.see(|_| false).await;
    }

    /// Waits for the end of the socket.
    pub async fn ended(&self) {
        let event = self.connection.inbox.end().await;
        self.record(event.as_ref());
    }

    /// Records what has arrived once the queue has handled all that was asked of it before, or that it is nothing.
    pub async fn nothing(&self, queue: &str) {
        self.write(&format!("queue.declare queue={queue} passive"))
            .await;
        self.wait("queue.declare-ok").await;
        self.barrier().await;
        if !self.drain("") {
            self.say_seen("nothing");
        }
    }

    /// Waits until the queue has this many messages ready.
    pub async fn until_count(&self, queue: &str, count: u64) {
        let deadline = self.connection.inbox.deadline();
        loop {
            self.write(&format!("queue.declare queue={queue} passive"))
                .await;
            let Some(answer) = self.wait("queue.declare-ok").await else {
                return;
            };
            if answer.number("message-count") == count || Instant::now() > deadline {
                return self.record(Some(&answer));
            }
        }
    }

    /// Waits for a message to expire after so many milliseconds, by the broker's clock.
    pub async fn let_pass(&self, time: u32) {
        let clock =
            "queue.declare queue=clock x-dead-letter-exchange= x-dead-letter-routing-key=alarm";
        self.call(clock).await;
        self.queue("alarm").await;
        self.publish(&format!("key=clock expiration={time}"), "tick")
            .await;
        self.until_count("alarm", 1).await;
        self.get("alarm no-ack").await;
    }

    /// Waits until the queue is not there any more. To look counts as using it: see [`Channel::let_pass`].
    pub async fn until_gone(&self, queue: &str) {
        let lookout = Self {
            id: LOOKOUT,
            ..self.clone()
        };
        let deadline = self.connection.inbox.deadline();
        while Instant::now() < deadline {
            self.connection.inbox.lock().closed.remove(&LOOKOUT);
            lookout.write("channel.open").await;
            lookout.wait("channel.open-ok").await;
            lookout
                .write(&format!("queue.declare queue={queue} passive"))
                .await;
            let answer = self
                .connection
                .take(LOOKOUT, |event| event.name() == "queue.declare-ok")
                .await;
            match answer
                .as_ref()
                .map(|answer| (answer.name(), answer.number("reply-code")))
            {
                Some(("queue.declare-ok", _)) => {
                    lookout.write("channel.close reply-code=200").await;
                    lookout.wait("channel.close-ok").await;
                }
                // exclusive to a connection whose end the broker has not noticed yet
                Some((_, LOCKED)) => {}
                _ => return self.record(answer.as_ref()),
            }
        }
        self.say_seen(&format!("{queue} is still there"));
    }

    /// Records what nobody asked for, on all channels.
    pub async fn record_rest(&self) {
        let opened = self.connection.inbox.lock().opened.clone();
        for id in opened {
            let channel = Self { id, ..self.clone() };
            channel.barrier().await;
            channel.drain(UNASKED);
        }
        self.drain(UNASKED);
    }

    /// Whether the script has seen the end of the channel.
    fn is_closed(&self) -> bool {
        let state = self.connection.inbox.lock();
        state.over || state.closed.contains(&self.id)
    }

    /// Waits until the channel has handled what was asked of it before.
    async fn barrier(&self) {
        if !self.is_closed() {
            self.write("channel.flow active").await;
            self.wait("channel.flow-ok").await;
        }
    }

    /// Records what has arrived except that the socket ended; whether there was something.
    fn drain(&self, front: &str) -> bool {
        let mut state = self.connection.inbox.lock();
        let (ours, others): (Vec<Event>, Vec<Event>) = state
            .events
            .drain(..)
            .partition(|event| event.channel == self.id);
        state.events = others.into();
        drop(state);
        for event in ours.iter().filter(|event| event.name() != "end") {
            self.say_seen(format!("{front} {}", event.show()).trim_start());
        }
        !ours.is_empty()
    }

    /// Waits for a method and records only what comes in its place.
    async fn wait(&self, name: &str) -> Option<Event> {
        let event = self
            .connection
            .take(self.id, |event| event.name() == name)
            .await;
        match event {
            Some(event) if event.name() == name => Some(event),
            other => {
                self.record(other.as_ref());
                None
            }
        }
    }

    async fn write(&self, line: &str) {
        if self.is_closed() {
            return;
        }
        let (payload, _) = method::encode(line);
        self.connection
            .write(&frame(METHOD, self.id, &payload))
            .await;
    }

    fn say(&self, line: &str) {
        self.transcript
            .add(&format!("{}{} > {line}", self.connection.letter, self.id));
    }

    fn say_seen(&self, line: &str) {
        self.transcript
            .add(&format!("{}{} < {line}", self.connection.letter, self.id));
    }

    fn record(&self, event: Option<&Event>) {
        match event {
            Some(event) if event.channel != self.id => {
                self.transcript.add(&format!(
                    "{}{} < {}",
                    self.connection.letter,
                    event.channel,
                    event.show()
                ));
            }
            Some(event) => self.say_seen(&event.show()),
            None if self.connection.inbox.lock().disappointed => self.say_seen(MISSED),
            None => self.say_seen("(closed)"),
        }
    }
}
