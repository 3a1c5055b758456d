//! The input, a byte at a time: digits and letters mean numbers from 0 up, so that seeds can be read.

pub(crate) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next byte as it is.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// The next byte as a number: `0` is 0; 0 at the end.
    pub(crate) fn number(&mut self) -> u8 {
        self.byte().map_or(0, |byte| byte.wrapping_sub(b'0'))
    }

    /// The next byte as a number, which stays the next.
    pub(crate) fn peek(&self) -> u8 {
        self.0.first().map_or(0, |byte| byte.wrapping_sub(b'0'))
    }

    pub(crate) fn below(&mut self, end: u8) -> u8 {
        self.number() % end
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.number()) % all.len()]
    }

    /// Some bytes as they are: how many, and they.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.number());
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}
