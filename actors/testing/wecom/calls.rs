//! The calls of the scripted WeCom: each is recorded, waits at its gate, follows its script, and else does its work.

use super::{Open, ScriptedWeCom, while_held};
use crate::{
    ids::{ExternalUserId, OpenKfId},
    ports::{BoxFuture, CallError, KfAccount, Page, Profile, PullRequest, Reply, ServiceState, WeCom},
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

    fn to_assistant(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
    ) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            let mut state = self.state();
            state.transfers.push((account, customer));
            state.transfer_script.pop_front().unwrap_or(Ok(()))
        })
    }

    fn profiles(&self, customers: Vec<ExternalUserId>) -> BoxFuture<'_, Result<Vec<Profile>, CallError>> {
        Box::pin(async move {
            let mut state = self.state();
            state.profile_lookups.push(customers.clone());
            if let Some(error) = state.profile_script.pop_front() {
                return Err(error);
            }
            Ok(customers.iter().filter_map(|customer| state.profiles.get(customer).cloned()).collect())
        })
    }
}
