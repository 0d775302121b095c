//! The binary: hands the command line and the environment to [`kfbind::cli`], and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Where the C library refuses, more memory is used; that is no reason not to serve.
    let _ = actors::heap::share_one_arena();
    kfbind::cli::run(std::env::args_os(), &kfbind::config::Environment::of_process())
}
