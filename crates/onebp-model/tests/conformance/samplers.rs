//! The identities of the samplers, from a method's name to the negatives that a step sees. Those of what is drawn ahead of
//! the steps (T27, T28, and T26 and T32 for it) stand beside that code.

use super::*;
use onebp_data::Csr;
use onebp_model::{
    Batches,
    part::Part,
    sampler::{Dynamic, Sampler, TwoStage, TwoStage2019},
};
use onebp_table::{Embedding, hardest::Chosen, host::HostTable, portable::PortableTable};

/// A row as a step sees it.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    user: u32,
    weight: f32,
    /// What the negatives were chosen from.
    pool: Vec<u32>,
    negatives: Vec<u32>,
}

/// The rows of an epoch, with negatives chosen by `tables`; every implementation of a table chooses the same.
fn rows(sampler: Sampler, negatives: usize, train: &Csr, tables: &Tables, epoch: u32) -> Vec<Row> {
    fn with<E: Embedding>(batch: &Batch, tables: &Tables, device: &burn::tensor::Device) -> Batch {
        let Some(keep) = batch.keep else { return batch.clone() };
        let of = |table: &Table| E::new(table, None, device).unwrap();
        let (mut users, mut items) = (of(&tables.users), of(&tables.items));
        let keys = items.keys(&mut users, batch, keep.hardness).unwrap();
        Chosen::new(tables.items.rows).of(batch, keep, &keys).clone()
    }
    let method = Method { sampler, ..Method::TWO_BP };
    let hyper = Hyperparameters { negatives, batch_size: 16, keep_last: true, ..hyper() };
    let device = device::find(DeviceName::NdArray).unwrap().device;
    let batches = Batches::new(&method, &hyper, train, 7).unwrap();
    let epoch = batches.epoch(epoch);
    let rows = (0..epoch.len()).flat_map(|index| {
        let batch = epoch.batch(index);
        let chosen = with::<HostTable>(&batch, tables, &device);
        assert_eq!(chosen, with::<PortableTable>(&batch, tables, &device), "{sampler:?}");
        assert_eq!((chosen.len(), chosen.width()), (batch.len(), 1 + negatives));
        assert_eq!(chosen.positives, batch.positives);
        assert!(chosen.items.chunks(chosen.width()).map(|row| row[0]).eq(chosen.positives.iter().copied()));
        let rows = batch.items.chunks(batch.width()).zip(chosen.items.chunks(1 + negatives)).enumerate();
        let row = |(row, (pool, chosen)): (usize, (&[u32], &[u32]))| Row {
            user: batch.users[row],
            weight: batch.weights[row],
            pool: pool[1..].to_vec(),
            negatives: chosen[1..].to_vec(),
        };
        rows.map(row).collect::<Vec<_>>()
    });
    rows.collect()
}

/// User u of 9 owns 6 of 20 items.
fn train() -> Csr {
    let pairs: Vec<_> = (0..9u32).flat_map(|u| (0..6u32).map(move |k| (u, (u * 3 + k * k) % 20))).collect();
    let train = Csr::from_pairs(9, 20, &pairs).unwrap();
    assert!((0..9).all(|user| train.row(user).len() == 6));
    train
}

/// What `user` does not own.
fn left(train: &Csr, user: u32) -> Vec<u32> {
    (0..train.columns() as u32).filter(|&item| !train.contains(user, item)).collect()
}

fn sorted(items: &[u32]) -> Vec<u32> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}

fn product(tables: &Tables, user: u32, item: u32) -> f64 {
    let pairs = tables.users.row(user as usize).iter().zip(tables.items.row(item as usize));
    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn distance(tables: &Tables, user: u32, item: u32) -> f64 {
    let pairs = tables.users.row(user as usize).iter().zip(tables.items.row(item as usize));
    pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// The `count` items of `pool` that come first by `key`, smallest first.
fn first(pool: &[u32], count: usize, key: impl Fn(u32) -> f64) -> Vec<u32> {
    let mut pool = pool.to_vec();
    pool.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
    pool.truncate(count);
    pool
}

fn dns(pool: usize) -> Sampler {
    Sampler::Dns(Dynamic { pool })
}

fn hars(pool: usize) -> Sampler {
    Sampler::Hars(Dynamic { pool })
}

/// All samplers, with pools that are larger than what some users have left, and smaller ones.
fn samplers() -> Vec<Sampler> {
    let small = ["dns,pool=6", "hars,pool=6", "two-stage,pool=6,exponent=0.5", "two-stage-2019,pool=9,exponent=0"];
    let small = small.map(|text| text.parse::<Part<Sampler>>().unwrap().0);
    // False negatives are what `planted` is for.
    let all = Sampler::all().into_iter().filter(|sampler| sampler.planted() == 0.0);
    all.chain(small).collect()
}

/// T26: no item of the user, none twice, the right shape, whatever the number of threads; and other rows every epoch.
#[test]
fn negatives_are_not_the_users_and_do_not_repeat() {
    let (train, tables) = (train(), Tables::init(9, 20, 4, 3));
    for sampler in samplers() {
        let draw = || rows(sampler, 5, &train, &tables, 1);
        let found = draw();
        assert_eq!(found.len(), train.len());
        for Row { user, weight, negatives, .. } in &found {
            assert_eq!(*weight, 1.0);
            assert!(negatives.iter().all(|&item| item < 20 && !train.contains(*user, item)), "{sampler:?}");
            assert!(sorted(negatives).windows(2).all(|pair| pair[0] < pair[1]), "{sampler:?}: {negatives:?}");
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(found, pool.install(draw), "{sampler:?}");
        assert_ne!(found, rows(sampler, 5, &train, &tables, 2), "{sampler:?}");
    }
}

/// T29: DNS with X = S returns the pool; with X = N - |Tr(u)| the S of all items that have the largest products.
#[test]
fn dns_between_its_extremes() {
    let (train, tables) = (train(), Tables::init(9, 20, 4, 3));
    for row in rows(dns(5), 5, &train, &tables, 1) {
        assert_eq!(sorted(&row.negatives), sorted(&row.pool));
    }
    for Row { user, negatives, .. } in rows(dns(14), 5, &train, &tables, 1) {
        assert_eq!(negatives, first(&left(&train, user), 5, |item| -product(&tables, user, item)));
    }
}

/// T30: HarS keeps the nearest items; where all items are of one length, those are DNS's.
#[test]
fn hars_keeps_the_nearest() {
    let (train, tables) = (train(), Tables::init(9, 20, 4, 3));
    for Row { user, pool, negatives, .. } in rows(hars(9), 4, &train, &tables, 1) {
        assert_eq!(negatives, first(&pool, 4, |item| distance(&tables, user, item)));
    }
    assert_ne!(rows(hars(9), 4, &train, &tables, 1), rows(dns(9), 4, &train, &tables, 1));
    let mut equal = tables;
    for item in equal.items.values.chunks_mut(4) {
        let length = item.iter().map(|x| x * x).sum::<f32>().sqrt();
        item.iter_mut().for_each(|x| *x /= length);
    }
    assert_eq!(rows(hars(9), 4, &train, &equal, 1), rows(dns(9), 4, &train, &equal, 1));
}

/// T31: two-stage sampling with a = 0 is DNS: it chooses alike, from a pool of the same distribution (T28).
#[test]
fn two_stage_without_popularity_is_dns() {
    let (train, tables) = (train(), Tables::init(9, 20, 4, 3));
    let two_stage = |pool| Sampler::TwoStage(TwoStage { pool, exponent: 0.0 });
    assert_eq!(two_stage(10).pool(), dns(10).pool());
    let weights = |sampler: Sampler| {
        let proposal = sampler.proposal(&train).unwrap();
        (0..20).map(|item| proposal.weight(item)).collect::<Vec<_>>()
    };
    assert_eq!(weights(two_stage(10)), weights(dns(10)));
    let negatives = |sampler| rows(sampler, 5, &train, &tables, 1).into_iter().map(|row| row.negatives);
    assert!(negatives(two_stage(14)).eq(negatives(dns(14))), "all that is left is one pool");
    for Row { user, pool, negatives, .. } in rows(two_stage(8), 5, &train, &tables, 1) {
        assert_eq!(negatives, first(&pool, 5, |item| -product(&tables, user, item)));
    }
}

/// The published variant chooses by its weights and the noise, of the items that the user does not own. With a = 0 its pool
/// can be the whole catalogue, with a = 1 it never holds an item without training rows while it has others to offer.
#[test]
fn two_stage_2019_keeps_the_largest_sums() {
    let (mut pairs, tables) = (train().pairs().collect::<Vec<_>>(), Tables::init(9, 20, 12, 3));
    pairs.retain(|&(_, item)| item != 4);
    let train = Csr::from_pairs(9, 20, &pairs).unwrap();
    for (exponent, size) in [(0.0, 20), (1.0, 19)] {
        let sampler = Sampler::TwoStage2019(TwoStage2019 { pool: 300, exponent });
        let found = rows(sampler, 5, &train, &tables, 1);
        assert!(found.iter().all(|row| row.pool.len() == size && row.pool.contains(&4) == (size == 20)));
    }
    let hyper = Hyperparameters { negatives: 3, batch_size: 16, ..hyper() };
    let method = Method { sampler: Sampler::TwoStage2019(TwoStage2019::default()), ..Method::TWO_BP };
    let batches = Batches::new(&method, &hyper, &train, 7).unwrap();
    let batch = batches.epoch(1).batch(0);
    let found = rows(method.sampler, 3, &train, &tables, 1);
    let unit = |item: u32| {
        let row: Vec<f64> = tables.items.row(item as usize).iter().map(|&x| f64::from(x)).collect();
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.into_iter().map(|x| x / length).collect::<Vec<_>>()
    };
    for (row, found) in found.iter().take(batch.len()).enumerate() {
        let width = batch.width();
        let (items, noise) = (&batch.items[row * width..][..width], &batch.noise[row * width..][..width]);
        let cosine = |item: u32| unit(items[0]).iter().zip(unit(item)).map(|(a, b)| a * b).sum::<f64>();
        let sum = |at: usize| match cosine(items[at]) {
            x if x > 0.0 => (1.0 - 11.0 / 2.0) * (1.0 - x * x + 1e-8).ln() + f64::from(noise[at]),
            _ => -1e9 + f64::from(noise[at]),
        };
        let mut places: Vec<usize> = (1..width).filter(|&at| !train.contains(found.user, items[at])).collect();
        places.sort_by(|&a, &b| sum(b).total_cmp(&sum(a)));
        assert!(places.iter().take(3).map(|&at| items[at]).eq(found.negatives.iter().copied()));
    }
}

/// T32: users with nothing left, with fewer than S, with fewer than the pool, and one who owns all popular items: every
/// sampler ends, gives what there is, each item once before any comes again, and weight 0 where there is nothing.
#[test]
fn users_with_few_or_no_negatives() {
    let owned = |count: u32, user: u32| (0..count).map(move |item| (user, item));
    let fans = (5..40).flat_map(|user| owned(8, user));
    let pairs: Vec<_> = owned(20, 0).chain(owned(18, 1)).chain(owned(13, 2)).chain(owned(8, 3)).chain(fans).collect();
    let train = Csr::from_pairs(40, 20, &pairs).unwrap();
    let tables = Tables::init(40, 20, 4, 3);
    for sampler in samplers() {
        for Row { user, weight, negatives, .. } in rows(sampler, 5, &train, &tables, 1) {
            let left = left(&train, user);
            assert_eq!(weight, if left.is_empty() { 0.0 } else { 1.0 });
            if left.is_empty() {
                continue;
            }
            assert!(negatives.iter().all(|item| left.contains(item)), "{sampler:?}: {negatives:?}");
            let times = |item: &u32| negatives.iter().filter(|other| *other == item).count();
            let most = 5usize.div_ceil(left.len());
            assert!(negatives.iter().all(|item| times(item) <= most), "{sampler:?}, user {user}: {negatives:?}");
        }
        let method = Method { sampler, ..Method::ONE_BP };
        let hyper = Hyperparameters { negatives: 5, batch_size: 64, keep_last: true, ..hyper() };
        let batches = Batches::new(&method, &hyper, &train, 7).unwrap();
        let epoch = batches.epoch(0);
        for rig in rigs() {
            let mut engine = engine(method, &hyper, &tables, &rig);
            (0..epoch.len()).for_each(|index| engine.step(&epoch.batch(index)).unwrap());
            assert!(engine.take_loss().unwrap().is_finite(), "{sampler:?}, {}", rig.description);
        }
    }
}

/// Parameters that say nothing are refused.
#[test]
fn parameters_of_the_published_variant() {
    let parse = |text: &str| text.parse::<Part<Sampler>>().map(|Part(sampler)| sampler);
    assert_eq!(parse("two-stage-2019"), Ok(Sampler::TwoStage2019(TwoStage2019 { pool: 300, exponent: 1.0 })));
    let sampler = parse("two-stage-2019,pool=2000,exponent=0.5").unwrap();
    assert_eq!(sampler, parse(&Part(sampler).to_string()).unwrap());
    assert!(parse("two-stage-2019,refresh=100").unwrap_err().contains("expected `pool` or `exponent`"));
    assert!(parse("two-stage-2019,pool=4").unwrap().check(5).unwrap_err().to_string().contains("pool = 4"));
    assert!(parse("two-stage-2019,exponent=-1").unwrap().check(5).is_err());
}
