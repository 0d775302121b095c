//! The calls of the scripted WeCom: each is recorded, waits at its gate, follows its script, and else does its work.

use super::{Open, ScriptedWeCom, while_held};
use crate::{
    ids::{ExternalUserId, OpenKfId, UserId, WelcomeCode},
    ports::{
        BoxFuture, CallError, KfAccount, MiniProgram, Notice, NoticeFate, Page, Profile, PullRequest,
        Receiver, Reply, ServiceState, WeCom,
    },
};

impl WeCom for ScriptedWeCom {
    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Page, CallError>> {
        Box::pin(async move {
            let open = Open(self, request.account.clone());
            {
                let mut state = self.state();
                state.pulls.push(request.clone());
                state.pulls_in_flight.push(request.account.clone());
                state.pulls_at_once = state.pulls_at_once.max(state.pulls_in_flight.len());
                let same = state.pulls_in_flight.iter().filter(|id| **id == request.account).count();
                state.pulls_of_one_account_at_once = state.pulls_of_one_account_at_once.max(same);
            }
            while_held(&self.pulls_held).await;
            drop(open);
            let mut state = self.state();
            state.pull_script.pop_front().unwrap_or_else(|| Ok(state.page(&request)))
        })
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<KfAccount>, CallError>> {
        Box::pin(async move {
            let mut state = self.state();
            state.listings += 1;
            state.listing_script.pop_front().map_or_else(|| Ok(state.accounts.clone()), Err)
        })
    }

    fn contact_way(&self, account: OpenKfId, scene: String) -> BoxFuture<'_, Result<String, CallError>> {
        Box::pin(async move {
            let mut state = self.state();
            state.links.push(account.clone());
            let url = format!("https://work.weixin.qq.com/kf/{account}?enc_scene={scene}");
            state.link_script.pop_front().map_or(Ok(url), Err)
        })
    }

    fn send(&self, reply: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            self.state().sends.push(reply.clone());
            while_held(&self.sends_held).await;
            let mut state = self.state();
            if let Some(Err(error)) = state.send_script.pop_front() {
                return Err(error);
            }
            if state.taken.insert((reply.account.clone(), reply.reply_id.clone())) {
                state.said.push(reply);
            }
            Ok(())
        })
    }

    fn service_state(
        &self,
        _account: OpenKfId,
        customer: ExternalUserId,
    ) -> BoxFuture<'_, Result<ServiceState, CallError>> {
        Box::pin(async move {
            let mut state = self.state();
            state.sessions_asked += 1;
            Ok(state.service_states.get(&customer).copied().unwrap_or(ServiceState::New))
        })
    }

    fn welcome(&self, code: WelcomeCode, reply: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            self.state().welcomes.push(code);
            while_held(&self.sends_held).await;
            let mut state = self.state();
            if let Some(Err(error)) = state.welcome_script.pop_front() {
                return Err(error);
            }
            state.said.push(reply);
            Ok(())
        })
    }

    fn transfer(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
        to: Receiver,
    ) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            while_held(&self.transfers_held).await;
            let mut state = self.state();
            let result = state.transfer_script.pop_front().unwrap_or(Ok(()));
            if result.is_ok() {
                let now = match &to {
                    Receiver::Assistant => ServiceState::Assistant,
                    Receiver::Pool => ServiceState::Queue,
                    Receiver::Servicer(_) => ServiceState::Person,
                };
                state.service_states.insert(customer.clone(), now);
            }
            state.transfers.push((account, customer, to));
            result
        })
    }

    fn receiving(&self, _account: OpenKfId) -> BoxFuture<'_, Result<Vec<UserId>, CallError>> {
        Box::pin(async move { Ok(self.state().receiving.clone()) })
    }

    fn profiles(
        &self,
        customers: Vec<ExternalUserId>,
        with_entry: bool,
    ) -> BoxFuture<'_, Result<Vec<Profile>, CallError>> {
        Box::pin(async move {
            self.state().profile_lookups.push(customers.clone());
            while_held(&self.profiles_held).await;
            let mut state = self.state();
            if let Some(error) = state.profile_script.pop_front() {
                return Err(error);
            }
            let told = customers.iter().filter_map(|customer| state.profiles.get(customer).cloned());
            Ok(told
                .map(|profile| Profile {
                    entered_with: profile.entered_with.clone().filter(|_| with_entry),
                    ..profile
                })
                .collect())
        })
    }
}

impl MiniProgram for ScriptedWeCom {
    fn notify(&self, notice: Notice) -> BoxFuture<'_, Result<NoticeFate, CallError>> {
        Box::pin(async move {
            self.state().notices.push(notice);
            while_held(&self.sends_held).await;
            let mut state = self.state();
            state.notice_script.pop_front().unwrap_or(Ok(NoticeFate::Sent))
        })
    }
}
