//! Section 5 of the contract, message by message: codes tried, wrong ones counted, undoing, and what is answered.

use super::{Answer, Binding, DAY, MINUTE, Message, Plain, Said};

/// How the texts name an account that has no label.
const ACCOUNT: &str = "您的小程序账号";

/// Most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bound,
    Unbound,
    Already,
    Conflict,
    Locked,
    Wrong,
    Expired,
}

fn shown(code: &str) -> String {
    let (head, tail) = code.split_at(code.len() / 2);
    format!("{head} {tail}")
}

impl Plain {
    pub(in super::super) fn page(&mut self, messages: &[Message], now: u64) {
        let lengths = self.lengths_in_use(now);
        for message in messages {
            let key = (message.account.clone(), message.msgid.clone());
            let answer = match &message.said {
                Said::Talk => continue,
                Said::Word => {
                    if !self.decided.insert(key) {
                        self.reach("repeated");
                        continue;
                    }
                    self.undo(message)
                }
                Said::Numbers(numbers, beside) => {
                    let (codes, other): (Vec<_>, Vec<_>) =
                        numbers.iter().cloned().partition(|number| lengths.contains(&number.len()));
                    if codes.is_empty() {
                        continue;
                    }
                    if !self.decided.insert(key) {
                        self.reach("repeated");
                        continue;
                    }
                    let beside = beside + other.iter().map(String::len).sum::<usize>();
                    self.try_all(message, &codes, beside <= 10)
                }
            };
            if let Some((kind, text)) = answer {
                self.speak(message, kind, text, now);
            }
        }
    }

    fn undo(&mut self, message: &Message) -> Option<(Kind, String)> {
        let user = self.user_of(&message.customer)?;
        if message.sent < self.bindings.get(&user)?.bound_at {
            self.reach("undone too early");
            return None;
        }
        self.reach("undone");
        self.end(&user);
        let known = self.customers.entry(message.customer.clone()).or_default();
        known.undone = known.undone.max(message.sent);
        self.audit.push(("unbound", Some(user), Some(message.customer.clone())));
        Some((Kind::Unbound, format!("unbound {ACCOUNT}")))
    }

    /// Several codes, in order, until one binds or the customer is locked; the first of the answers by rank.
    fn try_all(&mut self, message: &Message, codes: &[String], brief: bool) -> Option<(Kind, String)> {
        let mut answers = Vec::new();
        for code in codes {
            let known = self.customers.entry(message.customer.clone()).or_default();
            if known.locked_for_good || message.sent < known.locked_until {
                self.reach("ignored while locked");
                break;
            }
            let answer = match self.code(code) {
                Some(place) => self.try_one(message, place),
                None => self.wrong(message, code),
            };
            let ends = answer.0 == Kind::Bound;
            if brief || !matches!(answer.0, Kind::Wrong | Kind::Expired) {
                answers.push(answer);
            }
            if ends {
                break;
            }
        }
        // The sort keeps the order of equals.
        answers.sort_by_key(|answer| answer.0);
        answers.into_iter().next()
    }

    fn try_one(&mut self, message: &Message, place: usize) -> (Kind, String) {
        let Some(code) = self.codes.get(place).cloned() else { unreachable!("a code that is known") };
        let Message { customer, sent, account, .. } = message;
        let is_early = sent + 60 < code.issued;
        let theirs = self.bindings.get(&code.user).cloned();
        if !is_early && theirs.as_ref().is_some_and(|binding| binding.customer == *customer) {
            self.reach("already bound");
            return (Kind::Already, format!("already {ACCOUNT}"));
        }
        let undone = self.customers.get(customer).map_or(0, |known| known.undone);
        if is_early || *sent >= code.ends() || code.dead || *sent < undone {
            let why = [
                (is_early, "sent too early"),
                (code.dead, "dead code"),
                (*sent < undone, "sent before undoing"),
            ];
            why.into_iter().filter(|(is_so, _)| *is_so).for_each(|(_, why)| self.reach(why));
            return (Kind::Expired, format!("expired {}", shown(&code.text)));
        }
        let mine = self.user_of(customer);
        let in_the_way: Vec<(String, u64)> = [mine, theirs.map(|_| code.user.clone())]
            .into_iter()
            .flatten()
            .filter_map(|user| self.bindings.get(&user).map(|binding| (user.clone(), binding.bound_at)))
            .collect();
        let gives_way = self.settings.replaces && in_the_way.iter().all(|(_, bound_at)| sent >= bound_at);
        if !in_the_way.is_empty() && !gives_way {
            if self.codes.get_mut(place).is_some_and(|code| code.conflicts.insert(customer.clone())) {
                self.audit.push(("conflict", Some(code.user), Some(customer.clone())));
            }
            self.reach(if self.settings.replaces { "too old to replace" } else { "conflict" });
            return (Kind::Conflict, format!("conflict {ACCOUNT}"));
        }
        self.reach("bound");
        if code.revoked.is_some() {
            self.reach("bound by a revoked code");
        }
        for (user, _) in in_the_way {
            self.reach("replaced");
            self.unbind(&user, false);
        }
        self.end(&code.user);
        let binding =
            Binding { customer: customer.clone(), account: account.clone(), bound_at: *sent, nickname: None };
        self.bindings.insert(code.user.clone(), binding);
        self.names_wanted.push(customer.clone());
        self.audit.push(("bound", Some(code.user), Some(customer.clone())));
        (Kind::Bound, format!("bound {{nickname}} {ACCOUNT} 解绑"))
    }

    /// 5.6
    fn wrong(&mut self, message: &Message, code: &str) -> (Kind, String) {
        let no = (Kind::Wrong, format!("wrong {}", shown(code)));
        let sent = message.sent;
        self.reach("wrong");
        if sent < self.created {
            self.reach("wrong of before the store");
            return no;
        }
        self.counted.push(sent);
        let (limit, length) = self.settings.wrong;
        let known = self.customers.entry(message.customer.clone()).or_default();
        if known.total > 0 && sent >= known.last_wrong + 30 * DAY {
            (known.window, known.total, known.locks) = (None, 0, 0);
        }
        known.total += 1;
        known.last_wrong = known.last_wrong.max(sent);
        let (start, count) = match known.window {
            Some((start, count)) if sent < start + length => (start, count),
            _ => (sent, 0),
        };
        // One from before the window counts in it, unless it is a whole window older.
        let counts = sent + length > start;
        let count = count + u32::from(counts);
        known.window = Some((start, count));
        if known.total >= 100 {
            known.locked_for_good = true;
        } else if counts && count >= limit {
            known.locks += 1;
            let lasts = (length << (known.locks - 1).min(20)).min(DAY);
            known.locked_until = start + lasts;
        } else {
            return no;
        }
        let thing = match (known.locked_for_good, known.locks) {
            (true, _) => "locked for good",
            (false, 1) => "locked",
            (false, _) => "locked again",
        };
        let minutes = if known.locked_for_good { 24 * 60 } else { (known.locked_until - sent).div_ceil(60) };
        self.reach(thing);
        self.audit.push(("locked", None, Some(message.customer.clone())));
        (Kind::Locked, format!("locked {minutes}"))
    }

    /// At most ten answers in ten minutes, and none to what is old.
    fn speak(&mut self, message: &Message, kind: Kind, text: String, now: u64) {
        let sent = message.sent;
        if sent + 10 * MINUTE < now {
            if kind == Kind::Bound {
                self.reach("bound late");
            }
            return;
        }
        let known = self.customers.entry(message.customer.clone()).or_default();
        let lately = known.answered.iter().filter(|at| at.abs_diff(sent) < 10 * MINUTE).count();
        if lately >= 10 && !matches!(kind, Kind::Bound | Kind::Unbound) {
            self.reach("muted");
            return;
        }
        known.answered.push(sent);
        self.answers.push(Answer {
            account: message.account.clone(),
            msgid: message.msgid.clone(),
            customer: message.customer.clone(),
            text,
        });
    }
}
