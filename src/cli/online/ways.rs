//! What the further ways to bind need in the consoles, each only where it is on, and where webhooks go.

use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    fault::{may_pass, problem, refusal},
    walk::Step,
};
use crate::{
    config::{Config, Method},
    outgoing,
    wecom::staff::{StaffClient, StaffProbe},
};

const STAFF_SECRET: &str = "wecom.staff_secret";
/// A status of this class comes from the receiver itself; what it says to a HEAD is its own affair.
const SERVER_ERROR: u16 = 500;

/// The ways beside the code.
pub(super) async fn ways(config: &Config, staff: Option<&StaffClient>) -> Step {
    let mut step = Step::new("Ways to bind beside the code (binding.methods)");
    let is_on = |method| config.binding.methods.contains(&method);
    let miniprogram = &config.miniprogram;
    if is_on(Method::Link) {
        step.unknown(
            "\"link\": whether wx.openCustomerServiceChat passes the ticket on is known on a real phone only",
            "open the chat from the mini program: where it does, the chat asks; the typed code works in any case",
        );
    }
    if is_on(Method::UnionId) {
        step.look(
            "\"unionid\": open the WeCom console, 微信客服, API, 通过API管理微信客服账号, 绑定: the mini program is bound there, \
             and belongs to an open platform account (开放平台) of the same legal entity",
        );
    }
    if is_on(Method::Card) {
        step.ok(format!("\"card\": cards open miniprogram.card_path = {:?}", miniprogram.card_path));
        step.look(
            "\"card\": that page is in the released version of the mini program (mp.weixin.qq.com, 版本管理)",
        );
    }
    match staff {
        Some(staff) => staff_app(config, staff, &mut step).await,
        None if is_on(Method::Staff) => step.not_asked(),
        None => {}
    }
    if let Some(template) = &miniprogram.subscribe_template_id {
        template_id(template, &mut step);
    }
    if step.lines.is_empty() {
        step.ok("none is on");
    }
    step
}

async fn staff_app(config: &Config, staff: &StaffClient, step: &mut Step) {
    use secrecy::ExposeSecret as _;
    let same = config
        .wecom
        .staff_secret
        .as_ref()
        .is_some_and(|secret| secret.expose_secret() == config.wecom.secret.expose_secret());
    if same {
        step.note(problem(
            STAFF_SECRET,
            "is the same as wecom.secret, though linking a mini program to the company makes an app of its own",
            "copy the Secret of the app that the WeCom mini program is linked to (应用管理)",
        ));
    }
    match staff.probe().await {
        StaffProbe::Linked => {
            step.ok("\"staff\": WeCom logs employees in for the app of wecom.staff_secret");
        }
        StaffProbe::NotLinked => step.missing(problem(
            STAFF_SECRET,
            "is that of an app which no mini program is linked to (errcode 40014)",
            "link the mini program to the company (工作台, 关联小程序), and copy the Secret of the app that this makes",
        )),
        StaffProbe::Failed(error) if may_pass(&error) => step.unknown(
            format!("\"staff\": whether employees can log in: {error}"),
            "check again a minute later",
        ),
        StaffProbe::Failed(error) => step.missing(refusal(STAFF_SECRET, &error)),
    }
    step.look(
        "\"staff\": the page pages/staff-bind/staff-bind is in the toolbar of the chat (客服工具栏), and the servicers are in \
         that app's visible range",
    );
}

/// Ids of templates are long and mixed; the number of the template in the library is what gets pasted instead.
fn template_id(template: &str, step: &mut Step) {
    let key = "miniprogram.subscribe_template_id";
    let is_plain = template.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let fix = "copy 模板ID from mp.weixin.qq.com, 订阅消息, 我的模板";
    if template.bytes().all(|byte| byte.is_ascii_digit()) {
        step.missing(problem(key, "has digits only: that is the template's number in the library", fix));
    } else if is_plain {
        step.look(format!(
            "open mp.weixin.qq.com, 订阅消息, 我的模板: {key} is there, with the fields of subscribe_data"
        ));
    } else {
        step.missing(problem(key, "has other characters than letters, digits, - and _", fix));
    }
}

/// Whether the receiver of webhooks can be reached. Asks by HEAD, which is no event.
pub(super) async fn webhooks(config: &Config, http: &reqwest::Client) -> Step {
    let mut step = Step::new("Webhooks");
    let Some(url) = &config.webhooks.url else {
        step.ok("webhooks.url is empty: none are sent");
        return step;
    };
    let key = "webhooks.url";
    let Some(url) =
        Url::parse(url.expose_secret()).ok().filter(|url| ["http", "https"].contains(&url.scheme()))
    else {
        step.missing(problem(
            key,
            "is no http:// or https:// address",
            "write the whole address of the receiver",
        ));
        return step;
    };
    // The path may hold a secret of the receiver's.
    let shown = url.host_str().unwrap_or_default().to_owned();
    match outgoing::exchange(http.head(url), 0).await {
        Ok(answer) if answer.status.as_u16() >= SERVER_ERROR => step.missing(problem(
            key,
            format!("{shown} answers HTTP status {}", answer.status.as_u16()),
            "mend the receiver, or what stands before it",
        )),
        Ok(answer) => step.ok(format!(
            "{key}: {shown} is there (HTTP status {} to a HEAD); no event was sent",
            answer.status.as_u16()
        )),
        Err(error) => step.missing(problem(
            key,
            format!("{shown} can't be reached: {error}"),
            "start the receiver, correct the address, or open the way from this machine",
        )),
    }
    step
}

#[cfg(test)]
mod tests {
    use super::{super::walk::Mark, *};

    #[test]
    fn the_number_of_a_template_is_not_its_id() {
        for (template, wanted) in
            [("1234", Mark::Missing), ("a b", Mark::Missing), ("FAKE-template_0123456789", Mark::Look)]
        {
            let mut step = Step::new("");
            template_id(template, &mut step);
            assert_eq!(step.lines[0].mark, wanted, "{template}");
        }
    }
}
