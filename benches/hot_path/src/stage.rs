//! What is measured: a step, taken again and again.

use std::hint::black_box;

use anyhow::Result;

/// A stage of the hot path. Prepare some input, then run it.
pub struct Stage {
    name: &'static str,
    messages: usize,
    work: Box<dyn Work>,
}

impl Stage {
    /// A stage of steps, each of which takes so many messages.
    pub(crate) fn new<I: 'static, O: 'static>(
        name: &'static str,
        messages: usize,
        prepare: impl FnMut() -> Result<I> + 'static,
        step: impl FnMut(I) -> Result<O> + 'static,
    ) -> Self {
        let work = Steps {
            prepare,
            step,
            inputs: Vec::new(),
        };
        Self {
            name,
            messages,
            work: Box::new(work),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many messages one step takes.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Makes the input of so many steps.
    ///
    /// # Errors
    ///
    /// What coney answers to input that should have been good.
    pub fn prepare(&mut self, steps: usize) -> Result<()> {
        self.work.prepare(steps)
    }

    /// Takes all that is prepared through the stage, unmeasured.
    ///
    /// # Errors
    ///
    /// What a step answers that has not done its work.
    pub fn run(&mut self) -> Result<()> {
        self.work.run()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({})", self.name)
    }
}

/// Takes all that is prepared through a stage: nothing else is measured. The name is known to `cargo xtask instructions`.
///
/// # Errors
///
/// What a step answers that has not done its work.
#[inline(never)]
pub fn measured(stage: &mut Stage) -> Result<()> {
    stage.run()
}

trait Work {
    fn prepare(&mut self, steps: usize) -> Result<()>;
    fn run(&mut self) -> Result<()>;
}

struct Steps<I, P, S> {
    prepare: P,
    step: S,
    inputs: Vec<I>,
}

impl<I, O, P: FnMut() -> Result<I>, S: FnMut(I) -> Result<O>> Work for Steps<I, P, S> {
    fn prepare(&mut self, steps: usize) -> Result<()> {
        self.inputs.reserve(steps);
        for _ in 0..steps {
            self.inputs.push((self.prepare)()?);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        // what a step has made is thrown away as part of it, as it is in a program
        self.inputs
            .drain(..)
            .try_for_each(|input| (self.step)(black_box(input)).map(|made| drop(black_box(made))))
    }
}
