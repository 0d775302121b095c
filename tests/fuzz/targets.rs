//! One file per target: `run` takes any bytes and panics where a promise is broken, never because of the bytes.
//!
//! The first byte (or the first few) chooses which promise is tried, so that the fuzzer gets behind signatures and into
//! well-formed documents; what follows is the input. The targets hold the code against what is written about the
//! formats, not against the code's own helpers.

pub mod envelope;
pub mod event;
pub mod recognise;
pub mod session;
pub mod sync_page;

/// The first byte and the rest.
fn choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// The bytes as fields, cut at each 0xff: a byte that is in no UTF-8 text.
fn fields<const COUNT: usize>(data: &[u8]) -> [&[u8]; COUNT] {
    let mut rest = data.splitn(COUNT, |byte| *byte == 0xff);
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}

/// The bytes as a text, with U+FFFD for what is none.
fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
