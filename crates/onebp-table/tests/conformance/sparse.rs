//! Products of sparse matrices (spec 5.2, 5.5; T21, T22).

use super::{script::noise, *};
use burn::tensor::{Tensor, TensorData};
use onebp_data::random::{Purpose, Random};
use onebp_table::{
    Sparse, SparseProduct,
    cube::CubeSparse,
    host::HostSparse,
    portable::{PortableSparse, to_device, to_host},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

fn random(rows: usize, dim: usize, seed: u64) -> Table {
    Table { values: noise(seed, rows * dim), rows, dim }
}

/// A matrix whose rows have these numbers of entries, anywhere.
fn matrix(lengths: &[usize], columns: usize) -> Sparse {
    let mut words = Random::new(5, Purpose::Negatives).words(0, 0);
    let mut offsets = vec![0];
    lengths.iter().for_each(|&length| offsets.push(offsets[offsets.len() - 1] + length as u32));
    let count = lengths.iter().sum();
    let indices = (0..count).map(|_| words.below(columns as u32)).collect();
    Sparse::new([lengths.len(), columns], offsets, indices, noise(6, count)).unwrap()
}

/// scale * (A x + added) in f64, and what the terms of each element add up to without their signs.
fn exact(matrix: &Sparse, x: &Table, added: Option<&Table>, scale: f32) -> Vec<(f64, f64)> {
    let dim = x.dim;
    let mut sums = vec![(0.0, 0.0); matrix.rows() * dim];
    let mut add = |at: usize, term: f64| {
        sums[at].0 += f64::from(scale) * term;
        sums[at].1 += f64::from(scale).abs() * term.abs();
    };
    for row in 0..matrix.rows() {
        let (columns, values) = matrix.row(row);
        for (&column, &value) in columns.iter().zip(values) {
            for (k, &x) in x.row(column as usize).iter().enumerate() {
                add(row * dim + k, f64::from(value) * f64::from(x));
            }
        }
        if let Some(added) = added {
            added.row(row).iter().enumerate().for_each(|(k, &term)| add(row * dim + k, term.into()));
        }
    }
    sums
}

fn assert_exact(found: Tensor<2>, expected: &[(f64, f64)], what: &str) {
    let found = to_host(found).unwrap();
    assert_eq!(found.values.len(), expected.len(), "{what}");
    for (at, (&found, (expected, size))) in found.values.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= 2e-6 * size + 1e-30, "{what}, element {at}: {found} is not {expected}");
    }
}

/// A product with and without what is added, of tensors as they are and of views of others.
fn agrees<P: SparseProduct>(device: &Device, matrix: &Sparse, dim: usize) {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    let product = P::new(matrix, device).unwrap();
    let (x, added) = (random(columns, dim, 1), random(rows, dim, 2));
    let [x_tensor, added_tensor] = [&x, &added].map(|table| to_device(table, device));
    let what = format!("[{rows}, {columns}] with {} entries, d {dim}", matrix.len());
    let found = product.product(&x_tensor, None, 1.0).unwrap();
    assert_eq!(found.dims(), [rows, dim]);
    assert_exact(found, &exact(matrix, &x, None, 1.0), &what);
    let expected = exact(matrix, &x, Some(&added), -0.25);
    assert_exact(product.product(&x_tensor, Some(&added_tensor), -0.25).unwrap(), &expected, &what);
    let turned = |tensor: &Tensor<2>| {
        let [rows, dim] = tensor.dims();
        let copied = to_host(tensor.clone().transpose()).unwrap();
        let copied = Tensor::<2>::from_data(TensorData::new(copied.values, [dim, rows]), device);
        copied.transpose()
    };
    let cut = |tensor: &Tensor<2>| {
        let padded = tensor.clone().pad((2, 3, 1, 4), 9.0);
        padded.narrow(0, 1, tensor.dims()[0]).narrow(1, 2, tensor.dims()[1])
    };
    let views = [turned(&x_tensor), turned(&added_tensor), cut(&x_tensor), cut(&added_tensor)];
    for (x, added) in [(0, 1), (2, 3), (0, 3)] {
        let found = product.product(&views[x], Some(&views[added]), -0.25).unwrap();
        assert_exact(found, &expected, &format!("{what}, views {x} and {added}"));
    }
}

/// Small matrices with empty rows, of all widths.
fn agree_on_drawn_ones<P: SparseProduct>(device: &Device, cases: u32) {
    let lengths = prop::collection::vec(prop::sample::select(vec![0usize, 0, 1, 2, 7, 40]), 1..20);
    let strategy = (lengths, 1usize..30, 1usize..=300);
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&strategy, |(lengths, columns, dim)| {
            agrees::<P>(device, &matrix(&lengths, columns), dim);
            Ok(())
        })
        .unwrap();
}

/// Rows of many thousand entries, beside empty ones.
fn long_rows() -> Sparse {
    matrix(&[3, 5000, 0, 4096, 4097, 1, 20_000, 0], 700)
}

#[test]
fn sparse_products_are_exact_on_the_host() {
    for device in [ndarray(), Device::flex()] {
        agree_on_drawn_ones::<HostSparse>(&device, 60);
        agree_on_drawn_ones::<PortableSparse>(&device, 10);
        [1, 16, 67].into_iter().for_each(|dim| agrees::<HostSparse>(&device, &long_rows(), dim));
        agrees::<PortableSparse>(&device, &long_rows(), 5);
    }
    // Wider than the caches: block by block, copied side by side or not.
    let lengths: Vec<usize> = (0..40).map(|row| row * row % 300).chain([9000]).collect();
    agrees::<HostSparse>(&ndarray(), &matrix(&lengths, 20_000), 600);
    agrees::<HostSparse>(&Device::flex(), &matrix(&lengths, 30_000), 397);
}

#[test]
fn sparse_products_are_exact_on_wgpu() {
    if let Some(device) = wgpu() {
        agree_on_drawn_ones::<CubeSparse>(&device, 12);
        [1, 16, 67].into_iter().for_each(|dim| agrees::<CubeSparse>(&device, &long_rows(), dim));
        // Block by block: whole vectors of columns, and a last block that is not full.
        agrees::<CubeSparse>(&device, &matrix(&[2, 0, 700, 5], 100_000), 100);
        agrees::<CubeSparse>(&device, &matrix(&[2, 0, 700, 5], 90_000), 67);
    }
}

/// Users and items with very different numbers of neighbours; some users and items have none. CSR: offsets and items.
fn interactions(users: usize, items: usize) -> (Vec<usize>, Vec<u32>) {
    let (mut offsets, mut chosen) = (vec![0], Vec::new());
    for user in 0..users {
        chosen.extend(
            (0..items - 2)
                .filter(|item| user % 7 != 3 && item * (user + 1) % 97 < 400 / (item + 4))
                .map(|item| item as u32),
        );
        offsets.push(chosen.len());
    }
    (offsets, chosen)
}

/// T21: <x, A y> = <A x, y>. T22: A sqrt(deg) = sqrt(deg); nodes without edges give 0; no vector grows.
fn is_an_adjacency<P: SparseProduct>(device: &Device) {
    let (offsets, chosen) = interactions(60, 90);
    let graph = Sparse::bipartite(&offsets, &chosen, 90).unwrap();
    let nodes = graph.rows();
    let product = P::new(&graph, device).unwrap();
    let times = |x: &Table| to_host(product.product(&to_device(x, device), None, 1.0).unwrap()).unwrap();
    let degrees: Vec<f32> = (0..nodes).map(|node| graph.row(node).0.len() as f32).collect();
    assert!(degrees.contains(&0.0) && degrees.iter().any(|&degree| degree > 20.0));
    let roots = Table { values: degrees.iter().map(|degree| degree.sqrt()).collect(), rows: nodes, dim: 1 };
    assert_close(&times(&roots), &roots, 1e-6, "A sqrt(deg)");

    let (x, y) = (random(nodes, 33, 3), random(nodes, 33, 4));
    let (ax, ay) = (times(&x), times(&y));
    let dot =
        |a: &Table, b: &Table| a.values.iter().zip(&b.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    assert!((dot(&x, &ay) - dot(&ax, &y)).abs() < 1e-5 * dot(&x, &x));
    assert!(dot(&ax, &ax) <= dot(&x, &x));
    for node in (0..nodes).filter(|&node| degrees[node] == 0.0) {
        assert!(ax.row(node).iter().all(|&x| x == 0.0));
    }

    // With self-loops: ones stay ones, and the transposed matrix is the adjoint.
    let graph = Sparse::bipartite_with_self_loops(&offsets, &chosen, 90).unwrap();
    let product = [&graph, &graph.transposed()].map(|matrix| P::new(matrix, device).unwrap());
    let times =
        |which: usize, x: &Table| to_host(product[which].product(&to_device(x, device), None, 1.0).unwrap()).unwrap();
    let ones = Table::filled(1.0, nodes, 3);
    assert_close(&times(0, &ones), &ones, 1e-6, "ones");
    assert!((dot(&times(0, &x), &y) - dot(&x, &times(1, &y))).abs() < 1e-5 * dot(&x, &x));
}

#[test]
fn adjacency_keeps_its_identities() {
    is_an_adjacency::<PortableSparse>(&ndarray());
    is_an_adjacency::<HostSparse>(&ndarray());
    is_an_adjacency::<HostSparse>(&Device::flex());
    if let Some(device) = wgpu() {
        is_an_adjacency::<CubeSparse>(&device);
    }
}

#[test]
fn sparse_products_do_not_depend_on_threads() {
    for (matrix, dim) in [(long_rows(), 70), (matrix(&[40; 3000], 500), 17), (matrix(&[300, 5000, 7], 20_000), 600)] {
        let (x, added) = (random(matrix.columns(), dim, 1), random(matrix.rows(), dim, 2));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let product = HostSparse::new(&matrix, &ndarray()).unwrap();
                let [x, added] = [&x, &added].map(|table| to_device(table, &ndarray()));
                to_host(product.product(&x, Some(&added), 0.5).unwrap()).unwrap()
            })
        };
        let one = run(1);
        assert!((2..6).all(|threads| run(threads) == one));
    }
}

/// Results stay what they are while others are made, and their memory comes back when they are gone.
#[test]
fn results_are_nobody_elses() {
    for device in [ndarray(), Device::flex()] {
        let product = HostSparse::new(&matrix(&[3; 50], 50), &device).unwrap();
        let mut layers = vec![to_device(&random(50, 20, 1), &device)];
        for _ in 0..5 {
            let next = product.product(&layers[layers.len() - 1], Some(&layers[0]), 0.5).unwrap();
            layers.push(next);
        }
        let fresh = HostSparse::new(&matrix(&[3; 50], 50), &device).unwrap();
        for pair in layers.windows(2) {
            let again = fresh.product(&pair[0], Some(&layers[0]), 0.5).unwrap();
            assert_eq!(to_host(again).unwrap(), to_host(pair[1].clone()).unwrap());
        }
        let doubled = product.product(&layers[0], None, 1.0).unwrap() * 2.0;
        let expected = fresh.product(&layers[0], None, 2.0).unwrap();
        product.product(&layers[1], None, 1.0).unwrap();
        assert_eq!(to_host(doubled).unwrap(), to_host(expected).unwrap());
    }
}

fn refuses<P: SparseProduct>(device: &Device, other: Option<&Device>) {
    let product = P::new(&matrix(&[1, 2, 0], 4), device).unwrap();
    let zeros = |rows, dim| Tensor::<2>::zeros([rows, dim], device);
    assert!(product.product(&zeros(3, 5), None, 1.0).is_err());
    assert!(product.product(&zeros(4, 5), Some(&zeros(3, 4)), 1.0).is_err());
    assert!(product.product(&zeros(4, 5), Some(&zeros(4, 5)), 1.0).is_err());
    assert!(product.product(&zeros(4, 5), Some(&zeros(3, 5)), 1.0).is_ok());
    if let Some(other) = other {
        assert!(product.product(&Tensor::zeros([4, 5], other), None, 1.0).is_err());
    }
    for [rows, columns] in [[0, 4], [3, 0], [0, 0]] {
        let product =
            P::new(&Sparse::new([rows, columns], vec![0; rows + 1], vec![], vec![]).unwrap(), device).unwrap();
        let found = product.product(&zeros(columns, 5), None, 1.0).unwrap();
        assert_eq!(found.dims(), [rows, 5]);
        let ones = Tensor::ones([rows, 5], device);
        let found = to_host(product.product(&zeros(columns, 5), Some(&ones), 0.5).unwrap()).unwrap();
        assert_eq!(found, Table::filled(0.5, rows, 5));
    }
}

#[test]
fn what_does_not_fit_a_sparse_matrix_is_refused() {
    let other = wgpu();
    refuses::<HostSparse>(&ndarray(), Some(&Device::flex()));
    refuses::<HostSparse>(&Device::flex(), Some(&ndarray()));
    refuses::<PortableSparse>(&ndarray(), None);
    if let Some(device) = &other {
        refuses::<CubeSparse>(device, Some(&ndarray()));
        assert!(HostSparse::new(&matrix(&[1], 1), device).is_err());
        assert!(CubeSparse::new(&matrix(&[1], 1), &ndarray()).is_err());
    }
}
