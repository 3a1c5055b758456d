//! How often a task may start: `10/s`, `10/m`, `10/h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::control::python;

/// How often a task may start on one worker, written as in Celery: `10/s`, `0.5/m`, `100/h`, or a number for each second.
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
    tasks: f64,
    per: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    const fn seconds(self) -> f64 {
        match self {
            Self::Second => 1.0,
            Self::Minute => 60.0,
            Self::Hour => 3600.0,
        }
    }
}

impl Rate {
    /// So many tasks each second, more than none.
    #[must_use]
    pub const fn per_second(tasks: f64) -> Self {
        let per = Per::Second;
        Self { tasks, per }
    }

    /// So many tasks each minute, more than none.
    #[must_use]
    pub const fn per_minute(tasks: f64) -> Self {
        let per = Per::Minute;
        Self { tasks, per }
    }

    /// So many tasks each hour, more than none.
    #[must_use]
    pub const fn per_hour(tasks: f64) -> Self {
        let per = Per::Hour;
        Self { tasks, per }
    }

    /// The time from one task to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let seconds = self.per.seconds() / self.tasks;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Reads a rate; `None` is no limit: `0`, `0/s` and an empty text.
    ///
    /// # Errors
    ///
    /// [`RateError`] for what is no rate.
    pub fn parse(text: &str) -> Result<Option<Self>, RateError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let (tasks, unit) = text.split_once('/').unwrap_or((text, ""));
        let per = match unit.trim() {
            "" | "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            other => return Err(RateError::Unit(other.to_owned())),
        };
        let number = tasks.trim().parse().ok();
        let number = number.filter(|number: &f64| number.is_finite() && *number >= 0.0);
        let tasks = number.ok_or_else(|| RateError::Number(tasks.to_owned()))?;
        Ok((tasks > 0.0).then_some(Self { tasks, per }))
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// Reads a rate that is a limit.
    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::parse(text)?.ok_or_else(|| RateError::Number(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => 's',
            Per::Minute => 'm',
            Per::Hour => 'h',
        };
        write!(f, "{}/{per}", self.tasks)
    }
}

/// A text that is no rate; shown as Celery does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateError {
    /// What stands before the slash is no number of tasks.
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
            Self::Unit(unit) => f.write_str(unit),
        }
    }
}

impl std::error::Error for RateError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_and_written_as_in_celery() {
        for (text, millis) in [
            ("10/s", 100),
            ("10", 100),
            ("10/", 100),
            ("0.5", 2000),
            ("10/m", 6000),
            (" 2/h ", 1_800_000),
        ] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.interval(), Duration::from_millis(millis), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        assert_eq!(Rate::per_minute(10.0).to_string(), "10/m");
        for none in ["", "0", "0/s", "0.0/h"] {
            assert_eq!(Rate::parse(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn what_is_no_rate_is_told_as_python_does() {
        let told = |text| Rate::parse(text).expect_err(text).to_string();
        assert_eq!(told("often"), "could not convert string to float: 'often'");
        assert_eq!(told("10/d"), "d");
        for wrong in ["x", "/", "/s", "-1/s", "inf/s", "nan", "10/s/s"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
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
