//! Brings a person to a customer: to the pool, or to the people who are receiving, one after the other. (7.8)
//!
//! The session's state is asked for first, so that nobody is moved twice, and nobody is taken from a person. That the
//! customer is to be moved was decided before.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::attempt::{Outside, judge};
use crate::{
    ids::{OpenKfId, UserId},
    messages::{Attempt, HandOver},
    policy::Handover,
    ports::{CallError, Receiver, ServiceState},
};

/// The servicer can't take the session: not activated in WeCom, or stopped.
const SERVICER_UNFIT: [i64; 2] = [95_014, 95_019];
/// WeCom moves no session longer after the customer's message. Seconds.
const MOVES_WITHIN_S: u64 = 48 * 3600;
/// Who receives is asked for again after so long.
const RECEIVING_KEPT: Duration = Duration::from_secs(30);

/// Whose turn it is in each account, and who was receiving when last asked.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<OpenKfId, Turn>>);

#[derive(Default)]
struct Turn {
    next: usize,
    receiving: Option<(Instant, Vec<UserId>)>,
}

impl Turns {
    fn known(&self, account: &OpenKfId) -> Option<Vec<UserId>> {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked_at, receiving) = turns.get(account)?.receiving.as_ref()?;
        (asked_at.elapsed() < RECEIVING_KEPT).then(|| receiving.clone())
    }

    fn learned(&self, account: &OpenKfId, receiving: Vec<UserId>) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(account.clone()).or_default().receiving = Some((Instant::now(), receiving));
    }

    fn forget(&self, account: &OpenKfId) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(account.clone()).or_default().receiving = None;
    }

    /// These people, beginning with the one whose turn it is.
    fn in_turn(&self, account: &OpenKfId, mut people: Vec<UserId>) -> Vec<UserId> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(account.clone()).or_default();
        if !people.is_empty() {
            let first = turn.next % people.len();
            people.rotate_left(first);
            turn.next = turn.next.wrapping_add(1);
        }
        people
    }
}

/// Moves a customer's session to a person.
pub(super) async fn hand_over(outside: &Outside, what: &HandOver) -> Attempt {
    let HandOver { account, customer, sent } = what;
    if outside.clock.now().since(*sent) >= MOVES_WITHIN_S {
        return Attempt::Done;
    }
    let state = match outside.wecom.service_state(account.clone(), customer.clone()).await {
        Ok(state) => state,
        Err(error) => return judge(error, customer),
    };
    match state {
        ServiceState::New | ServiceState::Assistant => {}
        // With a person already, or on the way to one.
        ServiceState::Queue | ServiceState::Person => return Attempt::Done,
        ServiceState::Ended | ServiceState::Unknown(_) => {
            tracing::warn!(%account, %customer, ?state, "nobody can be brought in this state of the session");
            return Attempt::GivenUp("session_ended");
        }
    }
    for userid in servicers(outside, account).await {
        let to = Receiver::Servicer(userid.clone());
        match outside.wecom.transfer(account.clone(), customer.clone(), to).await {
            Ok(()) => return Attempt::Done,
            Err(CallError::Refused { errcode, .. }) if SERVICER_UNFIT.contains(&errcode) => {
                tracing::warn!(%account, %userid, errcode, "a servicer can't take a customer: the next is asked");
                outside.turns.forget(account);
            }
            Err(error) => return judge(error, customer),
        }
    }
    match outside.wecom.transfer(account.clone(), customer.clone(), Receiver::Pool).await {
        Ok(()) => Attempt::Done,
        Err(error) => judge(error, customer),
    }
}

/// Who may be asked to take a customer, in turn; nobody where the pool is meant, or nobody is receiving.
async fn servicers(outside: &Outside, account: &OpenKfId) -> Vec<UserId> {
    let Handover::Servicer(wanted) = &outside.handover else { return Vec::new() };
    let receiving = match outside.turns.known(account) {
        Some(receiving) => receiving,
        None => match outside.wecom.receiving(account.clone()).await {
            Ok(receiving) => {
                outside.turns.learned(account, receiving.clone());
                receiving
            }
            Err(error) => {
                tracing::warn!(%account, %error, "who receives customers can't be had: they go to the pool");
                return Vec::new();
            }
        },
    };
    let fit = receiving.into_iter().filter(|userid| wanted.is_empty() || wanted.contains(userid)).collect();
    outside.turns.in_turn(account, fit)
}
