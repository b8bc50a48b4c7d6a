//! Numbers that look random and are the same in every run.

/// A xorshift generator; its state is never zero.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`, which is above zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}
