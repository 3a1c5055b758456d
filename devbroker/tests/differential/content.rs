//! Content: the properties and the body of a message, both ways.

use std::fmt::Write as _;

use crate::method::{self, Word};
use crate::value;

/// The properties in the order of their flags, which count down from bit 15, with their types.
const PROPERTIES: [(&str, &str); 14] = [
    ("content-type", "shortstr"),
    ("content-encoding", "shortstr"),
    ("headers", "table"),
    ("delivery-mode", "octet"),
    ("priority", "octet"),
    ("correlation-id", "shortstr"),
    ("reply-to", "shortstr"),
    ("expiration", "shortstr"),
    ("message-id", "shortstr"),
    ("timestamp", "longlong"),
    ("type", "shortstr"),
    ("user-id", "shortstr"),
    ("app-id", "shortstr"),
    ("cluster-id", "shortstr"),
];

/// Bodies up to this many bytes are shown as they are.
const SHOWN: usize = 60;

/// What follows a method that carries content.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The size that the header announces, in bytes.
    pub size: u64,
    /// Flags and properties.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
    /// The sizes of the body frames, in bytes.
    pub frames: Vec<usize>,
}

impl Content {
    /// Reads the payload of a content header.
    pub fn new(header: &[u8]) -> Option<Self> {
        let mut rest = header.get(4..)?;
        let size = method::number(&mut rest, 8)?;
        Some(Self {
            size,
            properties: rest.to_vec(),
            ..Self::default()
        })
    }

    /// The properties and the body as a transcript has them.
    pub fn show(&self) -> String {
        let properties = show_properties(&self.properties).unwrap_or_else(|| "damaged".to_owned());
        format!("{{{properties}}} {}", self.show_body())
    }

    /// A property as a transcript has it; empty without.
    pub fn property(&self, name: &str) -> String {
        let shown = show_properties(&self.properties).unwrap_or_default();
        let words = value::words(&shown);
        let found = words
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    }

    fn show_body(&self) -> String {
        if self.body.len() <= SHOWN && self.frames.len() <= 1 {
            return value::quote(&self.body);
        }
        let sum = self.body.iter().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add((*byte).into())
        });
        let mut line = format!("{} bytes, sum {sum}, in frames of", self.body.len());
        for group in self.frames.chunk_by(|a, b| a == b) {
            let _ = write!(line, " {}x{}", group.len(), group[0]);
        }
        line
    }
}

fn show_properties(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    let flags = method::number(&mut rest, 2)?;
    let mut words = Vec::new();
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags & (1 << (15 - index)) == 0 {
            continue;
        }
        words.push(match *kind {
            "table" => match value::write_table(&method::decode_table(&mut rest)?, "h.", " ") {
                empty if empty.is_empty() => "headers".to_owned(),
                headers => headers,
            },
            "octet" => format!("{name}={}", method::number(&mut rest, 1)?),
            "longlong" => format!("{name}={}", method::number(&mut rest, 8)?),
            _ => format!("{name}={}", value::write_text(&method::text(&mut rest, 1)?)),
        });
    }
    rest.is_empty().then(|| words.join(" "))
}

/// The payload of a content header with these properties; headers are words like `h.name=1`.
pub fn encode_header(words: &[Word], size: u64) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend(size.to_be_bytes());
    payload.extend(encode_properties(words));
    payload
}

fn encode_properties(words: &[Word]) -> Vec<u8> {
    let headers: Vec<_> = words
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix("h.")?.to_owned(), text.clone())))
        .collect();
    let given = |wanted: &str| {
        words
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, text)| text)
    };
    let (mut flags, mut bytes) = (0_u16, Vec::new());
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        let field = match (*kind, given(name)) {
            ("table", text) if text.is_some() || !headers.is_empty() => {
                method::encode_table(&headers)
            }
            ("table", _) | (_, None) => continue,
            (kind, Some(text)) => method::encode_field(kind, text),
        };
        flags |= 1 << (15 - index);
        bytes.extend(field);
    }
    [&flags.to_be_bytes(), &*bytes].concat()
}
