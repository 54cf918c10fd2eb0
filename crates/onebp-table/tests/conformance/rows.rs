//! Gathering, row optimizers and aggregation.

use super::{script::*, *};
use burn::tensor::{Tensor, TensorData};
use onebp_table::{
    Aggregation, Duplicates, Embedding, Onto, Optimizer, Projection, Rule, TableState,
    cube::CubeTable,
    host::HostTable,
    portable::{PortableTable, to_host},
};
use proptest::test_runner::{Config, TestRunner};

fn tensor(values: &[f32], rows: usize, dim: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, dim]), device)
}

/// Runs `check` on `cases` drawn scripts.
pub fn for_scripts(cases: u32, most_steps: usize, dims: &[usize], check: impl Fn(&Script)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&scripts(most_steps, dims), |script| {
            check(&script);
            Ok(())
        })
        .unwrap();
}

/// One step of a script.
pub fn step<E: Embedding>(table: &mut E, step: &Step, dim: usize, device: &Device) -> Table {
    let rows = table.gather(&step.touched, &step.places).unwrap();
    assert_eq!(rows.dims(), [step.places.len(), dim]);
    let gathered = to_host(rows).unwrap();
    let gradients = tensor(&step.gradients, step.places.len(), dim, device);
    table.update(&step.touched, gradients).unwrap();
    gathered
}

/// Gathered rows and views equal those of dense tensor operations, at every step, whatever rests and however long.
pub fn follows_the_oracle<E: Embedding>(device: &Device, script: &Script, optimizer: &Optimizer) {
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
    let of = |rule, learning_rate| {
        [0.0, 0.03].map(|weight_decay| Optimizer { rule, learning_rate, weight_decay, projection: None })
    };
    let rates = [0.01, 0.01, 0.1, 0.1, 0.1];
    Rule::ALL.into_iter().zip(rates).flat_map(|(rule, rate)| of(rule, rate)).collect()
}

fn optimizers_on<E: Embedding>(device: &Device, cases: u32) {
    for optimizer in optimizers() {
        for_scripts(cases, 12, &DIMS, |script| follows_the_oracle::<E>(device, script, &optimizer));
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
pub fn long_rests<E: Embedding>(device: &Device, steps: usize, optimizer: &Optimizer) {
    // Row r is touched at the steps that a multiple of a growing stride names: 1, 2, 7, 40, 300.
    let strides = [1, 2, 7, 40, 300, steps - 1];
    let places = |step: usize| {
        let rows = strides.iter().zip(0u32..).filter(|(stride, _)| step.is_multiple_of(**stride)).map(|(_, row)| row);
        rows.collect::<Vec<u32>>()
    };
    let script = Script::new(strides.len(), 16, (0..steps).map(places).collect(), |step, row| {
        (step as u32 + row).is_multiple_of(2)
    });
    let mut found = E::new(&script.start, Some(optimizer), device).unwrap();
    let mut oracle = PortableTable::new(&script.start, Some(optimizer), &ndarray()).unwrap();
    for (number, one) in script.steps.iter().enumerate() {
        let dim = script.start.dim;
        // From large down to far below epsilon.
        let gradients: Vec<f32> =
            one.gradients.iter().enumerate().map(|(at, g)| g * 10f32.powi(-((at / dim) as i32 * 2))).collect();
        found.gather(&one.touched, &one.places).unwrap();
        found.update(&one.touched, tensor(&gradients, one.places.len(), dim, device)).unwrap();
        oracle.update(&one.touched, tensor(&gradients, one.places.len(), dim, &ndarray())).unwrap();
        if number % 499 == 0 || number + 1 == script.steps.len() {
            let what = format!("step {number}, {optimizer:?}");
            assert_close(&found.view().unwrap(), &oracle.view().unwrap(), 1e-4, &what);
        }
    }
}

/// Adam with weight decay and without.
fn adams() -> [Optimizer; 2] {
    [0.0, 1e-3].map(|weight_decay| Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay, projection: None })
}

#[test]
fn long_rests_agree_on_the_host() {
    adams().iter().for_each(|adam| long_rests::<HostTable>(&ndarray(), 3000, adam));
}

#[test]
fn long_rests_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        adams().iter().for_each(|adam| long_rests::<CubeTable>(&device, 700, adam));
    }
}

/// T16 on every implementation: repeated rows, rows that are not touched, and a row towards itself of the other table.
fn aggregates<E: Embedding>(device: &Device, cases: u32) {
    for_scripts(cases, 4, &DIMS, |script| {
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

#[test]
fn aggregation_agrees_on_the_host() {
    aggregates::<HostTable>(&ndarray(), 60);
    aggregates::<HostTable>(&Device::flex(), 20);
}

#[test]
fn aggregation_agrees_on_wgpu() {
    if let Some(device) = wgpu() {
        aggregates::<CubeTable>(&device, 3);
    }
}

/// A table that was stored and taken back goes on with the same bytes; storing leaves no trace.
pub fn restores<E: Embedding>(device: &Device, cases: u32, optimizer: &Optimizer, dims: &[usize]) {
    for_scripts(cases, 8, dims, |script| {
        let dim = script.start.dim;
        let mut whole = E::new(&script.start, Some(optimizer), device).unwrap();
        let mut parted = E::new(&script.start, Some(optimizer), device).unwrap();
        for one in script.steps.iter().filter(|one| !one.places.is_empty()) {
            step(&mut whole, one, dim, device);
            step(&mut parted, one, dim, device);
            let state = parted.state().unwrap();
            parted = E::new(&Table::filled(0.5, script.start.rows, dim), Some(optimizer), device).unwrap();
            parted.restore(&state).unwrap();
        }
        assert!(whole.state().unwrap() == parted.state().unwrap(), "{optimizer:?}");
    });
}

/// States that do not fit the table are told apart.
fn refuses_states<E: Embedding>(device: &Device) {
    let adam = Optimizer { rule: Rule::Adam, learning_rate: 0.1, weight_decay: 0.0, projection: None };
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
    refused(&|state| state.time[1] = 40);
    // Projected rows are never ahead.
    let projection = Some(Projection { onto: Onto::Ball, vectors: 1 });
    let projected = Optimizer { projection, ..adam };
    let ahead = |state: &TableState| TableState { time: vec![0, 1, 0], ..state.clone() };
    assert!(table.restore(&ahead(&good)).is_ok());
    let mut table = E::new(&Table::filled(0.5, 3, 4), Some(&projected), device).unwrap();
    assert!(table.restore(&ahead(&good)).is_err() && table.restore(&good).is_ok());
}

#[test]
fn states_come_back_on_the_host() {
    for optimizer in optimizers() {
        restores::<HostTable>(&ndarray(), 20, &optimizer, &DIMS);
        restores::<HostTable>(&Device::flex(), 10, &optimizer, &DIMS);
    }
    refuses_states::<HostTable>(&ndarray());
    // Devices are told apart, not mixed up.
    if let Some(device) = wgpu() {
        assert!(HostTable::new(&Table::filled(0.0, 1, 1), None, &device).is_err());
    }
}

#[test]
fn states_come_back_on_wgpu() {
    if let Some(device) = wgpu() {
        optimizers().iter().for_each(|optimizer| restores::<CubeTable>(&device, 2, optimizer, &DIMS));
        refuses_states::<CubeTable>(&device);
        assert!(CubeTable::new(&Table::filled(0.0, 1, 1), None, &ndarray()).is_err());
    }
}
