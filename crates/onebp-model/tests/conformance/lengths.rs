//! T10 and its likes: where losses of distances keep their rows.

use super::*;
use onebp_model::{
    Batches, Feed,
    encoder::Mf,
    loss::{Cml, Dpcml, Sfcml},
    sampler::Sampler,
};

/// Lengths of the vectors of width `dim`.
fn lengths(table: &Table, dim: usize) -> Vec<f64> {
    table.values.chunks(dim).map(|v| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()).collect()
}

/// After every step rows lie on the sphere or in the ball, whatever engine, also those that only a moment moves; steps are
/// so long that rows would leave it.
#[test]
fn rows_stay_on_the_sphere_or_in_the_ball() {
    let cml = Method { loss: Loss::Cml(Cml::default()), ..Method::TWO_BP };
    let vectors = Encoder::Mf(Mf { vectors: 3 });
    let methods = [
        (cml, [false, false]),
        (Method { encoder: vectors, loss: Loss::Dpcml(Dpcml::default()), ..Method::TWO_BP }, [true, false]),
        (Method { loss: Loss::Sfcml(Sfcml::default()), sampler: Sampler::None, ..Method::TWO_BP }, [true, true]),
    ];
    let train = interactions(60, 60);
    for (method, spheres) in methods {
        for (optimizer, learning_rate) in [(Rule::Adam, 0.3), (Rule::Adagrad, 1.0)] {
            let hyper = Hyperparameters { dim: 8, batch_size: 20, optimizer, learning_rate, ..hyper() };
            let batches = Batches::new(&method, &hyper, &train, 5).unwrap();
            for rig in rigs().iter().filter(|rig| rig.can(&method)) {
                let mut engine = fresh(method, &hyper, rig);
                let mut feed = Feed::new(&batches, 0..=0, 0);
                let mut longest = [0.0, 0.0];
                for _ in 0..3 {
                    engine.step(&feed.take().unwrap()).unwrap();
                    let tables = engine.tables().unwrap();
                    for (side, table) in [&tables.users, &tables.items].into_iter().enumerate() {
                        let what = format!("{}, {:?}, {optimizer:?}, side {side}", rig.description, method.loss);
                        for length in lengths(table, 8) {
                            longest[side] = f64::max(longest[side], length);
                            let low = if spheres[side] { 1.0 - 1e-5 } else { 0.0 };
                            assert!((low..1.0 + 1e-5).contains(&length), "{what}: {length}");
                        }
                    }
                }
                assert!(longest.iter().all(|length| *length > 0.999), "{}: {longest:?}", rig.description);
            }
        }
    }
}
