//! Fills the placeholders of the texts that customers read.

/// Filled in last, by whoever can ask WeCom.
pub(crate) const NICKNAME_PLACEHOLDER: &str = "{nickname}";

/// Filled in by whoever knows the time zone.
pub(crate) const TIME_PLACEHOLDER: &str = "{time}";

/// Fills placeholders in one pass, so that what is filled in is never filled again.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        // What is no placeholder stays as it is.
        let (name, value) =
            values.iter().find(|(name, _)| from.starts_with(name)).copied().unwrap_or(("{", "{"));
        text.push_str(value);
        rest = from.get(name.len()..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// Somebody's own words, which are not filled in later either: an invisible space keeps them from being placeholders.
pub(crate) fn inert(words: &str) -> String {
    words.replace(NICKNAME_PLACEHOLDER, "{\u{200b}nickname}").replace(TIME_PLACEHOLDER, "{\u{200b}time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        let values = [("{account}", "{code}"), ("{code}", "1")];
        assert_eq!(fill("{account}/{code}/{other}/{", &values), "{code}/1/{other}/{");
    }

    #[test]
    fn somebodys_own_words_are_not_filled_in_later() {
        let label = inert("{nickname} {time} {code}");
        let later = [(NICKNAME_PLACEHOLDER, "Ann"), (TIME_PLACEHOLDER, "now")];
        assert_eq!(fill(&label, &later), label);
        assert!(label.ends_with("{code}"), "one pass fills all others in");
    }
}
