//! Everything that a service answers about what it keeps, page by page, to be compared with the answers of another one.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    line::{Ask, Line},
    report::{Breach, Failure},
    world::ADMIN_KEY,
};

/// Pages of the back end's lists: where they are, and what they hold.
const LISTS: [(&str, &str); 3] = [
    ("/api/admin/bindings", "bindings"),
    ("/api/admin/events", "events"),
    ("/api/admin/dead-letters", "dead_letters"),
];
const STATS: &str = "/api/admin/stats?days=14";
/// What changes by itself.
const PASSING: [&str; 2] = ["expires_in", "at"];
/// Of so many differences a failure tells.
const SHOWN_MAX: usize = 3;

/// See the module: each answer under what was asked for.
pub(super) struct Answers(BTreeMap<String, Value>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for asked in self.0.keys() {
            *counts.entry(asked.split(['#', '?']).next().unwrap_or_default()).or_default() += 1;
        }
        write!(f, "answers to compare: {counts:?}")
    }
}

impl Answers {
    /// Asks for everything: all pages of the back end's lists, the counts, and the view of each of these users.
    pub(super) async fn of(line: &Line, sessions: &[String]) -> Result<Self, Failure> {
        let mut answers = BTreeMap::new();
        for (path, list) in LISTS {
            let mut after = String::new();
            loop {
                let page = got(line, &format!("{path}?limit=1000{after}"), ADMIN_KEY).await?;
                for item in page[list].as_array().into_iter().flatten() {
                    answers.insert(format!("{path}#{:06}", answers.len()), item.clone());
                }
                after = match &page["next"] {
                    Value::String(next) => format!("&after={next}"),
                    Value::Number(next) => format!("&after={next}"),
                    _ => break,
                };
            }
        }
        let mut stats = got(line, STATS, ADMIN_KEY).await?;
        strip(&mut stats);
        answers.insert(STATS.to_owned(), stats);
        for (number, session) in sessions.iter().enumerate() {
            let mut view = got(line, "/api/binding", session).await?;
            strip(&mut view);
            if let Some(pending) = view.get_mut("pending") {
                strip(pending);
            }
            answers.insert(format!("/api/binding#{number:06}"), view);
        }
        Ok(Self(answers))
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Fails where any answer is another one, is missing, or is new.
    pub(super) fn must_equal(&self, other: &Self) -> Result<(), Failure> {
        let asked: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differ: Vec<String> = asked
            .into_iter()
            .filter(|asked| self.0.get(*asked) != other.0.get(*asked))
            .map(|asked| {
                format!("{asked}\n  before: {:?}\n  after:  {:?}", self.0.get(asked), other.0.get(asked))
            })
            .collect();
        if differ.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> = differ.iter().take(SHOWN_MAX).map(String::as_str).collect();
        let what = format!("{} answers differ:\n{}", differ.len(), shown.join("\n"));
        Err(Failure::new(Breach::Lost, what))
    }
}

fn strip(answer: &mut Value) {
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|name, _| !PASSING.contains(&name.as_str()));
    }
}

async fn got(line: &Line, path: &str, bearer: &str) -> Result<Value, Failure> {
    let answer = line.ask(Ask { method: "GET", path, bearer: Some(bearer), body: None }).await?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(Failure::new(Breach::Lost, format!("GET {path} answered {}: {}", answer.status, answer.body)))
    }
}
