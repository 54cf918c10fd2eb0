//! Devices agree with each other, and a restored engine with an uninterrupted one.

use super::*;
use onebp_data::Csr;
use onebp_model::{Epoch, sampler::Uniform};

/// A block-structured set: user u likes items of the block u % 4.
fn train() -> Csr {
    let pairs: Vec<_> =
        (0..60u32).flat_map(|u| (0..12u32).map(move |k| (u, (u % 4) * 15 + (u * 5 + k) % 15))).collect();
    Csr::from_pairs(60, 60, &pairs).unwrap()
}

fn run(engine: &mut impl Engine, hyper: &Hyperparameters, epochs: std::ops::Range<u32>) -> Vec<f64> {
    let train = train();
    let sampler = Uniform::new(train.columns(), hyper.negatives, 5);
    epochs
        .map(|number| {
            let epoch = Epoch::new(&train, &sampler, 5, number, hyper.batch_size, hyper.keep_last);
            for index in 0..epoch.len() {
                engine.step(&epoch.batch(index)).unwrap();
            }
            engine.take_loss().unwrap()
        })
        .collect()
}

fn larger() -> Hyperparameters {
    Hyperparameters { dim: 8, batch_size: 64, negatives: 5, weight_decay: 1e-4, keep_last: true, ..hyper() }
}

/// Same seed, same batches: losses within 1e-5 relative and tables within 1e-4 of ndarray's after 3 epochs (36 steps).
#[test]
fn devices_agree() {
    for method in Method::ALL {
        let mut reference: Option<(Vec<f64>, Tables)> = None;
        for found in devices() {
            let hyper = larger();
            let mut engine = engine(method, &hyper, &Tables::init(60, 60, 8, 1), &found);
            let losses = run(&mut engine, &hyper, 0..3);
            let tables = engine.tables().unwrap();
            let Some((expected_losses, expected)) = &reference else {
                reference = Some((losses, tables));
                continue;
            };
            for (loss, expected) in losses.iter().zip(expected_losses) {
                assert!((loss / expected - 1.0).abs() < 1e-5, "{} {loss} {expected}", found.description);
            }
            for (found_table, expected) in [(&tables.users, &expected.users), (&tables.items, &expected.items)] {
                let expected: Vec<f64> = expected.values.iter().map(|&x| f64::from(x)).collect();
                assert_close(&found_table.values, &expected, 1e-4, &found.description);
            }
        }
    }
}

/// T46: the same run twice gives the same bytes, on one thread and on three.
#[test]
fn runs_repeat_bitwise() {
    for found in devices() {
        let once = |threads: usize| {
            let hyper = larger();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut engine = engine(Method::OneBp, &hyper, &Tables::init(60, 60, 8, 1), &found);
                (run(&mut engine, &hyper, 0..2), engine.state().unwrap())
            })
        };
        let one = once(1);
        assert!(one == once(1), "{}", found.description);
        assert!(one == once(3), "{}", found.description);
    }
}

/// T45: storing and restoring between epochs changes nothing.
#[test]
fn restored_engines_continue_bitwise() {
    for found in devices() {
        for method in Method::ALL {
            let hyper = larger();
            let start = Tables::init(60, 60, 8, 1);
            let mut whole = engine(method, &hyper, &start, &found);
            run(&mut whole, &hyper, 0..3);
            let mut first = engine(method, &hyper, &start, &found);
            run(&mut first, &hyper, 0..1);
            let mut second = engine(method, &hyper, &start, &found);
            second.restore(&first.state().unwrap()).unwrap();
            run(&mut second, &hyper, 1..3);
            assert!(whole.state().unwrap() == second.state().unwrap(), "{} {method:?}", found.description);
        }
    }
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let found = device::find(DeviceName::NdArray).unwrap();
    let hyper = hyper();
    let mut small = engine(Method::OneBp, &hyper, &Tables::init(3, 4, 4, 1), &found);
    let mut large = engine(Method::OneBp, &hyper, &Tables::init(3, 5, 4, 1), &found);
    let error = small.restore(&large.state().unwrap()).unwrap_err().to_string();
    assert!(error.contains("items is (5, 4), the model expects (4, 4)"), "{error}");
    let mut stepped = engine(Method::OneBp, &hyper, &Tables::init(3, 4, 4, 1), &found);
    let batch = Batch { users: vec![0], positives: vec![1], negatives: vec![2, 3], weights: vec![1.0] };
    stepped.step(&batch).unwrap();
    let mut partial = stepped.state().unwrap();
    partial.counters.remove("items.step");
    let error = small.restore(&partial).unwrap_err().to_string();
    assert!(error.contains("a part of the optimizer's state of items is missing"), "{error}");
    let error = small.restore(&Default::default()).unwrap_err().to_string();
    assert!(error.contains("the table of users is missing"), "{error}");
}
