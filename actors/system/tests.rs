//! The whole inside: start, stop, death of an actor, waits.

use crate::testing::rig::Rig;

#[tokio::test(start_paused = true)]
async fn a_code_typed_in_the_chat_binds_and_is_answered() {
    let mut rig = Rig::start().await;
    rig.wecom.set_profile("wmA", "小明", None);
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.heard("wmA"), ["bound 小明 您的小程序账号 解绑"]);
    assert_eq!(rig.binding("oA").await.unwrap().nickname.as_deref(), Some("小明"));
    rig.restart().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    rig.chat("wmA", "解绑").await;
    assert_eq!(rig.bound_to("oA").await, None);
    assert_eq!(rig.heard("wmA").last().unwrap(), "unbound 您的小程序账号");
}
