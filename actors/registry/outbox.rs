//! The outbox, as the notifier takes it. Nothing is decided or changed here.

use super::{
    records::{OutboxRecord, OutboxTaskRecord, SayRecord, WordsRecord, decode, number},
    store::{Store, StoreError, TreeId},
};
use crate::{
    messages::{HandOver, Notify, OutboxEntry, OutboxTask, Say, Welcome},
    ports::{MenuItem, Notice, Reply, Words},
};

/// The outbox from `from` on, as it is on the disk.
pub(crate) fn waiting(store: &Store, from: u64, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
    store
        .range(TreeId::Outbox, &from.to_be_bytes())?
        .take(limit)
        .map(|entry| {
            let (key, value) = entry?;
            let record: OutboxRecord = decode(TreeId::Outbox, &value)?;
            let task = task(record.task);
            Ok(OutboxEntry { seq: number(TreeId::Outbox, &key)?, created_at: record.created_at, task })
        })
        .collect()
}

/// A stored task, as the notifier takes it.
fn task(record: OutboxTaskRecord) -> OutboxTask {
    match record {
        OutboxTaskRecord::Reply { account, customer, reply_id, text } => {
            let reply = Reply { account, customer, reply_id, words: Words::Text(text) };
            OutboxTask::Say(Box::new(Say { reply, welcome: None, begun: false }))
        }
        OutboxTaskRecord::Say(say) => {
            let SayRecord { account, customer, reply_id, words, welcome, question, begun } = *say;
            let words = match (words, question) {
                (WordsRecord::Text(text), _) => Words::Text(text),
                (WordsRecord::Question { head, yes, no }, question) => {
                    let item = |says_yes: bool, label| {
                        question.map(|id| MenuItem::Click { id: id.menu_id(says_yes), label })
                    };
                    Words::Menu {
                        head,
                        items: [item(true, yes), item(false, no)].into_iter().flatten().collect(),
                    }
                }
                (WordsRecord::Card { head, path, label }, _) => {
                    Words::Menu { head, items: vec![MenuItem::Page { path, label }] }
                }
            };
            let welcome = welcome.map(|(code, entered_at)| Welcome { code, entered_at });
            let reply = Reply { account, customer, reply_id, words };
            OutboxTask::Say(Box::new(Say { reply, welcome, begun }))
        }
        OutboxTaskRecord::Profile { customer } => OutboxTask::Profile(customer),
        OutboxTaskRecord::HandOver { account, customer, sent } => {
            OutboxTask::HandOver(HandOver { account, customer, sent })
        }
        OutboxTaskRecord::Notify { openid, customer, template_id, data, bound_at, begun } => {
            let notice = Notice { openid, template_id, data, bound_at };
            OutboxTask::Notify(Box::new(Notify { notice, customer, begun }))
        }
    }
}
