//! What every route wants to know of a request: who asks, how, and with which right.
//!
//! Filters here only extract. Whether something is missing is judged in the handlers, in the contract's order, because
//! a rejection would fall through to the next route.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Method};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use warp::{Filter, Rejection};

use super::{
    Shared,
    reply::ApiError,
    seats::Seat,
    session::{StaffSession, UserSession},
    side::Side,
};
use crate::forward::FORWARDED;

/// How long the answer to a wrong admin key is held back. The right key never waits.
const WRONG_KEY_DELAY: Duration = Duration::from_secs(1);

/// What the server puts into each request: the routes themselves hold no state, so cloning them costs nothing.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) shared: Arc<Shared>,
    /// Of the listener that it came to.
    pub(crate) side: Side,
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// The connection's own.
    pub(crate) seat: Arc<Seat>,
}

/// A request without its body.
pub(crate) struct Head {
    pub(crate) shared: Arc<Shared>,
    pub(crate) side: Side,
    pub(crate) peer: IpAddr,
    pub(crate) method: Method,
    /// As it came, without the `?`.
    pub(crate) query: String,
    /// Whether another program forwarded it.
    pub(crate) is_forwarded: bool,
    seat: Arc<Seat>,
    authorization: Option<HeaderValue>,
}

/// Extracts the [`Head`].
pub(crate) fn head() -> impl Filter<Extract = (Head,), Error = Rejection> + Copy {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let request = warp::ext::get::<Arrival>().and(warp::method()).and(query);
    request.and(optional_header("authorization")).and(optional_header(FORWARDED)).map(
        |Arrival { shared, side, peer, seat }, method, query, authorization, forwarded: Option<_>| Head {
            shared,
            side,
            peer,
            method,
            query,
            is_forwarded: forwarded.is_some(),
            seat,
            authorization,
        },
    )
}

/// Extracts a header's first value, if it is there.
pub(crate) fn optional_header(
    name: &'static str,
) -> impl Filter<Extract = (Option<HeaderValue>,), Error = Infallible> + Copy {
    let present = warp::header::value(name).map(Some);
    present.or(warp::any().map(|| None)).unify()
}

/// The admin key, kept as its digest: comparing digests takes the same time whatever was sent.
pub(crate) struct AdminKey(sha2::digest::Output<Sha256>);

impl AdminKey {
    pub(crate) fn new(key: &str) -> Self {
        Self(Sha256::digest(key))
    }

    fn is(&self, sent: &[u8]) -> bool {
        Sha256::digest(sent).as_slice().ct_eq(self.0.as_slice()).into()
    }
}

/// With which right somebody asks for what is the operators'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// The admin key.
    Admin,
    /// Another key; the answer was held back.
    WrongKey,
    /// No key.
    None,
}

impl Head {
    /// The user whose session came along.
    pub(crate) fn user(&self) -> Result<UserSession, ApiError> {
        let context = &self.shared.context;
        self.bearer()
            .and_then(|session| std::str::from_utf8(session).ok())
            .and_then(|session| context.session_keys.verify(session, context.clock.now()))
            .filter(|user| context.handles.takes_session(&user.openid, user.issued_at))
            .ok_or(ApiError::SessionInvalid)
    }

    /// The employee whose session came along; whether that one may bind is another question.
    pub(crate) fn staff(&self) -> Result<StaffSession, ApiError> {
        let context = &self.shared.context;
        self.bearer()
            .and_then(|session| std::str::from_utf8(session).ok())
            .and_then(|session| context.session_keys.verify_staff(session, context.clock.now()))
            .ok_or(ApiError::SessionInvalid)
    }

    /// Whether the admin key came along. A wrong key takes [`WRONG_KEY_DELAY`].
    pub(crate) async fn right(&self) -> Right {
        match (&self.shared.admin_key, self.bearer()) {
            (Some(key), Some(sent)) if key.is(sent) => Right::Admin,
            (Some(_), Some(_)) => {
                // Whoever guesses doesn't keep others out meanwhile.
                self.seat.wait();
                tokio::time::sleep(WRONG_KEY_DELAY).await;
                self.seat.work();
                Right::WrongKey
            }
            _ => Right::None,
        }
    }

    /// What follows `Bearer` in the authorization.
    fn bearer(&self) -> Option<&[u8]> {
        let (scheme, credentials) = self.authorization.as_ref()?.as_bytes().split_at_checked(6)?;
        let separated = credentials.first() == Some(&b' ');
        (scheme.eq_ignore_ascii_case(b"bearer") && separated).then(|| credentials.trim_ascii())
    }
}
