//! Lays the built-in defaults, the file and the environment over one another, and types every value by its key.
//!
//! Judges form only; what the values mean together is for `build`.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use super::{
    Problem,
    environment::Environment,
    keys::{self, KEYS, Key},
    value::{self, Fault, Value},
};

/// The committed file with every key: it *is* the default layer.
pub(super) const DEFAULTS: &str = include_str!("../../config.toml");
/// The longest file that a secret is read from.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Default,
    File,
    /// The name of the variable.
    Environment(String),
}

struct Entry {
    value: Value,
    source: Source,
}

/// Every key's value and where it comes from. Holds secrets, so no `Debug`.
#[derive(Default)]
pub(super) struct Settings {
    entries: BTreeMap<&'static str, Entry>,
    defaults: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// The value, unless none of the right type was found (then a problem tells of it).
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.entries.get(name).map(|entry| &entry.value)
    }

    pub(super) fn source(&self, name: &str) -> Option<&Source> {
        self.entries.get(name).map(|entry| &entry.source)
    }

    /// Whether the value is the default one, wherever it was written.
    pub(super) fn is_default(&self, name: &str) -> bool {
        self.defaults.get(name) == self.value(name)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// Replaces a default by one that fits another setting better.
    pub(super) fn adapt_default(&mut self, name: &'static str, value: Value) {
        self.entries.insert(name, Entry { value, source: Source::Default });
    }

    fn set(&mut self, key: &Key, typed: Result<Value, Fault>, source: Source, problems: &mut Vec<Problem>) {
        match typed {
            Ok(value) => {
                self.entries.insert(key.name, Entry { value, source });
            }
            Err(fault) => {
                self.entries.remove(key.name);
                problems.push(Problem::at(key.name, Some(&source), fault));
            }
        }
    }
}

/// Takes the layers together. `file` is the text of the configuration file and its name for messages.
pub(super) fn merge(
    file: Option<(&str, &str)>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Settings {
    let mut settings = Settings::default();
    read_toml(&mut settings, DEFAULTS, "the built-in defaults", &Source::Default, problems);
    settings.defaults = settings.entries.iter().map(|(name, entry)| (*name, entry.value.clone())).collect();
    if let Some((text, name)) = file {
        read_toml(&mut settings, text, name, &Source::File, problems);
    }
    read_environment(&mut settings, environment, problems);
    settings
}

fn read_toml(settings: &mut Settings, text: &str, name: &str, source: &Source, problems: &mut Vec<Problem>) {
    let sections: toml::Table = match toml::from_str(text) {
        Ok(sections) => sections,
        Err(error) => {
            // The parser's own display shows the line, which may hold a secret.
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1));
            problems.push(Problem::new(
                name,
                format!("is no TOML: line {line}: {}", error.message().replace('\n', "; ")),
                format!("mend line {line}; texts stand in quotes, one key to a line"),
            ));
            return;
        }
    };
    for (section, keys) in &sections {
        match keys.as_table() {
            Some(keys) if !keys.is_empty() => {
                for (key, value) in keys {
                    let name = format!("{section}.{key}");
                    match keys::find(&name) {
                        Some(key) => {
                            settings.set(key, value::from_toml(key.kind, value), source.clone(), problems);
                        }
                        None => problems.push(unknown(&name, &name)),
                    }
                }
            }
            Some(_) if keys::is_section(section) => {}
            Some(_) => problems.push(unknown_section(section)),
            None if keys::is_section(section) => problems.push(Problem::new(
                section,
                "is a section, not a key",
                format!("write [{section}] on a line of its own and the keys below it"),
            )),
            None => problems.push(unknown(section, section)),
        }
    }
}

fn read_environment(settings: &mut Settings, environment: &Environment, problems: &mut Vec<Problem>) {
    for (variable, text) in environment.keys() {
        let source = Source::Environment(variable.to_owned());
        if let Some(key) = KEYS.iter().find(|key| key.variable() == variable) {
            let typed = match text {
                Some(text) => value::from_environment(key.kind, text),
                None => Err(Fault::new("is not UTF-8", "set it anew as UTF-8 text")),
            };
            settings.set(key, typed, source, problems);
            continue;
        }
        let Some(key) = key_of_file_variable(variable) else {
            problems.push(unknown(variable, &variable_as_name(variable)));
            continue;
        };
        if !key.secret {
            problems.push(Problem::new(
                variable,
                "names a file, but only secrets are read from files",
                format!("set {} itself", key.variable()),
            ));
        } else if environment.has(&key.variable()) {
            problems.push(Problem::new(
                key.name,
                format!("is given twice, by {} and by {variable}", key.variable()),
                "unset one of the two",
            ));
        } else {
            settings.set(key, read_secret(key, text.unwrap_or_default()), source, problems);
        }
    }
}

fn key_of_file_variable(variable: &str) -> Option<&'static Key> {
    let plain = variable.strip_suffix("_FILE")?;
    KEYS.iter().find(|key| key.variable() == plain)
}

/// The name that the writer of a variable may have had in mind: `KFBIND_WECOM__SECERT` → `wecom.secert`.
fn variable_as_name(variable: &str) -> String {
    let rest = variable.trim_start_matches("KFBIND").to_ascii_lowercase();
    rest.split("__")
        .map(|part| part.trim_matches('_'))
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".")
}

fn read_secret(key: &Key, path: &str) -> Result<Value, Fault> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(SECRET_FILE_BYTES_MAX.saturating_add(1)).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let file = if is_surely_a_path(path) { format!("the file {path:?}") } else { "its file".to_owned() };
    let text = read().map_err(|error| {
        Fault::new(
            format!("could not be read from {file}: {error}"),
            format!("name a file that this process may read, or set {} to the secret itself", key.variable()),
        )
    })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > SECRET_FILE_BYTES_MAX {
        return Err(Fault::new(
            format!("stands in a file of more than {SECRET_FILE_BYTES_MAX} bytes, {path:?}"),
            "name a file that holds nothing but the secret",
        ));
    }
    // Some editors put it before every text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = text.strip_suffix('\n').unwrap_or(text);
    Ok(Value::Text(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// Whether this is no secret that somebody wrote where the name of its file belongs: there is such a file, or at least
/// the folder for it.
fn is_surely_a_path(path: &str) -> bool {
    let path = Path::new(path);
    let in_a_folder = || path.parent().is_some_and(|folder| folder.parent().is_some() && folder.is_dir());
    path.exists() || (path.is_absolute() && in_a_folder())
}

fn unknown_section(section: &str) -> Problem {
    let nearest = keys::nearest_section(section);
    Problem::new(
        section,
        "is not a known section",
        format!("the nearest known one is [{nearest}]; rename it or remove it"),
    )
}

fn unknown(written: &str, name: &str) -> Problem {
    let fix = match keys::nearest(name) {
        Some(key) if written.starts_with("KFBIND_") => {
            format!("the nearest known one is {}; rename it or unset it", key.variable())
        }
        Some(key) => format!("the nearest known key is {}; rename it or remove it", key.name),
        None => "remove it".to_owned(),
    };
    Problem::new(written, "is not a known key", fix)
}
