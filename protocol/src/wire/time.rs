//! Times as Celery writes them: ISO 8601, with or without an offset.

use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// What Python can read: the years 1 to 9999.
const FIRST: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);

/// The text of a time in UTC, to the microsecond, as Python's `isoformat` has it: `2026-11-20T10:04:40.282613+00:00`.
///
/// A time outside the years 1 to 9999 becomes the nearest that Python can read.
#[must_use]
pub fn format(time: SystemTime) -> String {
    let since_epoch = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX),
        Err(before) => SignedDuration::try_from(before.duration())
            .map_or(SignedDuration::MIN, std::ops::Neg::neg),
    };
    let civil = EPOCH.saturating_add(since_epoch).max(FIRST);
    let (date, clock) = (civil.date(), civil.time());
    let mut text = String::with_capacity(32);
    // for every result, and several times as fast as the formatting of the standard library
    let mut put = |before: &str, number: i32, digits: usize| {
        text.push_str(before);
        let (mut places, mut rest) = ([b'0'; 6], number.unsigned_abs());
        for place in places[..digits].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        text.extend(places[..digits].iter().copied().map(char::from));
    };
    put("", date.year().into(), 4);
    put("-", date.month().into(), 2);
    put("-", date.day().into(), 2);
    put("T", clock.hour().into(), 2);
    put(":", clock.minute().into(), 2);
    put(":", clock.second().into(), 2);
    let micros = clock.subsec_nanosecond() / 1000;
    if micros > 0 {
        put(".", micros, 6);
    }
    text.push_str("+00:00");
    text
}

/// Reads a time, to the microsecond; one without an offset is taken as UTC, Celery's own default.
///
/// A date alone is its midnight, as in Python. `None` for a time that has a zone by name only, and for what is no time.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    let pieces = Pieces::parse(text).ok()?;
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    let offset = match pieces.to_numeric_offset() {
        Some(offset) => offset.seconds(),
        None if pieces.time_zone_annotation().is_none() => 0,
        None => return None,
    };
    let local = civil.duration_since(EPOCH);
    let since_epoch = local.checked_sub(SignedDuration::from_secs(offset.into()))?;
    let micros = i64::try_from(since_epoch.as_micros()).ok()?;
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> SystemTime {
        let distance = Duration::from_micros(micros.unsigned_abs());
        if micros >= 0 {
            SystemTime::UNIX_EPOCH + distance
        } else {
            SystemTime::UNIX_EPOCH - distance
        }
    }

    #[test]
    fn every_form_that_celery_writes_is_read() {
        let noon = at(1_795_169_080_000_000);
        for text in [
            "2026-11-20T10:04:40+00:00",
            "2026-11-20T10:04:40Z",
            "2026-11-20T10:04:40",
            "2026-11-20 10:04:40",
            "2026-11-20T10:04:40.000000+00:00",
            "2026-11-20T12:04:40+02:00",
            "2026-11-20T12:04:40+0200",
            "2026-11-20T12:04:40+02",
            "2026-11-20T04:34:40-05:30",
            "20261120T100440Z",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        let part = noon + Duration::from_micros(282_613);
        assert_eq!(parse("2026-11-20T10:04:40.282613+00:00"), Some(part));
        assert_eq!(parse("2026-11-20T10:04:40.282613999Z"), Some(part));
        let half = noon + Duration::from_millis(500);
        assert_eq!(parse("2026-11-20T10:04:40.5"), Some(half));
        let midnight = at(1_795_132_800_000_000);
        assert_eq!(parse("2026-11-20"), Some(midnight));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "soon",
            "5",
            "2026",
            "2026-13-01T00:00:00",
            "2026-02-30T00:00:00",
            "2026-11-20T25:00:00",
            "2026-11-20T10:04:40+99:99",
            "2026-11-20T10:04:40+00:00 ",
            "2026-11-20T10:04:40[Europe/Stockholm]",
            "10000-01-01T00:00:00",
            "+999999-01-01T00:00:00Z",
            "2026-11-20T10:04:40.Z",
            "2026-11-20T10:04:40\u{0}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_ends_of_pythons_calendar_are_read_and_written() {
        let last = "9999-12-31T23:59:59.999999+00:00";
        assert_eq!(parse(last).map(format).as_deref(), Some(last));
        let first = "0001-01-01T00:00:00+00:00";
        assert_eq!(parse(first).map(format).as_deref(), Some(first));
        assert_eq!(format(at(i64::MAX)), last);
        assert_eq!(format(at(i64::MIN)), first);
    }

    #[test]
    fn a_whole_second_has_no_fraction_as_in_python() {
        assert_eq!(format(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00+00:00");
        assert_eq!(format(at(-1)), "1969-12-31T23:59:59.999999+00:00");
    }

    proptest! {
        #[test]
        fn a_time_comes_back_to_the_microsecond(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse(&format(at(micros))), Some(at(micros)));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_like_a_time_is_a_time_or_none(text in "[-+]?[0-9]{1,6}-[0-9]{1,2}-[0-9]{1,2}[T ]?[0-9:.,]{0,20}[-+Z]?[0-9:]{0,9}") {
            if let Some(time) = parse(&text) {
                let _ = format(time);
            }
        }
    }
}
