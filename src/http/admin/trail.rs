//! What operators look at: the audit trail, counts by day, webhooks that were given up.
//!
//! Shapes only; the actors count and keep.

use actors::{
    ids::{ExternalUserId, OpenId, OpenKfId, UnionId},
    messages::{AuditEvent, DayStats, DeadLetter, EventsFrom, Stats, WebhookBinding},
};
use http::{Method, StatusCode};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use utoipa::ToSchema;
use warp::reply::Response;

use super::{LIMIT_DEFAULT, authorize, limit_of};
use crate::http::{
    openapi::shapes::{BoundCounts, EventKind, Method as BindingMethod, RejectedCounts, WebhookKind},
    query::{self, Plus},
    reply::{self, ApiError, Rfc3339},
    request::Head,
};

/// Days of [`stats`], if nothing is said, and at most.
pub(in crate::http) const DAYS_DEFAULT: usize = 14;
pub(in crate::http) const DAYS_MAX: usize = 400;
/// The days are those of China, which has one time zone and no summer time.
const TIME_ZONE: &str = "+08:00";

/// A page of the audit trail.
#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub(in crate::http) struct EventsBody<'e> {
    events: Vec<EventBody<'e>>,
    /// What to give as `after` (or `before`) for the next page; null at the end.
    #[schema(required = true)]
    next: Option<u64>,
}

/// What happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct EventBody<'e> {
    /// Grows with time.
    id: u64,
    at: Rfc3339,
    #[serde(rename = "type")]
    #[schema(value_type = EventKind)]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    openid: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    external_userid: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BindingMethod, required = false)]
    method: Option<&'static str>,
    /// `customer`, `user`, `admin`, `replaced`, `wecom`, or `staff:` and an employee's id.
    by: &'e str,
}

impl<'e> From<&'e AuditEvent> for EventBody<'e> {
    fn from(event: &'e AuditEvent) -> Self {
        Self {
            id: event.id,
            at: Rfc3339(event.at),
            kind: event.what,
            openid: event.openid.as_ref().map(OpenId::as_str),
            external_userid: event.customer.as_ref().map(ExternalUserId::as_str),
            method: event.method,
            by: &event.by,
        }
    }
}

/// `/api/admin/events`
pub(crate) async fn events(head: Head) -> Result<Response, ApiError> {
    authorize(&head, &[Method::GET, Method::HEAD], "GET, HEAD").await?;
    let [after, before, limit] = query::values(&head.query, ["after", "before", "limit"], Plus::Space)?;
    let limit = limit.as_deref().map_or(Ok(LIMIT_DEFAULT), limit_of)?;
    let from = match (after.as_deref(), before.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(ApiError::BadRequest("after and before are two directions; send one of them."));
        }
        (None, Some("")) => EventsFrom::Before(u64::MAX),
        (None, Some(before)) => EventsFrom::Before(event_id(before)?),
        (Some("") | None, None) => EventsFrom::After(0),
        (Some(after), None) => EventsFrom::After(event_id(after)?),
    };
    let page = head.shared.context.handles.events(from, limit).await?;
    let events = page.events.iter().map(EventBody::from).collect();
    Ok(reply::json(StatusCode::OK, &EventsBody { events, next: page.next }))
}

fn event_id(text: &str) -> Result<u64, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("after and before are ids of events, as next tells them.");
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD);
    }
    text.parse().map_err(|_| BAD)
}

/// The funnel, by day.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(in crate::http) struct StatsBody<'s> {
    at: Rfc3339,
    /// Of the days.
    time_zone: &'static str,
    totals: TotalsBody,
    /// The oldest first; the last is today.
    days: Vec<DayBody<'s>>,
}

/// What there is now.
#[derive(Serialize, ToSchema)]
#[schema(as = Totals)]
struct TotalsBody {
    bindings: u64,
    codes_live: u64,
    outbox: u64,
    webhooks_waiting: u64,
    dead_letters: u64,
}

/// What happened on a day.
#[derive(Serialize, ToSchema)]
#[schema(as = Day)]
struct DayBody<'s> {
    #[schema(format = Date)]
    day: String,
    logins: u64,
    codes: u64,
    /// Those that held a code or brought a ticket.
    messages: u64,
    /// By way.
    #[schema(value_type = BoundCounts)]
    bound: Named<'s>,
    unbound: u64,
    conflicts: u64,
    /// By why.
    #[schema(value_type = RejectedCounts)]
    rejected: Named<'s>,
    seconds_to_bind: TimesBody,
}

/// How long it took from the making of a code to its binding.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondsToBind)]
struct TimesBody {
    count: u64,
    #[schema(required = true)]
    p50: Option<f64>,
    #[schema(required = true)]
    p95: Option<f64>,
}

/// Counts by name, as an object.
struct Named<'s>(&'s [(&'static str, u64)]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

impl<'s> From<&'s DayStats> for DayBody<'s> {
    fn from(stats: &'s DayStats) -> Self {
        Self {
            day: civil(stats.day),
            logins: stats.logins,
            codes: stats.codes,
            messages: stats.messages,
            bound: Named(&stats.bound),
            unbound: stats.unbound,
            conflicts: stats.conflicts,
            rejected: Named(&stats.rejected),
            seconds_to_bind: TimesBody { count: stats.timed, p50: stats.p50_s, p95: stats.p95_s },
        }
    }
}

/// A day since 1970-01-01 as a date.
fn civil(day: u64) -> String {
    let days = jiff::Span::new().try_days(i64::try_from(day).unwrap_or(i64::MAX));
    let date = days.and_then(|days| jiff::civil::date(1970, 1, 1).checked_add(days));
    date.unwrap_or(jiff::civil::Date::MAX).to_string()
}

/// `/api/admin/stats`
pub(crate) async fn stats(head: Head) -> Result<Response, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("days is a whole number from 1 to 400.");
    authorize(&head, &[Method::GET, Method::HEAD], "GET, HEAD").await?;
    let [days] = query::values(&head.query, ["days"], Plus::Space)?;
    let days = match days.as_deref() {
        None => DAYS_DEFAULT,
        Some(text) => query::whole_number(text, 1..=DAYS_MAX).ok_or(BAD)?,
    };
    let context = &head.shared.context;
    let Stats { bindings, codes_live, outbox, webhooks_waiting, dead_letters, days } =
        context.handles.stats(days).await?;
    let body = StatsBody {
        at: Rfc3339(context.clock.now()),
        time_zone: TIME_ZONE,
        totals: TotalsBody { bindings, codes_live, outbox, webhooks_waiting, dead_letters },
        days: days.iter().map(DayBody::from).collect(),
    };
    Ok(reply::json(StatusCode::OK, &body))
}

/// A page of webhooks that were given up.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub(in crate::http) struct DeadLettersBody<'l> {
    dead_letters: Vec<DeadLetterBody<'l>>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    next: Option<&'l str>,
}

/// A webhook that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct DeadLetterBody<'l> {
    id: &'l str,
    #[serde(rename = "type")]
    #[schema(value_type = WebhookKind)]
    kind: &'static str,
    timestamp: Rfc3339,
    data: EventBindingBody<'l>,
    given_up_at: Rfc3339,
    attempts: u32,
    /// Of the last attempt.
    error: &'l str,
}

/// The binding that a webhook is about; of a conflict, the pair that was refused.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookBinding)]
struct EventBindingBody<'l> {
    openid: &'l str,
    external_userid: &'l str,
    #[schema(required = true)]
    unionid: Option<&'l str>,
    #[schema(required = true)]
    open_kfid: Option<&'l str>,
    #[schema(value_type = Option<BindingMethod>, required = true)]
    method: Option<&'static str>,
    /// Null where nothing was bound.
    #[schema(required = true)]
    bound_at: Option<Rfc3339>,
    #[schema(required = true)]
    nickname: Option<&'l str>,
    #[schema(required = true)]
    label: Option<&'l str>,
}

impl<'l> From<&'l WebhookBinding> for EventBindingBody<'l> {
    fn from(binding: &'l WebhookBinding) -> Self {
        Self {
            openid: binding.openid.as_str(),
            external_userid: binding.customer.as_str(),
            unionid: binding.unionid.as_ref().map(UnionId::as_str),
            open_kfid: binding.account.as_ref().map(OpenKfId::as_str),
            method: binding.method,
            bound_at: binding.bound_at.map(Rfc3339),
            nickname: binding.nickname.as_deref(),
            label: binding.label.as_deref(),
        }
    }
}

impl<'l> From<&'l DeadLetter> for DeadLetterBody<'l> {
    fn from(letter: &'l DeadLetter) -> Self {
        Self {
            id: &letter.entry.id,
            kind: letter.entry.kind.name(),
            timestamp: Rfc3339(letter.entry.happened_at),
            data: (&letter.entry.binding).into(),
            given_up_at: Rfc3339(letter.given_up_at),
            attempts: letter.attempts,
            error: &letter.error,
        }
    }
}

/// `/api/admin/dead-letters`
pub(crate) async fn dead_letters(head: Head) -> Result<Response, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("after is the id of a dead letter, as next tells it.");
    authorize(&head, &[Method::GET, Method::HEAD], "GET, HEAD").await?;
    let [after, limit] = query::values(&head.query, ["after", "limit"], Plus::Space)?;
    let limit = limit.as_deref().map_or(Ok(LIMIT_DEFAULT), limit_of)?;
    let after = after.filter(|after| !after.is_empty()).map(Into::into);
    let page = head.shared.context.handles.dead_letters(after, limit).await?.ok_or(BAD)?;
    let body = DeadLettersBody {
        dead_letters: page.letters.iter().map(DeadLetterBody::from).collect(),
        next: page.next.as_deref(),
    };
    Ok(reply::json(StatusCode::OK, &body))
}

/// `/api/admin/dead-letters/{id}/resend`
pub(crate) async fn resend(id: String, head: Head) -> Result<Response, ApiError> {
    authorize(&head, &[Method::POST], "POST").await?;
    let id = query::path_segment(&id)?.into_owned();
    if head.shared.context.handles.resend(id).await? {
        Ok(reply::empty(StatusCode::ACCEPTED))
    } else {
        Err(ApiError::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_a_date() {
        assert_eq!(civil(0), "1970-01-01");
        assert_eq!(civil(20_782), "2026-11-25");
        assert_eq!(civil(u64::MAX), "9999-12-31");
    }

    #[test]
    fn an_event_id_is_a_whole_number() {
        assert_eq!(event_id("1795622400000123"), Ok(1_795_622_400_000_123));
        for text in ["-1", "+1", "1.0", "x", "99999999999999999999"] {
            assert!(event_id(text).is_err(), "{text}");
        }
    }
}
