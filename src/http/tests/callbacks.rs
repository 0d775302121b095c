//! Callbacks made by other implementations, through the routes. Their signatures are right, their insides are no
//! events: what is authentic but unreadable is answered like any other.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;
use crate::wecom::envelope::{encrypted_of, envelope_xml};

const PATH: &str = "/api/wechat-work/message";

/// Room for the longest sample.
const BODY_BYTES_MAX: usize = 100_000;
/// Longer URLs are refused before they come to a route.
const ECHOSTR_CHARS_MAX: usize = 8_000;

/// One set of keys with its samples.
struct Set {
    site: Site,
    valid: Vec<Sample>,
    refused: Vec<Sample>,
}

struct Sample(Value);

impl Sample {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap()
    }

    /// The query that goes with the sample, `echostr` included where it is a GET.
    fn path(&self, with_echostr: bool) -> String {
        let escaped = |name| utf8_percent_encode(self.get(name), NON_ALPHANUMERIC);
        let mut path = format!(
            "{PATH}?msg_signature={}&timestamp={}&nonce={}",
            escaped("msg_signature"),
            escaped("timestamp"),
            escaped("nonce")
        );
        if with_echostr {
            path = format!("{path}&echostr={}", escaped("encrypt"));
        }
        path
    }

    fn body(&self) -> String {
        envelope_xml("ww1", self.get("encrypt"))
    }
}

async fn sets() -> Vec<Set> {
    let file: Value = serde_json::from_str(include_str!("../../../tests/fixtures/callback.json")).unwrap();
    let text = |set: &Value, name: &str| set.get(name).and_then(Value::as_str).unwrap().to_owned();
    let samples = |set: &Value, name: &str| -> Vec<Sample> {
        set.get(name).and_then(Value::as_array).unwrap().iter().cloned().map(Sample).collect()
    };
    let mut sets = Vec::new();
    for set in file.get("sets").and_then(Value::as_array).unwrap() {
        let key = EnvelopeKey::parse(&text(set, "encoding_aes_key")).unwrap();
        let keys = CallbackKeys::new(&text(set, "corp_id"), &text(set, "token"), key);
        let options =
            Options { callback_keys: Some(keys), body_bytes_max: BODY_BYTES_MAX, ..Options::default() };
        let site = Site::new(&options).await;
        sets.push(Set { site, valid: samples(set, "valid"), refused: samples(set, "refused") });
    }
    sets
}

#[tokio::test]
async fn an_echo_is_answered_with_exactly_what_was_sent() {
    for set in sets().await {
        assert!(!set.valid.is_empty());
        for sample in set.valid.iter().filter(|sample| sample.get("encrypt").len() <= ECHOSTR_CHARS_MAX) {
            let answer = set.site.ask("GET", &sample.path(true), &[], "").await;
            assert_eq!(answer.status, 200, "{}", sample.get("what"));
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert_eq!(answer.body, sample.get("plaintext").as_bytes(), "{}", sample.get("what"));
        }
    }
}

#[tokio::test]
async fn an_echo_sent_without_escapes_is_read_all_the_same() {
    for set in sets().await {
        let plus = |sample: &&Sample| sample.get("encrypt").contains('+');
        let sample = set.valid.iter().find(plus).unwrap();
        let path = format!("{}&echostr={}", sample.path(false), sample.get("encrypt"));
        let answer = set.site.ask("GET", &path, &[], "").await;
        assert_eq!((answer.status, &*answer.body), (200, sample.get("plaintext").as_bytes()));
    }
}

#[tokio::test]
async fn an_authentic_callback_is_a_success_even_where_it_makes_no_sense() {
    for set in sets().await {
        for sample in &set.valid {
            let answer =
                set.site.ask("POST", &sample.path(false), &["content-type: text/xml"], &sample.body()).await;
            assert_eq!((answer.status, &*answer.body), (200, &b"success"[..]), "{}", sample.get("what"));
        }
    }
}

#[tokio::test]
async fn a_bad_callback_is_refused_without_a_word_of_why() {
    for set in sets().await {
        assert!(!set.refused.is_empty());
        // That one means the parameter to be sent empty; what the contract says of this is tested below.
        for sample in set.refused.iter().filter(|sample| sample.get("what") != "signature empty") {
            let expected = match sample.get("refused_as") {
                "bad signature" | "receiveid" => 403,
                _ => 400,
            };
            let get = set.site.ask("GET", &sample.path(true), &[], "").await;
            let post = set.site.ask("POST", &sample.path(false), &[], &sample.body()).await;
            for answer in [get, post] {
                assert_eq!((answer.status, &*answer.body), (expected, &b""[..]), "{}", sample.get("what"));
            }
        }
    }
}

#[tokio::test]
async fn a_callback_is_judged_by_its_size_then_its_parameters_then_its_signature() {
    let set = sets().await.remove(0);
    let sample = set.valid.first().unwrap();
    let (path, body) = (sample.path(false), sample.body());
    assert!(encrypted_of(body.as_bytes()).is_ok());
    let upper_case =
        path.replace(sample.get("msg_signature"), &sample.get("msg_signature").to_ascii_uppercase());
    for (path, body, status) in [
        (PATH, &*"x".repeat(BODY_BYTES_MAX + 1), 413),
        (PATH, &*body, 400),
        (&format!("{path}&nonce=1"), &*body, 400),
        (&path.replace("nonce=", "n="), &*body, 400),
        (&path.replace(sample.get("msg_signature"), ""), &*body, 400),
        (&path, "", 400),
        (&path, "<xml><Encrypt>", 400),
        (&path.replace("nonce=", "nonce=1"), &*body, 403),
        (&upper_case, &*body, 403),
        (&path, &*body, 200),
    ] {
        assert_eq!(set.site.ask("POST", path, &[], body).await.status, status, "{path} {body}");
    }
}

/// The callbacks of this result, as the metrics tell it.
fn counted(site: &Site, result: &'static str) -> u64 {
    site.shared.context.handles.tally().callbacks.get_or_create(&[("result", result)]).get()
}

#[tokio::test]
async fn an_event_is_passed_on_and_every_callback_is_counted() {
    let site = Site::new(&Options::default()).await;
    let key = EnvelopeKey::parse("c3j27xdcg2lMLzgeonyLGcTJFiz4soCmZ9cpvnpKnA1").unwrap();
    let send = async |message: &str, token: &str| {
        let encrypt = key.seal([1; 16], message.as_bytes(), "ww1");
        let signature = crate::wecom::signature::sign(token, "1700000000", "n", &encrypt);
        let path = format!("{PATH}?msg_signature={signature}&timestamp=1700000000&nonce=n");
        site.ask("POST", &path, &[], &envelope_xml("ww1", &encrypt)).await.status
    };
    let other = "<xml><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[enter_agent]]></Event></xml>";
    assert_eq!(send(other, "token").await, 200);
    assert_eq!(counted(&site, "ignored"), 1);
    assert_eq!(send("no xml", "token").await, 200);
    assert_eq!(counted(&site, "unreadable"), 1);
    assert_eq!(site.shared.callback_watch.key_to_check(NOW_S * 1000), None);
    assert_eq!(send(other, "another token").await, 403);
    assert_eq!(counted(&site, "bad_signature"), 1);
    assert_eq!(site.shared.callback_watch.key_to_check(NOW_S * 1000), Some("wecom.token"));
}

#[tokio::test]
async fn a_kept_callback_that_tells_what_people_wrote_does_not_come_back_as_an_echo() {
    let site = Site::new(&Options::default()).await;
    let key = EnvelopeKey::parse("c3j27xdcg2lMLzgeonyLGcTJFiz4soCmZ9cpvnpKnA1").unwrap();
    let text = "<xml><FromUserName><![CDATA[zhang]]></FromUserName><CreateTime>1700000000</CreateTime>\
                <MsgType><![CDATA[text]]></MsgType><Content><![CDATA[between us]]></Content></xml>";
    let event = "<xml><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[enter_agent]]></Event></xml>";
    let twice = "<xml><MsgType>text</MsgType><MsgType>text</MsgType><Content>between us</Content></xml>";
    let cut_off = "<xml><MsgType>text</MsgType><Content>between us</Content>";
    for message in [text, event, twice, cut_off] {
        let encrypt = key.seal([1; 16], message.as_bytes(), "ww1");
        let signature = crate::wecom::signature::sign("token", "1700000000", "n", &encrypt);
        let path = format!("{PATH}?msg_signature={signature}&timestamp=1700000000&nonce=n");
        let posted = site.ask("POST", &path, &[], &envelope_xml("ww1", &encrypt)).await;
        assert_eq!(posted.status, 200, "{message}");
        let refused = counted(&site, "malformed");
        let echostr = utf8_percent_encode(&encrypt, NON_ALPHANUMERIC);
        let replayed = site.ask("GET", &format!("{path}&echostr={echostr}"), &[], "").await;
        assert_eq!((replayed.status, &*replayed.body), (400, &b""[..]), "{message}");
        assert_eq!(counted(&site, "malformed"), refused + 1);
    }
    assert_eq!(counted(&site, "echo"), 0);
}

#[tokio::test]
async fn while_stopping_callbacks_and_checks_of_the_url_are_turned_away() {
    let site = Site::new(&Options::default()).await;
    let key = EnvelopeKey::parse("c3j27xdcg2lMLzgeonyLGcTJFiz4soCmZ9cpvnpKnA1").unwrap();
    let encrypt = key.seal([1; 16], b"123456", "ww1");
    let signature = crate::wecom::signature::sign("token", "1700000000", "n", &encrypt);
    let post = format!("{PATH}?msg_signature={signature}&timestamp=1700000000&nonce=n");
    let get = format!("{post}&echostr={}", utf8_percent_encode(&encrypt, NON_ALPHANUMERIC));
    assert_eq!(site.ask("GET", &get, &[], "").await.status, 200);
    site.stop.send(true).unwrap();
    for (method, path, body) in [("GET", &get, String::new()), ("POST", &post, envelope_xml("ww1", &encrypt))]
    {
        let answer = site.ask(method, path, &[], &body).await;
        assert_eq!((answer.status, &*answer.body), (503, &b""[..]), "{method}");
    }
    assert_eq!(counted(&site, "unavailable"), 2);
}
