//! What operators, their machines and developers ask, described.

use http::{StatusCode, header};
use serde_json::json;
use utoipa::openapi::{
    ContentBuilder, HttpMethod, ObjectBuilder, ResponseBuilder, Schema, Type, schema::AnyOfBuilder,
};

use super::{
    CACHE_CONTROL,
    operation::{Access, Described, JSON, described, route},
    shapes::text,
};
use crate::http::{
    health::{DetailBody, StatusBody},
    operator_page,
    reply::ApiError,
};

pub(super) const TAG: &str = "operators";

pub(super) fn operations() -> Vec<Described> {
    vec![alive(), ready(), metrics(), page(), page_file(), document()]
}

fn operators(path: &'static str, id: &str, summary: &str) -> Described {
    route(HttpMethod::Get, path, id, summary).tag(TAG).access(Access::Everyone)
}

fn alive() -> Described {
    operators("/healthz", "alive", "Is the process alive?").json::<StatusBody>(
        StatusCode::OK,
        "It is.",
        json!({"status": "ok"}),
    )
}

fn ready() -> Described {
    let brief = json!({"status": "degraded"});
    let detailed = json!({
        "status": "degraded",
        "problems": ["the last call to WeCom failed: connection refused"],
        "store": {"writable": true},
        "actors": {"silent": []},
        "wecom": {
            "access_token_had": true, "stopped": false, "clock_skew_s": 0, "last_error": "connection refused",
        },
        "callbacks": {"key_to_check": null, "last_refusal": {"at": "2026-11-25T08:29:00Z", "reason": "malformed"}},
        "accounts_known": true,
        "accounts": [
            {
                "open_kfid": "wkAbCdEf0123456789", "name": "客服一号", "api_managed": true,
                "last_pull_at": "2026-11-25T08:30:00Z", "last_error": null,
            },
        ],
        "unserved_accounts": [{"open_kfid": "wkZyXwVu9876543210", "name": "客服二号", "api_managed": false}],
    });
    let mut route = route(HttpMethod::Get, "/readyz", "ready", "Can the service do its work?")
        .tag(TAG)
        .access(Access::EveryoneOrAdmin)
        .about(
            "The details only with the admin key. 503 for the store, a dead actor, stopping, or while there never was an \
             access token; anything else is `degraded` in a 200. A wrong key is answered as none, only later.",
        );
    let either =
        AnyOfBuilder::new().item(route.schema::<StatusBody>()).item(route.schema::<DetailBody<'_>>()).build();
    let content = |example| {
        ContentBuilder::new().schema(Some(Schema::from(either.clone()))).example(Some(example)).build()
    };
    let answer = |description: &str, example| {
        ResponseBuilder::new().description(description).content(JSON, content(example))
    };
    route
        .answer(StatusCode::OK, answer("Ready, if only just.", detailed))
        .answer(StatusCode::SERVICE_UNAVAILABLE, answer("Not ready.", brief))
}

fn metrics() -> Described {
    let content = ContentBuilder::new()
        .schema(Some(text()))
        .example(Some(json!("# TYPE kfbind_bindings gauge\nkfbind_bindings 42\n")))
        .build();
    let answer = ResponseBuilder::new()
        .description("In Prometheus' text format 0.0.4.")
        .content("text/plain", content);
    operators("/metrics", "metrics", "Metrics for Prometheus").answer(StatusCode::OK, answer)
}

/// An answer that is a file of the operators' page.
fn file(description: &str, contents: &[(&str, &str)]) -> ResponseBuilder {
    let answer = ResponseBuilder::new()
        .description(description)
        .header("Content-Security-Policy", described("Everything from here alone.", text()))
        .header(
            "Cache-Control",
            described("To be asked for again each time.", text().enum_values(Some([CACHE_CONTROL]))),
        );
    contents.iter().fold(answer, |answer, (kind, example)| {
        let content = ContentBuilder::new().schema(Some(text())).example(Some(json!(example))).build();
        answer.content(*kind, content)
    })
}

fn page() -> Described {
    operators("/admin", "operatorPage", "The operators' page")
        .about("For a browser; it asks for the admin key itself. `/admin/` redirects here. Without `admin.api_key` 404.")
        .answer(StatusCode::OK, file("The page.", &[("text/html", "<!doctype html>…")]))
        .problems(&[ApiError::NotFound])
}

fn page_file() -> Described {
    let kinds = [("text/css", "body { margin: 0 }"), ("text/javascript", "export const A = 1;")];
    operators("/admin/{file}", "operatorPageFile", "What the operators' page loads")
        .name("file", "Its name.", text().enum_values(Some(operator_page::names())))
        .answer(StatusCode::OK, file("A style or a script.", &kinds))
        .problems(&[ApiError::NotFound])
}

fn document() -> Described {
    let content = ContentBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::Object)))
        .example(Some(
            json!({"openapi": "3.1.0", "info": {"title": "kfbind", "version": "0.1.0"}, "paths": {}}),
        ))
        .build();
    let cached = |description: &str| {
        ResponseBuilder::new()
            .description(description)
            .header("ETag", described("Of this document.", text()))
            .header(
                "Cache-Control",
                described("To be asked for again each time.", text().enum_values(Some([CACHE_CONTROL]))),
            )
    };
    operators("/openapi.json", "openapi", "This document")
        .sent_header(&header::IF_NONE_MATCH, "The `ETag` of the document that the client has.")
        .answer(StatusCode::OK, cached("OpenAPI 3.1.").content(JSON, content))
        .answer(StatusCode::NOT_MODIFIED, cached("The client has it."))
}
