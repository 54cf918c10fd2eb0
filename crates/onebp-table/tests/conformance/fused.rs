//! The fused step of table lookup with InfoNCE.

use super::{script::noise, *};
use onebp_table::{
    Aggregation, Batch, Duplicates, Embedding, Follow, FusedStep, Onto, Optimizer, Projection, Rule, cube::CubeInfoNce,
    host::HostStep, portable::PortableInfoNce,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

const USERS: usize = 6;
const ITEMS: usize = 9;

/// Batches over few users and items, so that rows repeat, also within a row of the batch; some rows do not count.
fn batches() -> impl Strategy<Value = Vec<Batch>> {
    (2usize..5).prop_flat_map(|width| {
        let row = (0..USERS as u32, prop::collection::vec(0..ITEMS as u32, width), prop::bool::weighted(0.9));
        let batch = prop::collection::vec(row, 1..12).prop_map(|rows| {
            let users = rows.iter().map(|(user, ..)| *user).collect();
            let items = rows.iter().flat_map(|(_, items, _)| items).copied().collect();
            let weights = rows.iter().map(|(.., counts)| f32::from(u8::from(*counts))).collect();
            Batch::new(users, items, weights, (USERS, ITEMS))
        });
        prop::collection::vec(batch, 1..5)
    })
}

fn tables(dim: usize) -> [Table; 2] {
    [(1, USERS), (2, ITEMS)].map(|(seed, rows)| Table { values: noise(seed, rows * dim), rows, dim })
}

/// Tables and losses after `batches`.
fn run<F: FusedStep>(
    device: &Device,
    batches: &[Batch],
    dim: usize,
    follow: Follow,
    (rule, projection): (Rule, Option<Projection>),
) -> ([Table; 2], Vec<f32>) {
    let optimizer = Optimizer { rule, learning_rate: 0.05, weight_decay: 0.01, projection };
    let learns = [!matches!(follow, Follow::Users(_)), !matches!(follow, Follow::Items(_))];
    let [mut users, mut items] = std::array::from_fn(|side| {
        F::Table::new(&tables(dim)[side], learns[side].then_some(&optimizer), device).unwrap()
    });
    let mut step = F::new(0.7, follow);
    batches.iter().for_each(|batch| step.step(&mut users, &mut items, batch).unwrap());
    ([users.view().unwrap(), items.view().unwrap()], step.take_losses().unwrap())
}

fn agrees<F: FusedStep>(device: &Device, cases: u32) {
    let follows = [
        Follow::Users(Aggregation { beta: 0.9, duplicates: Duplicates::Sequential }),
        Follow::Neither,
        Follow::Items(Aggregation { beta: 0.8, duplicates: Duplicates::Last }),
    ];
    for (follow, dim) in follows.into_iter().zip([16, 5, 33]) {
        let sphere = Some(Projection { onto: Onto::Sphere, vectors: 1 });
        for rule in [(Rule::Sgd, None), (Rule::Sgd, sphere), (Rule::Adagrad, None), (Rule::Adagrad, sphere)] {
            let config = Config { cases, failure_persistence: None, ..Config::default() };
            let check = |batches: Vec<Batch>| {
                let (tables, losses) = run::<F>(device, &batches, dim, follow, rule);
                let (expected, expected_losses) = run::<PortableInfoNce>(&ndarray(), &batches, dim, follow, rule);
                for (loss, expected) in losses.iter().zip(&expected_losses) {
                    assert!((loss - expected).abs() < 1e-5 * (1.0 + expected), "{loss} is not {expected}");
                }
                assert_eq!(losses.len(), batches.len());
                for (table, expected) in tables.iter().zip(&expected) {
                    assert_close(table, expected, 1e-4, &format!("{follow:?} {rule:?}"));
                }
                assert!((tables, losses) == run::<F>(device, &batches, dim, follow, rule), "the same bytes twice");
                Ok(())
            };
            TestRunner::new(config).run(&batches(), check).unwrap();
        }
    }
}

#[test]
fn fused_steps_agree_on_the_host() {
    agrees::<HostStep>(&ndarray(), 60);
    agrees::<HostStep>(&Device::flex(), 20);
}

#[test]
fn fused_steps_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        agrees::<CubeInfoNce>(&device, 4);
    }
}

/// Scores of any size stay finite, and a batch in which no row counts moves nothing.
#[test]
fn extremes_on_the_host() {
    let huge = Table { values: vec![200.0; 4], rows: 1, dim: 4 };
    let mut items = huge.clone();
    items.values.extend([-200.0; 4]);
    items.rows = 2;
    let sgd = Optimizer { rule: Rule::Sgd, learning_rate: 0.1, weight_decay: 0.0, projection: None };
    let batch = |weight| Batch::new(vec![0], vec![1, 0], vec![weight], (1, 2));
    let mut step = HostStep::new(1.0, Follow::Neither);
    let mut users = onebp_table::host::HostTable::new(&huge, Some(&sgd), &ndarray()).unwrap();
    let mut items_table = onebp_table::host::HostTable::new(&items, Some(&sgd), &ndarray()).unwrap();
    step.step(&mut users, &mut items_table, &batch(0.0)).unwrap();
    assert_eq!((users.view().unwrap(), items_table.view().unwrap()), (huge, items));
    step.step(&mut users, &mut items_table, &batch(1.0)).unwrap();
    assert_eq!(step.take_losses().unwrap(), [0.0, 320_000.0]);
    assert!(users.view().unwrap().values.iter().all(|x| x.is_finite()));
}

/// Training must not go on over a row that is no number: the loss shows it, wherever the row is.
#[test]
fn what_is_not_a_number_shows_in_the_loss() {
    let sgd = Optimizer { rule: Rule::Sgd, learning_rate: 0.1, weight_decay: 0.0, projection: None };
    let table = |rows| Table { values: noise(3, rows * 4), rows, dim: 4 };
    for broken in 0..3 {
        let mut items = table(3);
        items.values[4 * broken] = f32::NAN;
        let on = |table: &Table| onebp_table::host::HostTable::new(table, Some(&sgd), &Device::flex()).unwrap();
        let mut step = HostStep::new(1.0, Follow::Neither);
        let batch = Batch::new(vec![0], vec![1, 0, 2], vec![1.0], (1, 3));
        step.step(&mut on(&table(1)), &mut on(&items), &batch).unwrap();
        assert!(step.take_losses().unwrap()[0].is_nan(), "item {broken}");
    }
}
