//! Whether everything that shall follow can be sent, asked before the task runs.

use serde_json::value::RawValue;

use crate::canvas::error::CanvasError;
use crate::canvas::signature::{Kind, Signature};
use crate::canvas::{MOST_DEPTH, MOST_SIGNATURES, MOST_STEPS};

/// What members have from what they are in may be so long all together, in bytes: a few that are in the message once are
/// in each of them.
const MOST_SPREAD: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Checker {
    count: usize,
    depth: usize,
    /// Bytes that the next signature has from what it is in.
    inherited: usize,
    /// Bytes that all have from what they are in.
    spread: usize,
}

impl Checker {
    /// Signatures that are sent beside each other.
    pub(crate) fn beside(&mut self, raws: &[&RawValue]) -> Result<(), CanvasError> {
        raws.iter().try_for_each(|raw| self.one(raw).map(|_| ()))
    }

    /// The steps of a chain, the last one first; true if it ends in a group.
    pub(crate) fn chain(&mut self, raws: &[&RawValue]) -> Result<bool, CanvasError> {
        self.steps(raws.iter().rev(), raws.len())
    }

    /// The steps of a chain in order; true if it ends in a group.
    fn steps<'a>(
        &mut self,
        steps: impl Iterator<Item = &'a &'a RawValue>,
        length: usize,
    ) -> Result<bool, CanvasError> {
        if length > MOST_STEPS {
            return Err(CanvasError::TooMany { most: MOST_STEPS });
        }
        let mut ends_in_group = false;
        for step in steps {
            if ends_in_group {
                return Err(CanvasError::GroupInBetween);
            }
            ends_in_group = self.one(step)?;
            // the others stay in the message as they are
            self.inherited = 0;
        }
        Ok(ends_in_group)
    }

    /// One signature and all in it; true if it is a group, or ends in one.
    fn one(&mut self, raw: &RawValue) -> Result<bool, CanvasError> {
        if self.depth == MOST_DEPTH {
            return Err(CanvasError::TooDeep { most: MOST_DEPTH });
        }
        let inherited = std::mem::take(&mut self.inherited);
        self.count(1)?;
        self.spread(1, inherited)?;
        self.depth += 1;
        let signature = Signature::read(raw)?;
        let options = signature.options.read()?;
        self.beside(&options.link)?;
        self.beside(&options.link_error)?;
        let chain_ends_in_group = self.chain(&options.chain)?;
        self.inherited = inherited.saturating_add(signature.options.spreads());
        let is_group = match signature.kind()? {
            Kind::Task => false,
            Kind::Group(members) => {
                self.beside(&members)?;
                true
            }
            Kind::Chain(steps) => self.steps(steps.iter(), steps.len())?,
            Kind::Chunks(chunks) => {
                let parts = chunks.parts()?;
                self.count(parts)?;
                let each = chunks.task.get().len().saturating_add(self.inherited);
                self.spread(parts, each)?;
                true
            }
            Kind::Chord => return Err(CanvasError::Chord),
        };
        self.inherited = inherited;
        self.depth -= 1;
        match (is_group, options.chain.is_empty()) {
            (true, false) => Err(CanvasError::GroupInBetween),
            (is_group, true) => Ok(is_group),
            (false, false) => Ok(chain_ends_in_group),
        }
    }

    fn spread(&mut self, times: usize, bytes: usize) -> Result<(), CanvasError> {
        self.spread = self.spread.saturating_add(times.saturating_mul(bytes));
        match self.spread > MOST_SPREAD {
            true => Err(CanvasError::TooLarge { most: MOST_SPREAD }),
            false => Ok(()),
        }
    }

    fn count(&mut self, more: usize) -> Result<(), CanvasError> {
        self.count = self.count.saturating_add(more);
        match self.count > MOST_SIGNATURES {
            true => Err(CanvasError::TooMany {
                most: MOST_SIGNATURES,
            }),
            false => Ok(()),
        }
    }
}
