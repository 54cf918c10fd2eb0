//! The fused step on the CPU, for tables of the size of MovieLens-1M and of Gowalla, by optimizer; and grouping a batch.
//! `cargo bench --bench step`.
#![allow(missing_docs, clippy::unwrap_used)]

use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use onebp_data::random::{Purpose, Random};
use onebp_table::{
    Aggregation, Batch, Duplicates, Embedding, Follow, FusedStep, Grouping, Optimizer, Rule, Table, Touched,
    host::{HostStep, HostTable},
};

const ROWS: usize = 1024;
const WIDTH: usize = 6;

fn table(rows: usize, dim: usize) -> Table {
    let random = Random::new(1, Purpose::InitItems);
    let values = (0..rows * dim).map(|at| random.unit(0, at as u64, 0) as f32 - 0.5).collect();
    Table { values, rows, dim }
}

/// Batches over `tables` = (users, items), all drawn uniformly.
fn batches(tables: (usize, usize), count: u32) -> Vec<Batch> {
    let random = Random::new(2, Purpose::Negatives);
    let draw = |epoch, length, below: usize| {
        let mut words = random.words(epoch, 0);
        (0..length).map(|_| words.below(below as u32)).collect::<Vec<u32>>()
    };
    (0..count)
        .map(|number| {
            let (users, items) = (draw(2 * number, ROWS, tables.0), draw(2 * number + 1, ROWS * WIDTH, tables.1));
            Batch::new(users, items, vec![1.0; ROWS], tables)
        })
        .collect()
}

#[allow(deprecated)]
fn steps(criterion: &mut Criterion) {
    for (name, tables, dim) in [("ml-1m", (6040, 3706), 128), ("gowalla", (29_858, 40_981), 1024)] {
        let mut group = criterion.benchmark_group(format!("step/{name}"));
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
        let batches = batches(tables, 8);
        for rule in Rule::ALL {
            let optimizer = Optimizer { rule, learning_rate: 1e-3, weight_decay: 0.0, projection: None };
            let mut users = HostTable::new(&table(tables.0, dim), None, &Device::ndarray()).unwrap();
            let mut items = HostTable::new(&table(tables.1, dim), Some(&optimizer), &Device::ndarray()).unwrap();
            let follow = Follow::Users(Aggregation { beta: 0.99, duplicates: Duplicates::Sequential });
            let mut step = HostStep::new(1.0, follow);
            let mut turns = batches.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(rule.as_str()), |bencher| {
                bencher.iter(|| step.step(&mut users, &mut items, turns.next().unwrap()).unwrap());
            });
            step.take_losses().unwrap();
        }
        group.finish();
    }
}

fn grouping(criterion: &mut Criterion) {
    for rows in [3706, 40_981, 1_000_000] {
        let batch = &batches((1, rows), 1)[0];
        let (mut grouping, mut touched) = (Grouping::new(rows), Touched::default());
        let mut group = criterion.benchmark_group("grouping");
        group.throughput(Throughput::Elements(batch.items.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| grouping.group(&batch.items, &mut touched));
        });
    }
}

criterion_group!(benches, steps, grouping);
criterion_main!(benches);
