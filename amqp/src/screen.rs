//! What lapin must not see: bytes of a message that would end the connection, or the process.
//!
//! lapin takes every short text of a message for UTF-8 and gives up the connection where it is not; and it reads nested
//! header tables by recursion, so that some hundred levels overflow the stack of its thread, which ends the process.
//! Anybody who may publish can send both, and the broker takes them. So incoming frames pass by here first, and what is
//! harmful is changed in place, without changing any length:
//!
//! * a byte of a short text that is not UTF-8 becomes [`SUBSTITUTE`];
//! * a table or list below [`DEEPEST`] levels becomes an array of bytes, which holds what the table held.
//!
//! A delivery of which either is true says so ([`Delivery::unreadable`](crate::Delivery)), and can be dead-lettered.

/// How many tables and lists may lie in each other.
pub(crate) const DEEPEST: usize = 32;

/// Stands for a byte of a text that is not UTF-8: ASCII's character for just that.
pub(crate) const SUBSTITUTE: u8 = 0x1A;

/// Frame type, channel and size.
const FRAME_START: usize = 7;
/// Frame start and end.
const FRAME: usize = FRAME_START + 1;
/// Method and header frames that are larger are not looked at; no broker sends such, and lapin refuses them.
const LARGEST: usize = 16 * 1024 * 1024;

const METHOD: u8 = 1;
const HEADER: u8 = 2;

/// Looks at the frames of one connection, in whatever pieces they arrive.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// How many of the bytes to come belong to a frame that passes as it is.
    passing: usize,
    /// A frame whose end has not arrived yet.
    held: Vec<u8>,
    /// How many bytes of `held` have arrived.
    arrived: usize,
    /// Bytes that were held and may be seen now.
    ready: Vec<u8>,
    /// How many of them have been.
    seen: usize,
}

impl Screen {
    /// Screens bytes in place as they arrive, and returns how many of them may be seen; the rest is held.
    ///
    /// Only while nothing is [missing](Self::missing).
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = self.passing.min(bytes.len());
        self.passing -= at;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match frame_length(rest) {
                Some((length, false)) => {
                    let here = length.min(rest.len());
                    self.passing = length - here;
                    at += here;
                }
                Some((length, true)) if length <= rest.len() => {
                    screen(&mut rest[..length]);
                    at += length;
                }
                _ => {
                    self.held = rest.to_vec();
                    self.arrived = rest.len();
                    return at;
                }
            }
        }
        at
    }

    /// Room for bytes that are missing of a frame that is held; none if no frame is.
    pub(crate) fn missing(&mut self) -> Option<&mut [u8]> {
        if self.held.is_empty() {
            return None;
        }
        let length = frame_length(&self.held[..self.arrived]);
        let wanted = length.map_or(FRAME_START, |(length, _)| length);
        self.held.resize(wanted, 0);
        Some(&mut self.held[self.arrived..])
    }

    /// Notes that so many of the missing bytes have arrived.
    pub(crate) fn arrived(&mut self, count: usize) {
        self.arrived += count;
        match frame_length(&self.held[..self.arrived]) {
            Some((length, true)) if self.arrived < length => return,
            Some((_, true)) => screen(&mut self.held),
            Some((length, false)) => self.passing = length - self.arrived,
            None => return,
        }
        self.ready = std::mem::take(&mut self.held);
        self.arrived = 0;
        self.seen = 0;
    }

    /// Hands out bytes that were held; zero if there are none.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.ready[self.seen..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.seen += count;
        if self.seen == self.ready.len() {
            self.ready = Vec::new();
            self.seen = 0;
        }
        count
    }
}

/// The whole length of the frame that starts here, and whether it has to be looked at; `None` if too little is there.
fn frame_length(bytes: &[u8]) -> Option<(usize, bool)> {
    let start = bytes.get(..FRAME_START)?;
    let size = u32::from_be_bytes([start[3], start[4], start[5], start[6]]);
    let length = usize::try_from(size).ok()?.saturating_add(FRAME);
    let is_read = matches!(start[0], METHOD | HEADER) && length <= LARGEST;
    Some((length, is_read))
}

/// Screens a complete method or header frame.
///
/// One that is damaged is left as it is: lapin gives up the connection, and the delivery limit of the queue takes the
/// message away.
fn screen(frame: &mut [u8]) {
    let kind = frame[0];
    let end = frame.len() - 1;
    let mut walk = Walk {
        bytes: &mut frame[FRAME_START..end],
        at: 0,
    };
    let _damaged = match kind {
        METHOD => walk.method(),
        _ => walk.properties(),
    };
}

/// Where the walk through a frame has come.
struct Walk<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

/// A table or list that the walk is in.
#[derive(Clone, Copy)]
struct Container {
    end: usize,
    /// Whether each value has a name.
    named: bool,
}

impl Walk<'_> {
    /// The methods that carry what a publisher chose: `basic.return`, `basic.deliver` and `basic.get-ok`.
    fn method(&mut self) -> Option<()> {
        match (self.number::<2>()?, self.number::<2>()?) {
            (60, 50) => {
                self.skip(2)?;
                self.text()?;
            }
            (60, 60) => {
                self.text()?;
                self.skip(9)?;
            }
            (60, 71) => self.skip(9)?,
            _ => return Some(()),
        }
        // exchange and routing key
        self.text()?;
        self.text()
    }

    /// A content header: class, weight, body size, flags, and the properties that the flags name.
    fn properties(&mut self) -> Option<()> {
        self.skip(12)?;
        let flags = self.number::<2>()?;
        for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
            match bit {
                13 => self.table()?,
                // delivery mode, priority
                11 | 12 => self.skip(1)?,
                // timestamp
                6 => self.skip(8)?,
                _ => self.text()?,
            }
        }
        Some(())
    }

    /// A table, with everything that lies in it.
    fn table(&mut self) -> Option<()> {
        let mut within = Vec::new();
        let mut now = self.container(self.bytes.len(), true)?;
        loop {
            while self.at >= now.end {
                match within.pop() {
                    Some(outer) => now = outer,
                    None => return Some(()),
                }
            }
            if now.named {
                self.text()?;
            }
            let kind_at = self.at;
            match self.byte()? {
                kind @ (b'F' | b'A') if within.len() < DEEPEST => {
                    let inner = self.container(now.end, kind == b'F')?;
                    within.push(std::mem::replace(&mut now, inner));
                }
                b'F' | b'A' => {
                    let inner = self.container(now.end, false)?;
                    self.bytes[kind_at] = b'x';
                    self.at = inner.end;
                }
                kind => self.value(kind)?,
            }
        }
    }

    fn container(&mut self, limit: usize, named: bool) -> Option<Container> {
        let length = self.number::<4>()?;
        let end = self.at.checked_add(length)?;
        (end <= limit).then_some(Container { end, named })
    }

    /// A value that holds no others.
    fn value(&mut self, kind: u8) -> Option<()> {
        let length = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'u' | b'U' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'S' | b'x' => self.number::<4>()?,
            _ => return None,
        };
        self.skip(length)
    }

    /// A text of at most 255 bytes.
    fn text(&mut self) -> Option<()> {
        let length = usize::from(self.byte()?);
        let from = self.at;
        self.skip(length)?;
        let text = &mut self.bytes[from..self.at];
        while let Err(error) = std::str::from_utf8(text) {
            text[error.valid_up_to()] = SUBSTITUTE;
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number<const BYTES: usize>(&mut self) -> Option<usize> {
        (0..BYTES).try_fold(0, |number, _| Some(number << 8 | usize::from(self.byte()?)))
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.at = self.at.checked_add(length)?;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests;
