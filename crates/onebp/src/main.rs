//! `onebp`: train, evaluate and use OneBP recommenders.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod commands;
mod config_file;
mod data_source;
mod failure;
mod frame;
mod layers;
mod lookup;
mod methods;
mod options;
mod output;
mod run_folder;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::{Exit, Failure};
use output::Terminal;
use std::{process::ExitCode, sync::Mutex};

/// Train, evaluate and use OneBP recommenders: two towers, one backpropagation.
///
/// `onebp train` without anything else trains on built-in data. Results go to stdout, everything else to stderr.
#[derive(Parser)]
#[command(version, after_help = failure::EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but results and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Train a model and evaluate it.
    Train(Box<commands::train::Arguments>),
    /// Evaluate a trained model on test, or on other interactions.
    Evaluate(commands::evaluate::Arguments),
    /// List the best new items for users.
    Recommend(commands::recommend::Arguments),
    /// List the items nearest to an item.
    Similar(commands::similar::Arguments),
    /// Write the embeddings to files that other programs read.
    Export(commands::export::Arguments),
    /// Time epochs of training, and tell how much of the machine they use.
    Bench(Box<commands::bench::Arguments>),
    /// Run the experiments of the paper, and your own, and report on them.
    Experiment(commands::experiment::Arguments),
    /// Write a page about runs of your own: curves, results side by side, configuration.
    Report(commands::report::Arguments),
    /// List the methods, and the parts that they are made of.
    Methods,
    /// Look at data, or prepare it once for many runs.
    Data(commands::data::Arguments),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn run(cli: Cli) -> Result<(), Failure> {
    let terminal = Terminal { quiet: cli.quiet, json: cli.json };
    match cli.command {
        Command::Train(arguments) => commands::train::run(*arguments, terminal),
        Command::Evaluate(arguments) => commands::evaluate::run(arguments, terminal),
        Command::Recommend(arguments) => commands::recommend::run(arguments, terminal),
        Command::Similar(arguments) => commands::similar::run(arguments, terminal),
        Command::Export(arguments) => commands::export::run(arguments, terminal),
        Command::Bench(arguments) => commands::bench::run(*arguments, terminal),
        Command::Experiment(arguments) => commands::experiment::run(arguments, terminal),
        Command::Report(arguments) => commands::report::run(arguments, terminal),
        Command::Methods => commands::methods::run(terminal),
        Command::Data(arguments) => commands::data::run(arguments, terminal),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "onebp", &mut script);
            output::result(String::from_utf8_lossy(&script).trim_end())
        }
    }
}

fn main() -> ExitCode {
    // A panic that nobody catches is a bug; libraries catch some of their own, which are none of the user's business.
    static PANIC: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut last) = PANIC.lock() {
            *last = panic.to_string().replace('\n', " ");
        }
    }));
    let command = Cli::command()
        .mut_subcommand("train", layers::with_defaults)
        .mut_subcommand("bench", commands::bench::with_help);
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    if cfg!(unix) && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Mesa prints errors in our name where it is unset. SAFETY: no other thread has been started yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    match std::panic::catch_unwind(|| run(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            failure.print();
            ExitCode::from(failure.exit as u8)
        }
        Err(_) => {
            let panic = PANIC.lock().map(|last| last.clone()).unwrap_or_default();
            eprintln!("error: internal error, please report it with the command you ran: {panic}");
            ExitCode::from(Exit::Unexpected as u8)
        }
    }
}
