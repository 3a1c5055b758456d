//! How often tasks of one name may start: Celery's rate limits, such as `10/m`.

use std::fmt;
use std::time::Duration;

use crate::control::python;

/// How often tasks of one name may start in one worker; never zero, as that means "no limit".
///
/// ```
/// use coney_protocol::rate::Rate;
///
/// let rate = Rate::parse("10/m").unwrap().unwrap();
/// assert_eq!(rate.interval().as_secs(), 6);
/// assert_eq!(rate.to_string(), "10/m");
/// assert_eq!(Rate::parse("0/s").unwrap(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    count: f64,
    per: Per,
}

/// The time that a rate counts in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Per {
    /// A second, and not said: `10`.
    #[default]
    Unsaid,
    /// A second: `10/s`.
    Second,
    /// A minute: `10/m`.
    Minute,
    /// An hour: `10/h`.
    Hour,
}

impl Per {
    const fn seconds(self) -> f64 {
        match self {
            Self::Unsaid | Self::Second => 1.0,
            Self::Minute => 60.0,
            Self::Hour => 3600.0,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::Second => "/s",
            Self::Minute => "/m",
            Self::Hour => "/h",
        }
    }
}

impl Rate {
    /// So many tasks in this time; `None` for zero and infinity, which are no limit.
    ///
    /// # Errors
    ///
    /// [`RateError`] for a negative number and for one that is none.
    pub fn new(count: f64, per: Per) -> Result<Option<Self>, RateError> {
        if count.is_nan() || count < 0.0 {
            return Err(RateError::Number(count.to_string()));
        }
        let limits = count > 0.0 && count.is_finite();
        Ok(limits.then_some(Self { count, per }))
    }

    /// Reads a rate as Celery writes it: a number, alone or with `/s`, `/m` or `/h`. Nothing and zero are no limit.
    ///
    /// # Errors
    ///
    /// [`RateError`] when it is none.
    pub fn parse(text: &str) -> Result<Option<Self>, RateError> {
        if text.is_empty() {
            return Ok(None);
        }
        let (count, unit) = text.split_once('/').unwrap_or((text, ""));
        let per = match unit {
            "" => Per::Unsaid,
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            other => return Err(RateError::Unit(other.to_owned())),
        };
        let number = count.trim().parse();
        let number = number.map_err(|_| RateError::Number(count.to_owned()))?;
        Self::new(number, per)
    }

    /// How many tasks may start in a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.count / self.per.seconds()
    }

    /// The time from the start of one task to that of the next; at most a hundred years.
    #[must_use]
    pub fn interval(self) -> Duration {
        const CENTURY: f64 = 100.0 * 366.0 * 86_400.0;
        Duration::from_secs_f64(self.per_second().recip().min(CENTURY))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.per.suffix())
    }
}

/// Why a text is no rate; shown as Celery does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateError {
    /// What stands before the slash is no number, or a negative one.
    Number(String),
    /// What stands behind it is none of `s`, `m` and `h`.
    Unit(String),
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(text) => {
                let text = python::text(text);
                write!(f, "could not convert string to float: {text}")
            }
            Self::Unit(unit) => write!(f, "{}", python::text(unit)),
        }
    }
}

impl std::error::Error for RateError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_a_rate_is_read_and_written_again() {
        for (text, per_second) in [
            ("10", 10.0),
            ("10/s", 10.0),
            ("30/m", 0.5),
            ("36/h", 0.01),
            ("0.5/s", 0.5),
        ] {
            let rate = Rate::parse(text).expect("a rate").expect("a limit");
            assert!((rate.per_second() - per_second).abs() < 1e-9, "{text}");
            assert_eq!(rate.to_string(), text);
        }
        let slash = Rate::parse("10/").expect("a rate").expect("a limit");
        assert_eq!(slash.per_second(), 10.0);
    }

    #[test]
    fn nothing_and_zero_are_no_limit() {
        for text in ["", "0", "0/m", "0.0", "inf"] {
            assert_eq!(Rate::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_told_as_python_does() {
        let told = |text| Rate::parse(text).expect_err("no rate").to_string();
        assert_eq!(told("often"), "could not convert string to float: 'often'");
        assert_eq!(told("10/d"), "'d'");
        assert_eq!(told("10/s/s"), "'s/s'");
        for text in ["-1/s", "nan", "/s", " "] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rate_or_none(text in "[-0-9.e+infa]{0,12}(/[smhd]?)?") {
            if let Ok(Some(rate)) = Rate::parse(&text) {
                prop_assert!(rate.interval() >= Duration::ZERO);
            }
        }
    }
}
