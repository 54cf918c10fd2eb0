//! The identities of the update rules.

use super::*;

fn tables() -> Tables {
    Tables::init(7, 11, 4, 2022)
}

/// User 2 occurs twice, item 4 as positive and as negative.
fn batch() -> Batch {
    let items = vec![3, 4, 7, 4, 0, 10, 8, 4, 1, 1, 6, 7, 9, 2, 3, 0, 7, 9];
    small_batch(vec![0, 2, 5, 2, 6, 1], items)
}

/// T13: beta = 1 leaves the users bit for bit; beta = 0 copies the updated item.
#[test]
fn extremes_of_beta() {
    for rig in rigs() {
        let keep = Hyperparameters { beta: 1.0, ..hyper() };
        let (after, _) = step(Method::ONE_BP, &keep, &tables(), &batch(), &rig);
        assert_eq!(after.users, tables().users, "{}", rig.description);
        for duplicates in [Duplicates::Sequential, Duplicates::Last] {
            let copy = Hyperparameters { beta: 0.0, duplicates, ..hyper() };
            let (after, _) = step(Method::ONE_BP, &copy, &tables(), &batch(), &rig);
            for (user, item) in [(0, 3), (2, 1), (5, 8), (6, 9), (1, 0)] {
                assert_eq!(after.users.row(user), after.items.row(item), "{}", rig.description);
            }
            assert_eq!(after.users.row(3), tables().users.row(3), "a user outside the batch stays");
        }
    }
}

/// T14: the first item update is that of TwoBP.
#[test]
fn items_move_as_under_two_bp() {
    for rig in rigs() {
        let (one, one_loss) = step(Method::ONE_BP, &hyper(), &tables(), &batch(), &rig);
        let (two, two_loss) = step(Method::TWO_BP, &hyper(), &tables(), &batch(), &rig);
        assert_eq!(one.items, two.items, "{}", rig.description);
        assert_eq!(one_loss, two_loss);
        assert_ne!(one.users, two.users);
    }
}

/// T15: users follow the item after the step, not before it.
#[test]
fn aggregation_reads_the_item_after_the_step() {
    for rig in rigs() {
        let (after, _) = step(Method::ONE_BP, &hyper(), &tables(), &batch(), &rig);
        let expected = |items: &Table| -> Vec<f64> {
            let old = tables().users;
            (0..4).map(|k| 0.9 * f64::from(old.row(5)[k]) + 0.1 * f64::from(items.row(8)[k])).collect()
        };
        assert_close(after.users.row(5), &expected(&after.items), 1e-6, &rig.description);
        let stale = expected(&tables().items);
        assert!(after.users.row(5).iter().zip(stale).any(|(a, b)| (f64::from(*a) - b).abs() > 1e-4));
    }
}

/// T16: the three rules for a user who occurs twice.
#[test]
fn duplicate_users() {
    for rig in rigs() {
        for duplicates in [Duplicates::Sequential, Duplicates::Last, Duplicates::Mean] {
            let hyper = Hyperparameters { duplicates, ..hyper() };
            let (after, _) = step(Method::ONE_BP, &hyper, &tables(), &batch(), &rig);
            let (old, first, second) = (tables().users, after.items.row(4), after.items.row(1));
            let expected: Vec<f64> = (0..4)
                .map(|k| {
                    let (u, a, b) = (f64::from(old.row(2)[k]), f64::from(first[k]), f64::from(second[k]));
                    match duplicates {
                        Duplicates::Sequential => 0.9 * (0.9 * u + 0.1 * a) + 0.1 * b,
                        Duplicates::Last => 0.9 * u + 0.1 * b,
                        Duplicates::Mean => 0.9 * u + 0.1 * (a + b) / 2.0,
                    }
                })
                .collect();
            assert_close(after.users.row(2), &expected, 1e-6, &rig.description);
        }
    }
}

/// T17 and T18: the aggregated table has no moments and no decay; only chosen rows of it move.
#[test]
fn the_aggregated_table_never_meets_the_optimizer() {
    let decay = Hyperparameters { weight_decay: 1.0, beta: 1.0, ..hyper() };
    for rig in rigs() {
        for (method, still) in [(Method::ONE_BP, "users"), (Method::USER_ONLY, "items")] {
            let mut engine = engine(method, &decay, &tables(), &rig);
            for _ in 0..3 {
                engine.step(&batch()).unwrap();
            }
            let state = engine.state().unwrap();
            let before = if still == "users" { tables().users } else { tables().items };
            assert_eq!(state.tensors[still], before, "{} {still}", rig.description);
            assert!(state.tensors.keys().all(|name| name == still || !name.starts_with(still)));
            assert_eq!(state.counters[&format!("{still}.step")], 0);
            let moved = if still == "users" { "items.step" } else { "users.step" };
            assert_eq!(state.counters[moved], 3);
        }
        let (after, _) = step(Method::USER_ONLY, &hyper(), &tables(), &batch(), &rig);
        for item in 0..11 {
            let chosen = batch().positives.contains(&(item as u32));
            assert_eq!(after.items.row(item) != tables().items.row(item), chosen, "item {item}");
        }
    }
}

/// T19: with d = 1 a user stays between the smallest and the largest value it started from or met.
#[test]
fn users_stay_in_the_convex_hull() {
    for rig in rigs() {
        let start = Tables::init(7, 11, 1, 3);
        let mut engine = engine(Method::ONE_BP, &Hyperparameters { dim: 1, ..hyper() }, &start, &rig);
        let bounds =
            |values: &[f32]| values.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
        let (mut low, mut high) = bounds(&start.users.values);
        for _ in 0..30 {
            engine.step(&batch()).unwrap();
            let tables = engine.tables().unwrap();
            let met = bounds(&tables.items.values);
            (low, high) = (low.min(met.0), high.max(met.1));
            let users = bounds(&tables.users.values);
            assert!(users.0 >= low - 1e-6 && users.1 <= high + 1e-6, "{}", rig.description);
        }
    }
}

/// Dense Adam: a row without gradient still moves by its moments, and decays where asked.
#[test]
fn adam_moves_untouched_rows_too() {
    let first = small_batch(vec![0], vec![1, 2, 3]);
    let second = small_batch(vec![0], vec![4, 5, 6]);
    for rig in rigs() {
        let mut engine = engine(Method::ONE_BP, &hyper(), &tables(), &rig);
        engine.step(&first).unwrap();
        let before = engine.tables().unwrap();
        engine.step(&second).unwrap();
        let after = engine.tables().unwrap();
        assert_ne!(before.items.row(1), after.items.row(1), "momentum tail");
        assert_eq!(before.items.row(9), after.items.row(9), "never touched, no decay");
    }
}
