//! Asks WeCom, before a page is decided, who the customers on it are, where the rules want to know.
//!
//! For the whole page at once, only about those whom the registry names, and never longer than a few seconds: what
//! can't be had doesn't hold up the page, the other guards decide then. Nothing is kept here.

use std::{collections::BTreeMap, time::Duration};

use ractor::{ActorRef, call_t};
use tokio::time::Instant;

use super::COMMIT_TIMEOUT_MS;
use crate::{
    ids::ExternalUserId,
    messages::{Learned, OnPage, RegistryMessage},
    ports::{KfContent, MessageKind, Page, WeCom},
};

/// Customers in one call, by WeCom's limit.
const CUSTOMERS_MAX: usize = 100;
/// So long a page waits for it all.
const WAIT: Duration = Duration::from_secs(3);

/// What WeCom tells of the customers on a page whom the rules want to know.
pub(super) async fn learn(wecom: &dyn WeCom, registry: &ActorRef<RegistryMessage>, page: &Page) -> Learned {
    let on_page = on_page(page);
    if on_page.is_empty() {
        return Learned::default();
    }
    let Ok(wanted) = call_t!(registry, RegistryMessage::Wanting, COMMIT_TIMEOUT_MS, on_page) else {
        return Learned::default();
    };
    let end = Instant::now() + WAIT;
    let mut learned = Learned::default();
    for customers in wanted.customers.chunks(CUSTOMERS_MAX) {
        let asked = wecom.profiles(customers.to_vec(), wanted.with_entry);
        match tokio::time::timeout_at(end, asked).await {
            Ok(Ok(profiles)) => {
                learned.asked.extend_from_slice(customers);
                learned.profiles.extend(profiles);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "WeCom does not tell who the customers on a page are: decided without");
                break;
            }
            Err(_) => {
                tracing::warn!(
                    "WeCom takes too long to tell who the customers on a page are: decided without"
                );
                break;
            }
        }
    }
    learned
}

/// The customers who speak or enter on a page.
fn on_page(page: &Page) -> Vec<OnPage> {
    let mut customers: BTreeMap<&ExternalUserId, OnPage> = BTreeMap::new();
    for message in &page.messages {
        let wrote = match &message.content {
            KfContent::Text { .. } | KfContent::Other(MessageKind::Media) => true,
            KfContent::EnterSession { .. } => false,
            _ => continue,
        };
        let Some(customer) = &message.customer else { continue };
        let sent = message.send_time;
        let on_page = customers.entry(customer).or_insert_with(|| OnPage {
            customer: customer.clone(),
            sent,
            wrote_at: None,
        });
        on_page.sent = on_page.sent.max(sent);
        if wrote {
            on_page.wrote_at = Some(on_page.wrote_at.map_or(sent, |at| at.min(sent)));
        }
    }
    customers.into_values().collect()
}
