//! `link`: the kf link carries a one-time ticket, and entering by it binds, mostly after a question. (7.2)
//!
//! A ticket costs no record: it holds its code, hidden, and 128 bits that only this store can make. It lives and dies
//! with the code. Guard: a forwarded link asks whoever opens it, and names the account.

use std::hash::Hasher as _;

use siphasher::{
    sip::SipHasher24,
    sip128::{Hasher128 as _, SipHasher24 as SipHasher128},
};

use crate::{
    ids::{BindCode, OpenId, Ticket, Timestamp},
    policy::CodeFormat,
    ports::KfContent,
    registry::{
        code_space,
        recognise::Candidate,
        records::{CodeRecord, Method, Subject},
        rules::{
            Ask, Case, Join, Known,
            joining::{self, Standing, is_live, standing, unionids},
        },
    },
};

/// The query parameter of a kf link that comes back with the entry.
const SCENE_PARAM: &str = "scene_param";
/// A link that was made with a scene has it, and only such a link brings `scene_param` back.
const ENC_SCENE: &str = "enc_scene=";
/// So many tried tickets of a customer are remembered, for three days.
const TRIED_MAX: usize = 32;

/// Listens for entries; a missed one is made up for at the next message.
pub(crate) fn hear<K: Known>(case: &mut Case<'_, K>) -> Result<(), K::Error> {
    let ticket = match &case.message.content {
        KfContent::EnterSession { scene_param, .. } => scene_param.as_ref(),
        KfContent::Text { .. } | KfContent::Other(crate::ports::MessageKind::Media) => {
            let was_tried =
                |ticket: &&Ticket| case.person.tried.iter().any(|(known, _)| *known == mark(ticket));
            case.circumstances.entered_with.filter(|ticket| !was_tried(ticket))
        }
        _ => None,
    };
    let Some(ticket) = ticket else { return Ok(()) };
    let Some((code, record)) = case.known.code_of_link(ticket)? else { return Ok(()) };
    let subject = Subject::Link(code.clone());
    // An unknown, dead or used ticket is never answered or counted; nor is it one that this message is too early to
    // mean, and the next may.
    if !is_live(case.known, &record, &case.record, case.sent())? || case.has_declined(&subject) {
        return Ok(());
    }
    case.held_code = true;
    let (openid, sent) = (record.openid.clone(), case.sent());
    let standing = standing(case.known, case.policy(), &openid, case.customer, sent)?;
    let is_same_person = case.policy().ways.unionid
        && unionids(case.known, &openid, case.customer)?.is_some_and(|(user, chat)| user == chat);
    let asks = matches!(standing, Standing::Free { .. }) && case.policy().confirm_link && !is_same_person;
    // What can't be asked now is asked at the next message.
    if !asks || case.may_answer() {
        remember(case, ticket);
    }
    match standing {
        Standing::Same => {}
        Standing::OtherPerson => case.other_person(openid),
        Standing::Elsewhere { mine } => case.conflict(&Candidate::of(&code), &record, mine),
        Standing::Free { replaces } => {
            if asks {
                case.ask(openid, Ask { subject, until: joining::ends_at(&record), again: None });
                return Ok(());
            }
            let join = Join {
                openid,
                customer: case.customer.clone(),
                account: Some(case.message.account.clone()),
                method: Method::Link,
                bound_at: sent,
                code: Some(code.clone()),
                replaces,
            };
            case.bind(join, Some(&Candidate::of(&code)), false);
        }
    }
    Ok(())
}

/// Once per ticket and customer.
fn remember<K: Known>(case: &mut Case<'_, K>, ticket: &Ticket) {
    let (mark, now) = (mark(ticket), case.circumstances.now);
    let is_kept = |at: &Timestamp| now.since(*at) < crate::registry::crowd::MESSAGES_KEPT_S;
    case.person.tried.retain(|(known, at)| *known != mark && is_kept(at));
    case.person.tried.push((mark, now));
    if case.person.tried.len() > TRIED_MAX {
        case.person.tried.remove(0);
    }
}

/// A short name of a ticket that opens nothing.
fn mark(ticket: &Ticket) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(ticket.as_str().as_bytes());
    hasher.finish()
}

/// The link with this ticket, where the link can carry one.
pub(crate) fn with_ticket(url: &str, ticket: &Ticket) -> Option<String> {
    url.contains(ENC_SCENE).then(|| format!("{url}&{SCENE_PARAM}={}", ticket.as_str()))
}

/// Makes the tickets of links, and knows them again.
#[derive(Clone)]
pub(crate) struct Mint {
    low: [u8; 16],
    high: [u8; 16],
}

impl Mint {
    /// Of the store with this instance key.
    pub(crate) fn new(instance_key: &[u8; 32]) -> Self {
        let (mut low, mut high) = ([0; 16], [0; 16]);
        for (byte, from) in low.iter_mut().chain(high.iter_mut()).zip(instance_key) {
            *byte = *from;
        }
        Self { low, high }
    }

    /// The ticket of this code; `None` for a code too long to be held by one.
    pub(crate) fn ticket(
        &self,
        code: &BindCode,
        format: CodeFormat,
        openid: &OpenId,
        issued_at: Timestamp,
    ) -> Option<Ticket> {
        let number = code_space::to_number(format, code.as_str())?;
        let seal = self.seal(code, openid, issued_at);
        let hidden = number ^ self.mask(&seal);
        Some(Ticket::new(base64url(&[seal.as_slice(), &hidden.to_be_bytes()].concat())))
    }

    /// The code that a ticket holds. Whether it is the ticket of that code, [`Mint::ticket`] tells.
    pub(crate) fn code(&self, ticket: &Ticket) -> Option<BindCode> {
        let bytes = from_base64url(ticket.as_str())?;
        let (seal, hidden) = bytes.split_first_chunk::<16>()?;
        let hidden = u64::from_be_bytes(hidden.try_into().ok()?);
        code_space::from_number(hidden ^ self.mask(seal)).map(BindCode::new)
    }

    /// Whether it is the very ticket of this code.
    pub(crate) fn is_of(&self, ticket: &Ticket, code: &BindCode, record: &CodeRecord) -> bool {
        self.ticket(code, record.format.into(), &record.openid, record.issued_at).as_ref() == Some(ticket)
    }

    /// 128 bits that nobody can tell who doesn't have both halves of the key.
    fn seal(&self, code: &BindCode, openid: &OpenId, issued_at: Timestamp) -> [u8; 16] {
        // The halves differ in more than the key, so that they never cancel each other out.
        let half = |key: &[u8; 16], name: &str| {
            let mut hasher = SipHasher128::new_with_key(key);
            for part in [name, code.as_str(), openid.as_str()] {
                hasher.write(part.as_bytes());
                hasher.write(&[0]);
            }
            hasher.write(&issued_at.0.to_be_bytes());
            hasher.finish128().as_u128()
        };
        (half(&self.low, "link low") ^ half(&self.high, "link high")).to_be_bytes()
    }

    fn mask(&self, seal: &[u8; 16]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.high);
        hasher.write(b"mask");
        hasher.write(seal);
        hasher.finish()
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Without padding; the length is a multiple of three bytes for links, and one more for cards.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = 0_u32;
        for byte in chunk {
            word = word << 8 | u32::from(*byte);
        }
        word <<= 8 * (3 - chunk.len());
        for place in 0..=chunk.len() {
            let index = (word >> (18 - 6 * place)) & 63;
            text.extend(usize::try_from(index).ok().and_then(|i| BASE64URL.get(i)).map(|b| char::from(*b)));
        }
    }
    text
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if text.len() != 32 {
        return None;
    }
    let mut bytes = Vec::with_capacity(24);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for byte in chunk {
            let value = BASE64URL.iter().position(|known| known == byte)?;
            word = word << 6 | u32::try_from(value).ok()?;
        }
        let [_, high, middle, low] = word.to_be_bytes();
        bytes.extend([high, middle, low]);
    }
    Some(bytes)
}
