//! Everything that looks random in the simulator, grown from one seed: ids, and generators of their own for each
//! purpose, so that one more draw for one purpose doesn't shift the others. Not for secrets.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{SeedableRng, rngs::StdRng};
use sha1::{Digest, Sha1};

/// Makes ids that look like WeCom's: letters and digits of both cases without order.
pub(super) struct Ids {
    seed: u64,
    counters: BTreeMap<&'static str, u64>,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, counters: BTreeMap::new() }
    }

    /// The next id of this purpose: `prefix` and then characters up to `length` in all.
    pub(super) fn next(&mut self, purpose: &'static str, prefix: &str, length: usize) -> String {
        let counter = self.counters.entry(purpose).or_default();
        *counter += 1;
        let name = format!("{purpose}/{counter}");
        self.named(&name, prefix, length)
    }

    /// The id that belongs to `name`, always the same.
    pub(super) fn named(&self, name: &str, prefix: &str, length: usize) -> String {
        let mut id = prefix.to_owned();
        for block in 0_u32.. {
            if id.len() >= length {
                break;
            }
            let digest = Sha1::digest(format!("{}/{name}/{block}", self.seed));
            id.push_str(&URL_SAFE_NO_PAD.encode(digest).replace('-', "q").replace('_', "Z"));
        }
        id.truncate(length);
        id
    }
}

/// A generator that depends on the seed and the purpose only.
pub(super) fn child(seed: u64, purpose: &str) -> StdRng {
    let digest = Sha1::digest(format!("{seed}/{purpose}"));
    let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    StdRng::seed_from_u64(number)
}
