//! Gathering, row optimizers, aggregation and projections.

use super::{script::*, *};
use burn::tensor::{Tensor, TensorData};
use onebp_table::{
    Aggregation, Duplicates, Embedding, Grouping, Optimizer, Projection, Rule, TableState, Touched,
    cube::CubeTable,
    host::HostTable,
    portable::{PortableTable, to_host},
};
use proptest::test_runner::{Config, TestRunner};

fn tensor(values: &[f32], rows: usize, dim: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, dim]), device)
}

/// Runs `check` on `cases` drawn scripts.
fn for_scripts(cases: u32, most_steps: usize, check: impl Fn(&Script)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&scripts(most_steps), |script| {
            check(&script);
            Ok(())
        })
        .unwrap();
}

/// One step of a script.
fn step<E: Embedding>(table: &mut E, step: &Step, dim: usize, device: &Device) -> Table {
    let rows = table.gather(&step.touched, &step.places).unwrap();
    assert_eq!(rows.dims(), [step.places.len(), dim]);
    let gathered = to_host(rows).unwrap();
    let gradients = tensor(&step.gradients, step.places.len(), dim, device);
    table.update(&step.touched, gradients).unwrap();
    gathered
}

/// Gathered rows and views equal those of dense tensor operations, at every step, whatever rests and however long.
fn follows_the_oracle<E: Embedding>(device: &Device, script: &Script, optimizer: &Optimizer) {
    let dim = script.start.dim;
    let mut found = E::new(&script.start, Some(optimizer), device).unwrap();
    let mut oracle = PortableTable::new(&script.start, Some(optimizer), &ndarray()).unwrap();
    for (number, one) in script.steps.iter().enumerate() {
        let what = format!("step {number}, {optimizer:?}");
        if one.places.is_empty() {
            // Nothing to gather; rows that rest still move.
            found.update(&one.touched, tensor(&[], 0, dim, device)).unwrap();
            oracle.update(&one.touched, tensor(&[], 0, dim, &ndarray())).unwrap();
        } else {
            let expected = step(&mut oracle, one, dim, &ndarray());
            assert_close(&step(&mut found, one, dim, device), &expected, 2e-5, &what);
        }
        assert_close(&found.view().unwrap(), &oracle.view().unwrap(), 2e-5, &what);
    }
}

fn optimizers() -> Vec<Optimizer> {
    let of = |rule, learning_rate| [0.0, 0.03].map(|weight_decay| Optimizer { rule, learning_rate, weight_decay });
    let rates = [0.01, 0.01, 0.1, 0.1, 0.1];
    Rule::ALL.into_iter().zip(rates).flat_map(|(rule, rate)| of(rule, rate)).collect()
}

fn optimizers_on<E: Embedding>(device: &Device, cases: u32) {
    for optimizer in optimizers() {
        for_scripts(cases, 12, |script| follows_the_oracle::<E>(device, script, &optimizer));
    }
}

#[test]
fn optimizers_agree_on_the_host() {
    optimizers_on::<HostTable>(&ndarray(), 60);
    optimizers_on::<HostTable>(&Device::flex(), 20);
}

#[test]
fn optimizers_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        optimizers_on::<CubeTable>(&device, 3);
    }
}

/// Rows that rest for up to thousands of steps, late enough for the closed form, against dense Adam.
fn long_rests<E: Embedding>(device: &Device, steps: usize) {
    // Row r is touched at the steps that a multiple of a growing stride names: 1, 2, 7, 40, 300.
    let strides = [1, 2, 7, 40, 300, steps - 1];
    let places = |step: usize| {
        let rows = strides.iter().zip(0u32..).filter(|(stride, _)| step.is_multiple_of(**stride)).map(|(_, row)| row);
        rows.collect::<Vec<u32>>()
    };
    let script = Script::new(strides.len(), 16, (0..steps).map(places).collect(), |step, row| {
        (step as u32 + row).is_multiple_of(2)
    });
    for weight_decay in [0.0, 1e-3] {
        let optimizer = Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay };
        let mut found = E::new(&script.start, Some(&optimizer), device).unwrap();
        let mut oracle = PortableTable::new(&script.start, Some(&optimizer), &ndarray()).unwrap();
        for (number, one) in script.steps.iter().enumerate() {
            let dim = script.start.dim;
            // From large down to far below epsilon.
            let gradients: Vec<f32> =
                one.gradients.iter().enumerate().map(|(at, g)| g * 10f32.powi(-((at / dim) as i32 * 2))).collect();
            found.gather(&one.touched, &one.places).unwrap();
            found.update(&one.touched, tensor(&gradients, one.places.len(), dim, device)).unwrap();
            oracle.update(&one.touched, tensor(&gradients, one.places.len(), dim, &ndarray())).unwrap();
            if number % 499 == 0 || number + 1 == script.steps.len() {
                let what = format!("step {number}, decay {weight_decay}");
                assert_close(&found.view().unwrap(), &oracle.view().unwrap(), 1e-4, &what);
            }
        }
    }
}

#[test]
fn long_rests_agree_on_the_host() {
    long_rests::<HostTable>(&ndarray(), 3000);
}

#[test]
fn long_rests_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        long_rests::<CubeTable>(&device, 700);
    }
}

/// T16 on every implementation: repeated rows, rows that are not touched, and a row towards itself of the other table.
fn aggregates<E: Embedding>(device: &Device, cases: u32) {
    for_scripts(cases, 4, |script| {
        let dim = script.start.dim;
        let other = Table { values: noise(99, 5 * dim), rows: 5, dim };
        for duplicates in Duplicates::ALL {
            let aggregation = Aggregation { beta: 0.9, duplicates };
            let mut found = E::new(&script.start, None, device).unwrap();
            let mut other_found = E::new(&other, None, device).unwrap();
            let mut oracle = PortableTable::new(&script.start, None, &ndarray()).unwrap();
            let mut other_oracle = PortableTable::new(&other, None, &ndarray()).unwrap();
            for one in script.steps.iter().filter(|one| !one.places.is_empty()) {
                let towards: Vec<u32> = (0..one.places.len() as u32).map(|place| place * 3 % 5).collect();
                found.aggregate(&one.touched, &aggregation, &mut other_found, &towards).unwrap();
                oracle.aggregate(&one.touched, &aggregation, &mut other_oracle, &towards).unwrap();
            }
            assert_close(&found.view().unwrap(), &oracle.view().unwrap(), 1e-5, &format!("{duplicates:?}"));
            assert_eq!(other_found.view().unwrap(), other);
        }
    });
}

/// Rows come into the ball or onto the sphere; the zero row stays.
fn projects<E: Embedding>(device: &Device) {
    for dim in [1, 5, 16, 40] {
        let mut values = noise(3, 6 * dim);
        values[..dim].fill(0.0);
        values[dim..2 * dim].iter_mut().for_each(|x| *x *= 1e-3);
        values[2 * dim..3 * dim].iter_mut().for_each(|x| *x *= 100.0);
        let start = Table { values, rows: 6, dim };
        let mut touched = Touched::default();
        Grouping::new(6).group(&[0, 1, 2, 4], &mut touched);
        for projection in [Projection::Ball, Projection::Sphere] {
            let mut table = E::new(&start, None, device).unwrap();
            table.project(&touched, projection).unwrap();
            let after = table.view().unwrap();
            let norm = |table: &Table, row| table.row(row).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            for row in 0..6 {
                let (before, now) = (norm(&start, row), norm(&after, row));
                let expected = match projection {
                    _ if row == 3 || row == 5 || before == 0.0 => before,
                    Projection::Ball => before.min(1.0),
                    Projection::Sphere => 1.0,
                };
                assert!(
                    (now - expected).abs() < 1e-5 * expected.max(1.0),
                    "{projection:?} {row}: {now} is not {expected}"
                );
            }
        }
    }
}

#[test]
fn aggregation_and_projection_agree_on_the_host() {
    aggregates::<HostTable>(&ndarray(), 60);
    aggregates::<HostTable>(&Device::flex(), 20);
    projects::<HostTable>(&ndarray());
    projects::<PortableTable>(&ndarray());
}

#[test]
fn aggregation_and_projection_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        aggregates::<CubeTable>(&device, 3);
        projects::<CubeTable>(&device);
    }
}

/// A table that was stored and taken back goes on with the same bytes; storing leaves no trace.
fn restores<E: Embedding>(device: &Device, cases: u32) {
    for optimizer in optimizers() {
        for_scripts(cases, 8, |script| {
            let dim = script.start.dim;
            let mut whole = E::new(&script.start, Some(&optimizer), device).unwrap();
            let mut parted = E::new(&script.start, Some(&optimizer), device).unwrap();
            for one in script.steps.iter().filter(|one| !one.places.is_empty()) {
                step(&mut whole, one, dim, device);
                step(&mut parted, one, dim, device);
                let state = parted.state().unwrap();
                parted = E::new(&Table::filled(0.5, script.start.rows, dim), Some(&optimizer), device).unwrap();
                parted.restore(&state).unwrap();
            }
            assert!(whole.state().unwrap() == parted.state().unwrap(), "{optimizer:?}");
        });
    }
    let adam = Optimizer { rule: Rule::Adam, learning_rate: 0.1, weight_decay: 0.0 };
    let mut table = E::new(&Table::filled(0.5, 3, 4), Some(&adam), device).unwrap();
    let good = table.state().unwrap();
    let mut refused = |change: &dyn Fn(&mut TableState)| {
        let mut state = good.clone();
        change(&mut state);
        assert!(table.restore(&state).is_err());
    };
    refused(&|state| state.weights = Table::filled(0.5, 3, 5));
    refused(&|state| assert!(state.matrices.remove("moment_2").is_some()));
    refused(&|state| state.time.clear());
    refused(&|state| state.step = 1 << 40);
}

#[test]
fn states_come_back_on_the_host() {
    restores::<HostTable>(&ndarray(), 20);
    restores::<HostTable>(&Device::flex(), 10);
    // Devices are told apart, not mixed up.
    if let Some(device) = wgpu() {
        assert!(HostTable::new(&Table::filled(0.0, 1, 1), None, &device).is_err());
    }
}

#[test]
fn states_come_back_on_wgpu() {
    if let Some(device) = wgpu() {
        restores::<CubeTable>(&device, 2);
        assert!(CubeTable::new(&Table::filled(0.0, 1, 1), None, &ndarray()).is_err());
    }
}
