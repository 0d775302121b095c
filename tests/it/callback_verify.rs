//! Proving that the URL is ours, and refusing what isn't WeCom's.

use kfbind::sim::{Api, Tamper};

use crate::support::{ADMIN_KEY, CALLBACK_PATH, Options, START_S, TestApp, base64};

#[tokio::test]
async fn the_echo_comes_back_exactly_and_as_text() {
    let app = TestApp::start().await;
    for check in app.sim.verify_url_times(3).await.unwrap() {
        assert!(check.is_accepted(), "{check:?}");
    }
    let encrypt = app.encrypted(b"\xef\xbb\xbf 5927 \n", &app.options.corp_id);
    let (query, _) = app.signed(&encrypt);
    let echostr: String = url::form_urlencoded::byte_serialize(encrypt.as_bytes()).collect();
    let answer = app.client().get(&format!("{CALLBACK_PATH}?{query}&echostr={echostr}")).await.expect(200);
    assert_eq!(answer.body, b"\xef\xbb\xbf 5927 \n");
    assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
    assert_eq!(app.metric("kfbind_callbacks_total{result=\"echo\"}").await, 4.0);
}

#[tokio::test]
async fn what_is_not_wecoms_is_refused_and_pulls_nothing() {
    let app = TestApp::start().await;
    let pulls = app.sim.count(Api::SyncMsg);
    for (tamper, status) in [
        (Tamper::Signature, 403),
        (Tamper::UpperCaseSignature, 403),
        (Tamper::Timestamp, 403),
        (Tamper::Ciphertext, 403),
        (Tamper::Receiver, 403),
        (Tamper::Truncated, 400),
        (Tamper::NoNonce, 400),
        (Tamper::NotXml, 400),
    ] {
        let xml = app.sim.doorbell_xml(&app.account());
        let answer = app.sim.push_raw(&xml, tamper).await.unwrap();
        assert_eq!(answer.status, status, "{tamper:?}: {answer:?}");
        assert!(answer.body.is_empty(), "the sender is told no detail: {answer:?}");
    }
    app.client().get("/readyz").await;
    assert_eq!(app.sim.count(Api::SyncMsg), pulls);
    let answer = app.sim.push_raw(&app.sim.doorbell_xml(&app.account()), Tamper::None).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "success"));
}

#[tokio::test]
async fn metrics_and_readyz_name_the_key_to_look_at() {
    for (tamper, result, key) in [
        (Tamper::Signature, "bad_signature", "wecom.token"),
        (Tamper::Receiver, "bad_receiveid", "wecom.corp_id"),
    ] {
        let app = TestApp::start().await;
        let xml = app.sim.doorbell_xml(&app.account());
        app.sim.push_raw(&xml, tamper).await.unwrap();
        assert_eq!(app.metric(&format!("kfbind_callbacks_total{{result=\"{result}\"}}")).await, 1.0);
        let report = app.client().bearing(ADMIN_KEY).get("/readyz").await.expect(200);
        assert_eq!(report.json()["status"], "degraded");
        assert!(report.text().contains(key), "{}", report.text());
        // The next good one shows that the keys are right.
        app.sim.push_raw(&xml, Tamper::None).await.unwrap();
        assert_eq!(app.admin().get("/readyz").await.expect(200).json()["status"], "ok");
    }
}

#[tokio::test]
async fn another_aes_key_is_named_where_the_padding_is_wrong() {
    let key = format!("{:?}", "k".repeat(43));
    let app = TestApp::with(&[("wecom.encoding_aes_key", key.as_str())]).await;
    let (query, body) = app.sealed("<xml/>");
    let status = app.client().callback((query, body)).await.status;
    assert!(status == 400 || status == 403, "{status}");
    let report = app.admin().get("/readyz").await.text();
    assert!(report.contains("wecom.encoding_aes_key") || report.contains("wecom.corp_id"), "{report}");
}

#[tokio::test]
async fn a_signature_of_another_length_case_or_form_is_refused() {
    let app = TestApp::start().await;
    let (query, body) = app.sealed(&app.sim.doorbell_xml(&app.account()));
    let signature = query.split(['=', '&']).nth(1).unwrap().to_owned();
    let others = [
        signature.to_uppercase(),
        signature[..39].to_owned(),
        format!("{signature}0"),
        format!("{signature}{signature}"),
        "0".repeat(40),
        "g".repeat(40),
        "é".repeat(20),
        "%00".repeat(40),
        "a".repeat(5_000),
    ];
    for other in others {
        let query = query.replace(&signature, &other);
        app.client().callback((query, body.clone())).await.expect(403);
    }
    app.client().callback((query, body)).await.expect(200);
}

#[tokio::test]
async fn a_parameter_that_is_missing_empty_or_there_twice_is_refused() {
    let app = TestApp::start().await;
    let (query, body) = app.sealed(&app.sim.doorbell_xml(&app.account()));
    let encrypt = app.encrypted(b"1", &app.options.corp_id);
    let (get_query, _) = app.signed(&encrypt);
    let echo: String = url::form_urlencoded::byte_serialize(encrypt.as_bytes()).collect();
    let get_query = format!("{get_query}&echostr={echo}");
    for whole in [&query, &get_query] {
        let parts: Vec<&str> = whole.split('&').collect();
        for (number, part) in parts.iter().enumerate() {
            let name = part.split('=').next().unwrap();
            let without: Vec<&str> = parts.iter().copied().filter(|other| other != part).collect();
            let mut empty: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            empty[number] = format!("{name}=");
            let variants =
                [without.join("&"), empty.join("&"), format!("{whole}&{part}"), format!("{whole}&{name}=x")];
            for variant in variants {
                let answer = if whole == &query {
                    app.client().callback((variant.clone(), body.clone())).await
                } else {
                    app.client().get(&format!("{CALLBACK_PATH}?{variant}")).await
                };
                assert_eq!(answer.status, 400, "{variant}");
            }
        }
    }
    app.client().post_bytes(CALLBACK_PATH, "text/xml", body.clone()).await.expect(400);
    app.client().callback((format!("{query}&unknown=1"), body)).await.expect(200);
    app.client().get(&format!("{CALLBACK_PATH}?{get_query}")).await.expect(200);
}

#[tokio::test]
async fn parameters_are_decoded_once() {
    let app = TestApp::start().await;
    let encrypt = app.encrypted(b"echo", &app.options.corp_id);
    let (query, body) = app.signed(&encrypt);
    let (query, body) = (query.replace("itnonce1", "itnonce%31"), body);
    app.client().callback((query.clone(), body.clone())).await.expect(200);
    let twice = query.replace("%31", "%2531");
    app.client().callback((twice, body)).await.expect(403);
    let echostr: String = url::form_urlencoded::byte_serialize(encrypt.as_bytes()).collect();
    let doubly = echostr.replace('%', "%25");
    let answer = app.client().get(&format!("{CALLBACK_PATH}?{query}&echostr={doubly}")).await;
    assert!(answer.status == 403 || doubly == echostr, "{answer:?}");
}

#[tokio::test]
async fn the_former_token_and_key_are_accepted_while_the_console_is_switched() {
    let sim = kfbind::sim::SimOptions::default();
    let (token, key) = (format!("{:?}", sim.token), format!("{:?}", sim.encoding_aes_key));
    let settings = [
        ("wecom.token", "\"brandNewToken\"".to_owned()),
        ("wecom.encoding_aes_key", format!("{:?}", "n".repeat(43))),
        ("wecom.token_previous", token),
        ("wecom.encoding_aes_key_previous", key),
    ];
    let app = TestApp::open(Options { settings: settings.into(), ..Options::default() }).await;
    assert!(app.sim.verify_url().await.unwrap().is_accepted());
    app.bound("u").await;
}

#[tokio::test]
async fn every_form_of_a_wrong_ciphertext_is_refused_and_named() {
    let app = TestApp::start().await;
    let block = |count: usize| base64(&vec![7_u8; count]);
    // The signature is right for each: only the inside is wrong.
    for (encrypt, status) in [
        (block(0), 400),
        (block(1), 400),
        (block(15), 400),
        (block(16), 400),
        (block(17), 400),
        (block(31), 400),
        (block(32), 400),
        ("*".repeat(64), 400),
        ("A".repeat(63), 400),
        ("A".repeat(40_000), 400),
    ] {
        let answer = app.client().callback(app.signed(&encrypt)).await;
        assert_eq!(answer.status, status, "{} characters", encrypt.len());
    }
    let foreign = app.encrypted(b"<xml></xml>", "wwSomebodyElse");
    app.client().callback(app.signed(&foreign)).await.expect(403);
    for receiver in ["", "wwFAKEcorp0000000", "WWFAKECORP00000001"] {
        let foreign = app.encrypted(b"<xml></xml>", receiver);
        app.client().callback(app.signed(&foreign)).await.expect(403);
    }
    // Its own message too long: the length field points beyond the end.
    app.client().callback(app.sealed("")).await.expect(200);
    app.bound("u").await;
}

#[tokio::test]
async fn what_is_authentic_but_unreadable_inside_is_taken_and_counted() {
    let app = TestApp::start().await;
    let corp = &app.options.corp_id;
    let insides = [
        String::new(),
        "not xml".to_owned(),
        "<xml><Event>kf_msg_or_event</Event>".to_owned(),
        "<!DOCTYPE x [<!ENTITY e \"boom\">]><xml><Event>&e;</Event></xml>".to_owned(),
        format!("<xml>{}</xml>", "<a>".repeat(10_000)),
        format!(
            "<xml><ToUserName>{corp}</ToUserName><MsgType>event</MsgType><Event>kf_msg_or_event</Event>\
             <Token>{}</Token><OpenKfId>wk</OpenKfId></xml>",
            "t".repeat(10_000)
        ),
    ];
    let mut signed = Vec::new();
    for inside in &insides {
        signed.push(app.sealed(inside));
    }
    for callback in signed {
        let answer = app.client().callback(callback).await.expect(200);
        assert_eq!(answer.text(), "success");
    }
    let unreadable = app.metric("kfbind_callbacks_total{result=\"unreadable\"}").await;
    assert!(unreadable >= 5.0, "{unreadable}");
    app.bound("u").await;
}

#[tokio::test]
async fn a_timestamp_of_any_age_is_taken_as_wecom_names_no_window() {
    let app = TestApp::start().await;
    app.clock.set(START_S + 30 * 24 * 3600);
    app.client().callback(app.sealed(&app.sim.doorbell_xml(&app.account()))).await.expect(200);
}
