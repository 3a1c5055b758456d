//! Tasks that calculate, with numbers as Python has them.

use coney::{Exception, Failure, RawJson, Result, task};
use serde_json::value::RawValue;

/// A number as Python tells them apart; integers as long as they fit.
#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    fn read(json: &RawValue) -> Option<Self> {
        let text = json.get();
        match (text, text.parse()) {
            ("true", _) => Some(Self::Int(1)),
            ("false", _) => Some(Self::Int(0)),
            (_, Ok(int)) => Some(Self::Int(int)),
            _ => serde_json::from_str(text).ok().map(Self::Float),
        }
    }

    fn float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as Python does")]
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    fn json(self) -> Result<RawJson> {
        let text = match self {
            Self::Int(int) => int.to_string(),
            Self::Float(float) => serde_json::to_string(&float)?,
        };
        Ok(RawValue::from_string(text)?)
    }

    fn with(
        self,
        other: Self,
        ints: fn(i128, i128) -> Option<i128>,
        floats: fn(f64, f64) -> f64,
    ) -> Self {
        let whole = match (self, other) {
            (Self::Int(a), Self::Int(b)) => ints(a, b),
            _ => None,
        };
        whole.map_or_else(
            || Self::Float(floats(self.float(), other.float())),
            Self::Int,
        )
    }

    fn plus(self, other: Self) -> Self {
        self.with(other, i128::checked_add, |a, b| a + b)
    }
}

/// What Python raises where something is no number.
fn unsupported(operator: &str) -> Failure {
    let text = format!("unsupported operand type(s) for {operator}");
    Failure::discard(Exception::builtin("TypeError").arg(text))
}

fn both(x: &RawValue, y: &RawValue, operator: &str) -> Result<(Number, Number)> {
    match (Number::read(x), Number::read(y)) {
        (Some(x), Some(y)) => Ok((x, y)),
        _ => Err(unsupported(operator)),
    }
}

#[task(name = "wire.add", retry(max = 3), ack = "early")]
async fn add(x: RawJson, y: RawJson) -> Result<RawJson> {
    let (x, y) = both(&x, &y, "+")?;
    x.plus(y).json()
}

#[task(name = "wire.mul", retry(max = 3), ack = "early")]
async fn mul(x: RawJson, y: RawJson) -> Result<RawJson> {
    let (x, y) = both(&x, &y, "*")?;
    x.with(y, i128::checked_mul, |a, b| a * b).json()
}

#[task(name = "wire.xsum", retry(max = 3), ack = "early")]
async fn xsum(numbers: Vec<RawJson>) -> Result<RawJson> {
    total(&numbers)?.json()
}

/// The total of numbers, and of lists of them.
fn total(numbers: &[RawJson]) -> Result<Number> {
    let mut sum = Number::Int(0);
    for json in numbers {
        let next = match serde_json::from_str::<Vec<RawJson>>(json.get()) {
            Ok(list) => total(&list)?,
            Err(_) => Number::read(json).ok_or_else(|| unsupported("+"))?,
        };
        sum = sum.plus(next);
    }
    Ok(sum)
}
