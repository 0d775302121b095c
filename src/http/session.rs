//! Sessions of the mini program's users and of employees: stateless, signed, one text.
//!
//! `base64url(version ‖ kind ‖ issued_at ‖ expires_at ‖ ids ‖ MAC)` with HMAC-SHA256 over all before it, under the
//! store's instance key: so a session survives a restart, and another store's is worth nothing. The ids are a user's
//! openid and unionid or an employee's userid; which, the kind says, so that neither's session is one of the other's.
//! There is exactly one text for one session (canonical base64, exact lengths). Nothing is encrypted: a session tells
//! its bearer nothing but the bearer's own ids. Nothing is kept on the server, so a single session can't be taken back.

use std::fmt;

use actors::ids::{OpenId, Timestamp, UnionId, UserId};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const VERSION: u8 = 1;
const KIND_USER: u8 = 1;
const KIND_STAFF: u8 = 2;
const MAC_BYTES: usize = 32;
/// The longest session that is looked at, decoded. The ids of WeChat make 140 bytes.
const SESSION_BYTES_MAX: usize = 768;
/// The same as text.
const SESSION_CHARS_MAX: usize = SESSION_BYTES_MAX / 3 * 4;
/// Keeps these MACs apart from whatever else may be signed with the instance key.
const PURPOSE: &[u8] = b"kfbind session\0";

/// Who a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSession {
    /// The user.
    pub openid: OpenId,
    /// The user's unionid, if WeChat told it.
    pub unionid: Option<UnionId>,
    /// When the session was made.
    pub issued_at: Timestamp,
}

/// Whose an employee's session is. Whether that employee may bind is asked anew at each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffSession {
    /// The employee.
    pub userid: UserId,
    /// When the session was made.
    pub issued_at: Timestamp,
}

/// Makes and checks sessions. `Debug` hides the key.
#[derive(Clone)]
pub struct SessionKeys {
    /// Keyed and fed with [`PURPOSE`]; cloned for each use, which saves the key schedule.
    mac: Hmac<Sha256>,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(hidden)")
    }
}

impl SessionKeys {
    /// Sessions under this instance key.
    #[must_use]
    pub fn new(instance_key: [u8; 32]) -> Self {
        // A block-long key is what HMAC makes of a shorter one, and makes the constructor infallible.
        let mut block = [0; 64];
        let (head, _) = block.split_at_mut(instance_key.len());
        head.copy_from_slice(&instance_key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(PURPOSE);
        Self { mac }
    }

    /// A session for this user, valid for `ttl_s` seconds from its `issued_at`.
    ///
    /// Ids so long that the session would exceed its bound (some hundred bytes; WeChat's have 28) give a session
    /// that [`SessionKeys::verify`] refuses.
    #[must_use]
    pub fn issue(&self, user: &UserSession, ttl_s: u64) -> String {
        let mut bytes = begun(KIND_USER, user.issued_at, ttl_s);
        push_text(&mut bytes, user.openid.as_str());
        bytes.push(u8::from(user.unionid.is_some()));
        if let Some(unionid) = &user.unionid {
            push_text(&mut bytes, unionid.as_str());
        }
        self.sealed(bytes)
    }

    /// The same for an employee.
    #[must_use]
    pub fn issue_staff(&self, staff: &StaffSession, ttl_s: u64) -> String {
        let mut bytes = begun(KIND_STAFF, staff.issued_at, ttl_s);
        push_text(&mut bytes, staff.userid.as_str());
        self.sealed(bytes)
    }

    /// Whose session this is; `None` if it was altered, is another store's or an employee's, or has expired.
    #[must_use]
    pub fn verify(&self, session: &str, now: Timestamp) -> Option<UserSession> {
        let mut buffer = [0; SESSION_BYTES_MAX];
        let (issued_at, mut ids) = self.opened(KIND_USER, session, now, &mut buffer)?;
        let openid = OpenId::new(take_text(&mut ids)?);
        let unionid = match take(&mut ids, 1)? {
            [0] => None,
            [1] => Some(UnionId::new(take_text(&mut ids)?)),
            _ => return None,
        };
        ids.is_empty().then_some(UserSession { openid, unionid, issued_at })
    }

    /// Which employee's session this is; `None` if it was altered, is another store's or a user's, or has expired.
    #[must_use]
    pub fn verify_staff(&self, session: &str, now: Timestamp) -> Option<StaffSession> {
        let mut buffer = [0; SESSION_BYTES_MAX];
        let (issued_at, mut ids) = self.opened(KIND_STAFF, session, now, &mut buffer)?;
        let userid = UserId::new(take_text(&mut ids)?);
        ids.is_empty().then_some(StaffSession { userid, issued_at })
    }

    fn sealed(&self, mut bytes: Vec<u8>) -> String {
        let mac = self.mac.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// When a live session of this kind was made, and the ids that it holds, not read yet.
    fn opened<'b>(
        &self,
        kind: u8,
        session: &str,
        now: Timestamp,
        buffer: &'b mut [u8; SESSION_BYTES_MAX],
    ) -> Option<(Timestamp, &'b [u8])> {
        if session.len() > SESSION_CHARS_MAX {
            return None;
        }
        let length = URL_SAFE_NO_PAD.decode_slice(session, buffer.as_mut_slice()).ok()?;
        let (signed, mac) = buffer.get(..length)?.split_at_checked(length.checked_sub(MAC_BYTES)?)?;
        self.mac.clone().chain_update(signed).verify_slice(mac).ok()?;

        let mut rest = signed;
        if take(&mut rest, 2)? != [VERSION, kind] {
            return None;
        }
        let issued_at = take_timestamp(&mut rest)?;
        let expires_at = take_timestamp(&mut rest)?;
        (now < expires_at).then_some((issued_at, rest))
    }
}

/// What every session begins with.
fn begun(kind: u8, issued_at: Timestamp, ttl_s: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&issued_at.0.to_be_bytes());
    bytes.extend_from_slice(&issued_at.plus(ttl_s).0.to_be_bytes());
    bytes
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    // A text of 64 KiB doesn't fit; its session is far over the bound and refused for that.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_timestamp(rest: &mut &[u8]) -> Option<Timestamp> {
    let bytes = take(rest, 8)?.try_into().ok()?;
    Some(Timestamp(u64::from_be_bytes(bytes)))
}

fn take_text<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let length = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    std::str::from_utf8(take(rest, usize::from(length))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const TTL_S: u64 = 600;

    fn user(unionid: Option<&str>) -> UserSession {
        UserSession {
            openid: OpenId::new("oABC-def_0123456789ABCDEFGHI"),
            unionid: unionid.map(UnionId::new),
            issued_at: NOW,
        }
    }

    fn keys() -> SessionKeys {
        SessionKeys::new([7; 32])
    }

    fn signed(bytes: &[u8]) -> String {
        let mac = keys().mac.chain_update(bytes).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([bytes, mac.as_slice()].concat())
    }

    #[test]
    fn a_session_tells_whose_it_is_until_it_expires() {
        for unionid in [None, Some("u-1"), Some("")] {
            let session = keys().issue(&user(unionid), TTL_S);
            assert_eq!(keys().verify(&session, NOW), Some(user(unionid)));
            assert_eq!(keys().verify(&session, NOW.plus(TTL_S - 1)), Some(user(unionid)));
            assert_eq!(keys().verify(&session, NOW.plus(TTL_S)), None);
        }
    }

    #[test]
    fn an_employees_session_tells_whose_it_is_until_it_expires() {
        let staff = StaffSession { userid: UserId::new("ZhangSan"), issued_at: NOW };
        let session = keys().issue_staff(&staff, TTL_S);
        assert_eq!(keys().verify_staff(&session, NOW.plus(TTL_S - 1)), Some(staff));
        assert_eq!(keys().verify_staff(&session, NOW.plus(TTL_S)), None);
        assert_eq!(SessionKeys::new([8; 32]).verify_staff(&session, NOW), None);
    }

    #[test]
    fn a_users_session_is_none_of_an_employees_nor_the_other_way_round() {
        let staff = StaffSession { userid: UserId::new("oABC-def_0123456789ABCDEFGHI"), issued_at: NOW };
        assert_eq!(keys().verify(&keys().issue_staff(&staff, TTL_S), NOW), None);
        for unionid in [None, Some("u-1")] {
            assert_eq!(keys().verify_staff(&keys().issue(&user(unionid), TTL_S), NOW), None);
        }
        // Nor where the ids of the one could be read as the other's.
        for (kind, other) in [(KIND_USER, KIND_STAFF), (KIND_STAFF, KIND_USER)] {
            let mut content = begun(kind, NOW, TTL_S);
            push_text(&mut content, "x");
            if kind == KIND_USER {
                content.push(0);
            }
            let bytes = [&content[..1], &[other], &content[2..]].concat();
            let is_taken = |session: &str| match kind {
                KIND_USER => keys().verify(session, NOW).is_some(),
                _ => keys().verify_staff(session, NOW).is_some(),
            };
            assert!(is_taken(&signed(&content)));
            assert!(!is_taken(&signed(&bytes)));
        }
    }

    #[test]
    fn a_session_of_another_instance_is_refused() {
        let session = SessionKeys::new([8; 32]).issue(&user(None), TTL_S);
        assert_eq!(keys().verify(&session, NOW), None);
    }

    #[test]
    fn a_session_with_any_character_altered_is_refused() {
        let session = keys().issue(&user(Some("u-1")), TTL_S);
        for at in 0..session.len() {
            for other in ["A", "B", "_", "-", "=", "+", "z", "\u{0}"] {
                let mut altered = session.clone();
                altered.replace_range(at..=at, other);
                if altered != session {
                    assert_eq!(keys().verify(&altered, NOW), None, "at {at}: {other}");
                }
            }
        }
    }

    #[test]
    fn a_session_with_any_bit_altered_is_refused() {
        let session = URL_SAFE_NO_PAD.decode(keys().issue(&user(Some("u-1")), TTL_S)).unwrap();
        for bit in 0..session.len() * 8 {
            let mut altered = session.clone();
            if let Some(byte) = altered.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert_eq!(keys().verify(&URL_SAFE_NO_PAD.encode(altered), NOW), None, "bit {bit}");
        }
    }

    #[test]
    fn a_session_that_is_cut_lengthened_or_padded_is_refused() {
        let session = keys().issue(&user(None), TTL_S);
        for length in 0..session.len() {
            assert_eq!(keys().verify(session.get(..length).unwrap(), NOW), None, "cut to {length}");
        }
        for more in ["=", "==", "A", "AAAA", " ", "\n"] {
            assert_eq!(keys().verify(&format!("{session}{more}"), NOW), None, "{more:?}");
            assert_eq!(keys().verify(&format!("{more}{session}"), NOW), None, "{more:?}");
        }
        assert_eq!(keys().verify(&"A".repeat(1 << 20), NOW), None);
    }

    #[test]
    fn a_well_signed_session_of_another_shape_is_refused() {
        let session = URL_SAFE_NO_PAD.decode(keys().issue(&user(None), TTL_S)).unwrap();
        let content = session.get(..session.len() - MAC_BYTES).unwrap();
        assert!(keys().verify(&signed(content), NOW).is_some());
        let mut other_version = content.to_vec();
        *other_version.first_mut().unwrap() = 2;
        assert_eq!(keys().verify(&signed(&other_version), NOW), None);
        let mut other_kind = content.to_vec();
        *other_kind.get_mut(1).unwrap() = 2;
        assert_eq!(keys().verify(&signed(&other_kind), NOW), None);
        assert_eq!(keys().verify(&signed(&[content, b"x"].concat()), NOW), None);
        assert_eq!(keys().verify(&signed(b""), NOW), None);
    }

    #[test]
    fn a_session_too_long_to_be_one_is_refused_rather_than_cut() {
        let long = UserSession { openid: OpenId::new("o".repeat(70_000)), unionid: None, issued_at: NOW };
        assert_eq!(keys().verify(&keys().issue(&long, TTL_S), NOW), None);
    }
}
