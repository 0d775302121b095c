//! The callback's signature: SHA-1 over four sorted values, one of them a secret token.
//!
//! It proves who speaks, not when: WeCom names no window for timestamps, so nothing here judges them.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

/// The bytes of a signature. Two callbacks with the same one are the same callback.
pub type SignatureBytes = [u8; 20];

/// Signs a ciphertext as WeCom does: 40 lower-case hex digits.
///
/// `encrypt` is the still base64-coded text, after URL-decoding or XML-unescaping; `timestamp` and `nonce` are taken
/// to the letter.
#[must_use]
pub fn sign(callback_token: &str, timestamp: &str, nonce: &str, encrypt: &str) -> String {
    hex(&digest(callback_token, timestamp, nonce, encrypt)).iter().map(|&digit| char::from(digit)).collect()
}

/// Compares a signature in constant time; its bytes if it is right.
///
/// WeCom writes lower case, and the contract refuses anything else.
#[must_use]
pub fn verify(
    callback_token: &str,
    timestamp: &str,
    nonce: &str,
    encrypt: &str,
    msg_signature: &str,
) -> Option<SignatureBytes> {
    let ours = digest(callback_token, timestamp, nonce, encrypt);
    let equal = hex(&ours).as_slice().ct_eq(msg_signature.as_bytes());
    bool::from(equal).then_some(ours)
}

fn digest(callback_token: &str, timestamp: &str, nonce: &str, encrypt: &str) -> SignatureBytes {
    let mut values = [callback_token, timestamp, nonce, encrypt];
    // `str` is ordered by bytes, as the protocol wants it.
    values.sort_unstable();
    let mut sha1 = Sha1::new();
    for value in values {
        sha1.update(value.as_bytes());
    }
    sha1.finalize().into()
}

fn hex(bytes: &SignatureBytes) -> [u8; 40] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut text = [0; 40];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "QDG6eK";
    const TIMESTAMP: &str = "1409659589";
    const NONCE: &str = "263014780";
    const ECHO: &str =
        "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==";
    const SIGNATURE: &str = "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3";

    #[test]
    fn the_official_sample_signs_as_published() {
        assert_eq!(sign(TOKEN, TIMESTAMP, NONCE, ECHO), SIGNATURE);
        let bytes = verify(TOKEN, TIMESTAMP, NONCE, ECHO, SIGNATURE).unwrap();
        assert_eq!(bytes[..3], [0x5c, 0x45, 0xff]);
    }

    #[test]
    fn upper_case_is_refused() {
        assert_eq!(verify(TOKEN, TIMESTAMP, NONCE, ECHO, &SIGNATURE.to_uppercase()), None);
    }

    #[test]
    fn every_changed_digit_is_refused() {
        for at in 0..SIGNATURE.len() {
            let mut changed = SIGNATURE.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verify(TOKEN, TIMESTAMP, NONCE, ECHO, &changed), None, "digit {at}");
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        let longer = format!("{SIGNATURE}0");
        for wrong in ["", &SIGNATURE[..39], longer.as_str(), &SIGNATURE[1..]] {
            assert_eq!(verify(TOKEN, TIMESTAMP, NONCE, ECHO, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn each_of_the_four_values_counts() {
        for (token, timestamp, nonce, encrypt) in [
            ("QDG6eL", TIMESTAMP, NONCE, ECHO),
            (TOKEN, "1409659588", NONCE, ECHO),
            (TOKEN, TIMESTAMP, "263014781", ECHO),
            (TOKEN, TIMESTAMP, NONCE, "P9nA"),
        ] {
            assert_eq!(verify(token, timestamp, nonce, encrypt, SIGNATURE), None);
        }
    }
}
