//! What encoders make of tables. Golden values were evaluated in f64 outside this program, from W_u = sin(0.7(4b+c)+0.1), W_v
//! = sin(1.1(4j+c)+0.4) and the edges 10100 / 01000 / 11010; item 4 has none.

use super::*;
use onebp_model::{
    encoder::{LightGcn, Ngcf},
    engine::State,
};

fn golden_tables() -> Tables {
    Tables {
        users: table(3, 4, |r, c| (0.7 * (4 * r + c) as f64 + 0.1).sin()),
        items: table(5, 4, |r, c| (1.1 * (4 * r + c) as f64 + 0.4).sin()),
        score: Score::Product,
    }
}

fn golden_graph() -> Csr {
    Csr::from_pairs(3, 5, &[(0, 0), (0, 2), (1, 1), (2, 0), (2, 1), (2, 3)]).unwrap()
}

fn lightgcn(layers: usize, under: Method) -> Method {
    Method { encoder: Encoder::LightGcn(LightGcn { layers }), ..under }
}

fn ngcf(ngcf: Ngcf) -> Method {
    Method { encoder: Encoder::Ngcf(ngcf), ..Method::TWO_BP }
}

/// An engine on the golden graph, and the embeddings of its state as they are evaluated without an engine.
fn embedded(method: Method, rig: &Rig, change: impl Fn(&mut State)) -> (Box<dyn Engine>, [Tables; 2]) {
    let mut engine = engine_on(&golden_graph(), method, &hyper(), &golden_tables(), rig);
    let mut state = engine.state().unwrap();
    change(&mut state);
    engine.restore(&state).unwrap();
    let tables = [engine.tables().unwrap(), state.view(method, &hyper(), &golden_graph()).unwrap()];
    (engine, tables)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Sum of all scores.
fn sum_of_scores(tables: &Tables) -> f64 {
    let Tables { users, items, .. } = tables;
    let of_user = |user: usize| (0..items.rows).map(move |item| dot(users.row(user), items.row(item))).sum::<f64>();
    (0..users.rows).map(of_user).sum()
}

#[test]
fn golden_lightgcn() {
    for rig in graph_rigs() {
        let (_, tables) = embedded(lightgcn(2, Method::TWO_BP), &rig, |_| {});
        for found in tables {
            let user_0 = [0.13820547, 0.41169177, 0.50070122, 0.43562693];
            assert_close(found.users.row(0), &user_0, 1e-6, &rig.description);
            let item_0 = [0.16401956, 0.56166357, 0.42981495, -0.00649868];
            assert_close(found.items.row(0), &item_0, 1e-6, &rig.description);
            assert!((sum_of_scores(&found) - 1.53922761).abs() < 5e-6, "{}", rig.description);
        }
    }
}

/// One layer, W1 = sin(0.3(4r+c)+0.1), W2 = cos(0.6(4r+c)), b1 .05, b2 -.05.
#[test]
fn golden_ngcf() {
    let method = ngcf(Ngcf { layers: 1, ..Ngcf::default() });
    for rig in graph_rigs() {
        let (_, tables) = embedded(method, &rig, |state| {
            let weights = [
                ("encoder_w1_0", table(4, 4, |r, c| (0.3 * (4 * r + c) as f64 + 0.1).sin())),
                ("encoder_w2_0", table(4, 4, |r, c| (0.6 * (4 * r + c) as f64).cos())),
                ("encoder_b1_0", Table::filled(0.05, 1, 4)),
                ("encoder_b2_0", Table::filled(-0.05, 1, 4)),
            ];
            for (name, value) in weights {
                assert!(state.tensors.insert(name.into(), value).is_some(), "{name}");
            }
        });
        for found in tables {
            assert_eq!(found.users.row(0)[..4], *golden_tables().users.row(0));
            let unit = [0.75518450, 0.53956143, 0.33538560, 0.16151265];
            assert_close(&found.users.row(0)[4..], &unit, 1e-6, &rig.description);
            assert!((sum_of_scores(&found) - 1.94702044).abs() < 1e-5, "{}", rig.description);
        }
    }
}

/// T20: without layers LightGCN is table lookup: the same loss, the same gradients (a step of SGD at rate 1) and the same
/// step of Adam, bit for bit on an engine.
#[test]
fn lightgcn_without_layers_is_mf() {
    let start = Tables::init(7, 11, 4, 2022);
    let batch = small_batch(vec![0, 2, 5, 2], vec![3, 4, 7, 4, 0, 10, 8, 4, 1, 1, 6, 7]);
    for rig in graph_rigs() {
        for (optimizer, learning_rate) in [(Rule::Sgd, 1.0), (Rule::Adam, 0.01)] {
            for method in [Method::TWO_BP, Method::ONE_BP, Method::USER_ONLY] {
                let hyper = Hyperparameters { optimizer, learning_rate, ..hyper() };
                let expected = step(method, &hyper, &start, &batch, &rig);
                assert_ne!(expected.0, start);
                let found = step(lightgcn(0, method), &hyper, &start, &batch, &rig);
                assert_eq!(found, expected, "{}, {optimizer:?}, {:?}", rig.description, method.update);
            }
        }
    }
}

/// T23: through one edge between nodes of degree 1, both ends become their mean; whoever has no edge keeps 1 / (K + 1) of
/// their row.
#[test]
fn one_edge_and_none() {
    let train = Csr::from_pairs(7, 11, &[(2, 9)]).unwrap();
    let start = Tables::init(7, 11, 4, 2022);
    for rig in graph_rigs() {
        for layers in [1, 2, 5] {
            let method = lightgcn(layers, Method::TWO_BP);
            let tables = engine_on(&train, method, &hyper(), &start, &rig).tables().unwrap();
            let share = 1.0 / (layers + 1) as f64;
            let alone = |row: &[f32]| row.iter().map(|x| f64::from(*x) * share).collect::<Vec<_>>();
            assert_close(tables.users.row(0), &alone(start.users.row(0)), 1e-6, &rig.description);
            assert_close(tables.items.row(10), &alone(start.items.row(10)), 1e-6, &rig.description);
            // Of K + 1 layers, every other one is the other end.
            let (own, other) = ((layers / 2 + 1) as f64 * share, layers.div_ceil(2) as f64 * share);
            let pair = start.users.row(2).iter().zip(start.items.row(9));
            let user: Vec<f64> = pair.clone().map(|(u, v)| own * f64::from(*u) + other * f64::from(*v)).collect();
            let item: Vec<f64> = pair.map(|(u, v)| own * f64::from(*v) + other * f64::from(*u)).collect();
            assert_close(tables.users.row(2), &user, 1e-6, &rig.description);
            assert_close(tables.items.row(9), &item, 1e-6, &rig.description);
        }
    }
}

/// Nodes without edges learn like any other, by finite steps on which engines agree.
#[test]
fn isolated_nodes_learn() {
    let train = Csr::from_pairs(7, 11, &[(0, 0), (0, 1), (1, 1), (5, 3)]).unwrap();
    let start = Tables::init(7, 11, 4, 2022);
    // User 6 and items 9 and 10 have no edge.
    let batch = small_batch(vec![0, 6, 6], vec![1, 9, 4, 9, 0, 10, 3, 10, 9]);
    let methods = [
        lightgcn(2, Method::TWO_BP),
        ngcf(Ngcf { layers: 2, dropout: 0.0, rw_self: false }),
        ngcf(Ngcf { layers: 2, dropout: 0.0, rw_self: true }),
    ];
    let sgd = Hyperparameters { optimizer: Rule::Sgd, learning_rate: 1.0, ..hyper() };
    for method in methods {
        let mut expected: Option<Tables> = None;
        for rig in graph_rigs() {
            let mut engine = engine_on(&train, method, &sgd, &start, &rig);
            engine.step(&batch).unwrap();
            let state = engine.state().unwrap();
            let found = Tables {
                users: state.tensors["users"].clone(),
                items: state.tensors["items"].clone(),
                score: Score::Product,
            };
            for (row, before) in [(found.users.row(6), start.users.row(6)), (found.items.row(9), start.items.row(9))] {
                assert!(row != before && row.iter().all(|x| x.is_finite()), "{} {method:?}", rig.description);
            }
            let expected = expected.get_or_insert_with(|| found.clone());
            for (found, expected) in [(&found.users, &expected.users), (&found.items, &expected.items)] {
                let expected: Vec<f64> = expected.values.iter().map(|&x| f64::from(x)).collect();
                assert_close(&found.values, &expected, 1e-5, &format!("{} {method:?}", rig.description));
            }
        }
    }
}

/// T24: with all weights 0 nothing comes beside the tables, and scores are those of MF.
#[test]
fn ngcf_without_weights_is_mf() {
    let method = ngcf(Ngcf { layers: 2, ..Ngcf::default() });
    for rig in graph_rigs() {
        let (_, tables) = embedded(method, &rig, |state| {
            for (_, weight) in state.tensors.iter_mut().filter(|(name, _)| name.starts_with("encoder_")) {
                weight.values.fill(0.0);
            }
        });
        for found in tables {
            assert_eq!((found.users.dim, found.items.dim), (12, 12));
            for (found, inputs) in [(found.users, golden_tables().users), (found.items, golden_tables().items)] {
                for row in 0..found.rows {
                    assert_eq!(found.row(row)[..4], *inputs.row(row), "{}", rig.description);
                    assert!(found.row(row)[4..].iter().all(|x| *x == 0.0), "{}", rig.description);
                }
            }
        }
    }
}

/// T24: dropout is off in evaluation: embeddings are the same again, and those without dropout; steps do differ.
#[test]
fn dropout_leaves_evaluation_alone() {
    let with = |dropout| ngcf(Ngcf { layers: 2, dropout, rw_self: false });
    let batch = Batch::new(vec![0, 1, 2], vec![0, 1, 1, 2, 3, 0], vec![1.0; 3], (3, 5));
    for rig in graph_rigs() {
        let run = |method: Method| {
            let (mut engine, _) = embedded(method, &rig, |_| {});
            for _ in 0..3 {
                engine.step(&batch).unwrap();
            }
            engine
        };
        let mut engine = run(with(0.5));
        let tables = engine.tables().unwrap();
        assert_eq!(tables, engine.tables().unwrap(), "{}", rig.description);
        let state = engine.state().unwrap();
        let (mut without, _) = embedded(with(0.0), &rig, |_| {});
        without.restore(&state).unwrap();
        assert_eq!(tables, without.tables().unwrap(), "{}", rig.description);
        assert_ne!(tables, run(with(0.0)).tables().unwrap(), "{}", rig.description);
    }
}
