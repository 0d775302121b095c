//! Query strings: the parameters of a route, each at most once, percent-decoded once.
//!
//! Unknown parameters are left alone. What a value means is the route's business.

use std::{borrow::Cow, ops::RangeInclusive};

use actors::ids::OpenKfId;
use percent_encoding::percent_decode_str;

use super::reply::ApiError;

/// What a `+` in a query stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    /// A space, as forms and most HTTP libraries write it.
    Space,
    /// Itself: base64 that was sent without escapes.
    Itself,
}

/// The values of these parameters, in the order of `names`; `None` for one that is not there.
///
/// A parameter that is there twice, or whose value is no UTF-8, is a 400.
pub(crate) fn values<'q, const N: usize>(
    query: &'q str,
    names: [&str; N],
    plus: Plus,
) -> Result<[Option<Cow<'q, str>>; N], ApiError> {
    let mut found = [const { None }; N];
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name, plus)?;
        let Some((slot, _)) = found.iter_mut().zip(names).find(|(_, wanted)| *wanted == name) else {
            continue;
        };
        if slot.is_some() {
            return Err(ApiError::BadRequest("A query parameter is there twice."));
        }
        *slot = Some(decoded(value, plus)?);
    }
    Ok(found)
}

/// A whole number within these bounds, in digits alone.
pub(crate) fn whole_number(text: &str, bounds: RangeInclusive<usize>) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && bounds.contains(number))
}

/// The longest id that is looked at, in bytes. Real ones have 32.
pub(super) const ID_BYTES_MAX: usize = 128;

/// Whether it can be an id: they are visible ASCII, and end up in log lines and keys.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The account that a body may name.
pub(crate) fn account_of(open_kfid: Option<String>) -> Result<Option<OpenKfId>, ApiError> {
    const BAD: ApiError =
        ApiError::BadRequest("open_kfid is an account's id; leave it out if it isn't known.");
    match open_kfid {
        Some(id) if !is_id(&id) => Err(BAD),
        id => Ok(id.map(OpenKfId::new)),
    }
}

/// One segment of a path, percent-decoded once; a broken escape is a 400.
pub(crate) fn path_segment(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("The id in the path is not percent-encoded UTF-8.");
    let mut escapes = segment.split('%');
    escapes.next();
    let whole = |escape: &str| {
        escape.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if escapes.all(whole) { percent_decode_str(segment).decode_utf8().map_err(|_| BAD) } else { Err(BAD) }
}

fn decoded(text: &str, plus: Plus) -> Result<Cow<'_, str>, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("The query is not percent-encoded UTF-8.");
    if plus == Plus::Space && text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced)
            .decode_utf8()
            .map(|text| text.into_owned().into())
            .map_err(|_| BAD);
    }
    percent_decode_str(text).decode_utf8().map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_exactly_once() {
        let [a, b, missing] = values("b=%2525&a=x%20y&c=1", ["a", "b", "d"], Plus::Space).unwrap();
        assert_eq!(a.as_deref(), Some("x y"));
        assert_eq!(b.as_deref(), Some("%25"));
        assert_eq!(missing, None);
    }

    #[test]
    fn a_plus_is_a_space_or_itself_as_the_route_says() {
        let [form] = values("a=1+2%2B", ["a"], Plus::Space).unwrap();
        assert_eq!(form.as_deref(), Some("1 2+"));
        let [raw] = values("a=1+2%2B", ["a"], Plus::Itself).unwrap();
        assert_eq!(raw.as_deref(), Some("1+2+"));
    }

    #[test]
    fn a_parameter_that_is_there_twice_is_refused_unless_nobody_asks_for_it() {
        assert!(values("a=1&a=1", ["a"], Plus::Space).is_err());
        assert!(values("a=1&%61=1", ["a"], Plus::Space).is_err());
        assert!(values("b=1&b=1&a=2", ["a"], Plus::Space).is_ok());
    }

    #[test]
    fn a_value_that_is_no_utf_8_is_refused() {
        assert!(values("a=%ff", ["a"], Plus::Space).is_err());
        assert!(values("a=%ff+", ["a"], Plus::Space).is_err());
    }

    #[test]
    fn a_path_segment_is_decoded_once_and_a_broken_escape_is_refused() {
        assert_eq!(path_segment("o%2Fx%2541").unwrap(), "o/x%41");
        assert_eq!(path_segment("plain+_-").unwrap(), "plain+_-");
        for broken in ["%", "a%4", "%zz", "%ff", "%41%"] {
            assert!(path_segment(broken).is_err(), "{broken}");
        }
    }
}
