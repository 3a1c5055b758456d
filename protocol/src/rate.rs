//! How often a task may start: `10/s`, `10/m`, `10/h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How often a task may start on one worker, written as in Celery: `10/s`, `0.5/m`, `100/h`, or a number for each second.
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
        let wrong = || RateError {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let (tasks, per) = trimmed.split_once('/').unwrap_or((trimmed, "s"));
        let per = match per.trim() {
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(wrong()),
        };
        if trimmed.is_empty() {
            return Ok(None);
        }
        let tasks: f64 = tasks.trim().parse().map_err(|_| wrong())?;
        if !tasks.is_finite() || tasks < 0.0 {
            return Err(wrong());
        }
        Ok((tasks > 0.0).then_some(Self { tasks, per }))
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::parse(text)?.ok_or_else(|| RateError {
            text: text.to_owned(),
        })
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

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no rate: write `10/s`, `10/m` or `10/h`")]
pub struct RateError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_as_in_celery() {
        for (text, millis) in [
            ("10/s", 100),
            ("10", 100),
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
        for wrong in ["x", "10/d", "/", "/s", "-1/s", "inf/s", "nan", "10/s/s"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
