//! What WeCom sends, described. Its errors have no body: the sender is told a status and no more.

use http::StatusCode;
use serde_json::json;
use utoipa::openapi::{ContentBuilder, HttpMethod, ObjectBuilder, ResponseBuilder, xml::XmlBuilder};

use super::{
    operation::{Access, Described, route},
    shapes::text,
};

pub(super) const TAG: &str = "WeCom";
const PATH: &str = "/api/wechat-work/message";
const SIGNATURE: &str = "477715d11cdb4164915debcba66cb864d751f3e6";

pub(super) fn operations() -> Vec<Described> {
    vec![echo(), deliver()]
}

fn signed(method: HttpMethod, id: &str, summary: &str) -> Described {
    let texts = |example: &str| text().min_length(Some(1)).examples([example]);
    route(method, PATH, id, summary)
        .no_problems()
        .tag(TAG)
        .access(Access::Everyone)
        .wanted_query("msg_signature", "SHA-1 over token, timestamp, nonce and ciphertext.", texts(SIGNATURE))
        .wanted_query("timestamp", "As it was signed.", texts("1764059400"))
        .wanted_query("nonce", "As it was signed.", texts("263014780"))
        .empty(StatusCode::BAD_REQUEST, "Malformed, or a parameter is missing, empty or there twice.")
        .empty(StatusCode::FORBIDDEN, "A wrong signature, or meant for another company.")
        .empty(StatusCode::SERVICE_UNAVAILABLE, "Overloaded or stopping; to be sent again.")
}

fn echo() -> Described {
    let plain =
        ContentBuilder::new().schema(Some(text())).example(Some(json!("1288432023552776189"))).build();
    let echostr = text().min_length(Some(1));
    signed(HttpMethod::Get, "wecomEcho", "Prove that the URL is ours")
        .about("A `+` in the query stands for itself.")
        .wanted_query("echostr", "What to decrypt and to send back.", echostr)
        .answer(
            StatusCode::OK,
            ResponseBuilder::new().description("The decrypted echo.").content("text/plain", plain),
        )
}

fn deliver() -> Described {
    let cipher = text().pattern(Some("^[A-Za-z0-9+/]+={0,2}$")).min_length(Some(1));
    let envelope = ObjectBuilder::new()
        .property("ToUserName", text())
        .property("AgentID", text())
        .property("Encrypt", cipher)
        .required("Encrypt")
        .description(Some("The envelope; of it only `Encrypt` is read."))
        .xml(Some(XmlBuilder::new().name(Some("xml")).build()));
    let body = ContentBuilder::new().schema(Some(envelope)).build();
    let done = ContentBuilder::new()
        .schema(Some(text().enum_values(Some(["success"]))))
        .example(Some(json!("success")))
        .build();
    signed(HttpMethod::Post, "wecomCallback", "Take a callback")
        .about("Answered once it is authentic and passed on. What can't be read inside, and events of others, are 200 too.")
        .raw_body("text/xml", body)
        .answer(StatusCode::OK, ResponseBuilder::new().description("Passed on.").content("text/plain", done))
        .empty(StatusCode::PAYLOAD_TOO_LARGE, "Longer than `limits.body_bytes_max`.")
}
