//! Full ranking of synthetic tables: evaluation with all metrics, and lists of 20, at the size of MovieLens-1M and with
//! 4,096 of the users of Gowalla. `cargo bench -p onebp-eval`.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use onebp_data::Csr;
use onebp_eval::{DotProduct, Evaluation, evaluate, rank};
use std::hint::black_box;

/// Any number, the same for the same `at`.
fn number(at: u32) -> u32 {
    at.wrapping_mul(2_654_435_761) >> 8
}

fn table(rows: usize, dim: usize, seed: u32) -> Vec<f32> {
    (0..(rows * dim) as u32).map(|at| number(at ^ seed) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn ranking(criterion: &mut Criterion) {
    for (users, items, pairs, dim) in
        [(6040, 3706, 1_000_209, 64), (4096, 40_981, 140_938, 64), (4096, 40_981, 140_938, 1024)]
    {
        let (user_table, item_table) = (table(users, dim, 0), table(items, dim, 0x5555_5555));
        let scorer = DotProduct::new(&user_table, &item_table, dim).unwrap();
        let pair = |at| (number(at) % users as u32, number(at ^ 0x3333_3333) % items as u32);
        let all = Csr::from_pairs(users, items, &(0..pairs).map(pair).collect::<Vec<_>>()).unwrap();
        let (test, train): (Vec<_>, Vec<_>) = all.pairs().partition(|&(user, item)| (user + item) % 5 == 0);
        let train = Csr::from_pairs(users, items, &train).unwrap();
        let test = Csr::from_pairs(users, items, &test).unwrap();
        let (counts, everyone) = (train.item_counts(), (0..users as u32).collect::<Vec<_>>());

        let shape = format!("{users} x {items}, d = {dim}");
        let mut group = criterion.benchmark_group("ranking");
        // Multiplications and additions of the scores: what is reported is the speed of a matrix product.
        group.sample_size(10).throughput(Throughput::Elements(2 * (users * items * dim) as u64));
        group.bench_function(BenchmarkId::new("evaluate", &shape), |bencher| {
            bencher.iter(|| evaluate(&scorer, &train, &test, &counts, &Evaluation::default()).unwrap());
        });
        group.bench_function(BenchmarkId::new("rank at 20", &shape), |bencher| {
            bencher.iter(|| rank(&scorer, &train, black_box(&everyone), 20, None).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, ranking);
criterion_main!(benches);
