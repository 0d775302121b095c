//! Somebody who never binds and only talks: what hand-over is for.

use std::sync::Arc;

use kfbind::sim::Customer;

use crate::{
    line::{TRIES_BEFORE_WRITING, eventually},
    person::Sum,
    report::{Breach, Failure},
    world::Town,
};

/// Somebody who never binds and only talks: invited once, and brought to a person once in a session.
pub(crate) struct Talker {
    town: Arc<Town>,
    chat: Customer,
    account: String,
    sessions: u64,
}

impl Talker {
    pub(crate) fn arrives(town: Arc<Town>, number: u64) -> Self {
        let chat = town.sim.customer(&format!("t{number}"));
        let account = town.sim.account(usize::try_from(number).unwrap_or(0) % town.accounts);
        Self { town, chat, account, sessions: 0 }
    }

    /// Writes, is brought to the pool, is served, and the session ends.
    pub(crate) async fn step(&mut self) -> Result<(), Failure> {
        self.chat.says(&self.account, "你好，有人吗");
        let mut tries = 0_u32;
        eventually(
            || format!("{} was never brought to anybody", self.chat.external_userid()),
            Breach::Stuck,
            || {
                let state = self.town.sim.service_state(&self.chat, &self.account);
                tries += 1;
                if state < 2 && tries.is_multiple_of(TRIES_BEFORE_WRITING) {
                    // Refusals are tried again at the next message only.
                    self.chat.says(&self.account, "还在吗");
                }
                std::future::ready((state == 2).then_some(()))
            },
        )
        .await?;
        self.town.report.checked("brought to the pool");
        self.sessions += 1;
        self.town.sim.servicer_takes(&self.chat, &self.account, "fakeServicerOne");
        self.chat.says(&self.account, "谢谢");
        self.town.sim.servicer_ends(&self.chat, &self.account, "fakeServicerOne");
        Ok(())
    }

    pub(crate) fn leaves(self) -> Result<Sum, Failure> {
        let invited = self.chat.heard().iter().filter(|heard| !heard.menu.is_empty()).count();
        if invited > 1 {
            return Err(Failure::new(Breach::Doubled, format!("invited {invited} times within an hour")));
        }
        self.town.report.checked_times("invited at most once", 1);
        Ok(Sum::default())
    }
}
