//! Callbacks from the signature to the message: bodies of strangers, ciphertexts and plaintexts that are well signed,
//! and what we seal ourselves, whole and altered.

use aes::Aes256;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cbc::cipher::{Array, BlockModeEncrypt as _, KeyIvInit as _};
use kfbind::wecom::{
    envelope::{
        CallbackKeys, CallbackRefusal, ENCRYPT_BYTES_MAX, EnvelopeError, EnvelopeKey, encrypted_of,
        envelope_xml,
    },
    signature::sign,
};

use super::{choice, fields, text};

// Published with WeCom's documentation: the ciphertexts of `tests/fixtures/` open under them.
const CORP: &str = "wx5823bf96d3bd56c7";
const TOKEN: &str = "QDG6eK";
const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
/// The same key for a decoder that minds the two bits too many in its last character.
const KEY_BASE64: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2A=";
const OTHER_TOKEN: &str = "OtherToken";
const OTHER_KEY: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const TIMESTAMP: &str = "1700000000";
const NONCE: &str = "263014780";

/// Tries one of the promises on these bytes.
pub fn run(data: &[u8]) {
    let Some((chosen, data)) = choice(data) else { return };
    match chosen % 6 {
        0 => body_of_a_stranger(data),
        1 => signed_text(&text(data)),
        2 => signed_plaintext(data),
        3 => sealed_by_us(data),
        4 => sealed_and_altered(data),
        _ => encoding_aes_key(&text(data)),
    }
}

fn key(encoded: &str) -> EnvelopeKey {
    EnvelopeKey::parse(encoded).expect("a key of the right form")
}

fn keys() -> CallbackKeys {
    CallbackKeys::new(CORP, TOKEN, key(KEY))
}

/// Without the token nothing gets past the signature, whatever the body is.
fn body_of_a_stranger(data: &[u8]) {
    let [signature, timestamp, nonce, body] = fields(data);
    let (signature, timestamp, nonce) = (text(signature), text(timestamp), text(nonce));
    let encrypt = match encrypted_of(body) {
        Ok(encrypt) => encrypt,
        Err(EnvelopeError::BadXml(_)) => text(body),
        Err(error) => panic!("reading XML says {error:?}"),
    };
    assert!(encrypted_of(body).is_err() || !encrypt.is_empty() && encrypt.trim_ascii() == encrypt);
    let opened = keys().open(&timestamp, &nonce, &signature, &encrypt);
    if signature != sign(TOKEN, &timestamp, &nonce, &encrypt) {
        assert_eq!(opened, Err(CallbackRefusal::BadSignature));
    }
}

/// A well-signed text that may be no base64 at all.
fn signed_text(encrypt: &str) {
    let signature = sign(TOKEN, TIMESTAMP, NONCE, encrypt);
    let opened = keys().open(TIMESTAMP, NONCE, &signature, encrypt);
    let bytes = STANDARD.decode(encrypt);
    match &opened {
        Err(CallbackRefusal::BadSignature) => panic!("the signature is right"),
        Err(CallbackRefusal::Envelope(EnvelopeError::BadBase64)) => {
            assert!(bytes.is_err() && encrypt.len() <= ENCRYPT_BYTES_MAX);
        }
        Err(CallbackRefusal::Envelope(EnvelopeError::BadLength)) => assert!(
            encrypt.len() > ENCRYPT_BYTES_MAX
                || bytes.as_ref().is_ok_and(|bytes| bytes.is_empty() || bytes.len() % 16 != 0)
        ),
        _ => assert!(bytes.as_ref().is_ok_and(|bytes| !bytes.is_empty() && bytes.len() % 16 == 0)),
    }
    // The same, written as the XML of a POST.
    if bytes.is_ok() && !encrypt.is_empty() {
        assert_eq!(encrypted_of(envelope_xml(CORP, encrypt).as_bytes()).as_deref(), Ok(encrypt));
    }
    // Any other signature, and any other text under this one, is refused.
    assert_eq!(
        keys().open(TIMESTAMP, NONCE, &signature.to_uppercase(), encrypt).is_ok(),
        opened.is_ok() && signature.to_uppercase() == signature
    );
    assert_eq!(
        keys().open(TIMESTAMP, NONCE, &signature, &format!("{encrypt}=")),
        Err(CallbackRefusal::BadSignature)
    );
}

/// Whole blocks that are right under key and signature, with anything inside.
fn signed_plaintext(data: &[u8]) {
    let mut plain = data.to_vec();
    plain.truncate(data.len() / 16 * 16);
    let encrypt = encrypt(&plain);
    let signature = sign(TOKEN, TIMESTAMP, NONCE, &encrypt);
    let opened = keys().open(TIMESTAMP, NONCE, &signature, &encrypt).map(|opened| opened.message);
    assert_eq!(opened, message_of(&plain).map_err(CallbackRefusal::Envelope), "{plain:?}");
}

/// AES-256-CBC without any padding of its own, under the first half of the key as IV.
fn encrypt(plain: &[u8]) -> String {
    let key: [u8; 32] =
        STANDARD.decode(KEY_BASE64).ok().and_then(|key| key.try_into().ok()).expect("32 bytes");
    let iv = *key.first_chunk::<16>().expect("16 of 32 bytes");
    let mut encryptor = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into());
    let mut cipher = Vec::with_capacity(plain.len());
    for block in plain.as_chunks::<16>().0 {
        let mut block = Array::from(*block);
        encryptor.encrypt_block(&mut block);
        cipher.extend_from_slice(&block);
    }
    STANDARD.encode(cipher)
}

/// What the format's description makes of a plaintext, step by step.
fn message_of(plain: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    if plain.is_empty() {
        return Err(EnvelopeError::BadLength);
    }
    let pad = usize::from(plain[plain.len() - 1]);
    if pad == 0 || pad > 32 || pad > plain.len() {
        return Err(EnvelopeError::BadPadding);
    }
    let (plain, padding) = plain.split_at(plain.len() - pad);
    if padding.iter().any(|byte| usize::from(*byte) != pad) {
        return Err(EnvelopeError::BadPadding);
    }
    if plain.len() < 20 {
        return Err(EnvelopeError::TooShort);
    }
    let length = plain[16..20].iter().fold(0_usize, |number, byte| number * 256 + usize::from(*byte));
    if length > plain.len() - 20 {
        return Err(EnvelopeError::BadMessageLength);
    }
    if &plain[20 + length..] != CORP.as_bytes() {
        return Err(EnvelopeError::WrongReceiver);
    }
    Ok(plain[20..20 + length].to_vec())
}

/// What was sealed opens to the same, for its own corp and under its own keys only.
fn sealed_by_us(data: &[u8]) {
    let (random, message) = data.split_at(data.len().min(16));
    let mut padded = [0; 16];
    padded[..random.len()].copy_from_slice(random);
    let sealed = key(KEY).seal(padded, message, CORP);
    assert_eq!(key(KEY).open(&sealed, CORP).as_deref(), Ok(message));
    assert_eq!(encrypted_of(envelope_xml(CORP, &sealed).as_bytes()).as_deref(), Ok(sealed.as_str()));
    let signature = sign(TOKEN, TIMESTAMP, NONCE, &sealed);
    let opened = keys().open(TIMESTAMP, NONCE, &signature, &sealed).expect("sealed and signed by us");
    assert_eq!(opened.message, message);

    let switched = CallbackKeys::new(CORP, OTHER_TOKEN, key(OTHER_KEY));
    assert_eq!(switched.open(TIMESTAMP, NONCE, &signature, &sealed), Err(CallbackRefusal::BadSignature));
    let both = switched.with_previous(Some(TOKEN), Some(key(KEY)));
    assert_eq!(
        both.open(TIMESTAMP, NONCE, &signature, &sealed).map(|opened| opened.message),
        Ok(message.to_vec())
    );
    let other = CallbackKeys::new("wx5823bf96d3bd56c8", TOKEN, key(KEY));
    assert_eq!(
        other.open(TIMESTAMP, NONCE, &signature, &sealed),
        Err(CallbackRefusal::Envelope(EnvelopeError::WrongReceiver))
    );
}

/// A sealed envelope with some bits of its ciphertext flipped, signed again: the inside is checked, and never trusted.
fn sealed_and_altered(data: &[u8]) {
    let [flips, message] = fields(data);
    let sealed = key(KEY).seal([7; 16], message, CORP);
    let mut bytes = STANDARD.decode(&sealed).expect("our own base64");
    for flip in flips.as_chunks::<3>().0 {
        let at = usize::from(u16::from_be_bytes([flip[0], flip[1]])) % bytes.len();
        bytes[at] ^= flip[2];
    }
    let altered = STANDARD.encode(&bytes);
    let signature = sign(TOKEN, TIMESTAMP, NONCE, &sealed);
    let opened = keys().open(TIMESTAMP, NONCE, &signature, &altered);
    if altered != sealed {
        assert_eq!(opened, Err(CallbackRefusal::BadSignature), "the old signature on another ciphertext");
    }
    let signature = sign(TOKEN, TIMESTAMP, NONCE, &altered);
    match keys().open(TIMESTAMP, NONCE, &signature, &altered) {
        Ok(opened) => assert!(opened.message.len() + 20 + CORP.len() < bytes.len()),
        Err(CallbackRefusal::BadSignature) => panic!("the signature is right"),
        Err(CallbackRefusal::Envelope(EnvelopeError::BadBase64 | EnvelopeError::BadLength)) => {
            panic!("its form is right")
        }
        Err(CallbackRefusal::Envelope(_)) => assert_ne!(altered, sealed),
    }
}

/// Only 43 letters and digits are a key.
fn encoding_aes_key(encoded: &str) {
    let expected = encoded.chars().count() == 43 && encoded.chars().all(|c| c.is_ascii_alphanumeric());
    let parsed = EnvelopeKey::parse(encoded);
    assert_eq!(parsed.is_ok(), expected);
    if let Ok(key) = parsed {
        assert_eq!(key.open(&key.seal([1; 16], b"echo", CORP), CORP).as_deref(), Ok(&b"echo"[..]));
        assert_eq!(format!("{key:?}"), "EnvelopeKey(hidden)");
    }
}
