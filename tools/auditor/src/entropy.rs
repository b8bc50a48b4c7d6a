//! Random numbers, drawn here and nowhere else.

/// A number that nobody can foresee: a log that could would keep what it is asked for next. 0 if there is none to be had.
pub(crate) fn draw() -> u64 {
    let mut bytes = [0; 8];
    openssl::rand::rand_bytes(&mut bytes).map_or(0, |()| u64::from_be_bytes(bytes))
}
