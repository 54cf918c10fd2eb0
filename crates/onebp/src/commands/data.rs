//! `onebp data stats` and `onebp data prepare`.

use crate::{
    data_source::{Source, directory, load_and_tell, tell},
    failure::Failure,
    options::DataOptions,
    output::{self, Terminal},
};
use onebp_data::{Dataset, Statistics, hold_out_validation, write_prepared};
use std::path::PathBuf;

/// Look at data, or prepare it once for many runs.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print counts and distributions.
    Stats {
        /// `synthetic`, the NAME of a folder in the data directory, or the path of a file or folder.
        data: String,
        #[command(flatten)]
        reading: Box<DataOptions>,
    },
    /// Filter, split and write a folder that `--data` reads as it is.
    Prepare {
        /// `synthetic`, the NAME of a folder in the data directory, or the path of a file or folder.
        data: String,
        /// Folder to write; must not exist or be empty.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Cut this share of every user's training items as a validation part.
        #[arg(long, value_name = "SHARE")]
        valid_ratio: Option<f64>,
        #[command(flatten)]
        reading: Box<DataOptions>,
    },
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    match arguments.action {
        Action::Stats { data, reading } => {
            let source = Source::find(&data, &directory(None))?;
            let loaded = load_and_tell(&source, &reading.load_options(), &terminal)?;
            print(&loaded.dataset, &terminal)
        }
        Action::Prepare { data, output, valid_ratio, reading } => {
            let options = reading.load_options();
            let mut loaded = Source::find(&data, &directory(None))?.load(&options)?;
            if let Some(ratio) = valid_ratio {
                cut_validation(&mut loaded.dataset, ratio, options.preparation.seed)?;
            }
            tell(&loaded, &terminal);
            write_prepared(&loaded.dataset, &loaded.sources, Some(&options.preparation), &output)?;
            terminal.tell(&format!("prepared folder: {}", output.display()));
            print(&loaded.dataset, &terminal)
        }
    }
}

fn cut_validation(dataset: &mut Dataset, ratio: f64, seed: u64) -> Result<(), Failure> {
    if dataset.valid.is_some() {
        return Err(Failure::usage("this data has a validation part already; leave --valid-ratio out"));
    }
    let (train, valid) = hold_out_validation(&dataset.train, ratio, seed)?;
    (dataset.train, dataset.valid) = (train, Some(valid));
    dataset.split = format!("{}; validation {ratio} of train", dataset.split);
    Ok(())
}

fn print(dataset: &Dataset, terminal: &Terminal) -> Result<(), Failure> {
    let statistics = Statistics::of(dataset);
    if terminal.json {
        return output::json(&statistics);
    }
    let spread = |spread: onebp_data::Spread| {
        format!("min {}, median {}, mean {:.1}, max {}", spread.min, spread.median, spread.mean, spread.max)
    };
    let lines = [
        ("users", statistics.users.to_string()),
        ("items", statistics.items.to_string()),
        ("interactions", (statistics.train + statistics.valid + statistics.test).to_string()),
        ("train", statistics.train.to_string()),
        ("valid", statistics.valid.to_string()),
        ("test", statistics.test.to_string()),
        ("density", format!("{:.4} %", 100.0 * statistics.density)),
        ("items per user", spread(statistics.per_user)),
        ("users per item", spread(statistics.per_item)),
        ("Gini of item popularity", format!("{:.3}", statistics.item_gini)),
        ("items that hold 80 %", format!("{:.1} % of the catalogue", 100.0 * statistics.head_share)),
        ("items without training", statistics.items_without_train.to_string()),
        ("users without training", statistics.users_without_train.to_string()),
        ("users without test", statistics.users_without_test.to_string()),
        ("users with every item", statistics.users_with_all_items.to_string()),
        ("test pairs of cold items", statistics.cold_test_pairs.to_string()),
    ];
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let text: Vec<String> = lines.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    output::result(&text.join("\n"))
}
