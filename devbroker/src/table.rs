//! Headers as bytes: a broker passes them on as they are, and reads or changes only what lies at the top.
//!
//! Nothing here recurses, so that tables nested however deep do no harm.

use amq_protocol::frame::WriteContext;
use amq_protocol::types::AMQPValue;
use amq_protocol::types::generation::gen_value;
use amq_protocol::types::parsing::parse_value;

/// The content of a header table: names, types and values, without the length in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawTable(Vec<u8>);

/// One entry: its name, and the bytes of type and value.
type Entry<'a> = (&'a [u8], &'a [u8]);

impl RawTable {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self(content)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether all of it can be read, by clients too.
    pub(crate) fn is_whole(&self) -> bool {
        let read = |(name, value): Entry<'_>| depth(value).map(|_| 1 + name.len() + value.len());
        let lengths = self.entries().map(read).sum::<Option<usize>>();
        lengths == Some(self.0.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries up to the first that cannot be read.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(length.into())?;
            let (value, after) = after.split_at_checked(1 + value_length(after)?)?;
            rest = after;
            Some((name, value))
        })
    }

    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<AMQPValue> {
        let (_, value) = self.entries().find(|(key, _)| *key == name.as_bytes())?;
        if depth(value)? > DEEPEST {
            return None;
        }
        match parse_value(value) {
            Ok(([], value)) => Some(value),
            _ => None,
        }
    }

    /// Sets a value, in place of one that is there.
    pub(crate) fn set(&mut self, name: &str, value: &AMQPValue) {
        self.remove(name);
        self.0.push(name.len() as u8);
        self.0.extend_from_slice(name.as_bytes());
        let context = WriteContext::from(Vec::new());
        if let Ok(context) = gen_value(value)(context) {
            self.0.extend(context.write);
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let mut kept = Vec::with_capacity(self.0.len());
        for (key, value) in self.entries().filter(|(key, _)| *key != name.as_bytes()) {
            kept.push(key.len() as u8);
            kept.extend_from_slice(key);
            kept.extend_from_slice(value);
        }
        self.0 = kept;
    }
}

/// The deepest nesting of tables that is read, in levels: the reader of amq-protocol calls itself for each.
const DEEPEST: usize = 64;

/// How deep tables and arrays in a value are nested, in levels; `None` if it is not exactly one value.
fn depth(value: &[u8]) -> Option<usize> {
    // the ends of what is open, and whether names stand in it
    let mut open: Vec<(usize, bool)> = Vec::new();
    let (mut at, mut deepest) = (0, 0);
    loop {
        if let Some((_, true)) = open.last() {
            at += 1 + usize::from(*value.get(at)?);
        }
        let rest = value.get(at..)?;
        let end = at + 1 + value_length(rest)?;
        let limit = open.last().map_or(value.len(), |(end, _)| *end);
        if end > limit {
            return None;
        }
        match rest[0] {
            b'F' | b'A' => {
                open.push((end, rest[0] == b'F'));
                deepest = deepest.max(open.len());
                at += 5;
            }
            _ => at = end,
        }
        while open.pop_if(|(end, _)| *end == at).is_some() {}
        if open.is_empty() {
            return (at == value.len()).then_some(deepest);
        }
    }
}

/// Whether tables or arrays in it may be nested too deep to be read.
///
/// It sees a table wherever there could be one, so it counts some that are none, but never too few: for methods, whose
/// tables stand behind fields of any kind.
pub(crate) fn is_too_deep(bytes: &[u8]) -> bool {
    let mut ends: Vec<usize> = Vec::new();
    for (at, kind) in bytes.iter().enumerate() {
        while ends.last().is_some_and(|end| *end <= at) {
            ends.pop();
        }
        if let (b'F' | b'A', Some(length)) = (kind, bytes.get(at + 1..at + 5)) {
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
            let end = at + 5 + length as usize;
            if end <= bytes.len() {
                ends.push(end);
            }
            if ends.len() > DEEPEST {
                return true;
            }
        }
    }
    false
}

/// A text, however it is typed.
pub(crate) fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A whole number, however it is typed.
pub(crate) fn integer(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    })
}

/// The length of a value behind its type, which stands first.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let (kind, rest) = bytes.split_first()?;
    Some(match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' | b'F' | b'A' => {
            let length = rest.get(..4)?;
            4 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_set_read_and_removed_in_place() {
        let mut table = RawTable::default();
        table.set("a", &AMQPValue::LongInt(7));
        table.set("b", &AMQPValue::LongString("x".into()));
        table.set("a", &AMQPValue::Boolean(true));
        assert_eq!(table.get("a"), Some(AMQPValue::Boolean(true)));
        assert_eq!(table.get("b").as_ref().and_then(text).as_deref(), Some("x"));
        table.remove("b");
        assert_eq!(table.entries().count(), 1);
        assert_eq!(table.get("b"), None);
    }

    #[test]
    fn deep_nesting_is_seen_before_it_is_read() {
        let nested = |levels: usize| {
            (0..levels).fold(b"V".to_vec(), |inner, _| {
                let mut outer = b"A".to_vec();
                outer.extend((inner.len() as u32).to_be_bytes());
                outer.extend(inner);
                outer
            })
        };
        assert!(!is_too_deep(&nested(60)));
        assert!(is_too_deep(&nested(70)));
        assert!(is_too_deep(&nested(10_000)));
        assert!(!is_too_deep("FAFA".repeat(1000).as_bytes()));
    }

    #[test]
    fn texts_that_look_like_tables_are_texts() {
        let text = "A\0\0\x02\0".repeat(100) + &"x".repeat(600);
        let mut table = RawTable::default();
        table.set("a", &AMQPValue::LongString(text.as_str().into()));
        assert_eq!(table.get("a").as_ref().and_then(super::text), Some(text));
    }

    #[test]
    fn the_depth_of_a_value_is_exact() {
        assert_eq!(depth(b"V"), Some(0));
        assert_eq!(depth(b"A\0\0\0\x0cA\0\0\0\x01VA\0\0\0\0"), None, "cut");
        assert_eq!(depth(b"A\0\0\0\x0bA\0\0\0\x01VA\0\0\0\0"), Some(2));
        assert_eq!(depth(b"F\0\0\0\x03\x01aV"), Some(1));
        assert_eq!(
            depth(b"F\0\0\0\x03\x01aI"),
            None,
            "an item longer than its table"
        );
        assert_eq!(depth(b"VV"), None);
        assert_eq!(depth(b""), None);
    }

    #[test]
    fn what_cannot_be_read_ends_the_table() {
        let table = RawTable::new(b"\x01aI\0\0\0\x07\x01b?".to_vec());
        assert_eq!(table.get("a").as_ref().and_then(integer), Some(7));
        assert_eq!(table.entries().count(), 1);
    }
}
