//! Parameters that take whatever a call brings: `*args` and `**kwargs` of Python.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::argument::{Argument, Piece, Share};
use crate::codec::typed;
use crate::error::ArgumentErrorKind;

/// All arguments by position that the parameters before it do not take, as Python's `*args`.
///
/// Parameters after it are given by name only. Calls from Rust give those before it by position.
///
/// ```
/// # use coney_protocol as coney;
/// # use coney::argument::Args;
/// // #[task]
/// async fn total(unit: String, numbers: Args<f64>) -> String {
///     format!("{} {unit}", numbers.0.iter().sum::<f64>())
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args<T = Json>(pub Vec<T>);

/// All arguments by name that no other parameter takes, as Python's `**kwargs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kwargs<T = Json>(pub BTreeMap<String, T>);

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for Args<T> {
    const SHARE: Share = Share::Args;

    fn encode(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        for (at, value) in self.0.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut *json, value)?;
        }
        Ok(())
    }

    fn decode(piece: Piece<'_, '_>) -> Result<Self, ArgumentErrorKind> {
        let Piece::Args(rest) = piece else {
            return Ok(Self(Vec::new()));
        };
        let values = rest.iter().map(|raw| typed::from_raw(raw));
        values
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(ArgumentErrorKind::Invalid)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for Kwargs<T> {
    const SHARE: Share = Share::Kwargs;

    fn encode(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut *json, name)?;
            json.push(b':');
            serde_json::to_writer(&mut *json, value)?;
        }
        Ok(())
    }

    fn decode(piece: Piece<'_, '_>) -> Result<Self, ArgumentErrorKind> {
        let Piece::Kwargs(rest) = piece else {
            return Ok(Self(BTreeMap::new()));
        };
        let members = rest
            .into_iter()
            .map(|(name, raw)| Ok((name.to_string(), typed::from_raw(raw)?)));
        members
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(ArgumentErrorKind::Invalid)
    }
}
