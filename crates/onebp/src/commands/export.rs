//! `onebp export`.

use crate::{
    failure::Failure,
    frame::{self, TableFormat},
    output::{self, Terminal},
    run_folder,
};
use clap::ValueEnum;
use npyz::WriterBuilder;
use onebp_data::IdMap;
use onebp_model::Table;
use onebp_train::{atomic, to_safetensors};
use polars::prelude::Column;
use serde::Serialize;
use std::path::PathBuf;

/// Write the embeddings to files that other programs read.
///
/// Row k of `users` and `items` belongs to line k of `user-ids.txt` and `item-ids.txt`; Parquet and CSV hold the ids in
/// their first column. `scoring.json` says how a row of each makes a score.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// File format.
    #[arg(long)]
    format: ExportFormat,
    /// Folder to write to; created if missing.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// One file with the tensors `users` and `items`.
    Safetensors,
    /// users.npy and items.npy.
    Npy,
    /// users.parquet and items.parquet: id, e0, e1, ...
    Parquet,
    /// users.csv and items.csv: id, e0, e1, ...
    Csv,
}

/// How rows make scores.
#[derive(Serialize)]
struct Scoring {
    /// `product`: the dot product; `distance`: minus the squared distance.
    score: &'static str,
    /// A row of `users` holds this many vectors, one after another; the best one for an item counts.
    vectors_per_user: usize,
    /// Width of an item, and of each vector of a user.
    dim: usize,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let trained = run_folder::open(&arguments.run, &terminal)?;
    let folder = atomic::create_folder(&arguments.output)?;
    let sides =
        [("user", &trained.data.users, &trained.tables.users), ("item", &trained.data.items, &trained.tables.items)];
    let mut files = Vec::new();
    match arguments.format {
        ExportFormat::Safetensors => {
            let tensors = sides.map(|(side, _, table)| (if side == "user" { "users" } else { "items" }, table));
            let bytes = to_safetensors(tensors.into_iter(), &Default::default()).map_err(Failure::unexpected)?;
            files.push(("embeddings.safetensors".to_string(), bytes));
        }
        ExportFormat::Npy => {
            for (side, _, table) in sides {
                files.push((format!("{side}s.npy"), npy(table)?));
            }
        }
        ExportFormat::Parquet | ExportFormat::Csv => {
            let (ending, format) = match arguments.format {
                ExportFormat::Parquet => ("parquet", TableFormat::Parquet),
                _ => ("csv", TableFormat::Csv),
            };
            for (side, ids, table) in sides {
                files.push((format!("{side}s.{ending}"), wide(ids, table, format)?));
            }
        }
    }
    if matches!(arguments.format, ExportFormat::Safetensors | ExportFormat::Npy) {
        for (side, ids, _) in sides {
            files.push((
                format!("{side}-ids.txt"),
                ids.all().iter().flat_map(|id| [id, "\n"].concat().into_bytes()).collect(),
            ));
        }
    }
    let rule = Scoring {
        score: trained.tables.score.as_str(),
        vectors_per_user: trained.tables.vectors(),
        dim: trained.tables.items.dim,
    };
    files.push(("scoring.json".into(), serde_json::to_vec_pretty(&rule).map_err(Failure::unexpected)?));
    for (name, bytes) in &files {
        atomic::write(&folder.join(name), bytes)?;
    }
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| folder.join(name)).collect();
    if terminal.json {
        return output::json(&paths);
    }
    output::result(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n"))
}

/// A matrix in NumPy's format.
fn npy(table: &Table) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let shape = [table.rows as u64, table.dim as u64];
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&shape)
        .writer(&mut bytes)
        .begin_nd()
        .map_err(Failure::unexpected)?;
    writer.extend(table.values.iter().copied()).map_err(Failure::unexpected)?;
    writer.finish().map_err(Failure::unexpected)?;
    Ok(bytes)
}

/// One row per id: `id`, then one column per dimension.
fn wide(ids: &IdMap, table: &Table, format: TableFormat) -> Result<Vec<u8>, Failure> {
    let mut columns = vec![Column::new("id".into(), ids.all())];
    for k in 0..table.dim {
        let values: Vec<f32> = (0..table.rows).map(|row| table.row(row)[k]).collect();
        columns.push(Column::new(format!("e{k}").into(), values));
    }
    frame::encode(frame::frame(columns)?, format)
}
