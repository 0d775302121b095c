//! What only the running service knows: whether WeCom has ever reached its callback URL. Asked by its own metrics, and
//! by `/readyz` where there is an admin key; nothing is sent that it would act on.

use std::{net::IpAddr, time::Duration};

use serde_json::Value;

use super::{fault::problem, walk::Step};
use crate::{
    config::Config,
    outgoing::{self, ExchangeError, OutgoingError},
};

/// For a service on this machine, busy as it may be.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest page that is read, in bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;
const CALLBACKS: &str = "kfbind_callbacks_total{result=\"";
/// What WeCom's own callbacks are counted as, messages of the app and repeats included.
const ARRIVED: [&str; 5] = ["accepted", "duplicate", "unserved", "ignored", "unreadable"];
/// Refusals that point to a key.
const REFUSED: [(&str, &str, &str); 3] = [
    ("bad_signature", "wecom.token", "copy the Token of the console's 设置API接收 again"),
    ("bad_padding", "wecom.encoding_aes_key", "copy the EncodingAESKey of the console's 设置API接收 again"),
    ("bad_receiveid", "wecom.corp_id", "copy 企业ID again (我的企业): the callback is for another company"),
];
const SAVE: &str = "in the app, 接收消息, 设置API接收 (or 开发配置 at work.weixin.qq.com/kf), enter \
     https://YOUR-HOST/api/wechat-work/message with Token and EncodingAESKey, press 保存 (each time WeCom checks the URL), \
     and check again";

/// Whether WeCom reaches the callback URL.
pub(super) async fn callback(config: &Config) -> Result<Step, OutgoingError> {
    let mut step = Step::new("The callback URL, as the running service sees it");
    let Some(base) = base(config) else {
        step.unknown(
            "whether WeCom reaches the callback URL: the running service can't be asked, since its address has port 0 or \
             its TLS is for a name that is not known here",
            "set server.ops_listen, or look at kfbind_callbacks_total on /metrics: result=\"echo\" is a checked URL",
        );
        step.look(SAVE);
        return Ok(step);
    };
    // Never by the proxy: it is this machine's own address.
    let http = outgoing::client(TIMEOUT, None)?;
    let metrics = text(http.get(format!("{base}/metrics"))).await;
    let metrics = match metrics {
        Ok(metrics) if metrics.contains("kfbind_") => metrics,
        Ok(_) => {
            step.unknown(
                format!("whether WeCom reaches the callback URL: what listens on {base} is no kfbind"),
                "stop it, or change server.listen; then start `kfbind serve` and save the URL in the console",
            );
            return Ok(step);
        }
        Err(_) => {
            step.unknown(
                format!("whether WeCom reaches the callback URL: no service answers on {base}"),
                "start `kfbind serve`, save the URL in the console, and check again",
            );
            step.look(SAVE);
            return Ok(step);
        }
    };
    judge(&metrics, &mut step);
    // Whoever holds the port may be anybody, so it is shown no key; operators' own address tells the details without one.
    if config.server.ops_listen.is_some() {
        let ready = http.get(format!("{base}/readyz"));
        reports(&text(ready).await.unwrap_or_default(), &mut step);
    }
    Ok(step)
}

/// Where the service's operator side is, as seen from this machine.
fn base(config: &Config) -> Option<String> {
    let server = &config.server;
    let mut at = match server.ops_listen {
        Some(at) => at,
        None if server.tls_cert.is_some() => return None,
        None => server.listen,
    };
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() {
            IpAddr::from([127, 0, 0, 1])
        } else {
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
        });
    }
    (at.port() != 0).then(|| format!("http://{at}"))
}

async fn text(request: reqwest::RequestBuilder) -> Result<String, ExchangeError> {
    let answer = outgoing::exchange(request, PAGE_BYTES_MAX).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// How many callbacks were counted under this name.
fn count(metrics: &str, result: &str) -> u64 {
    let value =
        |line: &str| line.strip_prefix(CALLBACKS)?.strip_prefix(result)?.strip_prefix("\"} ")?.parse().ok();
    metrics.lines().find_map(value).unwrap_or(0)
}

fn judge(metrics: &str, step: &mut Step) {
    let checks = count(metrics, "echo");
    let arrived: u64 = ARRIVED.iter().map(|result| count(metrics, result)).sum();
    if arrived > 0 {
        step.ok(format!(
            "WeCom reaches it: {arrived} callbacks and {checks} checks of the URL since the service started"
        ));
        return;
    }
    if checks > 0 {
        step.ok(format!(
            "WeCom has checked the URL {checks} times since the service started, and was answered"
        ));
        step.look(
            "no message has rung yet: the event 微信客服消息和事件 must be ticked there; then write something in the chat and \
             check again",
        );
        return;
    }
    let refused = REFUSED.iter().find(|(result, ..)| count(metrics, result) > 0);
    if let Some((result, key, fix)) = refused {
        step.missing(problem(
            key,
            format!("does not fit the callbacks that come: all are refused ({result})"),
            *fix,
        ));
        return;
    }
    step.unknown(
        "whether WeCom reaches the callback URL: nothing has come since the service started",
        "save the URL in the console (WeCom checks it each time), or write something in the chat, and check again",
    );
    step.look(SAVE);
}

/// What the service itself reports.
fn reports(ready: &str, step: &mut Step) {
    let ready: Value = serde_json::from_str(ready).unwrap_or_default();
    let problems = ready.get("problems").and_then(Value::as_array);
    for reported in problems.into_iter().flatten().filter_map(Value::as_str) {
        step.note(problem("/readyz", reported, "see the service's log"));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::walk::Mark, *};

    fn judged(metrics: &str) -> (Mark, String) {
        let mut step = Step::new("");
        judge(metrics, &mut step);
        let first = step.lines.remove(0);
        (first.mark, first.text)
    }

    #[test]
    fn a_url_is_proven_by_what_came_and_by_nothing_else() {
        let series = |result: &str, count: u64| format!("{CALLBACKS}{result}\"}} {count}\n");
        assert_eq!(judged("").0, Mark::Unknown);
        assert_eq!(judged(&series("malformed", 7)).0, Mark::Unknown, "anybody can send that");
        assert_eq!(judged(&series("echo", 1)).0, Mark::Ok);
        assert_eq!(judged(&series("accepted", 2)).0, Mark::Ok);
        for (result, key, _) in REFUSED {
            let (mark, text) = judged(&series(result, 1));
            assert_eq!(mark, Mark::Missing);
            assert!(text.starts_with(key), "{text}");
            assert_eq!(judged(&(series(result, 9) + &series("echo", 1))).0, Mark::Ok, "mended since");
        }
    }
}
