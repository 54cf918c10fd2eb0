//! `onebp similar`.

use crate::{
    failure::Failure,
    lookup::{self, Titles},
    output::{self, Terminal},
    run_folder,
};
use onebp_data::Csr;
use onebp_eval::rank;
use onebp_model::Score;
use serde::Serialize;
use std::path::PathBuf;

/// List the items nearest to an item: by the cosine of their embeddings, or by their distance where the method ranks by
/// distances.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cosine: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<f32>,
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

    let alike = trained.tables.of_items();
    let (products, by_distance) = (alike.products(), alike.score == Score::Distance);
    // The item itself is left out of its own list.
    let itself = Csr::from_pairs(alike.items.rows, alike.items.rows, &[(item, item)])?;
    let lists = rank(&onebp_train::scorer(&products)?, &itself, &[item], arguments.k, None)?;
    let rows: Vec<Row> = (1..)
        .zip(lists.list(0))
        .map(|(rank, &(item, score))| {
            let item = ids.raw(item);
            let distance = by_distance.then(|| (-score).max(0.0).sqrt());
            Row { item, rank, cosine: (!by_distance).then_some(score), distance, title: titles.of(item) }
        })
        .collect();
    if terminal.json {
        return output::json(&rows);
    }
    let mut header = vec!["item", "rank", if by_distance { "distance" } else { "cosine" }];
    header.extend(titles.are_given().then_some("title"));
    let cells = |row: &Row| {
        let mut cells = vec![row.rank.to_string(), format!("{:.4}", row.cosine.or(row.distance).unwrap_or_default())];
        cells.extend(row.title.map(str::to_string));
        (row.item.to_string(), cells)
    };
    output::rows(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}
