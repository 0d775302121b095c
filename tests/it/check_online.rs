//! `kfbind check --online` over the real binary: what each console was not told is found, named by its key with the fix,
//! and nothing is called proven that nobody said.

use std::collections::BTreeSet;

use kfbind::sim::{Api, BoundCorp, Fault, Servicer, Sim, SimAccount, SimOptions};
use tempfile::TempDir;

use crate::support::{
    CALLBACK_PATH, DEADLINE,
    process::{ADMIN_KEY, Process, but, environment, kfbind, world},
};

/// What it printed, and its exit code.
struct Walk {
    text: String,
    code: Option<i32>,
}

impl Walk {
    /// The lines with this mark, each with its fix.
    fn marked(&self, mark: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut is_open = false;
        for line in self.text.lines() {
            let is_fix = line.trim_start().starts_with("fix: ");
            if is_fix && is_open {
                found.last_mut().unwrap().push_str(line);
            } else if !is_fix {
                is_open = line.strip_prefix("    ").is_some_and(|line| line.starts_with(&format!("{mark} ")));
                if is_open {
                    found.push(line[12..].to_owned());
                }
            }
        }
        found
    }

    /// The one problem, which is of this key and says all of this.
    fn one_problem(&self, key: &str, parts: &[&str]) {
        let problems = self.marked("missing");
        assert_eq!(problems.len(), 1, "{}", self.text);
        assert!(
            problems[0].starts_with(&format!("{key}: ")) && problems[0].contains("fix: "),
            "{}",
            problems[0]
        );
        for part in parts {
            assert!(problems[0].contains(part), "{part} is not in {}", problems[0]);
        }
        assert_eq!(self.code, Some(1), "{}", self.text);
    }

    fn says(&self, mark: &str, part: &str) {
        assert!(
            self.marked(mark).iter().any(|line| line.contains(part)),
            "no {mark} of {part}:\n{}",
            self.text
        );
    }
}

fn check(environment: &[(String, String)]) -> Walk {
    let output = kfbind(&["check", "--online"], environment).env_remove("RUST_LOG").output().unwrap();
    let (text, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(said, "", "nothing but the walk is said");
    Walk { text, code: output.status.code() }
}

/// A walk in a world that is right but for this.
async fn walk(settings: &[(&str, &str)], spoil: impl FnOnce(&Sim)) -> Walk {
    let (sim, options, store) = world().await;
    spoil(&sim);
    let environment = but(&environment(&options, &sim.base_url(), &store), settings);
    let walk = tokio::task::spawn_blocking(move || check(&environment)).await.unwrap();
    holds_its_hands_still(&sim);
    walk
}

/// Nothing was sent, moved or read away.
fn holds_its_hands_still(sim: &Sim) {
    let acting = [
        Api::SyncMsg,
        Api::SendMsg,
        Api::SendMsgOnEvent,
        Api::ServiceStateTrans,
        Api::SubscribeSend,
        Api::Code2Session,
    ];
    for api in acting {
        assert_eq!(sim.count(api), 0, "{api:?} was called");
    }
}

#[tokio::test]
async fn where_all_is_right_nothing_is_missing_and_what_only_people_see_is_left_to_them() {
    let walk = walk(&[], |_| ()).await;
    assert_eq!((walk.code, walk.marked("missing")), (Some(0), Vec::new()), "{}", walk.text);
    for part in [
        "wecom.secret: WeCom gave an access token",
        "clock is 0 s off",
        "wkFAKEaccountAAAAAAAAAAAAAAAAAAA  客服一号  managed through the API, served",
        "fakeServicerOne (receiving); while one of them has a session, WeCom refuses answers (95018)",
        "WeCom makes the link",
        "miniprogram.secret: WeChat gives an access token",
        "bound to wwFAKEcorp00000001",
    ] {
        walk.says("ok", part);
    }
    walk.says("look", "接待方式 must be 智能助手");
    walk.says("look", "request 合法域名");
    let steps: Vec<_> = walk.text.lines().filter(|line| line.get(2..4) == Some(". ")).collect();
    let numbers: Vec<usize> = steps.iter().map(|line| line[..2].trim().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=steps.len()).collect::<Vec<_>>(), "{}", walk.text);
    assert!(!walk.text.contains('\x1b'), "no colours in a pipe");
}

#[tokio::test]
async fn nothing_secret_is_printed_whatever_goes_wrong() {
    let spoilt: [fn(&Sim); 3] = [
        |_| (),
        |sim| sim.switch(|switches| switches.untrusted_ip = Some("192.0.2.7".into())),
        |sim| {
            for api in Api::ALL {
                sim.fail_next(api, Fault::BrokenJson, 9);
            }
        },
    ];
    let given = SimOptions::default();
    for spoil in spoilt {
        let all = [
            ("BINDING__METHODS", "code,link,card,unionid,staff"),
            ("WECOM__STAFF_SECRET", &given.staff_secret),
        ];
        let key = [("ADMIN__API_KEY", ADMIN_KEY)];
        let walk = walk(&[&all[..], &key[..]].concat(), spoil).await;
        for secret in [
            &given.secret,
            &given.staff_secret,
            &given.token,
            &given.encoding_aes_key,
            &given.app_secret,
            &ADMIN_KEY.to_owned(),
        ] {
            assert!(!walk.text.contains(secret.as_str()), "{secret} in {}", walk.text);
        }
    }
}

/// A console that keeps this interface shut.
fn refuses(api: Api, errcode: i64) -> impl FnOnce(&Sim) {
    move |sim| {
        sim.switch(|switches| {
            switches.refuse.insert(api, errcode);
        });
    }
}

// ---- WeCom: the company, the secret, the address ----------------------------------------------------------------

#[tokio::test]
async fn a_wrong_secret_or_company_is_told_by_its_key_and_nothing_more_is_asked_with_it() {
    for (setting, value, key, code) in [
        ("WECOM__SECRET", "wrong-secret", "wecom.secret", "40001"),
        ("WECOM__CORP_ID", "wwFAKEother0000001", "wecom.corp_id", "40013"),
    ] {
        let (sim, options, store) = world().await;
        let environment = but(&environment(&options, &sim.base_url(), &store), &[(setting, value)]);
        // The mini program's binding is of the right company, so a wrong one shows there, too.
        sim.switch(|switches| switches.bound_corp = BoundCorp::Other(value.to_owned()));
        let environment = match setting {
            "WECOM__SECRET" => {
                sim.switch(|switches| switches.bound_corp = BoundCorp::Ours);
                environment
            }
            _ => environment,
        };
        let walk = tokio::task::spawn_blocking(move || check(&environment)).await.unwrap();
        walk.one_problem(key, &[code]);
        walk.says("unknown", "not asked");
        assert_eq!(sim.count(Api::GetToken), 1, "repeated wrong ones ban the address");
        assert_eq!(sim.count(Api::AccountList), 0);
    }
}

#[tokio::test]
async fn another_refusal_of_the_secret_is_told_with_its_code() {
    let walk = walk(&[], |sim| sim.fail_next(Api::GetToken, Fault::Errcode(40091), 9)).await;
    walk.one_problem("wecom.secret", &["40091"]);
}

#[tokio::test]
async fn the_address_that_wecom_saw_is_shown() {
    let spoil = |sim: &Sim| sim.switch(|switches| switches.untrusted_ip = Some("192.0.2.7".into()));
    let walk = walk(&[], spoil).await;
    walk.one_problem("wecom.proxy", &["60020", "192.0.2.7", "企业可信IP"]);
}

#[tokio::test]
async fn an_unreachable_wecom_and_wechat_are_told_with_their_addresses_keys() {
    let walk = walk(&[], |sim| sim.switch(|switches| switches.down = true)).await;
    let keys: BTreeSet<String> =
        walk.marked("missing").iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        keys.into_iter().collect::<Vec<_>>(),
        ["miniprogram.api_base", "wecom.api_base"],
        "{}",
        walk.text
    );
    assert_eq!(walk.code, Some(1));
}

#[tokio::test]
async fn an_app_without_the_right_to_call_kf_is_told_which_box_to_tick() {
    for (errcode, part) in [
        (48002, "可调用接口的应用"),
        (50003, "应用管理"),
        (60031, "allow the app to call the API"),
        (95011, "work.weixin.qq.com/kf"),
        (95012, "开发配置"),
        (95017, "switch the API on"),
    ] {
        let refuse = refuses(Api::AccountList, errcode);
        let walk = walk(&[], refuse).await;
        walk.one_problem("wecom.secret", &[&errcode.to_string(), part]);
        walk.says("unknown", "not asked");
    }
}

#[tokio::test]
async fn a_clock_that_is_off_wecoms_is_a_problem() {
    let now = kfbind::clock::SystemClock;
    let options = SimOptions {
        clock: std::sync::Arc::new(move || actors::ports::Clock::now_ms(&now) + 90_000),
        ..SimOptions::default()
    };
    let (sim, store) =
        (Sim::start(options.clone()).await.unwrap(), TempDir::with_prefix("kfbind-it-").unwrap());
    let environment = environment(&options, &sim.base_url(), &store);
    let walk = tokio::task::spawn_blocking(move || check(&environment)).await.unwrap();
    let problems = walk.marked("missing");
    assert!(problems.len() == 1 && problems[0].contains("clock is -"), "{}", walk.text);
}

// ---- The accounts -----------------------------------------------------------------------------------------------

fn native(sim: &Sim) {
    sim.add_account(SimAccount { open_kfid: "wkNATIVE".into(), name: "人工".into(), api_managed: false });
}

#[tokio::test]
async fn accounts_that_are_named_but_not_listed_or_not_managed_are_problems() {
    for (accounts, parts) in [
        ("wkNATIVE", &["wkNATIVE", "not managed through the API", "通过API管理微信客服账号"][..]),
        ("wkNOBODY", &["wkNOBODY", "does not list"]),
        ("wknative", &["wknative", "write \"wkNATIVE\""]),
    ] {
        let walk = walk(&[("WECOM__ACCOUNTS", accounts)], native).await;
        walk.one_problem("wecom.accounts", parts);
    }
}

#[tokio::test]
async fn the_id_of_a_link_is_recognised_where_an_account_belongs() {
    let walk = walk(&[("WECOM__ACCOUNTS", "kfc6fac668195f8389e")], |_| ()).await;
    assert_eq!(walk.code, Some(1));
    assert!(
        walk.text.contains("wecom.accounts") && walk.text.contains("kfc… is the id of a link"),
        "{}",
        walk.text
    );
}

#[tokio::test]
async fn where_no_account_is_managed_nothing_can_be_served() {
    let spoil = |sim: &Sim| {
        let (open_kfid, name) = (sim.account(0), "客服一号".to_owned());
        sim.add_account(SimAccount { open_kfid, name, api_managed: false });
    };
    let walk = walk(&[], spoil).await;
    walk.one_problem("wecom.accounts", &["there is none", "通过API管理微信客服账号"]);
    walk.says("ok", "not managed through the API, not served");
}

#[tokio::test]
async fn an_answer_without_the_privilege_is_no_problem() {
    let walk = walk(&[], |sim| sim.switch(|switches| switches.no_manage_privilege = true)).await;
    assert_eq!(walk.code, Some(0), "{}", walk.text);
}

#[tokio::test]
async fn who_receives_outside_the_visible_range_is_told_where_to_put_them() {
    for errcode in [60030, 60011] {
        let refuse = refuses(Api::ServicerList, errcode);
        let walk = walk(&[], refuse).await;
        walk.one_problem("wecom.secret", &[&errcode.to_string(), "可见范围"]);
    }
}

#[tokio::test]
async fn hand_over_to_nobody_or_to_those_who_have_stopped_is_a_problem() {
    for (servicers, part) in [
        (vec![], "nobody receives"),
        (
            vec![Servicer::stopped("zhang"), Servicer::stopped("wang")],
            "zhang (stopped), wang (stopped) (95019)",
        ),
    ] {
        let spoil = move |sim: &Sim| sim.set_servicers(&sim.account(0), servicers);
        let walk = walk(&[("KF__HANDOVER", "pool")], spoil).await;
        walk.one_problem("kf.handover", &[part]);
    }
    // Without hand-over it is no problem that nobody receives, but worth a word.
    let walk = walk(&[], |sim| sim.set_servicers(&sim.account(0), vec![])).await;
    assert_eq!(walk.code, Some(0), "{}", walk.text);
    walk.says("note", "reaches nobody");
    // Nor is anybody known to have stopped in a department.
    let department = |sim: &Sim| {
        let servicers = vec![Servicer::stopped("zhang"), Servicer::Department { department_id: 7 }];
        sim.set_servicers(&sim.account(0), servicers);
    };
    let walk = self::walk(&[("KF__HANDOVER", "pool")], department).await;
    assert_eq!(walk.code, Some(0), "{}", walk.text);
    walk.says("ok", "department 7");
}

#[tokio::test]
async fn whom_the_hand_over_names_must_receive_somewhere() {
    let servicer = [("KF__HANDOVER", "servicer")];
    for (named, parts) in [
        ("nobodyHere", &["\"nobodyHere\"", "95014"][..]),
        ("FAKEservicerone", &["write \"fakeServicerOne\""]),
    ] {
        let walk = walk(&[&servicer[..], &[("KF__SERVICERS", named)]].concat(), |_| ()).await;
        walk.one_problem("kf.servicers", parts);
    }
    let walk = walk(&[&servicer[..], &[("KF__SERVICERS", "fakeServicerOne")]].concat(), |_| ()).await;
    assert_eq!(walk.code, Some(0), "{}", walk.text);
}

// ---- The link ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_link_that_can_not_be_made_is_a_problem() {
    let refuse = refuses(Api::AddContactWay, 48007);
    walk(&[], refuse).await.one_problem("wecom.secret", &["48007", "no link can be made", "通过API管理"]);
}

#[tokio::test]
async fn a_link_of_ones_own_without_a_scene_can_not_carry_tickets() {
    let own = ("KF__URL", "https://work.weixin.qq.com/kfid/kfc6fac668195f8389e");
    let with = walk(&[own, ("BINDING__METHODS", "code,link")], |_| ()).await;
    with.says("note", "kf.url: has no enc_scene");
    assert_eq!(with.code, Some(0), "codes work with it: {}", with.text);
    let without = walk(&[own], |_| ()).await;
    assert!(without.marked("note").is_empty(), "{}", without.text);
}

// ---- The callback -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_callback_url_is_proven_only_by_what_the_running_service_has_seen() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    // A port that nobody listens on for now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let environment =
        but(&environment, &[("SERVER__LISTEN", &format!("127.0.0.1:{port}")), ("ADMIN__API_KEY", ADMIN_KEY)]);
    let check = async || {
        let environment = environment.clone();
        tokio::task::spawn_blocking(move || check(&environment)).await.unwrap()
    };
    let alone = check().await;
    alone.says("unknown", "no service answers");
    alone.says("look", "api/wechat-work/message");
    assert_eq!(alone.code, Some(0), "not to be known is no problem: {}", alone.text);

    let process = Process::serve(&environment).await;
    let silent = check().await;
    silent.says("unknown", "nothing has come since the service started");
    silent.says("ok", "is open in another process");

    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let wrong = sim.push_raw("<xml></xml>", kfbind::sim::Tamper::Signature).await.unwrap();
    assert_eq!(wrong.status, 403);
    check().await.one_problem("wecom.token", &["bad_signature"]);

    assert_eq!(sim.verify_url().await.unwrap().answer.status, 200);
    let verified = check().await;
    verified.says("ok", "WeCom has checked the URL 1 times");
    verified.says("look", "微信客服消息和事件 must be ticked");

    sim.push_callback(&sim.account(0));
    sim.wait_callbacks_done(DEADLINE).await.unwrap();
    check().await.says("ok", "WeCom reaches it");
}

#[tokio::test]
async fn another_program_on_the_services_port_is_not_taken_for_it() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    let listen = sim.base_url().replace("http://", "");
    let environment = but(&environment, &[("SERVER__LISTEN", &listen), ("ADMIN__API_KEY", ADMIN_KEY)]);
    let walk = tokio::task::spawn_blocking(move || check(&environment)).await.unwrap();
    walk.says("unknown", "is no kfbind");
}

// ---- WeChat -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_wrong_mini_program_or_secret_is_told_by_its_key() {
    for (setting, value, key, code) in [
        ("MINIPROGRAM__SECRET", "wrong", "miniprogram.secret", "40125"),
        ("MINIPROGRAM__APP_ID", "wxFAKEother000001", "miniprogram.app_id", "40013"),
    ] {
        walk(&[(setting, value)], |_| ()).await.one_problem(key, &[code]);
    }
    let frozen = walk(&[], |sim| sim.fail_next(Api::StableToken, Fault::Errcode(40243), 9)).await;
    frozen.one_problem("miniprogram.secret", &["40243", "frozen"]);
}

#[tokio::test]
async fn the_address_that_wechat_does_not_list_is_shown() {
    let walk = walk(&[], |sim| sim.switch(|switches| switches.unlisted_ip = Some("192.0.2.9".into()))).await;
    walk.one_problem("wecom.proxy", &["40164", "192.0.2.9", "IP白名单"]);
}

#[tokio::test]
async fn a_mini_program_that_is_not_bound_to_the_company_is_a_problem() {
    let other = BoundCorp::Other("wwFAKEother0000001".into());
    for (bound, key, part) in [
        (BoundCorp::Nobody, "miniprogram.app_id", "bound to no company"),
        (other, "wecom.corp_id", "wwFAKEother0000001"),
    ] {
        let walk = walk(&[], |sim| sim.switch(|switches| switches.bound_corp = bound)).await;
        walk.one_problem(key, &[part, "功能, 客服, 微信客服"]);
    }
    // What WeChat does not say is not guessed.
    let refuse = refuses(Api::KfWorkGet, 10_130_002);
    let walk = walk(&[], refuse).await;
    walk.says("unknown", "which company it is bound to");
    assert_eq!(walk.code, Some(0), "{}", walk.text);
}

// ---- Further ways, the store ------------------------------------------------------------------------------------

#[tokio::test]
async fn the_app_of_the_employees_is_asked_for_where_they_may_bind() {
    let given = SimOptions::default();
    let staff = ("BINDING__METHODS", "code,staff");
    let right = walk(&[staff, ("WECOM__STAFF_SECRET", &given.staff_secret)], |_| ()).await;
    assert_eq!(right.code, Some(0), "{}", right.text);
    right.says("ok", "WeCom logs employees in");
    let wrong = walk(&[staff, ("WECOM__STAFF_SECRET", "wrong")], |_| ()).await;
    wrong.one_problem("wecom.staff_secret", &["40001"]);
    let not_linked = walk(&[staff, ("WECOM__STAFF_SECRET", &given.secret)], |_| ()).await;
    not_linked.one_problem("wecom.staff_secret", &["40014", "关联小程序"]);
    not_linked.says("note", "the same as wecom.secret");
    let off = walk(&[], |_| ()).await;
    assert!(!off.text.contains("\"staff\""), "a way that is off needs nothing: {}", off.text);
}

#[tokio::test]
async fn what_the_other_ways_need_in_the_consoles_is_left_to_people() {
    let all = [
        ("BINDING__METHODS", "code,link,card,unionid"),
        ("MINIPROGRAM__SUBSCRIBE_TEMPLATE_ID", "FAKE_template-1"),
    ];
    let walk = walk(&all, |_| ()).await;
    for part in ["\"unionid\": open", "\"card\": that page", "订阅消息"] {
        walk.says("look", part);
    }
    walk.says("unknown", "passes the ticket on");
    let number = self::walk(&[("MINIPROGRAM__SUBSCRIBE_TEMPLATE_ID", "1234")], |_| ()).await;
    number.one_problem("miniprogram.subscribe_template_id", &["number"]);
}

#[tokio::test]
async fn a_store_of_another_company_or_that_can_not_be_made_is_a_problem() {
    let (sim, options, store) = world().await;
    let ours = environment(&options, &sim.base_url(), &store);
    drop(Process::serve(&ours).await);
    let other = "wwFAKEother0000001";
    sim.switch(|switches| switches.bound_corp = BoundCorp::Other(other.into()));
    let foreign = but(&ours, &[("WECOM__CORP_ID", other)]);
    let walk = tokio::task::spawn_blocking(move || check(&foreign)).await.unwrap();
    let problems = walk.marked("missing");
    assert!(problems[0].starts_with("store.path: ") && problems[0].contains(other), "{}", walk.text);

    let file = store.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let unusable = but(&ours, &[("STORE__PATH", path.to_str().unwrap())]);
        sim.switch(|switches| switches.bound_corp = BoundCorp::Ours);
        let walk = tokio::task::spawn_blocking(move || check(&unusable)).await.unwrap();
        walk.one_problem("store.path", &["file"]);
    }
}

#[tokio::test]
async fn a_look_at_the_store_leaves_none_where_there_was_none() {
    let (sim, options, store) = world().await;
    let path = store.path().join("later");
    let ours = environment(&options, &sim.base_url(), &store);
    let environment = but(&ours, &[("STORE__PATH", path.to_str().unwrap())]);
    let walk = tokio::task::spawn_blocking(move || check(&environment)).await.unwrap();
    walk.says("ok", "is not there yet, and can be made");
    assert!(!path.exists());
}

/// Made up; base64 of "fake-key-fake-key-fake-key-00".
const WEBHOOKS_SECRET: &str = "whsec_ZmFrZS1rZXktZmFrZS1rZXktZmFrZS1rZXktMDA=";

#[tokio::test]
async fn a_receiver_of_webhooks_is_looked_for_without_an_event() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let read = std::io::Read::read(&mut stream, &mut head).unwrap();
        let answer = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, answer).unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let url = format!("http://{receiver}/hooks?token=HUSH");
    let settings = [("WEBHOOKS__URL", url.as_str()), ("WEBHOOKS__SECRET", WEBHOOKS_SECRET)];
    let walk = walk(&settings, |_| ()).await;
    walk.says("ok", &format!("webhooks.url: {} is there", receiver.ip()));
    assert!(asked.join().unwrap().starts_with("HEAD /hooks?token=HUSH "));
    assert!(!walk.text.contains("HUSH") && !walk.text.contains(WEBHOOKS_SECRET), "{}", walk.text);
}

#[tokio::test]
async fn a_receiver_of_webhooks_that_is_not_there_is_a_problem() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/hooks?token=HUSH");
    let settings = [("WEBHOOKS__URL", url.as_str()), ("WEBHOOKS__SECRET", WEBHOOKS_SECRET)];
    let walk = walk(&settings, |_| ()).await;
    walk.one_problem("webhooks.url", &["can't be reached", "start the receiver"]);
    assert!(!walk.text.contains("HUSH"), "{}", walk.text);
}
