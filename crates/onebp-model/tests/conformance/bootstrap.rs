//! T12: the targets of BUIR, and its scores.

use super::*;
use onebp_model::{encoder::Bootstrap, engine::State, loss::Buir, sampler::Sampler};

fn buir(momentum: f64) -> Method {
    let (encoder, loss) = (Encoder::Bootstrap(Bootstrap { momentum }), Loss::Buir(Buir {}));
    Method { encoder, loss, sampler: Sampler::None, ..Method::TWO_BP }
}

fn tables() -> Tables {
    Tables::init(7, 11, 4, 2022)
}

/// Decay, so that rows move which no batch touches.
fn decay() -> Hyperparameters {
    Hyperparameters { weight_decay: 0.1, ..hyper() }
}

const SIDES: [(&str, &str); 2] = [("users", "target_users"), ("items", "target_items")];

/// With momentum 1 targets stay where they started; with momentum 0 they are the online rows after every step, those too
/// that only decay or a moment moves; in between they are between.
#[test]
fn extremes_of_momentum() {
    let batches = [small_batch(vec![0, 2, 2], vec![3, 4, 5]), small_batch(vec![1, 5], vec![3, 6])];
    for rig in rigs().into_iter().filter(|rig| rig.can(&buir(0.9))) {
        for momentum in [1.0, 0.0, 0.75] {
            let mut engine = engine(buir(momentum), &decay(), &tables(), &rig);
            let mut before = engine.state().unwrap();
            for batch in batches.iter().cycle().take(4) {
                engine.step(batch).unwrap();
                let state = engine.state().unwrap();
                for (online, target) in SIDES {
                    let what = format!("{}, momentum {momentum}, {online}", rig.description);
                    let [last, now] = [&before, &state].map(|state| &state.tensors[online]);
                    let still = (0..now.rows).filter(|&row| now.row(row) == last.row(row)).count();
                    assert_eq!(still, 0, "{what}: every row moves");
                    let expected = match momentum {
                        1.0 => before.tensors[target].clone(),
                        0.0 => now.clone(),
                        _ => {
                            let pairs = before.tensors[target].values.iter().zip(&now.values);
                            let mixed: Vec<f64> = pairs
                                .map(|(t, w)| momentum * f64::from(*t) + (1.0 - momentum) * f64::from(*w))
                                .collect();
                            assert_close(&state.tensors[target].values, &mixed, 1e-6, &what);
                            continue;
                        }
                    };
                    assert_eq!(state.tensors[target], expected, "{what}");
                }
                before = state;
            }
            if momentum == 1.0 {
                assert_eq!(before.tensors["target_items"], tables().items, "{}", rig.description);
            }
        }
    }
}

/// The score by one product is <q(u), v> + <u, q(v)>, both from the online side.
#[test]
fn one_product_is_both_terms() {
    for rig in rigs().into_iter().filter(|rig| rig.can(&buir(0.9))) {
        let mut engine = engine(buir(0.9), &decay(), &tables(), &rig);
        engine.step(&small_batch(vec![0, 2, 5], vec![3, 4, 7])).unwrap();
        let (found, state) = (engine.tables().unwrap(), engine.state().unwrap());
        assert_eq!((found.score, found.users.dim, found.items.dim), (Score::Product, 8, 8));
        let (weights, bias) = (&state.tensors["encoder_predictor"], &state.tensors["encoder_predictor_bias"]);
        let wide = |row: &[f32]| row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let predict = |x: &[f64]| -> Vec<f64> {
            let column = |c: usize| (0..4).map(|r| x[r] * f64::from(weights.row(r)[c])).sum::<f64>();
            (0..4).map(|c| column(c) + f64::from(bias.row(0)[c])).collect()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for user in 0..7 {
            for item in 0..11 {
                let [u, v] = [wide(state.tensors["users"].row(user)), wide(state.tensors["items"].row(item))];
                let expected = dot(&predict(&u), &v) + dot(&u, &predict(&v));
                let score = dot(&wide(found.users.row(user)), &wide(found.items.row(item)));
                assert!((score - expected).abs() < 1e-5, "{}: {score} is not {expected}", rig.description);
            }
        }
    }
}

/// Rows and targets that wait for a batch are where the oracle's are, under every optimizer, in steps that repeat rows and in
/// some that leave most of them alone; looking at tables and storing them leaves no trace. A moment alone moves rows too.
#[test]
fn waiting_rows_catch_up() {
    let pairs = |step: u32| {
        let users: Vec<u32> = (0..1 + step % 5).map(|k| (k * k + 3 * step) % 7).collect();
        let items = users.iter().map(|user| (user * 5 + step / 3) % 11).collect();
        small_batch(users, items)
    };
    for (rule, learning_rate) in [
        (Rule::Adam, 0.01),
        (Rule::LazyAdam, 0.01),
        (Rule::Adagrad, 0.05),
        (Rule::RowwiseAdagrad, 0.05),
        (Rule::Sgd, 0.5),
    ] {
        for weight_decay in [0.0, 0.05] {
            let hyper = Hyperparameters { optimizer: rule, learning_rate, weight_decay, ..hyper() };
            let mut oracle: Option<State> = None;
            for rig in rigs().into_iter().filter(|rig| rig.can(&buir(0.9))) {
                let what = format!("{}, {rule:?}, decay {weight_decay}", rig.description);
                let run = |every: u32| {
                    let mut engine = engine(buir(0.9), &hyper, &tables(), &rig);
                    for step in 0..30 {
                        engine.step(&pairs(step)).unwrap();
                        if every > 0 && step % every == 0 {
                            let tables = engine.tables().unwrap();
                            engine.state().unwrap();
                            let again = engine.tables().unwrap();
                            assert!(tables.users == again.users && tables.items == again.items, "{what}");
                        }
                    }
                    engine.state().unwrap()
                };
                let found = run(7);
                assert!(found == run(0), "{what}: a look left a trace");
                let Some(expected) = &oracle else {
                    oracle = Some(found);
                    continue;
                };
                for (name, table) in &expected.tensors {
                    let expected: Vec<f64> = table.values.iter().map(|&x| f64::from(x)).collect();
                    assert_close(&found.tensors[name].values, &expected, 2e-4, &format!("{what}, {name}"));
                }
            }
        }
    }
}
