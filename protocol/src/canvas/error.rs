//! What can be wrong with what a message says shall follow.

/// Why what shall follow from a task cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanvasError {
    /// A chord needs a result backend that counts, and results that travel through the broker are not counted.
    #[error(
        "a chord needs a result backend that can count, and results that go through the broker are not counted"
    )]
    Chord,
    /// A group is followed by further steps: that is a chord.
    #[error(
        "a group that is followed by further steps is a chord: {}",
        Self::Chord
    )]
    GroupInBetween,
    /// A signature is none.
    #[error("not a signature of a task")]
    Signature(#[source] serde_json::Error),
    /// An option of a signature has another type than it should.
    #[error("the option `{name}` of a signature is not {expected}")]
    Option {
        /// The option.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// There are more signatures than a message may bring.
    #[error("the message brings more than {most} tasks to follow")]
    TooMany {
        /// How many it may bring.
        most: usize,
    },
    /// Signatures are nested too deeply.
    #[error("signatures are nested more than {most} deep")]
    TooDeep {
        /// How deep they may be.
        most: usize,
    },
    /// What the tasks would carry all together is too much.
    #[error("what shall follow takes more than {most} bytes")]
    TooLarge {
        /// How much they may take.
        most: usize,
    },
}
