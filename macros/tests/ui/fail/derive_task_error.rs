//! Marks of an error: each mistake at its attribute.
#![allow(unused_variables)]
use coney::TaskError;
use std::fmt;
use std::time::Duration;

#[derive(Debug, TaskError)]
enum MailError {
    #[retry]
    #[dead]
    TwoMarks,
    #[defer]
    DeferWithoutTime,
    #[defer(30)]
    DeferWithANumber(Duration),
    #[defer(after = .1)]
    OutOfRange(Duration),
    #[defer(after = .wait)]
    NoSuchField { until: Duration },
    #[defer(after = .0)]
    NoFields,
    #[retry(3)]
    HowOften,
    #[retry(max = 3)]
    HowOftenByName,
    #[discard(now)]
    DiscardWithArguments,
    #[dead = "x"]
    DeadWithAValue,
    #[defer(after = self.0)]
    NotAField(Duration),
    #[defer(after = Duration::from_secs(1))]
    NotAText(Duration),
    #[defer(after = "0s")]
    AtOnce,
    #[defer(after = "later")]
    NoDuration,
    #[defer(after)]
    NoValue,
    OnAField(#[retry] u8),
}

impl fmt::Display for MailError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { Ok(()) }
}
impl std::error::Error for MailError {}

#[derive(Debug, TaskError)]
#[retry]
enum OnTheEnum { A }

impl fmt::Display for OnTheEnum {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { Ok(()) }
}
impl std::error::Error for OnTheEnum {}

#[derive(TaskError)]
#[task_error(path = ::coney)]
union Bits { a: u8 }

fn main() {
    fn error<E: TaskError>() {}
    error::<MailError>();
}
