//! Reads what is no Rust: the paths that a Markdown page names, the keys of a TOML file, lines that give away a machine.

/// The paths that a text names in backticks: no spaces, and either in a folder of ours or with one of our endings.
pub(crate) fn named_paths(text: &str) -> Vec<String> {
    let folders =
        ["src/", "actors/", "tests/", "miniprogram/", "data/", "deploy/", "docs/", "benches/", ".ci/"];
    let endings = [".rs", ".md", ".toml", ".js", ".wxml", ".wxss"];
    let is_plain = |span: &&str| {
        span.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter))
            && !span.starts_with('/')
    };
    let is_path = |span: &&str| {
        folders.iter().any(|folder| span.starts_with(folder))
            || endings.iter().any(|ending| span.strip_suffix(ending).is_some_and(|name| !name.is_empty()))
    };
    let prose = text.split("```").step_by(2).collect::<String>();
    prose.split('`').skip(1).step_by(2).filter(is_plain).filter(is_path).map(str::to_owned).collect()
}

/// The keys of a TOML file whose line isn't led by a comment.
pub(crate) fn bare_keys(toml: &str) -> Vec<String> {
    let mut bare = Vec::new();
    let mut above = "";
    let mut open = 0_usize;
    for line in toml.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let is_comment = line.starts_with('#');
        if open == 0 && !is_comment && !line.starts_with('[') && !above.starts_with('#') {
            bare.push(line.split('=').next().unwrap_or(line).trim().to_owned());
        }
        if !is_comment {
            open = (open + line.matches(['[', '{']).count()).saturating_sub(line.matches([']', '}']).count());
        }
        above = line;
    }
    bare
}

/// Whether the line holds an absolute path of a machine or the host of a package registry.
pub(crate) fn names_a_machine(line: &str) -> bool {
    let folders =
        [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let hosts = [
        concat!("crates", ".io"),
        concat!("npm", "js.org"),
        concat!("npm", "js.com"),
        concat!("npm", "mirror"),
        concat!("py", "pi.org"),
        concat!("rs", "proxy"),
    ];
    // In an address the folder follows a name (`pages` and the like); an absolute path begins with it.
    let is_absolute = |(at, _): (usize, &str)| {
        !line.get(..at).and_then(|before| before.chars().next_back()).is_some_and(char::is_alphanumeric)
    };
    hosts.iter().any(|host| line.contains(host))
        || folders.iter().any(|folder| line.match_indices(folder).any(is_absolute))
}

#[test]
fn paths_are_told_from_other_words_in_backticks() {
    let text = "`src/a.rs` `config.toml` `/api/login` `kf/sync_msg` `cargo run src/x` `.rs`\n```\n`src/b.rs`\n```\n`data/`";
    assert_eq!(named_paths(text), ["src/a.rs", "config.toml", "data/"]);
}

#[test]
fn a_key_without_a_comment_is_seen() {
    let toml = "# of the section\n[a]\n# said\nb = 1\nc = [\n  2,\n]\n# said\nd = [\n  3,\n]\n\n# said\n\ne = \"#\"\nf = 1";
    assert_eq!(bare_keys(toml), ["c", "f"]);
}

#[test]
fn a_machine_is_told_from_a_folder_of_the_same_name() {
    assert!(names_a_machine(concat!("see /ho", "me/li/x")) && names_a_machine(concat!("\"/wo", "rk/x\"")));
    assert!(names_a_machine(concat!("from crates", ".io")));
    assert!(
        !names_a_machine(concat!("pages/ho", "me/index"))
            && !names_a_machine(concat!("service/wo", "rk/bind"))
    );
}
