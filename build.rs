//! Compiles the mini program's page for a browser and leaves it for `kfbind demo` to embed; and says which commit is
//! built, for `kfbind --version`.
//!
//! Uses Node and the packages that `miniprogram/package-lock.json` pins, installed below `OUT_DIR` once. Where Node or
//! the packages can't be had the build succeeds all the same, and the demo's left phone says what to install. Nothing
//! else of kfbind is built here.
#![expect(clippy::disallowed_methods, reason = "cargo says where to put things by the environment")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest Node that the packages run on.
const NODE_MAJOR_MIN: u32 = 20;
/// What becomes part of the page or makes it.
const SOURCES: [&str; 11] = [
    "app.js",
    "app.json",
    "app.wxss",
    "config.js",
    "texts.js",
    "theme.json",
    "wechat.js",
    "pages",
    "shared",
    "tools",
    "package-lock.json",
];
/// What comes out. Both are empty where the page could not be compiled.
const OUTPUTS: [&str; 2] = ["page.html", "page.js"];

/// Names the commit where the sources are built outside of their repository, as in a container.
const COMMIT_VARIABLE: &str = "KFBIND_COMMIT";
/// What stands in the place of the commit where nobody knows it, as with an unpacked archive.
const UNKNOWN_COMMIT: &str = "unknown";
/// More than any abbreviated or whole hash with a mark behind it.
const COMMIT_CHARS_MAX: usize = 80;

fn main() -> io::Result<()> {
    tell_version();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let phone = out.join("phone");
    fs::create_dir_all(&phone)?;
    let mini_program = Path::new("miniprogram");
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", mini_program.join(source).display());
    }
    if let Err(why) = compile(mini_program, &phone) {
        println!("cargo::warning=the demo's left phone stays empty: {why}");
        // A file that is never there: try again with the next build.
        println!("cargo::rerun-if-changed={}", out.join("never").display());
        for output in OUTPUTS {
            fs::write(phone.join(output), "")?;
        }
    }
    Ok(())
}

/// The version with the commit, for the code as `KFBIND_VERSION`.
fn tell_version() {
    println!("cargo::rerun-if-env-changed={COMMIT_VARIABLE}");
    let named = env::var(COMMIT_VARIABLE).ok().map(|commit| commit.trim().to_owned());
    let named = named.filter(|commit| !commit.is_empty());
    let commit = named.or_else(commit_of_repository).unwrap_or_else(|| UNKNOWN_COMMIT.to_owned());
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    if commit.len() > COMMIT_CHARS_MAX || !commit.chars().all(is_plain) {
        println!("cargo::error={COMMIT_VARIABLE} is no commit: letters, digits and . _ + - only");
    }
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=KFBIND_VERSION={version} ({commit})");
}

/// The commit that is checked out, abbreviated as git does. Whether files were changed since is not asked: cargo calls us
/// again when `HEAD` moves, not when a file changes. A repository around ours is none of ours.
fn commit_of_repository() -> Option<String> {
    let git = |arguments: &[&str]| {
        let said = run(Command::new("git").args(arguments), "asking git").ok()?;
        Some(said.trim().to_owned()).filter(|said| !said.is_empty())
    };
    let top = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if top != fs::canonicalize(env::var_os("CARGO_MANIFEST_DIR")?).ok()? {
        return None;
    }
    // Git knows where they are in a worktree, too. The log grows with every commit, checkout and reset.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists());
        path.inspect(|path| println!("cargo::rerun-if-changed={path}"));
    }
    git(&["rev-parse", "--short", "HEAD"])
}

fn compile(mini_program: &Path, phone: &Path) -> Result<(), String> {
    let version = run(Command::new("node").arg("--version"), "looking for Node")?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < NODE_MAJOR_MIN) {
        return Err(format!("Node {NODE_MAJOR_MIN} or newer is needed, found {}", version.trim()));
    }
    let packages =
        install(mini_program, phone).map_err(|error| format!("preparing the packages: {error}"))??;
    let bundle = Command::new("node")
        .arg(mini_program.join("tools").join("bundle.js"))
        .arg("--out")
        .arg(phone)
        .env("NODE_PATH", packages)
        .output();
    said(bundle, "compiling the mini program's page").map(|_| ())
}

/// Puts the pinned packages where this build finds them, and touches no network when they are there.
fn install(mini_program: &Path, phone: &Path) -> io::Result<Result<PathBuf, String>> {
    let packages = phone.join("node_modules");
    let lock = fs::read(mini_program.join("package-lock.json"))?;
    let installed = phone.join("installed-lock.json");
    if packages.is_dir() && fs::read(&installed).is_ok_and(|known| known == lock) {
        return Ok(Ok(packages));
    }
    for file in ["package.json", "package-lock.json"] {
        fs::copy(mini_program.join(file), phone.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(phone);
    if let Err(why) = run(&mut npm, "installing the mini program's packages") {
        return Ok(Err(why));
    }
    fs::write(installed, lock)?;
    Ok(Ok(packages))
}

fn run(command: &mut Command, what: &str) -> Result<String, String> {
    said(command.output(), what)
}

/// What a program said, or in one line why there is nothing to hear.
fn said(outcome: io::Result<std::process::Output>, what: &str) -> Result<String, String> {
    let output = outcome.map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
    Err(format!("{what}: {line}"))
}
