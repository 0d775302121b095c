//! Schemas that several bodies share: moments, and texts of which only some words occur.
//!
//! Those of the bodies themselves are derived where the bodies are.

use std::borrow::Cow;

use actors::tally;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

use crate::http::reply::Rfc3339;

impl PartialSchema for Rfc3339 {
    fn schema() -> RefOr<Schema> {
        text()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A moment: RFC 3339, UTC, whole seconds."))
            .examples(["2026-11-25T08:30:00Z"])
            .into()
    }
}

impl ToSchema for Rfc3339 {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Time")
    }
}

/// Declares types that stand for texts of which only these words occur.
macro_rules! words {
    ($($(#[$about:meta])* $name:ident as $shown:literal = $words:expr;)*) => {$(
        $(#[$about])*
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text().enum_values(Some(($words).iter().copied())).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($shown)
            }
        }
    )*};
}

words! {
    /// The ways to bind.
    Method as "Method" = tally::METHODS;
    /// What the user sees of the binding.
    ViewStatus as "BindingStatus" = ["unbound", "pending", "bound"];
    /// How the service is.
    HealthStatus as "HealthStatus" = ["ok", "degraded", "unavailable"];
    /// What the audit trail tells of.
    EventKind as "EventType" = ["bound", "unbound", "conflict", "locked", "other_person", "undelivered"];
    /// What webhooks tell of.
    WebhookKind as "WebhookType" = ["binding.created", "binding.removed", "binding.conflict"];
}

/// Declares types that stand for objects which count by name.
macro_rules! counts {
    ($($(#[$about:meta])* $name:ident = $names:expr;)*) => {$(
        $(#[$about])*
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let counted = ObjectBuilder::new();
                $names.iter().fold(counted, |it, name| it.property(*name, whole_number()).required(*name)).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

counts! {
    /// By way to bind.
    BoundCounts = tally::METHODS;
    /// By why a code didn't bind.
    RejectedCounts = tally::CODE_REJECTIONS;
}

/// A text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A whole number, not negative.
pub(super) fn whole_number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize))
}
