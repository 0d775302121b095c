//! Sessions: no text but the one that was signed is taken, and what is signed but was never issued harms nobody.

use actors::ids::{OpenId, Timestamp, UnionId, UserId};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use kfbind::http::{SessionKeys, StaffSession, UserSession};
use sha2::Sha256;

use super::{choice, fields, text};

const KEY: [u8; 32] = *b"a made-up key of the fuzz tests.";
const NOW: Timestamp = Timestamp(1_700_000_000);
const TTL_S: u64 = 600;
/// The longest session, in characters, and what it holds beside ids: head, lengths, MAC.
const SESSION_CHARS_MAX: usize = 1024;

/// Tries one of the promises on these bytes.
pub fn run(data: &[u8]) {
    let Some((chosen, data)) = choice(data) else { return };
    match chosen % 4 {
        0 => text_of_a_stranger(&text(data)),
        1 => issued(data),
        2 => issued_and_altered(data),
        _ => signed(data),
    }
}

fn keys() -> SessionKeys {
    SessionKeys::new(KEY)
}

fn user(openid: &[u8], unionid: &[u8]) -> UserSession {
    UserSession {
        openid: OpenId::new(text(openid)),
        unionid: Some(text(unionid)).filter(|id| !id.is_empty()).map(UnionId::new),
        issued_at: NOW,
    }
}

/// Without the key nobody makes a session, at no time.
fn text_of_a_stranger(session: &str) {
    for now in [Timestamp(0), NOW, Timestamp(u64::MAX)] {
        assert_eq!(keys().verify(session, now), None);
        assert_eq!(keys().verify_staff(session, now), None);
    }
}

/// An issued session tells whose it is, until it ends; another instance's is worth nothing.
fn issued(data: &[u8]) {
    let [times, openid, unionid] = fields(data);
    let ttl_s = times.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let user = user(openid, unionid);
    let session = keys().issue(&user, ttl_s);
    let fits = session.len() <= SESSION_CHARS_MAX;
    let ends_at = NOW.plus(ttl_s);
    let last = Timestamp(ends_at.0 - 1);
    assert_eq!(keys().verify(&session, last), fits.then_some(user));
    assert_eq!(keys().verify(&session, ends_at), None);
    assert_eq!(keys().verify_staff(&session, last), None, "a user's is none of an employee's");
    let staff = StaffSession { userid: UserId::new(text(openid)), issued_at: NOW };
    let staffs = keys().issue_staff(&staff, ttl_s);
    let fits = staffs.len() <= SESSION_CHARS_MAX;
    assert_eq!(keys().verify_staff(&staffs, last), fits.then_some(staff));
    assert_eq!(keys().verify_staff(&staffs, ends_at), None);
    assert_eq!(keys().verify(&staffs, last), None, "nor the other way round");
    assert_eq!(keys().verify(&session, Timestamp(u64::MAX)), None);
    let mut other = KEY;
    other[usize::from(times.first().copied().unwrap_or_default()) % other.len()] ^= 1;
    assert_eq!(SessionKeys::new(other).verify(&session, last), None);
}

/// Any other text made out of an issued session is refused: bits, characters, ends.
fn issued_and_altered(data: &[u8]) {
    let [edits, openid, unionid] = fields(data);
    let session = keys().issue(&user(openid, unionid), TTL_S);
    let mut bytes = URL_SAFE_NO_PAD.decode(&session).expect("our own base64");
    let mut characters = session.clone().into_bytes();
    for edit in edits.as_chunks::<3>().0 {
        let [high, low, with] = *edit;
        let at = usize::from(u16::from_be_bytes([high, low]));
        let at_byte = at % bytes.len();
        bytes[at_byte] ^= with;
        match with % 4 {
            0 => drop(characters.splice(at % (characters.len() + 1)..at % (characters.len() + 1), [with])),
            1 if !characters.is_empty() => drop(characters.remove(at % characters.len())),
            2 => characters.truncate(at),
            _ if !characters.is_empty() => {
                let at = at % characters.len();
                characters[at] = with;
            }
            _ => {}
        }
    }
    for altered in [URL_SAFE_NO_PAD.encode(&bytes), text(&characters)] {
        if altered != session {
            assert_eq!(keys().verify(&altered, NOW), None, "{altered}");
        }
    }
}

/// Contents that were never issued, under a right MAC: never a panic, and one text for one session.
fn signed(data: &[u8]) {
    let Some((head, rest)) = choice(data) else { return };
    // Mostly with a right beginning, so that the fuzzer need not find it.
    let content = if head % 4 == 0 { rest.to_vec() } else { [&[1, 1], rest].concat() };
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("any length will do");
    mac.update(b"kfbind session\0");
    mac.update(&content);
    let session = URL_SAFE_NO_PAD.encode([&content[..], &mac.finalize().into_bytes()].concat());
    let takers = (keys().verify(&session, Timestamp(0)), keys().verify_staff(&session, Timestamp(0)));
    assert!(takers.0.is_none() || takers.1.is_none(), "{takers:?}");
    let (Some(issued_at), Some(expires_at)) = (number_at(&content, 2), number_at(&content, 10)) else {
        assert_eq!(keys().verify(&session, Timestamp(0)), None);
        return;
    };
    let Some(user) = keys().verify(&session, Timestamp(0)) else { return };
    assert!(expires_at > 0 && user.issued_at == Timestamp(issued_at));
    assert_eq!(keys().verify(&session, Timestamp(expires_at)), None);
    assert_eq!(keys().verify(&session, Timestamp(expires_at - 1)).as_ref(), Some(&user));
    if let Some(ttl_s) = expires_at.checked_sub(issued_at) {
        assert_eq!(keys().issue(&user, ttl_s), session);
    }
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
