//! The command line: one sub-command each, and the exit codes 0 (fine), 1 (failed) and 2 (wrong usage).
//!
//! Reads no environment: it is passed in, and only the configuration knows its names.

mod archive;
mod check;
mod keygen;
mod online;
mod progress;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app,
    config::{Config, ConfigFile, Environment},
    demo, logging,
};

/// What is logged where `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// Binds WeChat mini-program users to the customers of a WeCom customer-service account.
#[derive(Debug, Parser)]
#[command(name = "kfbind", version = env!("KFBIND_VERSION"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve {
        #[command(flatten)]
        file: FileArgument,
    },
    /// Play with the service against a built-in simulator of WeCom and WeChat: a page with two phones, on loopback
    Demo {
        /// Port of the page and the service; 0 takes a free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Run one whole binding with a line per step, check it, and exit
        #[arg(long)]
        script: bool,
        /// Seed of the simulator's faults and names, to repeat a run
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
    /// Validate the configuration and print the effective one, secrets masked
    Check {
        #[command(flatten)]
        file: FileArgument,
        /// Walk through all that the consoles of WeCom and WeChat must have been told, asking both, and say what is missing
        #[arg(long)]
        online: bool,
    },
    /// Print a fresh callback Token, `EncodingAESKey` and admin key, ready to paste
    Keygen,
    /// Write the whole store as NDJSON, to be kept as a secret is
    Export {
        /// The file to write, made with mode 0600
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Ask the running service at this address instead of opening the store
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        file: FileArgument,
    },
    /// Read an export back into an empty store
    Import {
        /// The export
        #[arg(value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        file: FileArgument,
    },
}

#[derive(Args, Debug)]
struct FileArgument {
    /// The configuration file [default: config.toml in the working directory, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl FileArgument {
    fn choice(self) -> ConfigFile {
        self.config.map_or(ConfigFile::Default, ConfigFile::Named)
    }
}

/// Does what the arguments say (the first of them names the program) and tells the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(usage) => {
            // Help and version come this way, too; with nowhere to print there is nothing else to do.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let (watcher, commits) = demo::commits();
    let watcher = matches!(command, Command::Demo { .. }).then_some(watcher);
    let mut log = environment.log_settings();
    if matches!(command, Command::Check { .. }) && log.filter == DEFAULT_FILTER {
        // What it finds stands in its own words on stdout, once.
        "off".clone_into(&mut log.filter);
    }
    logging::start(&log, watcher);
    match execute(command, environment, commits) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command, environment: &Environment, commits: demo::Commits) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { file } => {
            let config = Config::load(&file.choice(), environment)?.config;
            app::serve(&config, &environment.notify_settings(std::process::id()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { port, script, seed } => {
            demo::run(port, script, seed, commits)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { file, online } => {
            let is_coloured = io::stdout().is_terminal() && !environment.wants_no_colour();
            check::run(&file.choice(), online, environment, (&mut io::stdout().lock(), is_coloured))
        }
        Command::Keygen => {
            keygen::run(&mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Export { out, url, file } => {
            let config = Config::load(&file.choice(), environment)?.config;
            archive::export(&config, url.as_deref(), &out, &mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Import { from, file } => {
            let config = Config::load(&file.choice(), environment)?.config;
            archive::import(&config, &from, &mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, i32> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command).map_err(|error| error.exit_code())
    }

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_exit_code_2_and_help_is_none() {
        for line in [
            "kfbind",
            "kfbind fly",
            "kfbind serve now",
            "kfbind export",
            "kfbind import",
            "kfbind demo --port x",
        ] {
            assert_eq!(parse(line).err(), Some(2), "{line}");
        }
        for line in ["kfbind --version", "kfbind --help", "kfbind serve --help"] {
            assert_eq!(parse(line).err(), Some(0), "{line}");
        }
    }

    #[test]
    fn every_command_takes_the_arguments_of_the_contract() {
        for line in [
            "kfbind serve",
            "kfbind serve --config a.toml",
            "kfbind demo",
            "kfbind demo --port 0 --script --seed 7",
            "kfbind check --online --config a.toml",
            "kfbind keygen",
            "kfbind export --out x --config a.toml --url http://127.0.0.1:1",
            "kfbind import x --config a.toml",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        assert!(matches!(parse("kfbind demo"), Ok(Command::Demo { port: 8080, script: false, seed: None })));
    }
}
