//! What may happen to a registry: the steps of a random sequence, and how a step becomes messages.
//!
//! Steps name codes and moments by what they are (the latest of a user, a second before its end), so that a sequence
//! still means something after some of its steps were taken away.

use proptest::prelude::*;

use super::plain::{DAY, KEPT, Message, Plain, Said, Settings};
use crate::ports::{KfContent, MessageKind};

pub(super) const ACCOUNTS: [&str; 2] = ["wkA", "wkB"];

pub(super) fn user(number: u8) -> String {
    format!("o{number}")
}

pub(super) fn customer(number: u8) -> String {
    format!("wm{number}")
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// All in one batch, one after the other.
    Batch(Vec<Command>),
    /// So many seconds pass, or are taken back.
    Clock(i64),
    Restart {
        kill: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Issue(u8, bool),
    /// Twelve more users ask for codes.
    Crowd,
    /// By the user, or by the back end.
    Unbind(u8, bool),
    Lift(u8),
    Named(u8, u8),
    Page(PageStep),
    /// All that is to be said was said.
    Settle,
    Sweep,
}

#[derive(Clone, Debug)]
pub(super) struct PageStep {
    pub(super) account: u8,
    /// So many of the stream's last messages come once more.
    again: u8,
    new: Vec<New>,
    /// Somebody types numbers on and on: so many messages of eight.
    flood: Option<(u8, u8)>,
    /// Whether the old ones stand behind the new ones.
    reversed: bool,
}

#[derive(Clone, Debug)]
struct New {
    customer: u8,
    what: What,
    when: When,
}

#[derive(Clone, Debug)]
enum What {
    /// Numbers, how each is typed, and so many characters of talk beside them.
    Numbers(Vec<(Pick, Form)>, u8),
    Word(bool),
    Talk,
    Tap,
    Picture,
}

#[derive(Clone, Debug)]
enum Pick {
    /// The latest code of a user.
    Of(u8),
    /// The one before that.
    Former(u8),
    /// One of all codes, counted from the latest.
    Any(u8),
    /// A number of six digits that is hardly ever a code.
    Wrong(u32),
    /// The same of seven digits.
    Longer(u32),
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    Split,
    Wide,
}

/// When a message was sent.
#[derive(Clone, Debug)]
enum When {
    /// So many seconds ago.
    Ago(u32),
    /// About a moment of the first code in it.
    Code(Edge, i8),
    /// About the moment at which its customer was bound, or last undid.
    Own(i8),
}

#[derive(Clone, Copy, Debug)]
enum Edge {
    Early,
    Issued,
    Expires,
    Revoked,
}

/// A message and its exact content, beside what it means.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) meant: Message,
    pub(super) content: KfContent,
    decided_at: u64,
}

impl PageStep {
    /// The messages of this page, the new ones put into the stream.
    pub(super) fn write(
        &self,
        model: &Plain,
        account: &str,
        stream: &mut Vec<Written>,
        now: u64,
        latest: u64,
    ) -> Vec<Written> {
        // Of what WeCom no longer keeps nothing comes again.
        let is_kept = |written: &&Written| latest < written.meant.sent.min(written.decided_at) + KEPT;
        let mut again: Vec<Written> =
            stream.iter().rev().take(usize::from(self.again)).filter(is_kept).cloned().collect();
        again.reverse();
        let mut new = Vec::new();
        let mut add = |customer: String, sent: u64, (content, said): (KfContent, Said)| {
            let msgid = format!("m{}", stream.len());
            let meant = Message { account: account.to_owned(), msgid, customer, sent, said };
            let written = Written { meant, content, decided_at: now };
            stream.push(written.clone());
            new.push(written);
        };
        for message in &self.new {
            let id = customer(message.customer);
            let sent = message.when.moment(model, &id, &message.what, now, latest);
            add(id, sent, message.what.write(model, latest));
        }
        for number in 0..self.flood.map_or(0, |(_, messages)| u32::from(messages)) {
            let picks = (0..8).map(|n| (Pick::Wrong(number * 8 + n), Form::Plain)).collect();
            let id = self.flood.map_or(String::new(), |(id, _)| customer(id));
            add(id, now, What::Numbers(picks, 0).write(model, latest));
        }
        // The same message may stand on a page twice.
        let (first, second) = if self.reversed { (new, again) } else { (again, new) };
        first.into_iter().chain(second).collect()
    }
}

impl Pick {
    fn number(&self, model: &Plain, latest: u64) -> String {
        // What is forgotten after three days is not asked for: neither answer would be wrong.
        let mut kept = model.codes.iter().rev().filter(|code| latest < code.expires + KEPT);
        let wrong = |number: &u32| format!("{:06}", number % 1_000_000);
        match self {
            Self::Of(number) | Self::Former(number) => {
                let id = user(*number);
                let mut theirs = kept.filter(|code| code.user == id);
                let place = usize::from(matches!(self, Self::Former(_)));
                theirs.nth(place).map_or(wrong(&500_000), |code| code.text.clone())
            }
            Self::Any(place) => {
                kept.nth(usize::from(*place)).map_or(wrong(&600_000), |code| code.text.clone())
            }
            Self::Wrong(number) => wrong(number),
            Self::Longer(number) => format!("{:07}", number % 10_000_000),
        }
    }
}

impl What {
    fn write(&self, model: &Plain, latest: u64) -> (KfContent, Said) {
        let text = |content: String| KfContent::Text { content, menu_id: None };
        match self {
            Self::Numbers(picks, beside) => {
                let numbers: Vec<String> = picks.iter().map(|(pick, _)| pick.number(model, latest)).collect();
                let typed: Vec<String> =
                    numbers.iter().zip(picks).map(|(number, (_, form))| form.write(number)).collect();
                // Chinese characters part numbers without making them anything else.
                let talk = "聊".repeat(usize::from(*beside));
                let others = usize::from(*beside) + picks.len().saturating_sub(1);
                (text(talk + &typed.join("和")), Said::Numbers(numbers, others))
            }
            Self::Word(spaced) => (text(if *spaced { " 解绑\n" } else { "解绑" }.to_owned()), Said::Word),
            Self::Talk => (text("请问解绑怎么弄，电话13800138000".to_owned()), Said::Talk),
            Self::Tap => {
                let number = Pick::Any(0).number(model, latest);
                (KfContent::Text { content: number, menu_id: Some(crate::ids::MenuId::new("x")) }, Said::Talk)
            }
            Self::Picture => (KfContent::Other(MessageKind::Media), Said::Talk),
        }
    }
}

impl Form {
    fn write(self, number: &str) -> String {
        match self {
            Self::Plain => number.to_owned(),
            Self::Split => {
                let (head, tail) = number.split_at(number.len() / 2);
                format!("{head} {tail}")
            }
            Self::Wide => {
                let wide = |digit: char| char::from_u32(u32::from(digit) - 0x30 + 0xFF10).unwrap_or(digit);
                number.chars().map(wide).collect()
            }
        }
    }
}

impl When {
    fn moment(&self, model: &Plain, customer: &str, what: &What, now: u64, latest: u64) -> u64 {
        let about = |moment: u64, by: i8| moment.saturating_add_signed(i64::from(by));
        let code = || {
            let What::Numbers(picks, _) = what else { return None };
            let number = picks.first()?.0.number(model, latest);
            model.codes.iter().rfind(|code| code.text == number)
        };
        let moment = match self {
            Self::Ago(seconds) => now - u64::from(*seconds),
            Self::Code(edge, by) => code().map_or(now, |code| match edge {
                Edge::Early => about(code.issued - 60, *by),
                Edge::Issued => about(code.issued, *by),
                Edge::Expires => about(code.expires, *by),
                Edge::Revoked => about(code.revoked.unwrap_or(code.expires), *by),
            }),
            Self::Own(by) => {
                let bound = model.bindings.values().find(|binding| binding.customer == customer);
                let undone = model.customers.get(customer).map_or(now, |known| known.undone.max(1));
                about(bound.map_or(undone, |binding| binding.bound_at), *by)
            }
        };
        // WeCom keeps messages for three days, so none that comes is older.
        moment.max(latest.saturating_sub(KEPT - 1))
    }
}

// ---- Chances ----------------------------------------------------------------------------------------------------

pub(super) fn case() -> impl Strategy<Value = (Settings, Vec<Step>)> {
    let wrong =
        prop_oneof![4 => Just((5, 600)), 2 => Just((2, 120)), 1 => Just((3, 300)), 2 => Just((1000, 600))];
    let codes = prop_oneof![3 => Just((5, 60)), 1 => Just((2, 600))];
    let settings = (any::<bool>(), prop_oneof![4 => Just(600), 1 => Just(90)], codes, wrong)
        .prop_map(|(replaces, code_ttl, codes, wrong)| Settings { replaces, code_ttl, codes, wrong });
    (settings, prop::collection::vec(step(), 1..40))
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![
        8 => 1..100_i64,
        4 => 290..310_i64,
        4 => 590..610_i64,
        2 => 1..4000_i64,
        1 => Just(DAY.cast_signed()),
        1 => Just((4 * DAY).cast_signed()),
        1 => Just((30 * DAY).cast_signed()),
        1 => -100..0_i64,
        1 => Just(-3600),
    ];
    prop_oneof![
        12 => prop::collection::vec(command(), 1..5).prop_map(Step::Batch),
        3 => seconds.prop_map(Step::Clock),
        1 => any::<bool>().prop_map(|kill| Step::Restart { kill }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => (0..5_u8, prop::bool::weighted(0.4)).prop_map(|(user, renew)| Command::Issue(user, renew)),
        12 => page().prop_map(Command::Page),
        2 => (0..5_u8, any::<bool>()).prop_map(|(user, admin)| Command::Unbind(user, admin)),
        1 => (0..4_u8).prop_map(Command::Lift),
        1 => (0..4_u8, any::<u8>()).prop_map(|(customer, name)| Command::Named(customer, name)),
        1 => Just(Command::Sweep),
        1 => Just(Command::Settle),
        1 => prop_oneof![1 => Just(Command::Crowd), 3 => Just(Command::Sweep)],
    ]
}

fn page() -> impl Strategy<Value = PageStep> {
    let flood = prop_oneof![30 => Just(None), 1 => (0..4_u8, 8..20_u8).prop_map(Some)];
    (
        0..2_u8,
        prop_oneof![3 => Just(0), 2 => 1..6_u8],
        prop::collection::vec(new(), 0..5),
        flood,
        any::<bool>(),
    )
        .prop_map(|(account, again, new, flood, reversed)| PageStep {
            account,
            again,
            new,
            flood,
            reversed,
        })
}

fn new() -> impl Strategy<Value = New> {
    let pick = prop_oneof![
        10 => (0..5_u8).prop_map(Pick::Of),
        4 => (0..5_u8).prop_map(Pick::Former),
        2 => (0..8_u8).prop_map(Pick::Any),
        2 => (700_000..1_000_000_u32).prop_map(Pick::Wrong),
        1 => (1_000_000..1_899_999_u32).prop_map(Pick::Longer),
    ];
    let form = prop_oneof![3 => Just(Form::Plain), 1 => Just(Form::Split), 1 => Just(Form::Wide)];
    let numbers = prop_oneof![
        6 => prop::collection::vec((pick.clone(), form.clone()), 1..2),
        1 => prop::collection::vec((pick, form), 2..5),
    ];
    let beside = prop_oneof![4 => Just(0_u8), 1 => 8..13_u8];
    let what = prop_oneof![
        12 => (numbers, beside).prop_map(|(numbers, beside)| What::Numbers(numbers, beside)),
        3 => any::<bool>().prop_map(What::Word),
        1 => Just(What::Talk),
        1 => Just(What::Tap),
        1 => Just(What::Picture),
    ];
    let edge = prop_oneof![Just(Edge::Early), Just(Edge::Issued), Just(Edge::Expires), Just(Edge::Revoked)];
    let when = prop_oneof![
        8 => Just(When::Ago(0)),
        3 => (0..700_u32).prop_map(When::Ago),
        1 => (0..4000_u32).prop_map(When::Ago),
        6 => (edge, -1..2_i8).prop_map(|(edge, by)| When::Code(edge, by)),
        2 => (-1..2_i8).prop_map(When::Own),
    ];
    (0..4_u8, what, when).prop_map(|(customer, what, when)| New { customer, what, when })
}
