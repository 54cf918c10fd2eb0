//! What every engine must do on every device: the update rules of the paper, their golden values, storing and restoring,
//! and agreement between devices. One process, so that kernels for `wgpu` are compiled once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod agreement;
mod block;
mod bootstrap;
mod encoders;
mod golden;
mod lengths;
mod samplers;
mod updates;

use onebp_data::Csr;
use onebp_model::{
    Batch, Hyperparameters, Method, Rule, Score, Table, Tables,
    device::{self, DeviceName},
    encoder::Encoder,
    engine::{Engine, EngineName, Start},
    loss::Loss,
    update::Duplicates,
};

/// An engine on a device.
struct Rig {
    engine: EngineName,
    device: device::Found,
    description: String,
}

impl Rig {
    /// Whether the engine knows the method there.
    fn can(&self, method: &Method) -> bool {
        let on_gpu = self.device.name == DeviceName::Wgpu;
        let open =
            matches!(method.loss, Loss::Sfcml(_)) || matches!(method.loss, Loss::Cml(cml) if cml.covariance > 0.0);
        self.engine != EngineName::Fused
            || (!open && (!on_gpu || (method.loss == Loss::INFO_NCE && method.encoder == Encoder::MF)))
    }
}

/// Every engine on every device of this machine, the oracle first.
fn rigs() -> Vec<Rig> {
    let engines = [EngineName::Autodiff, EngineName::Rows, EngineName::Fused];
    let rig = |engine: EngineName, device: device::Found| {
        let description = format!("{} on {}", engine.as_str(), device.description);
        Rig { engine, device, description }
    };
    devices().into_iter().flat_map(|device| engines.map(|engine| rig(engine, device.clone()))).collect()
}

/// Those that have encoders beyond table lookup.
fn graph_rigs() -> Vec<Rig> {
    rigs().into_iter().filter(|rig| rig.engine != EngineName::Fused).collect()
}

/// Every device of this machine. `wgpu` may be missing, unless ONEBP_REQUIRE_WGPU is set.
fn devices() -> Vec<device::Found> {
    let mut found: Vec<_> = [DeviceName::NdArray, DeviceName::Flex].map(|name| device::find(name).unwrap()).into();
    match device::find(DeviceName::Wgpu) {
        Ok(wgpu) => found.push(wgpu),
        Err(error) if std::env::var_os("ONEBP_REQUIRE_WGPU").is_some() => panic!("{error}"),
        Err(error) => println!("skipping wgpu: {error}"),
    }
    found
}

fn hyper() -> Hyperparameters {
    Hyperparameters {
        dim: 4,
        batch_size: 6,
        optimizer: Rule::Adam,
        learning_rate: 0.01,
        weight_decay: 0.0,
        beta: 0.9,
        negatives: 2,
        temperature: 1.0,
        duplicates: Duplicates::Sequential,
        keep_last: false,
    }
}

/// A block-structured set: user u likes items of the block u % 4.
fn interactions(users: usize, items: usize) -> Csr {
    let block = items as u32 / 4;
    let likes = move |u: u32| (0..block.min(12)).map(move |k| (u, (u % 4) * block + (u * 5 + k) % block));
    Csr::from_pairs(users, items, &(0..users as u32).flat_map(likes).collect::<Vec<_>>()).unwrap()
}

/// An engine that starts from `tables`.
fn engine(method: Method, hyper: &Hyperparameters, tables: &Tables, rig: &Rig) -> Box<dyn Engine> {
    engine_on(&interactions(tables.users.rows, tables.items.rows), method, hyper, tables, rig)
}

/// An engine that starts from `tables`, on the graph of `train`.
fn engine_on(train: &Csr, method: Method, hyper: &Hyperparameters, tables: &Tables, rig: &Rig) -> Box<dyn Engine> {
    let start = Start { tables: tables.clone(), train, seed: 1 };
    rig.engine.build(method, hyper, &start, &rig.device).unwrap()
}

/// An engine for 60 users and 60 items with the tables that the method starts from.
fn fresh(method: Method, hyper: &Hyperparameters, rig: &Rig) -> Box<dyn Engine> {
    let train = interactions(60, 60);
    rig.engine.build(method, hyper, &Start::new(&method, hyper, &train, 1), &rig.device).unwrap()
}

/// A batch over 7 users and 11 items.
fn small_batch(users: Vec<u32>, items: Vec<u32>) -> Batch {
    let weights = vec![1.0; users.len()];
    Batch::new(users, items, weights, (7, 11))
}

/// Tables after one step, and its loss.
fn step(method: Method, hyper: &Hyperparameters, tables: &Tables, batch: &Batch, rig: &Rig) -> (Tables, f64) {
    let mut engine = engine(method, hyper, tables, rig);
    engine.step(batch).unwrap();
    (engine.tables().unwrap(), engine.take_loss().unwrap())
}

fn table(rows: usize, dim: usize, f: impl Fn(usize, usize) -> f64) -> Table {
    let values = (0..rows * dim).map(|k| f(k / dim, k % dim) as f32).collect();
    Table { values, rows, dim }
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= tolerance, "{what}: {found} is not {expected}");
    }
}
