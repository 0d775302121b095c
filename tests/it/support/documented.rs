//! Answers held against `/openapi.json`: whatever any test is answered by a documented operation must be documented, its
//! status, its content type, its headers and every field of its body.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use jsonschema::Validator;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// The document, stricter: no body may have a field that it doesn't tell of.
static STRICT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = document();
    for schema in document["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
        if schema["properties"].is_object() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
});

/// Compiled schemas, by where they stand in the document.
static VALIDATORS: LazyLock<Mutex<BTreeMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// The document, as the service sends it.
pub(crate) fn document() -> Value {
    serde_json::from_str(kfbind::http::openapi_document()).expect("JSON")
}

/// An operation of the document, with the address that it belongs to.
pub(crate) struct Operation {
    pub(crate) path: &'static str,
    pub(crate) method: &'static str,
    pub(crate) described: &'static Value,
}

/// All operations.
pub(crate) fn operations() -> Vec<Operation> {
    let paths = STRICT["paths"].as_object().expect("paths").iter();
    let of = |(path, item): (&'static String, &'static Value)| {
        let operations = item.as_object().expect("an item").iter();
        operations.map(|(method, described)| Operation { path, method, described }).collect::<Vec<_>>()
    };
    paths.flat_map(of).collect()
}

/// Whether a path fits the template.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut got) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), got.next()) {
            (None, None) => return true,
            (Some(wanted), Some(got)) if wanted == got || wanted.starts_with('{') && !got.is_empty() => {}
            _ => return false,
        }
    }
}

/// What is not documented about an answer; `None` where all is, or where the address isn't the document's.
pub(crate) fn undocumented(
    method: &str,
    path: &str,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<String> {
    let here: Vec<_> = operations().into_iter().filter(|operation| fits(operation.path, path)).collect();
    let is_head = method == "HEAD";
    let method = if is_head { "get".to_owned() } else { method.to_lowercase() };
    let Some(operation) = here.iter().find(|operation| operation.method == method) else {
        let is_known = here.is_empty() || matches!(status, 404 | 405);
        return (!is_known).then(|| format!("{status} by a method that this address doesn't have"));
    };
    // Of HEAD alone: an address may be without it.
    if is_head && status == 405 {
        return None;
    }
    let Some(answer) = operation.described["responses"].get(status.to_string()).map(resolved) else {
        return Some(format!("the status {status}"));
    };
    for name in ["retry-after", "www-authenticate", "etag"] {
        let told = answer["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(told, _)| told.eq_ignore_ascii_case(name));
        if told != headers.contains_key(name) {
            return Some(format!("the header {name} of {status}: told {told}"));
        }
    }
    let sent_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    let essence = sent_type.split(';').next().unwrap_or_default();
    match answer["content"].as_object().map(|content| content.get(essence)) {
        None if body.is_empty() || is_head => None,
        None => Some(format!("a body of {status}")),
        Some(None) => Some(format!("the content type {sent_type:?} of {status}")),
        Some(Some(_)) if is_head => None,
        Some(Some(content)) => {
            let text = || Value::String(String::from_utf8_lossy(body).into_owned());
            let is_json = essence.ends_with("json") && !essence.ends_with("ndjson");
            let value = if is_json { serde_json::from_slice(body).unwrap_or_default() } else { text() };
            misfit(&content["schema"], &value)
        }
    }
}

/// Follows a reference within the document.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => STRICT.pointer(reference.trim_start_matches('#')).expect("what is referred to"),
        None => value,
    }
}

/// What is wrong with a value by this schema of the document.
pub(crate) fn misfit(schema: &Value, value: &Value) -> Option<String> {
    let validator = *VALIDATORS.lock().unwrap().entry(schema.to_string()).or_insert_with(|| {
        let mut whole = schema.clone();
        whole["components"] = STRICT["components"].clone();
        let options = jsonschema::options().should_validate_formats(true);
        Box::leak(Box::new(options.build(&whole).expect("a schema")))
    });
    let errors: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
