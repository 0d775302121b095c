//! The further ways to bind, as the outside may ask for them; some want WeCom's word first.
//!
//! The registry decides and waits for nobody, so who must be asked about is asked here, in the asker's own task.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Handles, Unavailable};
use crate::{
    ids::{ExternalUserId, OpenId, UnionId},
    messages::{
        BindingQuery, IntentOutcome, IssuedTicket, RegistryMessage, StaffBindOutcome, StaffBindRequest,
        StaffCustomer, StaffTicketRequest, TicketOutcome, TicketRefusal, TicketRequest, TicketView,
    },
    ports::Profile,
};

/// How long WeCom may take to tell who a customer is, before other guards decide.
const PROFILE_WAIT: Duration = Duration::from_secs(3);

/// Of the four questions of this kind that WeCom may have open, the outside has so many: whatever it is flooded with,
/// pages find out in time who their customers are.
const ASKED_AT_ONCE_MAX: usize = 2;

/// The turns of those who ask WeCom for a customer.
pub(crate) struct Asking(Semaphore);

impl Default for Asking {
    fn default() -> Self {
        Self(Semaphore::new(ASKED_AT_ONCE_MAX))
    }
}

/// Why nothing is done about a customer whom an employee names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaffRefusal {
    /// Neither WeCom nor we know such a customer.
    #[error("no such customer")]
    Unknown,
    /// WeCom can't be asked.
    #[error("WeCom can't be asked who this is")]
    Unaskable,
    /// The actors did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Handles {
    /// A user has logged in with this unionid: who has the same in the chat is bound.
    pub async fn meet(&self, openid: OpenId, unionid: UnionId) -> Result<(), Unavailable> {
        if self.0.reader.knows_unionid(&openid, &unionid).map_err(|error| self.store_failed(&error))? {
            return Ok(());
        }
        self.write(|reply| RegistryMessage::Meet(openid, unionid, reply)).await
    }

    /// Whom a ticket would bind, for the page to ask.
    pub async fn look_at_ticket(
        &self,
        request: TicketRequest,
    ) -> Result<Result<TicketView, TicketRefusal>, Unavailable> {
        let build = |reply| RegistryMessage::LookAtTicket(request, reply);
        let facts = match self.write(build).await? {
            Ok(facts) => facts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut nickname = facts.nickname;
        if nickname.is_none()
            && let Ok(Some(profile)) = self.profile(&facts.customer).await
        {
            nickname.clone_from(&profile.nickname);
            // Or each look would ask WeCom; where it can't be kept, the next does.
            let _ = self.write(|reply| RegistryMessage::SaveProfiles(vec![profile], reply)).await;
        }
        Ok(Ok(TicketView { nickname, expires_at: facts.expires_at }))
    }

    /// Binds the user by a ticket. Asks WeCom first who the customer is where that may forbid it.
    pub async fn redeem_ticket(&self, request: TicketRequest) -> Result<TicketOutcome, Unavailable> {
        let look = request.clone();
        let facts = self.write(|reply| RegistryMessage::LookAtTicket(look, reply)).await?;
        if let Ok(facts) = &facts
            && facts.wants_profile
        {
            match self.profile(&facts.customer).await {
                Ok(Some(profile)) => {
                    self.write(|reply| RegistryMessage::SaveProfiles(vec![profile], reply)).await?;
                }
                // That WeCom was not even asked is no reason to do without its word: a flood could bring that about.
                Err(StaffRefusal::Unavailable(unavailable)) => return Err(unavailable),
                Ok(None) | Err(_) => {}
            }
        }
        let openid = request.openid.clone();
        match self.write(|reply| RegistryMessage::RedeemTicket(request, reply)).await? {
            Ok(()) => Ok(Ok(self.view(&openid).await?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// The user is about to open the chat.
    pub async fn open_intent(
        &self,
        openid: OpenId,
        unionid: Option<UnionId>,
    ) -> Result<IntentOutcome, Unavailable> {
        self.write(|reply| RegistryMessage::OpenIntent(openid, unionid, reply)).await
    }

    /// Who this customer is, for an employee.
    pub async fn staff_customer(&self, customer: ExternalUserId) -> Result<StaffCustomer, StaffRefusal> {
        let query = BindingQuery { customer: Some(customer.clone()), limit: 1, ..BindingQuery::default() };
        let binding = self.bindings(query).await?.bindings.into_iter().next().map(Box::new);
        let profile = match self.profile(&customer).await {
            Ok(profile) => profile,
            Err(error) if binding.is_none() => return Err(error),
            Err(_) => None,
        };
        // WeCom tells only of those who were there within two days; we may know more.
        let seen = self.0.reader.person(&customer).map_err(|error| self.store_failed(&error))?;
        if profile.is_none() && binding.is_none() && seen.is_none() {
            return Err(StaffRefusal::Unknown);
        }
        let kept = binding
            .as_ref()
            .and_then(|binding| binding.nickname.clone())
            .or(seen.and_then(|seen| seen.nickname));
        let nickname = profile.and_then(|profile| profile.nickname).or(kept);
        Ok(StaffCustomer { nickname, binding })
    }

    /// Makes a ticket for an employee's card.
    pub async fn staff_ticket(&self, request: StaffTicketRequest) -> Result<IssuedTicket, StaffRefusal> {
        self.checked_customer(&request.customer).await?;
        Ok(self.write(|reply| RegistryMessage::MakeTicket(request, reply)).await?)
    }

    /// Binds by a code that an employee typed.
    pub async fn staff_bind(&self, request: StaffBindRequest) -> Result<StaffBindOutcome, StaffRefusal> {
        self.checked_customer(&request.customer).await?;
        Ok(self.write(|reply| RegistryMessage::BindForStaff(request, reply)).await?)
    }

    /// An employee's client names a customer, and anybody could have written that client: WeCom must know them.
    async fn checked_customer(&self, customer: &ExternalUserId) -> Result<(), StaffRefusal> {
        let profile = self.profile(customer).await?.ok_or(StaffRefusal::Unknown)?;
        self.write(|reply| RegistryMessage::SaveProfiles(vec![profile], reply)).await?;
        Ok(())
    }

    /// What WeCom tells of a customer within [`PROFILE_WAIT`], once it is our turn; `None` = it knows no such customer.
    async fn profile(&self, customer: &ExternalUserId) -> Result<Option<Profile>, StaffRefusal> {
        let turn = tokio::time::timeout(PROFILE_WAIT, self.0.asking.0.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(Unavailable::Busy)?;
        let asked = self.0.wecom.profiles(vec![customer.clone()], false);
        match tokio::time::timeout(PROFILE_WAIT, asked).await {
            Ok(Ok(profiles)) => Ok(profiles.into_iter().find(|profile| profile.customer == *customer)),
            Ok(Err(_)) | Err(_) => Err(StaffRefusal::Unaskable),
        }
    }
}
