//! The binary: hands the command line and the environment to [`kfbind::cli`], and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    kfbind::cli::run(std::env::args_os(), &kfbind::config::Environment::of_process())
}
