//! The repository checks itself: who imports whom, what stands in which file, what the texts name. Reads files only;
//! what the compiler and its lints can tell is left to them.

#![expect(clippy::panic, reason = "a file of the repository that can't be read fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/texts.rs"]
mod texts;

use imports::{ACTORS_IMPORTS, SRC_IMPORTS};

/// Words that only some files of the inside may say, and which.
const CONFINED: &[(&str, &[&str])] = &[
    ("sled", &["actors/registry/store.rs", "actors/durability.rs"]),
    ("bincode", &["actors/registry/records.rs"]),
    ("unsafe", &["actors/durability.rs", "actors/heap.rs"]),
];

/// What the inside must not depend on: HTTP, XML, cryptography, and what brings them.
const NOT_INSIDE: &[&str] =
    &["aes", "cbc", "hmac", "http", "hyper", "quick-xml", "reqwest", "rustls", "sha1", "sha2", "url", "warp"];

const LINES_MAX: usize = 400;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[];

// ---- Reading ----------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("reading {file}: {error}"))
}

/// All files of the repository, relative to its root, without those that `.gitignore` leaves out.
fn files() -> Vec<String> {
    let ignored: BTreeSet<String> =
        read(".gitignore").lines().map(|line| line.trim_matches('/').to_owned()).collect();
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder));
        for entry in entries.unwrap_or_else(|error| panic!("listing {}: {error}", folder.display())) {
            let entry = entry.unwrap_or_else(|error| panic!("listing {}: {error}", folder.display()));
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let in_the_store = folder == Path::new("data") && name != "README.md" && name != ".gitignore";
            if name == ".git" || ignored.contains(&name) || in_the_store {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(path);
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn files_ending(ending: &str) -> Vec<String> {
    files().into_iter().filter(|file| file.ends_with(ending)).collect()
}

/// The Rust files that are compiled into the program, tests left out.
fn sources() -> Vec<String> {
    let is_source = |file: &String| {
        (file.starts_with("src/") || file.starts_with("actors/"))
            && !file.ends_with("/tests.rs")
            && !file.contains("/tests/")
    };
    files_ending(".rs").into_iter().filter(is_source).collect()
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

// ---- Imports ----------------------------------------------------------------------------------------------------

/// `http::callback` for `src/http/callback.rs`.
fn module_of(file: &str) -> String {
    file.split_once('/').map_or(file, |(_, rest)| rest).trim_end_matches(".rs").replace('/', "::")
}

fn is_below(path: &str, beginning: &str) -> bool {
    path.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The imports of this module that the table doesn't grant.
fn forbidden(table: &[(&str, &[&str])], module: &str, source: &str) -> Vec<String> {
    let code = scan::without_tests(&scan::code_only(source));
    let own = module.split("::").next().unwrap_or(module);
    let granted = table
        .iter()
        .filter(|(row, _)| is_below(module, row))
        .max_by_key(|(row, _)| row.len())
        .map_or(&[][..], |(_, granted)| *granted);
    let mut offences: Vec<String> = scan::paths(&code, &["crate", "kfbind", "super", "actors"])
        .into_iter()
        .map(|path| absolute(module, &path))
        .filter(|path| !is_below(path, own) && !path.is_empty())
        .filter(|path| !granted.iter().any(|beginning| is_below(path, beginning)))
        .map(|path| format!("{module} imports {path}, which the table doesn't grant"))
        .collect();
    offences.dedup();
    offences
}

/// The path from the crate's root on.
fn absolute(module: &str, path: &str) -> String {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut rest = path;
    while let Some(behind) = rest.strip_prefix("super::") {
        base.pop();
        rest = behind;
    }
    match rest.strip_prefix("crate::").or_else(|| rest.strip_prefix("kfbind::")) {
        Some(behind) => behind.to_owned(),
        None if rest == path => path.to_owned(),
        None => base.into_iter().chain([rest]).collect::<Vec<_>>().join("::"),
    }
}

#[test]
fn modules_import_only_whom_the_table_grants() {
    let mut offences = Vec::new();
    for file in sources().iter().filter(|file| !file.ends_with("/lib.rs")) {
        let table = if file.starts_with("src/") { SRC_IMPORTS } else { ACTORS_IMPORTS };
        offences.extend(forbidden(table, &module_of(file), &read(file)));
    }
    assert_none(&offences);
}

#[test]
fn a_forbidden_import_is_seen_in_whatever_form() {
    let table: &[(&str, &[&str])] = &[("http", &["wecom::event"]), ("http::open", &["app"])];
    for source in [
        "use crate::app;",
        "use crate::{wecom::{event, client}};",
        "fn f() { super::super::app::run() }",
        "use actors::ids::OpenId;",
    ] {
        assert_eq!(forbidden(table, "http::callback", source).len(), 1, "{source}");
    }
    for source in
        ["use crate::wecom::event::parse;", "use super::reply;", "// crate::app", "use crate::http;"]
    {
        assert!(forbidden(table, "http::callback", source).is_empty(), "{source}");
    }
    assert!(forbidden(table, "http::open::door", "use crate::app::run;").is_empty());
    assert_eq!(forbidden(table, "unheard_of", "use crate::app;").len(), 1);
}

#[test]
fn the_inside_says_sled_bincode_and_unsafe_in_their_places_only() {
    let mut offences = Vec::new();
    for file in sources() {
        let code = scan::without_tests(&scan::code_only(&read(&file)));
        for (word, places) in CONFINED {
            if scan::names(&code, word) && !places.contains(&file.as_str()) {
                offences.push(format!("{file} says {word}; that is for {}", places.join(", ")));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn the_inside_depends_on_no_http_xml_or_cryptography() {
    let manifest = read("actors/Cargo.toml");
    let offences: Vec<String> = dependencies(&manifest)
        .into_iter()
        .filter(|name| NOT_INSIDE.contains(name))
        .map(|name| format!("actors/Cargo.toml: {name}"))
        .collect();
    assert_none(&offences);
}

/// The crates that a manifest names as dependencies, for tests too.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_dependency = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_dependency = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(['=', '.']).filter(|_| is_dependency) {
            names.push(name.trim());
        }
    }
    names
}

#[test]
fn every_dependency_earns_its_place_in_a_line() {
    let (outside, inside) = (read("Cargo.toml"), read("actors/Cargo.toml"));
    let named: BTreeSet<&str> = dependencies(&outside).into_iter().chain(dependencies(&inside)).collect();
    let text = read("ARCHITECTURE.md");
    let (_, table) = text.split_once("| crate |").unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let explained: BTreeSet<&str> =
        rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    let silent = named.iter().filter(|name| **name != "actors" && !explained.contains(*name));
    let gone = explained.iter().filter(|name| !named.contains(*name));
    assert!(named.len() > 20, "the manifests are read: {named:?}");
    assert_none(
        &silent
            .map(|name| format!("ARCHITECTURE.md doesn't say what {name} is for"))
            .chain(gone.map(|name| format!("ARCHITECTURE.md explains {name}, which is no dependency")))
            .collect::<Vec<_>>(),
    );
}

// ---- Files ------------------------------------------------------------------------------------------------------

#[test]
fn every_rust_file_opens_by_saying_what_it_is() {
    let silent = |file: &String| !read(file).starts_with("//! ");
    assert_none(&files_ending(".rs").into_iter().filter(silent).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    let mut offences = Vec::new();
    let files = files_ending(".rs");
    // What is nothing but tests may be as long as the list of what is promised.
    let is_tests = |file: &str| {
        file.ends_with("/tests.rs") || file.starts_with("tests/it/") && !file.starts_with("tests/it/support")
    };
    for file in files.iter().filter(|file| !is_tests(file)) {
        let lines = scan::without_tests(&scan::code_only(&read(file))).lines().count();
        if lines > LINES_MAX && !LONG.iter().any(|(long, _)| long == file) {
            offences.push(format!("{file}: {lines} lines without its tests, {LINES_MAX} are the limit"));
        }
    }
    for (long, _) in LONG {
        if !files.iter().any(|file| file == long) {
            offences.push(format!("{long} is granted more lines but isn't there"));
        }
    }
    assert_none(&offences);
}

#[test]
fn modules_lie_beside_their_folder_and_not_in_it() {
    assert_none(&files_ending("/mod.rs"));
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    let mut offences = Vec::new();
    for file in files().iter().filter(|file| is_program_text(file)) {
        for (number, line) in read(file).lines().enumerate() {
            let undated = [concat!("TO", "DO"), concat!("FIX", "ME")]
                .iter()
                .any(|mark| line.split(mark).skip(1).any(|rest| !rest.starts_with("(#")));
            if undated {
                offences.push(format!("{file}:{}: no issue number, as in (#12)", number + 1));
            }
        }
    }
    assert_none(&offences);
}

fn is_program_text(file: &str) -> bool {
    [".rs", ".js", ".mjs", ".wxml", ".wxss", ".toml", "/run"].iter().any(|ending| file.ends_with(ending))
}

#[test]
fn the_code_has_no_debris_and_silences_no_lint() {
    let mut offences = Vec::new();
    for file in files_ending(".rs") {
        let code: String = scan::code_only(&read(&file)).split_whitespace().collect();
        for debris in ["dbg!(", "todo!(", "unimplemented!(", "#[allow(", "#![allow(", ",allow("] {
            if code.contains(debris) {
                offences.push(format!("{file}: {debris}"));
            }
        }
    }
    assert_none(&offences);
}

// ---- Texts ------------------------------------------------------------------------------------------------------

#[test]
fn the_paths_that_texts_name_exist() {
    let mut offences = Vec::new();
    for file in files_ending(".md") {
        let beside = root().join(&file).parent().map(Path::to_path_buf).unwrap_or_default();
        for path in texts::named_paths(&read(&file)) {
            if !root().join(&path).exists() && !beside.join(&path).exists() {
                offences.push(format!("{file} names {path}"));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn every_key_of_the_default_configuration_has_a_comment() {
    assert_none(&texts::bare_keys(&read("config.toml")));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let mut offences = Vec::new();
    for file in files() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let is_lock_line =
                line.starts_with("source = ") || line.trim_start().starts_with("\"resolved\": ");
            if !is_lock_line && texts::names_a_machine(line) {
                offences.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn lock_files_name_the_public_registries_only() {
    let index =
        format!("source = \"registry+https://github.com/rust-lang/{}-index\"", concat!("crates", ".io"));
    let strange = |line: &&str| line.starts_with("source = ") && *line != index;
    for file in files_ending("Cargo.lock") {
        assert_none(&read(&file).lines().filter(strange).map(str::to_owned).collect::<Vec<_>>());
    }

    let registry = format!("\"resolved\": \"https://registry.{}/", concat!("npm", "js.org"));
    for file in files_ending("package-lock.json") {
        let text = read(&file);
        let strange = |line: &&str| line.starts_with("\"resolved\": ") && !line.starts_with(&registry);
        assert_none(&text.lines().map(str::trim).filter(strange).map(str::to_owned).collect::<Vec<_>>());
    }
}

#[test]
fn every_fixture_is_explained() {
    let explained = read("tests/fixtures/README.md");
    let silent = |file: &String| {
        file.strip_prefix("tests/fixtures/")
            .is_some_and(|name| name != "README.md" && !explained.contains(name))
    };
    assert_none(&files().into_iter().filter(silent).collect::<Vec<_>>());
}
