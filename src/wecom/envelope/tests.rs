//! Known answers made by other implementations, every padding, and bytes that nobody sent.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct CallbackFile {
    sets: Vec<CallbackSet>,
}

#[derive(Deserialize)]
struct CallbackSet {
    token: String,
    encoding_aes_key: String,
    corp_id: String,
    valid: Vec<Callback>,
    refused: Vec<Callback>,
}

#[derive(Deserialize)]
struct Callback {
    what: String,
    timestamp: String,
    nonce: String,
    encrypt: String,
    msg_signature: String,
    #[serde(default)]
    plaintext: String,
    #[serde(default)]
    refused_as: String,
}

impl CallbackSet {
    fn key(&self) -> EnvelopeKey {
        EnvelopeKey::parse(&self.encoding_aes_key).unwrap()
    }

    fn keys(&self) -> CallbackKeys {
        CallbackKeys::new(&self.corp_id, &self.token, self.key())
    }
}

fn callback_sets() -> Vec<CallbackSet> {
    let file: CallbackFile =
        serde_json::from_str(include_str!("../../../tests/fixtures/callback.json")).unwrap();
    assert_eq!(file.sets.len(), 3);
    file.sets
}

#[derive(Deserialize)]
struct VectorFile {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    token: String,
    encoding_aes_key: String,
    receive_id: String,
    timestamp: String,
    nonce: String,
    msg_signature: String,
    encrypt: String,
    message: String,
    random: Option<String>,
}

fn vectors() -> Vec<Vector> {
    let file: VectorFile =
        serde_json::from_str(include_str!("../../../tests/fixtures/wecom_vectors.json")).unwrap();
    assert_eq!(file.vectors.len(), 13);
    file.vectors
}

const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
const CORP: &str = "wx5823bf96d3bd56c7";

fn key() -> EnvelopeKey {
    EnvelopeKey::parse(KEY).unwrap()
}

/// Encrypts what the header, message and padding of a test say, right or wrong.
fn encrypt_raw(key: &EnvelopeKey, plain: &[u8]) -> String {
    assert!(plain.len().is_multiple_of(16));
    key.encrypt(plain.to_vec())
}

/// A plaintext with a right header, and whatever padding the test wants.
fn plaintext(message: &[u8], receive_id: &str) -> Vec<u8> {
    let mut plain = b"0123456789abcdef".to_vec();
    plain.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    plain.extend_from_slice(message);
    plain.extend_from_slice(receive_id.as_bytes());
    plain
}

#[test]
fn callbacks_of_other_implementations_open_as_echo_and_as_envelope() {
    for set in callback_sets() {
        let keys = set.keys();
        for callback in &set.valid {
            let Callback { what, timestamp, nonce, encrypt, msg_signature, plaintext, .. } = callback;
            let opened = keys.open(timestamp, nonce, msg_signature, encrypt).unwrap();
            assert!(opened.message == plaintext.as_bytes(), "{what}");
            let body = format!(
                "<xml>\n <ToUserName><![CDATA[{}]]></ToUserName>\n <AgentID><![CDATA[1000002]]></AgentID>\n \
                 <Encrypt><![CDATA[{encrypt}]]></Encrypt>\n</xml>",
                set.corp_id
            );
            assert_eq!(encrypted_of(body.as_bytes()).as_deref(), Ok(encrypt.as_str()), "{what}");
        }
    }
}

#[test]
fn sealing_gives_the_ciphertexts_of_other_implementations() {
    for set in callback_sets() {
        let key = set.key();
        for Callback { what, timestamp, nonce, encrypt, msg_signature, plaintext, .. } in &set.valid {
            let random = *key.decrypt(encrypt).unwrap().first_chunk().unwrap();
            let sealed = key.seal(random, plaintext.as_bytes(), &set.corp_id);
            assert!(sealed == *encrypt, "{what}");
            assert_eq!(signature::sign(&set.token, timestamp, nonce, &sealed), *msg_signature, "{what}");
        }
    }
}

#[test]
fn bad_callbacks_are_refused_for_the_named_reason() {
    for set in callback_sets() {
        let keys = set.keys();
        assert_eq!(set.refused.len(), 16);
        for Callback { what, timestamp, nonce, encrypt, msg_signature, refused_as, .. } in &set.refused {
            // The file gives this case the right signature; what it means is none.
            let signature = if what == "signature empty" { "" } else { msg_signature.as_str() };
            let refusal = keys.open(timestamp, nonce, signature, encrypt).unwrap_err();
            let reason = match refusal {
                CallbackRefusal::BadSignature => "bad signature",
                CallbackRefusal::Envelope(EnvelopeError::WrongReceiver) => "receiveid",
                CallbackRefusal::Envelope(_) => "malformed",
            };
            assert_eq!(reason, refused_as, "{what}: {refusal:?}");
        }
    }
}

#[test]
fn the_refusals_of_malformed_callbacks_tell_the_faults_apart() {
    for set in callback_sets() {
        let key = set.key();
        let error_of = |what: &str| {
            let callback = set.refused.iter().find(|callback| callback.what == what).unwrap();
            key.open(&callback.encrypt, &set.corp_id).unwrap_err()
        };
        for (what, expected) in [
            ("foreign receiveid", EnvelopeError::WrongReceiver),
            ("receiveid missing", EnvelopeError::WrongReceiver),
            ("pad byte 0", EnvelopeError::BadPadding),
            ("pad byte 33", EnvelopeError::BadPadding),
            ("pad bytes differ", EnvelopeError::BadPadding),
            ("length beyond the buffer", EnvelopeError::BadMessageLength),
            ("length 0xffffffff", EnvelopeError::BadMessageLength),
            ("ciphertext not in whole blocks", EnvelopeError::BadLength),
            ("empty ciphertext", EnvelopeError::BadLength),
            ("not base64", EnvelopeError::BadBase64),
            ("base64 cut", EnvelopeError::BadBase64),
        ] {
            assert_eq!(error_of(what), expected, "{what}");
        }
    }
}

#[test]
fn the_published_vectors_open() {
    for v in vectors() {
        let key = EnvelopeKey::parse(&v.encoding_aes_key).unwrap();
        let keys = CallbackKeys::new(&v.receive_id, &v.token, key);
        let opened = keys.open(&v.timestamp, &v.nonce, &v.msg_signature, &v.encrypt).unwrap();
        assert_eq!(String::from_utf8(opened.message).unwrap(), v.message, "vector {}", v.name);
    }
}

#[test]
fn the_published_vectors_with_a_known_random_are_sealed_exactly() {
    let mut sealed = 0;
    for v in vectors() {
        let Some(random) = &v.random else { continue };
        let random = random.as_bytes().try_into().unwrap();
        let key = EnvelopeKey::parse(&v.encoding_aes_key).unwrap();
        assert_eq!(key.seal(random, v.message.as_bytes(), &v.receive_id), v.encrypt, "vector {}", v.name);
        sealed += 1;
    }
    assert_eq!(sealed, 5);
}

#[test]
fn a_callback_for_another_corp_is_refused() {
    let v = vectors().into_iter().find(|v| v.name == "S4").unwrap();
    let keys = CallbackKeys::new(CORP, &v.token, key());
    let refusal = keys.open(&v.timestamp, &v.nonce, &v.msg_signature, &v.encrypt).unwrap_err();
    assert_eq!(refusal, CallbackRefusal::Envelope(EnvelopeError::WrongReceiver));
    assert_eq!(refusal.key_to_check(), Some("wecom.corp_id"));
}

#[test]
fn every_padding_from_1_to_32_opens() {
    for pad in 1..=32_usize {
        // 20 bytes of header, so that header, message and receiver end `pad` bytes before a multiple of 32.
        let message = vec![b'm'; 64 - 20 - CORP.len() + 32 - pad];
        let mut plain = plaintext(&message, CORP);
        plain.resize(96, u8::try_from(pad).unwrap());
        assert_eq!(key().open(&encrypt_raw(&key(), &plain), CORP).as_deref(), Ok(message.as_slice()));
        assert_eq!(
            key().seal(*b"0123456789abcdef", &message, CORP),
            encrypt_raw(&key(), &plain),
            "pad {pad}"
        );
    }
}

#[test]
fn paddings_of_0_and_33_and_more_are_refused() {
    for pad in [0, 33, 34, 48, 64, 255_u8] {
        let mut plain = plaintext(b"message", CORP);
        plain.resize(128, pad);
        assert_eq!(
            key().open(&encrypt_raw(&key(), &plain), CORP),
            Err(EnvelopeError::BadPadding),
            "pad {pad}"
        );
    }
}

#[test]
fn each_byte_of_the_padding_is_judged() {
    for at in 96 - 32..96 {
        let mut plain = plaintext(&vec![b'm'; 64 - 20 - CORP.len()], CORP);
        plain.resize(96, 32);
        plain[at] ^= 1;
        assert_eq!(
            key().open(&encrypt_raw(&key(), &plain), CORP),
            Err(EnvelopeError::BadPadding),
            "byte {at}"
        );
    }
}

#[test]
fn a_plaintext_shorter_than_its_padding_or_header_is_refused() {
    assert_eq!(key().open(&encrypt_raw(&key(), &[17; 16]), ""), Err(EnvelopeError::BadPadding));
    assert_eq!(key().open(&encrypt_raw(&key(), &[16; 16]), ""), Err(EnvelopeError::TooShort));
    let mut nineteen = vec![0; 19];
    nineteen.resize(32, 13);
    assert_eq!(key().open(&encrypt_raw(&key(), &nineteen), ""), Err(EnvelopeError::TooShort));
    let mut twenty = vec![0; 20];
    twenty.resize(32, 12);
    assert_eq!(key().open(&encrypt_raw(&key(), &twenty), ""), Ok(Vec::new()));
}

#[test]
fn a_length_beyond_the_buffer_is_refused() {
    for length in [8 + u32::try_from(CORP.len()).unwrap(), 64, 0x7fff_ffff, u32::MAX] {
        let mut plain = plaintext(b"message", CORP);
        plain[16..20].copy_from_slice(&length.to_be_bytes());
        pad(&mut plain);
        assert_eq!(key().open(&encrypt_raw(&key(), &plain), CORP), Err(EnvelopeError::BadMessageLength));
    }
}

#[test]
fn a_length_that_cuts_into_the_receiver_is_refused() {
    for length in [0, 6, 8_u32] {
        let mut plain = plaintext(b"message", CORP);
        plain[16..20].copy_from_slice(&length.to_be_bytes());
        pad(&mut plain);
        assert_eq!(key().open(&encrypt_raw(&key(), &plain), CORP), Err(EnvelopeError::WrongReceiver));
    }
}

#[test]
fn a_ciphertext_over_the_limit_is_refused_before_it_is_decoded() {
    let over = "A".repeat(ENCRYPT_BYTES_MAX + 4);
    assert_eq!(key().open(&over, CORP), Err(EnvelopeError::BadLength));
}

#[test]
fn base64_is_judged_strictly() {
    let sealed = key().seal(*b"0123456789abcdef", b"message", CORP);
    assert!(sealed.ends_with('='));
    for bad in [
        sealed.trim_end_matches('=').to_owned(),
        format!("{sealed}\n"),
        format!("{sealed}="),
        sealed.replace('+', "-").replace('/', "_"),
        sealed.replacen('A', " ", 1),
    ] {
        if bad != sealed {
            assert_eq!(key().open(&bad, CORP), Err(EnvelopeError::BadBase64), "{bad}");
        }
    }
}

#[test]
fn keys_of_other_lengths_or_characters_are_refused_without_being_shown() {
    let extra = format!("{KEY}a");
    for wrong in [
        &KEY[..42],
        extra.as_str(),
        "",
        &KEY.replace('j', "+"),
        &KEY.replace('j', "/"),
        &KEY.replace('j', "\u{e9}"),
    ] {
        let error = EnvelopeKey::parse(wrong).unwrap_err().to_string();
        assert!(error.contains("43"), "{error}");
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
    assert_eq!(format!("{:?}", key()), "EnvelopeKey(hidden)");
}

#[test]
fn spare_bits_of_a_key_do_not_matter() {
    // C, D, E and F differ in the two surplus bits only.
    let sealed = key().seal([7; 16], b"message", CORP);
    for last in ['A', 'B', 'C', 'D'] {
        let other = EnvelopeKey::parse(&format!("{}{last}", &KEY[..42])).unwrap();
        assert_eq!(other.open(&sealed, CORP).as_deref(), Ok(b"message".as_slice()), "{last}");
    }
}

#[test]
fn every_truncation_of_a_body_is_refused() {
    let body = envelope_xml(CORP, &key().seal([1; 16], "\u{4f60}\u{597d}".as_bytes(), CORP));
    assert!(encrypted_of(body.as_bytes()).is_ok());
    for length in 0..body.len() {
        let error = encrypted_of(&body.as_bytes()[..length]).unwrap_err();
        assert!(matches!(error, EnvelopeError::BadXml(_)), "{length}: {error:?}");
    }
}

#[test]
fn every_truncation_of_a_ciphertext_is_refused() {
    let sealed = key().seal([1; 16], b"message", CORP);
    for length in 0..sealed.len() {
        assert!(key().open(&sealed[..length], CORP).is_err(), "{length}");
    }
}

#[test]
fn bodies_are_read_however_they_are_written() {
    for body in [
        "<xml><Encrypt><![CDATA[QUJD+/==]]></Encrypt></xml>",
        "<xml><Encrypt>QUJD+/==</Encrypt></xml>",
        "<xml><Encrypt>QUJD&#43;&#x2F;==</Encrypt></xml>",
        "<xml><Encrypt><![CDATA[QU]]><![CDATA[JD]]>+/==</Encrypt></xml>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>\n<Encrypt>\n<![CDATA[QUJD+/==]]>\n</Encrypt>\n</xml>\n",
        "\u{feff}<xml><Encrypt><![CDATA[QUJD+/==]]></Encrypt></xml>",
        "<xml><AgentID>1000002</AgentID><Encrypt>QUJD+/==</Encrypt><ToUserName><![CDATA[ww]]></ToUserName></xml>",
        "<xml><New><Encrypt>other</Encrypt></New><Encrypt>QUJD+/==</Encrypt><Empty/></xml>",
    ] {
        assert_eq!(encrypted_of(body.as_bytes()).as_deref(), Ok("QUJD+/=="), "{body}");
    }
}

#[test]
fn bodies_without_exactly_one_ciphertext_are_refused() {
    let deep = format!("<xml>{}</xml>", "<Encrypt>".repeat(10_000));
    for (body, reason) in [
        ("<xml></xml>", "no <Encrypt>"),
        ("<xml><encrypt>QUJD</encrypt></xml>", "no <Encrypt>"),
        ("<xml><a><Encrypt>QUJD</Encrypt></a></xml>", "no <Encrypt>"),
        ("<xml><Encrypt/></xml>", "an empty <Encrypt>"),
        ("<xml><Encrypt> \n </Encrypt></xml>", "an empty <Encrypt>"),
        ("<xml><Encrypt>QUJD</Encrypt><Encrypt>QUJD</Encrypt></xml>", "more than one <Encrypt>"),
        ("<xml><Encrypt>QUJD<b/></Encrypt></xml>", "<Encrypt> holds elements"),
        (
            "<!DOCTYPE xml [<!ENTITY x \"QUJD\">]><xml><Encrypt>&x;</Encrypt></xml>",
            "a document type definition",
        ),
        ("{\"encrypt\":\"QUJD\"}", "text outside the root"),
        (deep.as_str(), "nested too deeply"),
    ] {
        assert_eq!(encrypted_of(body.as_bytes()), Err(EnvelopeError::BadXml(reason)));
    }
    assert_eq!(encrypted_of(b"<xml>\xc3\x28</xml>"), Err(EnvelopeError::BadXml("not UTF-8")));
}

#[test]
fn our_own_envelope_is_read_back() {
    for corp_id in [CORP, "a]]>b<&"] {
        assert_eq!(encrypted_of(envelope_xml(corp_id, "QUJD").as_bytes()).as_deref(), Ok("QUJD"));
    }
}

/// A callback signed and sealed with these; whether `keys` take it.
fn taken(keys: &CallbackKeys, token: &str, key: &EnvelopeKey) -> Result<Opened, CallbackRefusal> {
    let encrypt = key.seal([9; 16], b"message", CORP);
    let signature = signature::sign(token, "1700000000", "nonce", &encrypt);
    keys.open("1700000000", "nonce", &signature, &encrypt)
}

#[test]
fn the_previous_pair_is_taken_too_as_a_pair() {
    let (new, old) = (key(), EnvelopeKey::parse("4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws").unwrap());
    let keys = CallbackKeys::new(CORP, "new", new.clone());
    assert!(taken(&keys, "new", &new).is_ok());
    assert_eq!(taken(&keys, "old", &old), Err(CallbackRefusal::BadSignature));

    let both = keys.clone().with_previous(Some("old"), Some(old.clone()));
    assert!(taken(&both, "new", &new).is_ok());
    assert!(taken(&both, "old", &old).is_ok());
    assert!(taken(&both, "old", &new).is_err(), "a pair is not mixed");
    assert!(taken(&both, "new", &old).is_err(), "a pair is not mixed");
    assert_eq!(taken(&both, "other", &new), Err(CallbackRefusal::BadSignature));

    let token_only = keys.clone().with_previous(Some("old"), None);
    assert!(taken(&token_only, "new", &new).is_ok());
    assert!(taken(&token_only, "old", &new).is_ok());
    assert!(taken(&token_only, "old", &old).is_err());

    let key_only = keys.clone().with_previous(None, Some(old.clone()));
    assert!(taken(&key_only, "new", &new).is_ok());
    assert!(taken(&key_only, "new", &old).is_ok());
    assert!(taken(&key_only, "old", &old).is_err());

    let none = keys.with_previous(None, None);
    assert_eq!(taken(&none, "old", &old), Err(CallbackRefusal::BadSignature));
}

#[test]
fn the_same_callback_has_the_same_signature_bytes() {
    let keys = CallbackKeys::new(CORP, "new", key());
    let (one, two) = (taken(&keys, "new", &key()).unwrap(), taken(&keys, "new", &key()).unwrap());
    assert_eq!(one.signature, two.signature);
}

#[test]
fn refusals_name_the_key_to_look_at() {
    assert_eq!(CallbackRefusal::BadSignature.key_to_check(), Some("wecom.token"));
    for error in [EnvelopeError::BadPadding, EnvelopeError::BadLength, EnvelopeError::BadMessageLength] {
        assert_eq!(CallbackRefusal::from(error).key_to_check(), Some("wecom.encoding_aes_key"));
    }
    assert_eq!(EnvelopeError::BadXml("x").key_to_check(), None);
}

#[test]
fn nothing_secret_is_in_debug() {
    let keys = CallbackKeys::new(CORP, "s3cretT0ken", key()).with_previous(Some("0ldT0ken"), None);
    let shown = format!("{keys:?} {:?}", taken(&keys, "s3cretT0ken", &key()).unwrap());
    for secret in ["s3cretT0ken", "0ldT0ken", KEY, "message"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens(
        random: [u8; 16],
        message in prop::collection::vec(any::<u8>(), 0..400),
        receive_id in "[a-zA-Z0-9]{0,40}",
    ) {
        let sealed = key().seal(random, &message, &receive_id);
        prop_assert_eq!(key().open(&sealed, &receive_id), Ok(message));
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(encrypted_of(&body));
    }

    #[test]
    fn arbitrary_markup_never_panics(body in "(<|>|/|!|\\?|&|;|#|\\[|\\]|CDATA|xml|Encrypt|DOCTYPE|--| |x){0,60}") {
        drop(encrypted_of(body.as_bytes()));
    }

    #[test]
    fn arbitrary_ciphertexts_never_panic(blocks in prop::collection::vec(any::<[u8; 16]>(), 0..8), text in ".{0,60}") {
        drop(key().open(&STANDARD.encode(blocks.concat()), CORP));
        drop(key().open(&text, CORP));
    }

    #[test]
    fn arbitrary_plaintexts_never_panic(mut plain in prop::collection::vec(any::<u8>(), 0..100)) {
        pad(&mut plain);
        drop(key().open(&key().encrypt(plain), CORP));
    }
}
