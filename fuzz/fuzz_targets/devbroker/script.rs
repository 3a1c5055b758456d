//! What the two clients do: letters with their arguments, in a small notation that [`Script::step`] lists.

use std::time::Duration;

use coney_devbroker::Clock;
use coney_devbroker::fuzzing::PipeBroker;

use amq_protocol::frame::AMQPFrame;

use crate::parts::Parts;
use crate::peer::{self, Peer, Wishes, settle, settle_for};
use crate::{content, methods, names};

/// The most that is done in one script.
const STEPS: usize = 600;

/// How much all bodies of a script may have together, in bytes.
const VOLUME: usize = 2 << 20;

const CHANNELS: [u16; 8] = [1, 2, 3, 0, 4, 2047, 2048, 65_535];

/// How far the clock is moved, in milliseconds.
const MOVES: [u64; 8] = [1, 2, 50, 1000, 60_000, 180_000, 3_600_000, 86_400_000];

/// How long to wait for what connections do by themselves, in milliseconds.
const WAITS: [u64; 5] = [100, 1000, 5000, 12_000, 130_000];

const NAMES: [&str; 2] = ["one", "two"];

/// How the broker is set up.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// In bytes.
    pub(crate) memory_limit: usize,
    /// In bytes.
    pub(crate) frame_max: u32,
}

impl Settings {
    /// The first two bytes of an input.
    pub(crate) fn read(input: &[u8]) -> (Self, Parts<'_>) {
        let mut parts = Parts::new(input);
        let settings = Self {
            memory_limit: parts.one_of(&[1 << 30, 20_000, 1000]),
            frame_max: parts.one_of(&[131_072, 4096, 10_000]),
        };
        (settings, parts)
    }
}

pub(crate) struct Script<'a> {
    parts: Parts<'a>,
    broker: &'a PipeBroker,
    clock: &'a Clock,
    settings: Settings,
    clients: [Option<Peer>; 2],
    /// Who speaks.
    who: usize,
    /// On which channel.
    channel: u16,
    /// How much bodies may still have, in bytes.
    volume: usize,
}

impl<'a> Script<'a> {
    pub(crate) fn new(
        parts: Parts<'a>,
        settings: Settings,
        broker: &'a PipeBroker,
        clock: &'a Clock,
    ) -> Self {
        Self {
            parts,
            broker,
            clock,
            settings,
            clients: [None, None],
            who: 0,
            channel: 1,
            volume: VOLUME,
        }
    }

    /// Does all of it and waits until it is done.
    pub(crate) async fn play(&mut self) {
        for _ in 0..STEPS {
            let Some(letter) = self.parts.byte() else {
                break;
            };
            self.step(letter).await;
        }
        self.rest().await;
    }

    async fn step(&mut self, letter: u8) {
        match letter {
            b'1' | b'2' => self.who = usize::from(letter - b'1'),
            b'@' => self.channel = self.parts.one_of(&CHANNELS),
            b'.' => self.rest().await,
            b'^' => {
                let by = Duration::from_millis(self.parts.one_of(&MOVES));
                self.clock.advance(by);
            }
            b'(' => self.connect_silently(),
            b'+' => self.connect(),
            b'%' => self.clients[self.who] = None,
            b'!' => {
                let client = self.client();
                client.deaf = !client.deaf;
            }
            b'~' => {
                let cut = usize::from(self.parts.number());
                let pending = &mut self.client().pending;
                pending.truncate(pending.len().saturating_sub(cut));
            }
            b'&' => self.fault(),
            b'/' => self.client().frame(&AMQPFrame::Heartbeat),
            b'*' => {
                let bytes = self.parts.bytes();
                self.client().pending.extend_from_slice(bytes);
            }
            b'=' => {
                let kind = self.parts.number();
                let bytes = self.parts.bytes();
                let channel = self.channel;
                content::framed(&mut self.client().pending, kind, channel, bytes);
            }
            b'P' => self.publish(),
            b'R' => self.reply(),
            b'_' => {
                let time = Duration::from_millis(self.parts.one_of(&WAITS));
                settle_for(self.clients.iter_mut().flatten(), time).await;
            }
            _ => {
                if let Some((own, method)) = methods::read(letter, &mut self.parts) {
                    let channel = if own { self.channel } else { 0 };
                    self.client().say(channel, method);
                }
            }
        }
    }

    /// Waits until all that was said is done.
    async fn rest(&mut self) {
        settle(self.clients.iter_mut().flatten()).await;
        self.broker.check();
    }

    /// Who speaks; it connects if it is not there.
    fn client(&mut self) -> &mut Peer {
        let gone = |client: &mut Peer| client.ended;
        let client = &mut self.clients[self.who];
        client.take_if(gone);
        client.get_or_insert_with(|| {
            let wishes = Wishes {
                frame_max: self.settings.frame_max,
                heartbeat: 60,
                capable: true,
            };
            Peer::open(self.broker, NAMES[self.who], wishes)
        })
    }

    fn connect_silently(&mut self) {
        let frame_max = self.settings.frame_max;
        let client = Peer::silent(self.broker, NAMES[self.who], frame_max);
        self.clients[self.who] = Some(client);
    }

    fn connect(&mut self) {
        let wishes = Wishes {
            frame_max: self.parts.one_of(&[4096, self.settings.frame_max]),
            // without heartbeats nobody would notice that a blocked publisher is gone, on RabbitMQ either
            heartbeat: self.parts.one_of(&[60, 1, 2]),
            capable: !self.parts.flag(),
        };
        let client = Peer::open(self.broker, NAMES[self.who], wishes);
        self.clients[self.who] = Some(client);
    }

    fn publish(&mut self) {
        let frame_max = self.settings.frame_max as usize;
        let bytes = content::publication(&mut self.parts, self.channel, frame_max, self.volume);
        self.volume = self.volume.saturating_sub(bytes.len());
        self.client().pending.extend(bytes);
    }

    /// Answers the last message that asked for a direct reply, whoever got it.
    fn reply(&mut self) {
        let mut clients = self.clients.iter().flatten();
        let Some(queue) = clients.find_map(|one| one.watch.reply_to.clone()) else {
            return;
        };
        let bytes = content::reply(&mut self.parts, self.channel, &queue, self.volume);
        self.volume = self.volume.saturating_sub(bytes.len());
        self.client().pending.extend(bytes);
    }

    fn fault(&mut self) {
        let faults = self.broker.faults();
        let what = self.parts.below(10);
        let name = NAMES[usize::from(self.parts.below(2))];
        let queue = names::queue(&mut self.parts);
        match what {
            0 => drop(faults.hold_confirms("/")),
            1 => drop(faults.release_confirms("/")),
            2 => drop(faults.nack_confirms("/", 2)),
            3 => drop(faults.duplicate_deliveries("/", queue, 2)),
            4 => drop(faults.cancel_consumers("/", queue)),
            5 => drop(faults.pause_queue("/", queue)),
            6 => drop(faults.resume_queue("/", queue)),
            7 => drop(faults.drop_connection(name)),
            8 => drop(faults.drop_connection_after(name, 3)),
            _ => drop(faults.close_connection(name, "an operator wants it")),
        }
    }
}

/// Opens a connection by hand.
pub(crate) fn handshake(
    letter: u8,
    parts: &mut Parts<'_>,
) -> Option<amq_protocol::protocol::AMQPClass> {
    Some(match letter {
        b'i' => {
            let mechanism = parts.one_of(&["PLAIN", "AMQPLAIN", "EXTERNAL"]);
            peer::start_ok(mechanism, parts.bytes(), "by hand", parts.flag())
        }
        b't' => peer::tune_ok(
            parts.one_of(&[2047, 0, 1, 2048]),
            parts.one_of(&[4096, 0, 4095, 131_072, u32::MAX]),
            parts.one_of(&[60, 0, 1, u16::MAX]),
        ),
        b'p' => peer::open(parts.one_of(&["/", "", "none"])),
        _ => return None,
    })
}
