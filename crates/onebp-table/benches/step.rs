//! The fused step on the CPU, for tables of the size of MovieLens-100k and 1M and of Gowalla, by optimizer and beside a bare one; and
//! grouping a batch.
//! `cargo bench --bench step`.
#![allow(missing_docs, clippy::unwrap_used)]

#[cfg(target_arch = "x86_64")]
mod bare;

use burn::tensor::Device;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use onebp_data::random::{Purpose, Random};
use onebp_table::{
    Aggregation, Batch, Duplicates, Embedding, Follow, FusedStep, Grouping, Optimizer, Rule, Table, Touched,
    host::{HostStep, HostTable},
};
use std::time::Instant;

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
    let shapes = [("ml-100k", (943, 1682), 32), ("ml-1m", (6040, 3706), 128), ("gowalla", (29_858, 40_981), 1024)];
    for (name, tables, dim) in shapes {
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
                // On a thread of the pool, as training does.
                bencher.iter_custom(|count| {
                    rayon::scope(|_| {
                        let start = Instant::now();
                        for _ in 0..count {
                            step.step(&mut users, &mut items, turns.next().unwrap()).unwrap();
                        }
                        start.elapsed()
                    })
                });
            });
            step.take_losses().unwrap();
        }
        #[cfg(target_arch = "x86_64")]
        match dim {
            32 => by_hand::<32>(&mut group, tables, &batches),
            128 => by_hand::<128>(&mut group, tables, &batches),
            _ => {}
        }
        group.finish();
    }
}

/// The bare step, on as many threads.
#[cfg(target_arch = "x86_64")]
fn by_hand<const D: usize>(group: &mut BenchmarkGroup<'_, WallTime>, tables: (usize, usize), batches: &[Batch]) {
    let Some(mut bare) = bare::Bare::<D>::new(tables) else { return };
    let threads = rayon::current_num_threads();
    group.bench_function("bare", |bencher| bencher.iter_custom(|count| bare.time(batches, count, threads)));
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
