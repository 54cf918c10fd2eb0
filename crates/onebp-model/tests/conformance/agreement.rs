//! Engines and devices agree with each other, and a restored engine with an uninterrupted one.

use super::*;
use onebp_model::{
    Batches, Feed,
    encoder::{Bootstrap, LightGcn, Mf, Ngcf},
    loss::{Buir, Cml, Dcl, Dpcml, Hcl, Sfcml},
    sampler::{Dynamic, Popularity, Sampler, TwoStage2019},
    update::{Cut, OneBp, Order, UpdateName},
};

fn train() -> Csr {
    interactions(60, 60)
}

/// Mean loss of each epoch, and the share of the rows that the loss counts.
fn run(
    engine: &mut Box<dyn Engine>,
    method: &Method,
    hyper: &Hyperparameters,
    epochs: std::ops::Range<u32>,
) -> Vec<(f64, Option<f64>)> {
    let train = train();
    let batches = Batches::new(method, hyper, &train, 5).unwrap();
    epochs
        .map(|number| {
            let mut feed = Feed::new(&batches, number..=number, 0);
            while let Some(batch) = feed.take() {
                engine.step(&batch).unwrap();
            }
            (engine.take_loss().unwrap(), engine.take_counted().unwrap())
        })
        .collect()
}

/// Every part of a method at least once.
fn methods() -> Vec<Method> {
    let hcl = Loss::Hcl(Hcl { positives: 3, ..Hcl::default() });
    let lightgcn = |layers| Encoder::LightGcn(LightGcn { layers });
    let ngcf = |dropout, rw_self| Encoder::Ngcf(Ngcf { layers: 2, dropout, rw_self });
    let block = |order, cut| UpdateName::OneBp(OneBp { order, cut });
    let vectors = Encoder::Mf(Mf { vectors: 3 });
    let covariance = Loss::Cml(Cml { covariance: 0.5, ..Cml::default() });
    let without = Method { sampler: Sampler::None, ..Method::TWO_BP };
    vec![
        Method { loss: Loss::Cml(Cml::default()), ..Method::TWO_BP },
        Method { encoder: vectors, loss: Loss::Dpcml(Dpcml::default()), ..Method::TWO_BP },
        Method { encoder: vectors, sampler: Sampler::Dns(Dynamic { pool: 8 }), ..Method::TWO_BP },
        Method { encoder: vectors, sampler: Sampler::Hars(Dynamic { pool: 8 }), loss: covariance, ..Method::TWO_BP },
        Method { encoder: lightgcn(1), loss: Loss::Cml(Cml::default()), ..Method::TWO_BP },
        Method { loss: Loss::Sfcml(Sfcml::default()), ..without },
        Method { encoder: Encoder::Bootstrap(Bootstrap::default()), loss: Loss::Buir(Buir {}), ..without },
        Method { encoder: lightgcn(2), ..Method::TWO_BP },
        Method { encoder: lightgcn(1), sampler: Sampler::Dns(Dynamic { pool: 8 }), ..Method::ONE_BP },
        Method { encoder: lightgcn(2), update: block(Order::Pre, Cut::Output), ..Method::ONE_BP },
        Method { encoder: lightgcn(3), ..Method::USER_ONLY },
        Method { encoder: ngcf(0.1, false), ..Method::TWO_BP },
        Method { encoder: ngcf(0.0, true), update: block(Order::Pre, Cut::Input), ..Method::ONE_BP },
        Method::ONE_BP,
        Method::TWO_BP,
        Method::USER_ONLY,
        Method { loss: Loss::Dcl(Dcl::default()), ..Method::TWO_BP },
        Method { sampler: Sampler::Dns(Dynamic { pool: 8 }), ..Method::TWO_BP },
        Method { sampler: Sampler::Hars(Dynamic { pool: 8 }), ..Method::ONE_BP },
        Method {
            sampler: Sampler::TwoStage2019(TwoStage2019 { pool: 30, ..TwoStage2019::default() }),
            ..Method::ONE_BP
        },
        Method { loss: hcl, sampler: Sampler::Popularity(Popularity::default()), ..Method::ONE_BP },
    ]
}

fn larger() -> Hyperparameters {
    Hyperparameters { dim: 8, batch_size: 64, negatives: 5, weight_decay: 1e-4, keep_last: true, ..hyper() }
}

/// Few long batches, for what every method must do.
fn short() -> Hyperparameters {
    Hyperparameters { batch_size: 128, ..larger() }
}

/// Same seed, same batches, against the oracle on ndarray: table lookup under Adam, with and without decay, after 2 epochs
/// (24 steps), every other optimizer and method after 12 steps with decay. What a loss counts may differ by a row of an epoch,
/// where rounding decides whether a margin holds. Adam and Adagrad divide by the size of the gradients they have seen, so that rounding shows where those are
/// nearly zero; the row optimizers themselves are compared more sharply beside them, with gradients given.
#[test]
fn engines_and_devices_agree() {
    let rigs = rigs();
    for method in methods() {
        for (optimizer, learning_rate, tolerance) in [
            (Rule::Adam, 1e-3, 1e-4),
            (Rule::LazyAdam, 1e-3, 1e-4),
            (Rule::Adagrad, 0.01, 1e-4),
            (Rule::RowwiseAdagrad, 0.1, 1e-5),
            (Rule::Sgd, 1.0, 1e-5),
        ] {
            // Optimizers have nothing to do with losses and samplers.
            let plain =
                method.encoder == Encoder::MF && method.loss == Loss::INFO_NCE && method.sampler == Sampler::Uniform;
            if !plain && optimizer != Rule::Adam {
                continue;
            }
            let thorough = plain && optimizer == Rule::Adam;
            let (decays, epochs, size) =
                if thorough { (&[0.0, 1e-4][..], 0..2, larger()) } else { (&[1e-4][..], 0..2, short()) };
            for &weight_decay in decays {
                let hyper = Hyperparameters { optimizer, learning_rate, weight_decay, ..size.clone() };
                let mut reference: Option<(Vec<_>, Tables)> = None;
                for rig in rigs.iter().filter(|rig| rig.can(&method)) {
                    let what = format!("{}, {method:?}, {optimizer:?}, decay {weight_decay}", rig.description);
                    let mut engine = fresh(method, &hyper, rig);
                    let losses = run(&mut engine, &method, &hyper, epochs.clone());
                    let tables = engine.tables().unwrap();
                    let counts = method.loss.counts().is_some();
                    assert!(losses.iter().all(|(_, counted)| counted.is_some() == counts), "{what}");
                    let Some((expected_losses, expected)) = &reference else {
                        reference = Some((losses, tables));
                        continue;
                    };
                    for ((loss, counted), (expected, of_rows)) in losses.iter().zip(expected_losses) {
                        assert!((loss / expected - 1.0).abs() < tolerance, "{what}: {loss} {expected}");
                        let apart = counted.zip(*of_rows).map_or(0.0, |(a, b)| (a - b).abs());
                        assert!(apart < 1.5 / 720.0, "{what}: counted {counted:?} {of_rows:?}");
                    }
                    for (found, expected) in [(&tables.users, &expected.users), (&tables.items, &expected.items)] {
                        let expected: Vec<f64> = expected.values.iter().map(|&x| f64::from(x)).collect();
                        assert_close(&found.values, &expected, 10.0 * tolerance, &what);
                    }
                }
            }
        }
    }
}

/// What batches know of those to come saves time and changes nothing, whatever follows the rows that are carried ahead. A
/// learning rate at which a row that is a step ahead is far away.
#[test]
fn knowing_what_comes_changes_nothing() {
    let train = train();
    let buir = methods().into_iter().find(|method| matches!(method.loss, Loss::Buir(_))).unwrap();
    let buir = Method { encoder: Encoder::Bootstrap(Bootstrap { momentum: 0.5 }), ..buir };
    // Rows of a pool that a step does not keep wait, the others are carried on.
    let pools =
        [Method::ONE_BP, Method::TWO_BP].map(|method| Method { sampler: Sampler::Dns(Dynamic { pool: 8 }), ..method });
    for method in [Method::ONE_BP, Method::TWO_BP, Method::USER_ONLY, buir].into_iter().chain(pools) {
        for weight_decay in [0.0, 1e-2] {
            let hyper = Hyperparameters { learning_rate: 0.02, weight_decay, batch_size: 16, ..larger() };
            let batches = Batches::new(&method, &hyper, &train, 5).unwrap();
            // The oracle moves every row at every step, whatever it knows.
            for rig in rigs().iter().filter(|rig| rig.engine != EngineName::Autodiff && rig.can(&method)) {
                let run = |known: bool| {
                    let mut engine = fresh(method, &hyper, rig);
                    let mut feed = Feed::new(&batches, 0..=0, 0);
                    for mut batch in std::iter::from_fn(|| feed.take()).take(12) {
                        if !known {
                            batch.touched_users.rest.fill(0);
                            batch.touched_items.rest.fill(0);
                        }
                        engine.step(&batch).unwrap();
                    }
                    let tables = engine.tables().unwrap();
                    [tables.users.values, tables.items.values].concat()
                };
                let expected: Vec<f64> = run(false).into_iter().map(f64::from).collect();
                let what = format!("{}, {:?}, {:?}, decay {weight_decay}", rig.description, method.update, method.loss);
                assert_close(&run(true), &expected, 1e-4, &what);
            }
        }
    }
}

/// Tables depend neither on how often they are looked at nor on how often they are stored, also in the middle of an epoch;
/// what is seen there is what the oracle has there.
#[test]
fn looking_and_storing_leave_no_trace() {
    let rigs = rigs();
    for weight_decay in [0.0, 1e-3] {
        let hyper = Hyperparameters { weight_decay, batch_size: 5, ..larger() };
        let start = Tables::init(60, 60, 8, 1);
        let train = train();
        let batches = Batches::new(&Method::ONE_BP, &hyper, &train, 5).unwrap();
        let views = |rig: &Rig, every: usize| {
            let mut engine = engine(Method::TWO_BP, &hyper, &start, rig);
            let mut views = Vec::new();
            for number in 1..2 {
                let mut feed = Feed::new(&batches, number..=number, 0);
                for (step, batch) in (1..).zip(std::iter::from_fn(|| feed.take()).take(60)) {
                    engine.step(&batch).unwrap();
                    if every > 0 && step % every == 0 {
                        views.push(engine.tables().unwrap());
                        let state = engine.state().unwrap();
                        let (stored, seen) =
                            (state.view(Method::TWO_BP, &hyper, &train).unwrap(), engine.tables().unwrap());
                        for (stored, seen) in [(&stored.users, &seen.users), (&stored.items, &seen.items)] {
                            let seen: Vec<f64> = seen.values.iter().map(|&x| f64::from(x)).collect();
                            assert_close(&stored.values, &seen, 1e-6, &rig.description);
                        }
                    }
                }
            }
            (views, engine.state().unwrap())
        };
        let (expected, _) = views(&rigs[0], 7);
        for rig in &rigs {
            let (found, watched) = views(rig, 7);
            assert!(watched == views(rig, 0).1, "{}", rig.description);
            for (found, expected) in found.iter().zip(&expected) {
                let expected: Vec<f64> = expected.items.values.iter().map(|&x| f64::from(x)).collect();
                assert_close(&found.items.values, &expected, 1e-4, &rig.description);
            }
        }
    }
}

/// A pool of so many threads.
fn threads(number: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(number).build().unwrap()
}

/// T46: the same run twice gives the same bytes, on one thread and on three.
#[test]
fn runs_repeat_bitwise() {
    let (hyper, pools) = (short(), [1, 1, 3].map(threads));
    for rig in rigs() {
        let once = || {
            let mut engine = fresh(Method::ONE_BP, &hyper, &rig);
            (run(&mut engine, &Method::ONE_BP, &hyper, 0..2), engine.state().unwrap())
        };
        let [one, again, three] = pools.each_ref().map(|pool| pool.install(once));
        assert!(one == again && one == three, "{}", rig.description);
    }
}

/// T45 and T46 for every method: an engine that goes on and one that is restored from its state do the same steps to the same
/// bytes, the one on one thread, the other on three.
#[test]
fn restored_engines_continue_bitwise() {
    let (hyper, pools) = (short(), [1, 3].map(threads));
    for rig in rigs() {
        for method in methods().into_iter().filter(|method| rig.can(method)) {
            let mut whole = fresh(method, &hyper, &rig);
            run(&mut whole, &method, &hyper, 0..1);
            let mut other = fresh(method, &hyper, &rig);
            other.restore(&whole.state().unwrap()).unwrap();
            let went_on = pools[0].install(|| (run(&mut whole, &method, &hyper, 1..2), whole.state().unwrap()));
            let restored = pools[1].install(|| (run(&mut other, &method, &hyper, 1..2), other.state().unwrap()));
            assert!(went_on == restored, "{} {method:?}", rig.description);
        }
    }
}

#[test]
fn states_that_do_not_fit_are_refused() {
    for rig in rigs() {
        let hyper = hyper();
        let refusal = |change: &dyn Fn(&mut onebp_model::engine::State)| {
            let mut engine = engine(Method::ONE_BP, &hyper, &Tables::init(7, 11, 4, 1), &rig);
            engine.step(&small_batch(vec![0], vec![1, 2, 3])).unwrap();
            let mut state = engine.state().unwrap();
            engine.restore(&state).unwrap();
            change(&mut state);
            engine.restore(&state).unwrap_err().to_string()
        };
        let refused = |change: &dyn Fn(&mut onebp_model::engine::State), expected: &str| {
            let error = refusal(change);
            assert!(error.contains(expected), "{}: {error}", rig.description);
        };
        refused(&|state| state.tensors.clear(), "the table of users is missing");
        refused(&|state| assert!(state.counters.remove("items.step").is_some()), "the step of items is missing");
        refused(
            &|state| drop(state.tensors.insert("items".into(), Table::filled(0.0, 10, 4))),
            "items: weights is [10, 4], the model expects [11, 4]",
        );
        refused(
            &|state| drop(state.tensors.remove("items.moment_2")),
            "items: a part of the optimizer's state is missing: moment_2",
        );
        refused(
            &|state| drop(state.tensors.insert("users.moment_2".into(), Table::filled(0.0, 7, 4))),
            "users: moment_2 belongs to another optimizer",
        );
        refused(&|state| drop(state.times.remove("items")), "items: 0 rows have a time, the model expects 11");
    }
}
