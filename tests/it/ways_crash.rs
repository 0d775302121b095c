//! The real binary, killed between the steps of each way that begins in the chat: what was begun is ended by the next
//! process, once. (Cards and employees: `ways_card.rs`, `ways_staff.rs`.)

use kfbind::sim::{Api, Fault};
use serde_json::json;

use crate::support::{
    CALLBACK_PATH, Client, Phone, eventually, heard, hears, metric_of,
    process::{Process, but, environment, issue, login, world},
};

/// A process that is killed and replaced again and again.
struct Mortal {
    environment: Vec<(String, String)>,
    process: Option<Process>,
    client: Client,
}

impl Mortal {
    async fn start(sim: &kfbind::sim::Sim, environment: Vec<(String, String)>) -> Self {
        let process = Process::serve(&environment).await;
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        let client = Client::of(&process.base);
        Self { environment, process: Some(process), client }
    }

    fn dies(&mut self) {
        drop(self.process.take());
    }

    async fn lives(&mut self, sim: &kfbind::sim::Sim) {
        let process = Process::serve(&self.environment).await;
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        self.client.moves(&process.base);
        self.process = Some(process);
    }

    async fn outbox_is_empty(&self) {
        eventually("the outbox is empty", async || {
            (metric_of(&self.client, "kfbind_outbox_depth").await == 0.0).then_some(())
        })
        .await;
    }
}

const CHAT: [(&str, &str); 5] = [
    ("KF__RECONCILE_EVERY", "500ms"),
    ("MESSAGES__CONFIRM", "confirm"),
    ("MESSAGES__CONFIRM_YES", "yes"),
    ("MESSAGES__CONFIRM_NO", "no"),
    ("BINDING__METHODS", "code,link,unionid,window"),
];

#[tokio::test]
async fn a_link_binds_over_a_kill_after_each_of_its_steps() {
    let (sim, options, store) = world().await;
    let mut mortal = Mortal::start(&sim, but(&environment(&options, &sim.base_url(), &store), &CHAT)).await;
    let phone = login(&mortal.client, &sim, "u").await;
    issue(&phone).await;
    let link = phone.view().await["pending"]["kf"]["url"].as_str().unwrap().to_owned();
    mortal.dies();
    let customer = sim.customer("c");
    customer.opens(&link).expect("WeCom tells of the entry");
    mortal.lives(&sim).await;
    assert_eq!(hears(&customer, 1).await, ["confirm\nyes\nno"]);
    mortal.dies();
    customer.taps_label("yes").expect("the yes can be tapped");
    mortal.lives(&sim).await;
    assert_eq!(phone.until("bound").await["binding"]["method"], "link");
    mortal.dies();
    mortal.lives(&sim).await;
    mortal.outbox_is_empty().await;
    assert_eq!(heard(&customer), ["confirm\nyes\nno", "bound"], "asked once and told once");
    assert_eq!(phone.status().await, "bound");
}

#[tokio::test]
async fn a_question_that_may_have_been_asked_before_a_kill_is_asked_again_only_at_the_next_message() {
    let (sim, options, store) = world().await;
    let mut mortal = Mortal::start(&sim, but(&environment(&options, &sim.base_url(), &store), &CHAT)).await;
    let phone = login(&mortal.client, &sim, "u").await;
    issue(&phone).await;
    let link = phone.view().await["pending"]["kf"]["url"].as_str().unwrap().to_owned();
    // It was never heard, and the service can't know.
    sim.fail_next(Api::SendMsgOnEvent, Fault::Timeout, 1);
    let customer = sim.customer("c");
    customer.opens(&link);
    sim.wait_count(Api::SendMsgOnEvent, 1, crate::support::DEADLINE).await.unwrap();
    mortal.dies();
    mortal.lives(&sim).await;
    mortal.outbox_is_empty().await;
    assert_eq!(heard(&customer), Vec::<String>::new());
    customer.says(&sim.account(0), "在吗");
    assert_eq!(hears(&customer, 1).await, ["confirm\nyes\nno"]);
    customer.taps_label("yes");
    phone.until("bound").await;
}

#[tokio::test]
async fn a_window_binds_over_a_kill_after_each_of_its_steps() {
    let (sim, options, store) = world().await;
    let mut mortal = Mortal::start(&sim, but(&environment(&options, &sim.base_url(), &store), &CHAT)).await;
    let phone = login(&mortal.client, &sim, "u").await;
    issue(&phone).await;
    phone.client.post("/api/binding/intent", json!({})).await.expect(202);
    mortal.dies();
    let customer = sim.customer("c");
    customer.says(&sim.account(0), "你好");
    mortal.lives(&sim).await;
    assert_eq!(hears(&customer, 1).await, ["confirm\nyes\nno"]);
    mortal.dies();
    customer.taps_label("yes");
    mortal.lives(&sim).await;
    assert_eq!(phone.until("bound").await["binding"]["method"], "window");
}

#[tokio::test]
async fn the_same_unionid_binds_over_kills_whichever_side_came_before() {
    for user_first in [true, false] {
        let (sim, options, store) = world().await;
        let mut mortal =
            Mortal::start(&sim, but(&environment(&options, &sim.base_url(), &store), &CHAT)).await;
        let customer = sim.customer("c").with_unionid("uni1");
        let openid = sim.openid_of("u");
        let logs_in = async |client: &Client| -> Phone {
            Phone::login(client.clone(), &sim.wx_login_code(&openid, Some("uni1")), &openid).await
        };
        let phone = if user_first {
            let phone = logs_in(&mortal.client).await;
            mortal.dies();
            customer.says(&sim.account(0), "你好");
            mortal.lives(&sim).await;
            phone
        } else {
            customer.says(&sim.account(0), "你好");
            let heard_of = "kfbind_sync_messages_total{kind=\"text\"}";
            eventually("the customer is known", async || {
                (metric_of(&mortal.client, heard_of).await == 1.0).then_some(())
            })
            .await;
            // Counted as it is decided; what is asked after that comes behind its commit.
            login(&mortal.client, &sim, "somebody else").await.ask(json!({})).await;
            mortal.dies();
            mortal.lives(&sim).await;
            logs_in(&mortal.client).await
        };
        assert_eq!(phone.until("bound").await["binding"]["method"], "unionid", "user first: {user_first}");
    }
}
