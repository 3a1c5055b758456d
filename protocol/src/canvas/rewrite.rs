//! Later steps of a chain that get something from the chain that they are in.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::canvas::error::CanvasError;
use crate::canvas::signature::Signature;
use crate::codec::body::Pairs;

/// Writes steps anew where the chain adds to them; the others stay byte for byte.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    written: usize,
}

/// The texts that are written anew may be so long all together: a link of the chain is repeated in each step.
const MOST_BYTES: usize = 16 * 1024 * 1024;

impl Rewriter {
    /// A step that is not the last.
    pub(crate) fn step<'a>(
        &mut self,
        raw: &'a RawValue,
        link_error: Option<&str>,
    ) -> Result<Cow<'a, str>, CanvasError> {
        let Some(link_error) = link_error else {
            return Ok(raw.get().into());
        };
        let signature = Signature::read(raw)?;
        let options = signature.options.read()?;
        self.rewrite(
            raw,
            &[("link_error", list(&options.link_error, link_error))],
        )
    }

    /// The last step: it stands for the chain in a group, and the chain's link is its own.
    pub(crate) fn last<'a>(
        &mut self,
        raw: &'a RawValue,
        group: Option<&(String, i64)>,
        (link, link_error): (Option<&str>, Option<&str>),
        id: Option<&str>,
    ) -> Result<Cow<'a, str>, CanvasError> {
        let signature = Signature::read(raw)?;
        let options = signature.options.read()?;
        let text = |text: &str| serde_json::to_string(text).map_err(CanvasError::Signature);
        let mut changes = Vec::new();
        if let (Some(id), None) = (id, &options.task_id) {
            changes.push(("task_id", text(id)?));
        }
        if let Some((group, at)) = group {
            if options.group_id.as_ref() != Some(group) {
                changes.push(("group_id", text(group)?));
            }
            if options.group_index.is_none() {
                changes.push(("group_index", at.to_string()));
            }
        }
        if let Some(link) = link {
            changes.push(("link", list(&options.link, link)));
        }
        if let Some(link_error) = link_error {
            changes.push(("link_error", list(&options.link_error, link_error)));
        }
        self.rewrite(raw, &changes)
    }

    /// Writes a signature with other options.
    fn rewrite<'a>(
        &mut self,
        raw: &'a RawValue,
        changes: &[(&str, String)],
    ) -> Result<Cow<'a, str>, CanvasError> {
        if changes.is_empty() {
            return Ok(raw.get().into());
        }
        let read = |raw: &'a RawValue| {
            let pairs: Result<Pairs<'a>, _> = serde_json::from_str(raw.get());
            pairs.map_err(CanvasError::Signature)
        };
        let Pairs(members) = read(raw)?;
        let options = members.iter().find(|(name, _)| name == "options");
        let options = options.filter(|(_, raw)| raw.get() != "null");
        let Pairs(options) = options
            .map(|(_, raw)| read(raw))
            .transpose()?
            .unwrap_or_default();
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let kept = options.iter().filter(|(name, _)| !is_changed(name));
        let options = object(
            kept.map(|(name, raw)| (&**name, raw.get()))
                .chain(changes.iter().map(|(name, text)| (*name, &**text))),
        )?;
        let others = members.iter().filter(|(name, _)| name != "options");
        let others = others.map(|(name, raw)| (&**name, raw.get()));
        let text = object(others.chain([("options", &*options)]))?;
        self.written += text.len();
        match self.written > MOST_BYTES {
            true => Err(CanvasError::TooLarge { most: MOST_BYTES }),
            false => Ok(text.into()),
        }
    }
}

/// A list of signatures, and the inside of another.
fn list(own: &[&RawValue], more: &str) -> String {
    let own = own.iter().map(|raw| raw.get());
    let all: Vec<_> = own.chain([more]).collect();
    format!("[{}]", all.join(", "))
}

fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> Result<String, CanvasError> {
    let members = members.map(|(name, text)| {
        let name = serde_json::to_string(name).map_err(CanvasError::Signature)?;
        Ok(format!("{name}: {text}"))
    });
    let members = members.collect::<Result<Vec<_>, CanvasError>>()?;
    Ok(format!("{{{}}}", members.join(", ")))
}
