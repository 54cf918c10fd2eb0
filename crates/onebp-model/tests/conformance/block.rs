//! OneBP before a graph encoder, as in Figure 3 of the paper: when users follow, and where their side is cut off.

use super::*;
use onebp_model::{
    Batches, Feed,
    encoder::{LightGcn, Ngcf},
    update::{Cut, OneBp, Order, UpdateName},
};

fn block(encoder: Encoder, order: Order, cut: Cut) -> Method {
    Method { encoder, update: UpdateName::OneBp(OneBp { order, cut }), ..Method::ONE_BP }
}

fn lightgcn(layers: usize) -> Encoder {
    Encoder::LightGcn(LightGcn { layers })
}

fn ngcf(rw_self: bool) -> Encoder {
    Encoder::Ngcf(Ngcf { layers: 2, dropout: 0.1, rw_self })
}

fn tables() -> Tables {
    Tables::init(7, 11, 4, 2022)
}

/// User 2 occurs twice.
fn batch() -> Batch {
    small_batch(vec![0, 2, 5, 2], vec![3, 4, 7, 4, 0, 10, 8, 4, 1, 1, 6, 7])
}

/// T25: without layers the block is OneBP, bit for bit on an engine, over two epochs with momentum and decay.
#[test]
fn without_layers_the_block_is_one_bp() {
    let hyper = Hyperparameters { dim: 8, batch_size: 64, weight_decay: 1e-4, ..hyper() };
    let train = interactions(60, 60);
    for rig in graph_rigs() {
        let run = |method: Method| {
            let batches = Batches::new(&method, &hyper, &train, 5).unwrap();
            let mut engine = fresh(method, &hyper, &rig);
            for number in 0..2 {
                let mut feed = Feed::new(&batches, number..=number, 0);
                while let Some(batch) = feed.take() {
                    engine.step(&batch).unwrap();
                }
            }
            (engine.take_loss().unwrap(), engine.tables().unwrap())
        };
        let expected = run(Method::ONE_BP);
        for cut in [Cut::Input, Cut::Output] {
            assert_eq!(run(block(lightgcn(0), Order::Post, cut)), expected, "{}, {cut:?}", rig.description);
        }
    }
}

/// T25: with beta = 1 the users that go into the encoder stay as they are; those that come out of it do not.
#[test]
fn with_beta_1_user_inputs_stay() {
    let hyper = Hyperparameters { beta: 1.0, weight_decay: 0.1, ..hyper() };
    for rig in graph_rigs() {
        for encoder in [lightgcn(2), ngcf(false), ngcf(true)] {
            for order in [Order::Pre, Order::Post] {
                let mut engine = engine(block(encoder, order, Cut::Input), &hyper, &tables(), &rig);
                let before = engine.tables().unwrap();
                for _ in 0..3 {
                    engine.step(&batch()).unwrap();
                }
                let what = format!("{}, {encoder:?}, {order:?}", rig.description);
                assert_eq!(engine.state().unwrap().tensors["users"], tables().users, "{what}");
                assert_ne!(engine.tables().unwrap().users, before.users, "{what}");
            }
        }
    }
}

/// Without layers both cuts are the same; with layers `output` takes away the gradient through embeddings of users. What is
/// left is a step of the items' own embeddings, which the loss of the oracle moves likewise.
#[test]
fn cuts_differ_where_there_is_a_graph() {
    let sgd = Hyperparameters { optimizer: Rule::Sgd, learning_rate: 1.0, ..hyper() };
    for rig in graph_rigs() {
        let items = |encoder: Encoder, cut: Cut| {
            let mut engine = engine(block(encoder, Order::Post, cut), &sgd, &tables(), &rig);
            engine.step(&batch()).unwrap();
            engine.state().unwrap().tensors["items"].clone()
        };
        assert_eq!(items(lightgcn(0), Cut::Input), items(lightgcn(0), Cut::Output), "{}", rig.description);
        for encoder in [lightgcn(1), lightgcn(3), ngcf(false)] {
            let (input, output) = (items(encoder, Cut::Input), items(encoder, Cut::Output));
            let apart = input.values.iter().zip(&output.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart > 1e-3 && output != tables().items, "{}, {encoder:?}: {apart}", rig.description);
        }
    }
}

/// `pre` lags by one step: before step t + 1 on the batch of step t, users follow as `post` has them follow after step t.
#[test]
fn before_the_next_step_is_after_this_one() {
    for rig in graph_rigs() {
        for encoder in [lightgcn(2), ngcf(false)] {
            let [pre, post] = [Order::Pre, Order::Post].map(|order| block(encoder, order, Cut::Input));
            let mut after = engine(post, &hyper(), &tables(), &rig);
            after.step(&batch()).unwrap();
            let expected = after.state().unwrap();
            // The same items, and users as they were before they followed.
            let mut state = expected.clone();
            state.tensors.insert("users".into(), tables().users);
            let mut before = engine(pre, &hyper(), &tables(), &rig);
            before.restore(&state).unwrap();
            before.step(&batch()).unwrap();
            let found = before.state().unwrap();
            assert_ne!(expected.tensors["users"], tables().users);
            assert_eq!(found.tensors["users"], expected.tensors["users"], "{}, {encoder:?}", rig.description);
            // From then on it is a step of `post` from there, but for the following after it.
            after.step(&batch()).unwrap();
            assert_eq!(found.tensors["items"], after.state().unwrap().tensors["items"], "{}", rig.description);
        }
    }
}
