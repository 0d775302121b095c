//! The callback's envelope: the `<Encrypt>` of a POST body, and the AES layer that it shares with the echo of a GET.
//!
//! A plaintext is `random(16) ‖ length(4, big-endian) ‖ message ‖ receiveid`, padded to a multiple of 32 bytes and
//! encrypted with AES-256-CBC under a fixed IV. Nothing here knows HTTP or what a message says, and nothing decrypts
//! before the signature is right: whoever opens envelopes of strangers goes through [`CallbackKeys::open`].

use std::fmt;

use aes::Aes256;
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD},
};
use cbc::cipher::{Array, BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use zeroize::Zeroizing;

use super::{
    signature::{self, SignatureBytes},
    xml,
};

/// The longest base64 text that is decrypted, in bytes. Callbacks are some hundred bytes long.
pub const ENCRYPT_BYTES_MAX: usize = 1 << 20;

/// The length of an `EncodingAESKey`, in characters.
const ENCODED_KEY_CHARS: usize = 43;
const KEY_BYTES: usize = 32;
const AES_BLOCK_BYTES: usize = 16;
/// WeCom pads to twice the AES block; paddings over 16 are the reason why no library's unpadding is of use.
const PAD_BYTES_MAX: usize = 32;
const RANDOM_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;

type AesBlock = Array<u8, cbc::cipher::consts::U16>;

/// 43 characters carry 258 bits. The two spare ones are zero in some keys only, so they must not be judged.
const KEY_BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// Why an envelope could not be opened. The texts hold nothing of the envelope and may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The body is no envelope.
    #[error("the callback's XML can't be read: {0}")]
    BadXml(&'static str),
    /// The ciphertext is no strict standard base64.
    #[error("the callback's ciphertext is not base64")]
    BadBase64,
    /// Empty, not in whole AES blocks, or longer than [`ENCRYPT_BYTES_MAX`].
    #[error("the callback's ciphertext has an impossible length")]
    BadLength,
    /// The last byte is not 1..=32, or the bytes it counts differ from it.
    #[error("the callback's padding is wrong after decryption")]
    BadPadding,
    /// No room for the header.
    #[error("the decrypted callback is shorter than its header")]
    TooShort,
    /// The length in the header points beyond the end.
    #[error("the decrypted callback is shorter than the length in its header")]
    BadMessageLength,
    /// It was sealed for another corp.
    #[error("the decrypted callback is for another receiver")]
    WrongReceiver,
}

impl EnvelopeError {
    /// The configuration key to look at when authentic callbacks fail this way; `None` if none can be the cause.
    #[must_use]
    pub fn key_to_check(&self) -> Option<&'static str> {
        match self {
            Self::BadXml(_) => None,
            Self::BadBase64
            | Self::BadLength
            | Self::BadPadding
            | Self::TooShort
            | Self::BadMessageLength => Some("wecom.encoding_aes_key"),
            Self::WrongReceiver => Some("wecom.corp_id"),
        }
    }
}

/// Why an `EncodingAESKey` is refused. The text doesn't repeat the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an EncodingAESKey has exactly 43 characters of A-Z, a-z and 0-9; copy it again from the WeCom console"
)]
pub struct EnvelopeKeyError;

/// The AES key of the callback. `Debug` hides it; it is wiped when dropped.
#[derive(Clone)]
pub struct EnvelopeKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeKey(hidden)")
    }
}

impl EnvelopeKey {
    /// Reads the `EncodingAESKey` of the WeCom console.
    pub fn parse(encoding_aes_key: &str) -> Result<Self, EnvelopeKeyError> {
        let well_formed = encoding_aes_key.len() == ENCODED_KEY_CHARS
            && encoding_aes_key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !well_formed {
            return Err(EnvelopeKeyError);
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let length =
            KEY_BASE64.decode_slice(encoding_aes_key, key.as_mut_slice()).map_err(|_| EnvelopeKeyError)?;
        if length == KEY_BYTES { Ok(Self(key)) } else { Err(EnvelopeKeyError) }
    }

    /// Decrypts a base64 ciphertext, checks its form and its receiver, and gives the message.
    ///
    /// Only for texts whose signature is right: the errors tell a padding from another fault.
    pub fn open(&self, encrypt: &str, receive_id: &str) -> Result<Vec<u8>, EnvelopeError> {
        let mut plain = self.decrypt(encrypt)?;
        let unpadded_length = unpad(&plain)?.len();
        plain.truncate(unpadded_length);
        let (header, rest) =
            plain.split_at_checked(RANDOM_BYTES + LENGTH_BYTES).ok_or(EnvelopeError::TooShort)?;
        let length = header.last_chunk::<LENGTH_BYTES>().ok_or(EnvelopeError::TooShort)?;
        let length =
            usize::try_from(u32::from_be_bytes(*length)).map_err(|_| EnvelopeError::BadMessageLength)?;
        let (message, receiver) = rest.split_at_checked(length).ok_or(EnvelopeError::BadMessageLength)?;
        if receiver != receive_id.as_bytes() {
            return Err(EnvelopeError::WrongReceiver);
        }
        Ok(message.to_vec())
    }

    /// Encrypts a message as WeCom does. `random` must be fresh for each message: the IV never changes.
    ///
    /// A message of 4 GiB or more can't be said in this format; what comes out then is refused by everybody.
    #[must_use]
    pub fn seal(&self, random: [u8; RANDOM_BYTES], message: &[u8], receive_id: &str) -> String {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut plain = Vec::with_capacity(
            RANDOM_BYTES + LENGTH_BYTES + message.len() + receive_id.len() + PAD_BYTES_MAX,
        );
        plain.extend_from_slice(&random);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(message);
        plain.extend_from_slice(receive_id.as_bytes());
        pad(&mut plain);
        self.encrypt(plain)
    }

    fn decrypt(&self, encrypt: &str) -> Result<Vec<u8>, EnvelopeError> {
        if encrypt.len() > ENCRYPT_BYTES_MAX {
            return Err(EnvelopeError::BadLength);
        }
        let mut bytes = STANDARD.decode(encrypt).map_err(|_| EnvelopeError::BadBase64)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(AES_BLOCK_BYTES) {
            return Err(EnvelopeError::BadLength);
        }
        let (key, iv) = self.key_and_iv();
        let mut decryptor = cbc::Decryptor::<Aes256>::new(key, iv);
        decryptor.decrypt_blocks(AesBlock::slice_as_chunks_mut(&mut bytes).0);
        Ok(bytes)
    }

    /// `plain` in whole blocks.
    fn encrypt(&self, mut plain: Vec<u8>) -> String {
        let (key, iv) = self.key_and_iv();
        let mut encryptor = cbc::Encryptor::<Aes256>::new(key, iv);
        encryptor.encrypt_blocks(AesBlock::slice_as_chunks_mut(&mut plain).0);
        STANDARD.encode(plain)
    }

    /// The IV is the first half of the key: WeCom's choice.
    fn key_and_iv(&self) -> (&Array<u8, cbc::cipher::consts::U32>, &AesBlock) {
        let key: &[u8; KEY_BYTES] = &self.0;
        let (iv, _) = key.split_first_chunk::<AES_BLOCK_BYTES>().unwrap_or((&[0; AES_BLOCK_BYTES], &[]));
        (key.into(), iv.into())
    }
}

fn pad(plain: &mut Vec<u8>) {
    let pad = PAD_BYTES_MAX - plain.len() % PAD_BYTES_MAX;
    let byte = u8::try_from(pad).unwrap_or(0);
    plain.resize(plain.len() + pad, byte);
}

fn unpad(plain: &[u8]) -> Result<&[u8], EnvelopeError> {
    let pad = *plain.last().ok_or(EnvelopeError::BadPadding)?;
    let pad_bytes = usize::from(pad);
    if !(1..=PAD_BYTES_MAX).contains(&pad_bytes) {
        return Err(EnvelopeError::BadPadding);
    }
    let end = plain.len().checked_sub(pad_bytes).ok_or(EnvelopeError::BadPadding)?;
    let (unpadded, padding) = plain.split_at_checked(end).ok_or(EnvelopeError::BadPadding)?;
    if padding.iter().all(|&byte| byte == pad) { Ok(unpadded) } else { Err(EnvelopeError::BadPadding) }
}

/// The text of `/xml/Encrypt` in the body of a callback, without white space around it.
///
/// Siblings are not looked at: WeCom sends `ToUserName`, sometimes `AgentID`, in any order.
pub fn encrypted_of(body: &[u8]) -> Result<String, EnvelopeError> {
    let mut encrypt: Option<String> = None;
    xml::for_each_child(body, |child| {
        if child.name != "Encrypt" {
            return Ok(());
        }
        if child.has_elements {
            return Err("<Encrypt> holds elements");
        }
        // Base64 has no white space, so what stands around it can only be a pretty printer's.
        match encrypt.replace(child.text.trim_ascii().to_owned()) {
            None => Ok(()),
            Some(_) => Err("more than one <Encrypt>"),
        }
    })
    .map_err(EnvelopeError::BadXml)?;
    match encrypt {
        None => Err(EnvelopeError::BadXml("no <Encrypt>")),
        Some(encrypt) if encrypt.is_empty() => Err(EnvelopeError::BadXml("an empty <Encrypt>")),
        Some(encrypt) => Ok(encrypt),
    }
}

/// The body of a callback, as WeCom sends it: what the simulator posts.
#[must_use]
pub fn envelope_xml(corp_id: &str, encrypt: &str) -> String {
    let corp_id = corp_id.replace("]]>", "]]]]><![CDATA[>");
    format!(
        "<xml><ToUserName><![CDATA[{corp_id}]]></ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
    )
}

/// Why a callback is turned away. The texts hold nothing of the callback and may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackRefusal {
    /// It isn't WeCom's, or the token differs from the console's.
    #[error("the callback's signature is wrong")]
    BadSignature,
    /// The signature is right, the inside isn't.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl CallbackRefusal {
    /// The configuration key to look at when WeCom's own callbacks fail this way.
    #[must_use]
    pub fn key_to_check(&self) -> Option<&'static str> {
        match self {
            Self::BadSignature => Some("wecom.token"),
            Self::Envelope(error) => error.key_to_check(),
        }
    }
}

/// A callback whose signature, form and receiver are right.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was inside: the echo of a GET, the inner XML of a POST.
    pub message: Vec<u8>,
    /// The signature: equal for the same callback sent twice.
    pub signature: SignatureBytes,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes)", self.message.len())
    }
}

/// What opens the callbacks of one corp: the current token and key, and, while the console is being switched, the
/// previous ones.
#[derive(Clone)]
pub struct CallbackKeys {
    corp_id: String,
    current: CallbackPair,
    previous: Option<CallbackPair>,
}

#[derive(Clone)]
struct CallbackPair {
    callback_token: Zeroizing<String>,
    key: EnvelopeKey,
}

impl fmt::Debug for CallbackKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackKeys")
            .field("corp_id", &self.corp_id)
            .field("with_previous", &self.previous.is_some())
            .finish_non_exhaustive()
    }
}

impl CallbackKeys {
    /// The keys of `corp_id`, whose id every callback must carry as its receiver.
    #[must_use]
    pub fn new(corp_id: &str, callback_token: &str, key: EnvelopeKey) -> Self {
        let current = CallbackPair { callback_token: Zeroizing::new(callback_token.to_owned()), key };
        Self { corp_id: corp_id.to_owned(), current, previous: None }
    }

    /// Also accepts the previous token and key, as a pair; where one is `None`, the current one stands in. Both
    /// `None` = no previous pair.
    #[must_use]
    pub fn with_previous(mut self, callback_token: Option<&str>, key: Option<EnvelopeKey>) -> Self {
        self.previous = (callback_token.is_some() || key.is_some()).then(|| CallbackPair {
            callback_token: callback_token.map_or_else(
                || self.current.callback_token.clone(),
                |token| Zeroizing::new(token.to_owned()),
            ),
            key: key.unwrap_or_else(|| self.current.key.clone()),
        });
        self
    }

    /// Checks the signature, then decrypts. `encrypt` is the `echostr` of a GET, decoded once from the URL, or what
    /// [`encrypted_of`] found in a POST.
    ///
    /// Where both pairs fail, the error is that of the first whose signature was right.
    pub fn open(
        &self,
        timestamp: &str,
        nonce: &str,
        msg_signature: &str,
        encrypt: &str,
    ) -> Result<Opened, CallbackRefusal> {
        let mut refusal = CallbackRefusal::BadSignature;
        for pair in std::iter::once(&self.current).chain(&self.previous) {
            let token = &pair.callback_token;
            let Some(signature) = signature::verify(token, timestamp, nonce, encrypt, msg_signature) else {
                continue;
            };
            match pair.key.open(encrypt, &self.corp_id) {
                Ok(message) => return Ok(Opened { message, signature }),
                Err(error) if refusal == CallbackRefusal::BadSignature => refusal = error.into(),
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

#[cfg(test)]
mod tests;
