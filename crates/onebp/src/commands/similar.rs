//! `onebp similar`.

use crate::{
    failure::Failure,
    lookup::{self, Titles},
    output::{self, Terminal},
    run_folder,
};
use onebp_data::Csr;
use onebp_eval::{DotProduct, rank};
use serde::Serialize;
use std::path::PathBuf;

/// List the items nearest to an item, by the cosine of their embeddings.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The item, by its id in the data.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    item: String,
    /// How many.
    #[arg(short, long = "top", default_value_t = 10, value_name = "K")]
    k: usize,
    /// Titles of items: u.item, movies.dat, or two columns id and title.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row<'a> {
    item: &'a str,
    rank: u32,
    cosine: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    if arguments.k == 0 {
        return Err(Failure::usage("-k 0 asks for nothing; give at least 1"));
    }
    let trained = run_folder::open(&arguments.run, &terminal)?;
    let titles = Titles::read(arguments.items.as_deref(), &trained.data.items, &terminal)?;
    let ids = &trained.data.items;
    let item = lookup::dense(ids, "item", &arguments.item)?;

    // The cosine is the dot product of rows of length one; the item itself is left out of its own list.
    let table = &trained.tables.items;
    let mut unit = table.values.clone();
    for row in unit.chunks_mut(table.dim) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm.max(f32::MIN_POSITIVE));
    }
    let itself = Csr::from_pairs(table.rows, table.rows, &[(item, item)])?;
    let lists = rank(&DotProduct::new(&unit, &unit, table.dim)?, &itself, &[item], arguments.k, None)?;
    let rows: Vec<Row> = (1..)
        .zip(lists.list(0))
        .map(|(rank, &(item, cosine))| {
            let item = ids.raw(item);
            Row { item, rank, cosine, title: titles.of(item) }
        })
        .collect();
    if terminal.json {
        return output::json(&rows);
    }
    let mut header = vec!["item", "rank", "cosine"];
    header.extend(titles.are_given().then_some("title"));
    let cells = |row: &Row| {
        let mut cells = vec![row.rank.to_string(), format!("{:.4}", row.cosine)];
        cells.extend(row.title.map(str::to_string));
        (row.item.to_string(), cells)
    };
    output::rows(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}
