//! `onebp recommend`.

use crate::{
    failure::Failure,
    frame::{self, FileFormat},
    lookup::{self, Titles},
    options::DeviceOption,
    output::{self, Terminal},
    run_folder,
};
use onebp_eval::Scorer;
use onebp_model::{Ranked, Tables, device::Found};
use onebp_train::Part;
use polars::prelude::{Column, DataFrame};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// List the best new items for users.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Users, by the ids of the data.
    #[arg(long, value_name = "ID", num_args = 1.., required_unless_present = "all", allow_negative_numbers = true)]
    user: Vec<String>,
    /// All users.
    #[arg(long, conflicts_with = "user")]
    all: bool,
    /// Items per user.
    #[arg(short, long = "top", default_value_t = 10, value_name = "K")]
    k: usize,
    /// Write to a file (.tsv, .csv, .jsonl, .parquet) instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Titles of items: u.item, movies.dat, or two columns id and title.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceOption,
}

/// A line of the result. Ids are those of the data.
#[derive(Serialize)]
struct Row<'a> {
    user: &'a str,
    item: &'a str,
    rank: u32,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

pub fn run(arguments: Arguments, terminal: Terminal) -> Result<(), Failure> {
    let format = arguments.output.as_deref().map(FileFormat::of).transpose()?;
    if format.is_some() && terminal.json {
        return Err(Failure::usage(
            "--json prints to stdout, --output writes a file; give one of them (.jsonl is a file)",
        ));
    }
    if arguments.k == 0 {
        return Err(Failure::usage("-k 0 asks for nothing; give at least 1"));
    }
    let trained = run_folder::open(&arguments.run, &terminal)?;
    let titles = Titles::read(arguments.items.as_deref(), &trained.data.items, &terminal)?;
    let ids = &trained.data.users;
    let users: Vec<u32> = if arguments.all {
        (0..ids.len() as u32).collect()
    } else {
        arguments.user.iter().map(|raw| lookup::dense(ids, "user", raw)).collect::<Result<_, _>>()?
    };
    let found = arguments.device.find(&terminal)?;
    let lists = lists(&trained.tables, &trained.parts.test, &found, &users, arguments.k)?;
    let mut rows = Vec::new();
    for (&user, list) in users.iter().zip(lists) {
        for (rank, (item, score)) in (1..).zip(list) {
            let item = trained.data.items.raw(item);
            rows.push(Row { user: ids.raw(user), item, rank, score, title: titles.of(item) });
        }
    }
    match (arguments.output, format) {
        (Some(path), Some(format)) => write(&rows, &path, format, &terminal),
        _ => print(&rows, &terminal),
    }
}

/// Items and scores for each of `users`, best first, without what they have seen.
///
/// # Errors
/// Where scores are not finite or the device fails.
pub fn lists(
    tables: &Tables,
    part: &Part,
    found: &Found,
    users: &[u32],
    k: usize,
) -> Result<Vec<Vec<(u32, f32)>>, Failure> {
    let products = tables.products();
    let scorer = onebp_train::scorer(&products)?;
    let k = k.min(tables.items.rows);
    let Some(ranked) = onebp_model::rank(tables, found, &part.ranking(users, k))? else {
        let ranking = onebp_eval::rank(&scorer, &part.seen, users, k, None)?;
        return Ok(ranking.lists().map(<[_]>::to_vec).collect());
    };
    let list = |(&user, items): (&u32, &[u32])| {
        let items: Vec<u32> = items.iter().copied().take_while(|&item| item != Ranked::NONE).collect();
        let mut scores = vec![0.0; items.len()];
        scorer.pairs(user, &items, &mut scores);
        // As they are ranked on the host: a device may round otherwise. Adding +0.0 makes both zeros one.
        let mut list: Vec<_> = items.into_iter().zip(scores.into_iter().map(|score| score + 0.0)).collect();
        list.sort_unstable_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        list
    };
    Ok(users.iter().zip(ranked.items.chunks(k)).map(list).collect())
}

fn to_frame(rows: &[Row]) -> Result<DataFrame, Failure> {
    let mut columns = vec![
        Column::new("user".into(), rows.iter().map(|row| row.user).collect::<Vec<_>>()),
        Column::new("item".into(), rows.iter().map(|row| row.item).collect::<Vec<_>>()),
        Column::new("rank".into(), rows.iter().map(|row| row.rank).collect::<Vec<_>>()),
        Column::new("score".into(), rows.iter().map(|row| row.score).collect::<Vec<_>>()),
    ];
    if rows.iter().any(|row| row.title.is_some()) {
        columns.push(Column::new("title".into(), rows.iter().map(|row| row.title).collect::<Vec<_>>()));
    }
    frame::frame(columns)
}

fn write(rows: &[Row], path: &Path, format: FileFormat, terminal: &Terminal) -> Result<(), Failure> {
    let bytes = match format {
        FileFormat::Jsonl => frame::json_lines(rows)?,
        FileFormat::Table(format) => frame::encode(to_frame(rows)?, format)?,
    };
    onebp_train::atomic::write(path, &bytes)?;
    terminal.tell(&format!("{} rows written to {}", rows.len(), path.display()));
    Ok(())
}

fn print(rows: &[Row], terminal: &Terminal) -> Result<(), Failure> {
    if terminal.json {
        return output::json(&rows);
    }
    let mut header = vec!["user", "item", "rank", "score"];
    header.extend(rows.iter().any(|row| row.title.is_some()).then_some("title"));
    let cells = |row: &Row| {
        let mut cells = vec![row.item.to_string(), row.rank.to_string(), row.score.to_string()];
        cells.extend(row.title.map(str::to_string));
        (row.user.to_string(), cells)
    };
    output::rows(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}
