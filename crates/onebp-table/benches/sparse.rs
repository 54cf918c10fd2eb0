//! One product of the adjacency of a graph of Gowalla's size with tensors of several widths, on the CPU.
//! `cargo bench --bench sparse`.
#![allow(missing_docs, clippy::unwrap_used)]

use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use onebp_table::{Sparse, SparseProduct, Table, host::HostSparse, portable::to_device};

const USERS: u32 = 29_858;
const ITEMS: u32 = 40_981;
const PAIRS: usize = 840_000;

#[allow(deprecated)]
fn products(criterion: &mut Criterion) {
    let pairs = onebp_data::scaled(USERS, ITEMS, PAIRS, 1).unwrap();
    let graph = Sparse::bipartite(pairs.offsets(), pairs.items(), ITEMS as usize).unwrap();
    let product = HostSparse::new(&graph, &Device::ndarray()).unwrap();
    let mut group = criterion.benchmark_group("sparse/gowalla");
    for dim in [64, 128, 256, 1024] {
        // A result of a product, as layers are: at cache lines, on huge pages.
        let x = to_device(&Table::filled(0.5, graph.columns(), dim), &Device::ndarray());
        let x = product.product(&x, None, 1.0).unwrap();
        // What is read of x, where no cache helps.
        group.throughput(Throughput::Bytes((graph.len() * dim * size_of::<f32>()) as u64)).sample_size(20);
        group.bench_function(BenchmarkId::from_parameter(dim), |bencher| {
            bencher.iter(|| product.product(&x, None, 1.0).unwrap());
        });
        group.bench_function(BenchmarkId::from_parameter(format!("{dim}/added")), |bencher| {
            bencher.iter(|| product.product(&x, Some(&x), 0.5).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, products);
criterion_main!(benches);
