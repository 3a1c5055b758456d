use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A frame of channel 1.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, 1];
    frame.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

/// A content header with these flags and properties.
fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend(7_u64.to_be_bytes());
    payload.extend(flags.to_be_bytes());
    payload.extend(properties);
    frame(HEADER, &payload)
}

fn long(content: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(content.len())
        .expect("small")
        .to_be_bytes()
        .to_vec();
    bytes.extend(content);
    bytes
}

/// A header table `{a: {a: {..}}}`, with so many tables in the outer one; every other one is a list if `lists`.
fn nested(levels: usize, lists: bool) -> Vec<u8> {
    let mut content = Vec::new();
    for level in (0..levels).rev() {
        // what contains this one: the names of its entries are missing in a list
        let in_list = lists && level % 2 == 1;
        let is_list = lists && level % 2 == 0;
        let mut outer = if in_list { vec![] } else { vec![1, b'a'] };
        outer.push(if is_list { b'A' } else { b'F' });
        outer.extend(long(&content));
        content = outer;
    }
    long(&content)
}

/// How many tables and lists lie in each other within a table.
fn depth(table: &[u8], named: bool) -> usize {
    let mut walk = Walk {
        bytes: &mut table.to_vec(),
        at: 0,
    };
    let mut deepest = 0;
    while walk.at < walk.bytes.len() {
        if named {
            walk.text().expect("a name");
        }
        let kind = walk.byte().expect("a type");
        if matches!(kind, b'F' | b'A') {
            let inner = walk.container(walk.bytes.len(), true).expect("a container");
            let content = walk.bytes[walk.at..inner.end].to_vec();
            deepest = deepest.max(1 + depth(&content, kind == b'F'));
            walk.at = inner.end;
        } else {
            walk.value(kind).expect("a value");
        }
    }
    deepest
}

/// Sends bytes through a screen as they would arrive, cut at will, with a small buffer.
fn through(bytes: &[u8], pieces: &[usize]) -> Vec<u8> {
    let mut screen = Screen::default();
    let mut seen = Vec::new();
    let mut rest = bytes;
    let mut pieces = pieces.iter().copied().cycle();
    loop {
        let mut buffer = vec![0; pieces.next().unwrap_or(64).max(1)];
        let held = screen.take(&mut buffer);
        if held > 0 {
            seen.extend(&buffer[..held]);
            continue;
        }
        if rest.is_empty() {
            return seen;
        }
        let mut read = |into: &mut [u8]| {
            let (now, later) = rest.split_at(rest.len().min(into.len()));
            into[..now.len()].copy_from_slice(now);
            rest = later;
            now.len()
        };
        if let Some(missing) = screen.missing() {
            let count = read(missing);
            screen.arrived(count);
        } else {
            let count = read(&mut buffer);
            let count = screen.pass(&mut buffer[..count]);
            seen.extend(&buffer[..count]);
        }
    }
}

#[test]
fn tables_are_flattened_below_the_deepest_level() {
    for lists in [false, true] {
        for levels in [1, DEEPEST, DEEPEST + 1, 1_000, 20_000] {
            let table = nested(levels, lists);
            let mut screened = header(1 << 13, &table);
            screen(&mut screened);
            let start = FRAME_START + 14 + 4;
            let content = &screened[start..screened.len() - 1];
            assert_eq!(
                depth(content, true),
                levels.min(DEEPEST),
                "{levels} {lists}"
            );
            assert_eq!(screened.len(), header(1 << 13, &table).len());
        }
    }
}

#[test]
fn bytes_that_are_not_text_are_substituted() {
    // content type, message id
    let mut screened = header(1 << 15 | 1 << 7, b"\x04ab\xFFc\x03\xC3(\xE2");
    screen(&mut screened);
    assert_eq!(
        screened,
        header(1 << 15 | 1 << 7, b"\x04ab\x1Ac\x03\x1A(\x1A")
    );
    let deliver = |name: &[u8; 2]| {
        let mut payload = b"\0\x3C\0\x3C\x01t\0\0\0\0\0\0\0\x01\0\x02ex\x02".to_vec();
        payload.extend(name);
        frame(METHOD, &payload)
    };
    let mut screened = deliver(b"k\xFE");
    screen(&mut screened);
    assert_eq!(screened, deliver(b"k\x1A"));
}

#[test]
fn damaged_frames_pass_as_they_are() {
    for damaged in [
        header(1 << 13, b"\xFF\xFF\xFF\xFF"),
        header(1 << 13, b"\0\0\0\x03\x01a?"),
        header(1 << 15, b"\x09ab"),
        frame(METHOD, b"\0"),
    ] {
        assert_eq!(through(&damaged, &[7]), damaged);
    }
}

proptest! {
    #[test]
    fn however_the_bytes_arrive_the_same_is_seen(
        bodies in vec((0_u8..9, vec(any::<u8>(), 0..300)), 0..12),
        pieces in vec(1_usize..200, 1..20),
    ) {
        let frames: Vec<_> = bodies.iter().map(|(kind, body)| match kind {
            0 => header(1 << 13, &nested(DEEPEST + body.len(), false)),
            1 => header(1 << 15, &[&[u8::try_from(body.len().min(255)).expect("fits")], &body[..body.len().min(255)]].concat()),
            kind => frame(*kind, body),
        }).collect();
        let mut expected = frames.clone();
        for (frame, (kind, _)) in expected.iter_mut().zip(&bodies) {
            if matches!(kind, 0..=2) {
                screen(frame);
            }
        }
        prop_assert_eq!(through(&frames.concat(), &pieces), expected.concat());
    }

    #[test]
    fn whatever_arrives_nothing_is_added_or_taken(
        bytes in vec(any::<u8>(), 0..400),
        pieces in vec(1_usize..50, 1..8),
    ) {
        // frames that never end are held
        prop_assert!(through(&bytes, &pieces).len() <= bytes.len());
        let mut walked = header(0xFFFC, &bytes);
        let length = walked.len();
        screen(&mut walked);
        prop_assert_eq!(walked.len(), length);
    }
}
