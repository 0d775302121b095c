//! Reading WeCom's flat XML documents: the children of one root `<xml>` with their text.
//!
//! This is not an XML processor: no DTD, no entities but the five that XML itself names, no processing instructions,
//! no namespaces, and a small bound on nesting. Documents that use any of these are refused, since WeCom's never do.

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, Event},
};

/// How deeply elements may be nested, the root included. WeCom's deepest message has 4 levels.
const DEPTH_MAX: usize = 16;

/// An element directly under the root.
#[derive(Debug)]
pub(super) struct Child<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its own text: CDATA and unescaped character data joined, without that of elements inside it.
    pub(super) text: &'a str,
    /// Whether there are elements inside it.
    pub(super) has_elements: bool,
}

/// Calls `visit` for each child of the root in document order. The error says what is wrong with the document, in
/// words that are safe to log.
pub(super) fn for_each_child(
    document: &[u8],
    mut visit: impl FnMut(Child<'_>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let document = std::str::from_utf8(document).map_err(|_| "not UTF-8")?;
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    let mut reader = Reader::from_str(document);
    let mut walk = Walk::default();
    let mut at_start = true;
    loop {
        match reader.read_event().map_err(|_| "not well-formed")? {
            Event::Decl(_) if at_start => {}
            Event::Decl(_) => return Err("an XML declaration in the middle"),
            Event::DocType(_) => return Err("a document type definition"),
            Event::PI(_) => return Err("a processing instruction"),
            Event::Comment(_) => {}
            Event::Start(start) => walk.open(start.name().into_inner())?,
            Event::Empty(start) => {
                walk.open(start.name().into_inner())?;
                walk.close(&mut visit)?;
            }
            Event::End(_) => walk.close(&mut visit)?,
            Event::Text(text) => walk.text(&text.into_inner())?,
            Event::CData(text) => walk.cdata(&text.into_inner())?,
            Event::GeneralRef(reference) => walk.reference(&reference)?,
            Event::Eof => return if walk.is_complete() { Ok(()) } else { Err("cut off") },
        }
        at_start = false;
    }
}

#[derive(Default)]
struct Walk {
    depth: usize,
    root_seen: bool,
    name: String,
    text: String,
    has_elements: bool,
}

impl Walk {
    fn open(&mut self, name: &str) -> Result<(), &'static str> {
        match self.depth {
            0 if self.root_seen => return Err("more than one root"),
            0 if name != "xml" => return Err("the root is not <xml>"),
            0 => self.root_seen = true,
            1 => {
                self.name.clear();
                self.name.push_str(name);
                self.text.clear();
                self.has_elements = false;
            }
            DEPTH_MAX.. => return Err("nested too deeply"),
            _ => self.has_elements = true,
        }
        self.depth += 1;
        Ok(())
    }

    fn close(
        &mut self,
        visit: &mut impl FnMut(Child<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        self.depth = self.depth.checked_sub(1).ok_or("not well-formed")?;
        if self.depth == 1 {
            visit(Child { name: &self.name, text: &self.text, has_elements: self.has_elements })?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), &'static str> {
        if self.depth == 0 && !text.trim_ascii().is_empty() {
            return Err("text outside the root");
        }
        self.push(text);
        Ok(())
    }

    fn cdata(&mut self, text: &str) -> Result<(), &'static str> {
        if self.depth == 0 {
            return Err("text outside the root");
        }
        self.push(text);
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), &'static str> {
        if self.depth == 0 {
            return Err("text outside the root");
        }
        match reference.resolve_char_ref().map_err(|_| "a bad character reference")? {
            Some(character) => self.push(character.encode_utf8(&mut [0; 4])),
            None => self.push(resolve_predefined_entity(reference).ok_or("an entity of its own")?),
        }
        Ok(())
    }

    fn push(&mut self, text: &str) {
        if self.depth == 2 {
            self.text.push_str(text);
        }
    }

    fn is_complete(&self) -> bool {
        self.root_seen && self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(document: &str) -> Result<Vec<(String, String, bool)>, &'static str> {
        let mut children = Vec::new();
        for_each_child(document.as_bytes(), |child| {
            children.push((child.name.to_owned(), child.text.to_owned(), child.has_elements));
            Ok(())
        })?;
        Ok(children)
    }

    fn text(document: &str) -> Result<String, &'static str> {
        Ok(children(document)?.into_iter().map(|(_, text, _)| text).collect())
    }

    #[test]
    fn text_comes_escaped_in_cdata_or_mixed() {
        for (document, expected) in [
            ("<xml><a>x</a></xml>", "x"),
            ("<xml><a><![CDATA[<x>&amp;]]></a></xml>", "<x>&amp;"),
            ("<xml><a>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;</a></xml>", "<&>\"'AB"),
            ("<xml><a><![CDATA[a]]]]><![CDATA[>b]]>c<!-- d -->e</a></xml>", "a]]>bce"),
            ("<xml><a/></xml>", ""),
            ("<xml><a>\u{7eff}\u{1f600}</a></xml>", "\u{7eff}\u{1f600}"),
            ("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml ><a k='v' >x</a ></xml >\n", "x"),
        ] {
            assert_eq!(text(document).as_deref(), Ok(expected), "{document}");
        }
    }

    #[test]
    fn only_direct_children_are_shown() {
        let shown = children("<xml><a>1<b>2<c>3</c></b>4</a><d/></xml>").unwrap();
        assert_eq!(shown, [("a".into(), "14".into(), true), ("d".into(), String::new(), false)]);
    }

    #[test]
    fn hostile_or_broken_documents_are_refused() {
        for (document, reason) in [
            ("", "cut off"),
            ("   ", "cut off"),
            ("<xml>", "cut off"),
            ("<xml><a>", "cut off"),
            ("<html></html>", "the root is not <xml>"),
            ("<xml/><xml/>", "more than one root"),
            ("x<xml/>", "text outside the root"),
            ("<xml/>x", "text outside the root"),
            ("<xml/>&amp;", "text outside the root"),
            ("<![CDATA[ ]]><xml/>", "text outside the root"),
            ("<!DOCTYPE xml><xml/>", "a document type definition"),
            ("<!DOCTYPE x [<!ENTITY e \"x\">]><xml><a>&e;</a></xml>", "a document type definition"),
            ("<xml><a>&e;</a></xml>", "an entity of its own"),
            ("<xml><a>&#0;</a></xml>", "a bad character reference"),
            ("<xml><a>&#xD800;</a></xml>", "a bad character reference"),
            ("<xml><a>&</a></xml>", "not well-formed"),
            ("<xml><a></b></xml>", "not well-formed"),
            ("</xml>", "not well-formed"),
            ("<?php x ?><xml/>", "a processing instruction"),
            ("<xml/><?xml version=\"1.0\"?>", "an XML declaration in the middle"),
        ] {
            assert_eq!(children(document), Err(reason), "{document}");
        }
        assert_eq!(for_each_child(b"<xml>\xff</xml>", |_| Ok(())), Err("not UTF-8"));
    }

    #[test]
    fn ten_thousand_levels_are_refused_and_survived() {
        let deep = format!("<xml>{}{}</xml>", "<a>".repeat(10_000), "</a>".repeat(10_000));
        assert_eq!(children(&deep), Err("nested too deeply"));
        let open = "<xml>".to_owned() + &"<a>".repeat(10_000);
        assert_eq!(children(&open), Err("nested too deeply"));
    }

    #[test]
    fn nesting_is_allowed_up_to_the_bound() {
        let nested = |levels: usize| format!("<xml>{}{}</xml>", "<a>".repeat(levels), "</a>".repeat(levels));
        assert!(children(&nested(DEPTH_MAX - 1)).is_ok());
        assert_eq!(children(&nested(DEPTH_MAX)), Err("nested too deeply"));
    }
}
