//! Refuses what cannot fit, before it is tried: running out of memory ends a process without a word.

use crate::{Error, Settings};
use onebp_model::{
    Method,
    encoder::Encoder,
    engine::EngineName,
    loss::{Draws, Form, LossSetting, Sfcml},
};

/// Bytes of a number, and of an entry of a sparse matrix.
const NUMBER: f64 = 4.0;
const ENTRY: f64 = 8.0;

/// Bytes that training M users and N items on `pairs` pairs needs at its peak, within a factor of two.
fn estimate(settings: &Settings, users: usize, items: usize, pairs: usize) -> u64 {
    let Settings { method, hyper, engine, .. } = settings;
    let oracle = *engine == EngineName::Autodiff;
    let setting = LossSetting { temperature: hyper.temperature, items };
    let fused = !oracle && *engine != EngineName::Rows && method.loss.in_closed_form(setting).is_some();
    let whole_users = method.loss.draws() == Draws::Users;
    let row = NUMBER * hyper.dim as f64;
    let (m, n, all_pairs) = (users as f64, items as f64, pairs as f64);
    let batch_users = hyper.batch_size.min(users);
    let batch_pairs =
        if whole_users { all_pairs / m.max(1.0) * batch_users as f64 } else { hyper.batch_size.min(pairs) as f64 };

    // Tables alive at the peak. Autodiff over whole tables holds weights, gradient, two moments, and their successors
    // while the optimizer computes them; the other engines weights and moments, and a view of them while they are
    // evaluated.
    let copies = if oracle { 6.0 } else { 4.0 };
    let tables = copies * (m * method.encoder.vectors() as f64 + n) * row;
    let encoder = layers(method) * (m + n) * row * if oracle { 2.0 } else { 1.0 };
    let graph = if method.encoder.is_graph() { matrices(method, m + n, all_pairs, oracle) } else { 0.0 };
    let places = batch_pairs * (1 + method.columns(hyper)) as f64;
    // Items of a row that are gathered: pools only where they are not looked through in the tables themselves.
    let pool = method.sampler.pool().filter(|_| !oracle && !method.encoder.is_graph());
    let gathered =
        method.columns(hyper).saturating_sub(pool.map_or(0, |pool| pool.size.saturating_sub(hyper.negatives)));
    // Gathered rows alive at the peak of a step: embeddings, products and their gradients.
    let step = match (whole_users, fused) {
        (true, _) => catalogue(batch_users, n, batch_pairs, hyper.dim, oracle),
        // Gradients of distinct rows, at most two for each pair.
        (false, true) if matches!(method.encoder, Encoder::Bootstrap(_)) => 2.0 * batch_pairs * row,
        (false, true) => 0.0,
        (false, false) => 4.0 * batch_pairs * (1 + gathered) as f64 * row * breadth(method),
    };
    // A place of a batch, its noise included, is grouped ahead in a handful of words.
    let ahead = 64.0 * places;
    // The pairs in order of users, shuffled, and as they were read; what is known of every user and item.
    let data = 32.0 * all_pairs + 64.0 * (m + n);
    (tables + encoder + graph + step + ahead + data) as u64
}

/// Matrices `[M + N, d]` that the encoder keeps at its peak, on top of the tables.
fn layers(method: &Method) -> f64 {
    match method.encoder {
        Encoder::Mf(_) => 0.0,
        // All rows joined, two sums in turn, gradients of the same kind, and their halves.
        Encoder::LightGcn(_) => 6.0,
        // Five of each layer with the mask of its dropout; embeddings, their parts and their gradient, each of L + 1.
        Encoder::Ngcf(ngcf) => 6.0 * ngcf.layers as f64 + 3.0 * (ngcf.layers + 1) as f64 + 4.0,
        // Targets; in evaluation predictions, beside their rows.
        Encoder::Bootstrap(_) => 6.0,
    }
}

/// Width of the rows that the loss sees, in widths of a table.
fn breadth(method: &Method) -> f64 {
    match method.encoder {
        Encoder::Mf(_) | Encoder::LightGcn(_) => 1.0,
        Encoder::Ngcf(ngcf) => (ngcf.layers + 1) as f64,
        Encoder::Bootstrap(_) => 2.0,
    }
}

/// Bytes of the graph of `nodes` nodes: a matrix as it is built and as it is used, and another pair where it is not symmetric;
/// with all its zeros for the oracle.
fn matrices(method: &Method, nodes: f64, pairs: f64, oracle: bool) -> f64 {
    let loops = matches!(method.encoder, Encoder::Ngcf(ngcf) if ngcf.rw_self);
    let (entries, kept) = if loops { (2.0 * pairs + nodes, 4.0) } else { (2.0 * pairs, 2.0) };
    kept * ENTRY * entries + if oracle { 2.0 * NUMBER * nodes * nodes } else { 0.0 }
}

/// Bytes of a step on whole users against all items: all items, their gradients, and both with those of the pairs; for each
/// pair its rows and their gradients; scores one by one where they are taken so.
fn catalogue(users: usize, items: f64, pairs: f64, dim: usize, oracle: bool) -> f64 {
    let scores =
        if oracle || Sfcml::form(users, dim) == Form::Scores { 4.0 * users as f64 * items * NUMBER } else { 0.0 };
    (5.0 * items + 6.0 * pairs) * dim as f64 * NUMBER + scores
}

/// Bytes that this machine has free, where the system tells.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Checks that a run can fit.
///
/// # Errors
/// [`Error::Settings`] with the estimate.
pub(crate) fn check(settings: &Settings, users: usize, items: usize, pairs: usize) -> Result<(), Error> {
    let needed = estimate(settings, users, items, pairs);
    match available() {
        Some(free) if needed > free => Err(Error::Settings {
            problem: format!("about {} MB of memory are needed, {} MB are free", needed / 1_000_000, free / 1_000_000),
            remedy: "lower --dim, --batch-size or --negatives, or take less data".into(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use onebp_model::{
        Hyperparameters,
        encoder::{Bootstrap, LightGcn, Mf, Ngcf},
        loss::{Buir, Dpcml, Loss},
        sampler::{Dynamic, Sampler, TwoStage2019},
        update::UpdateName,
    };

    fn hyper() -> Hyperparameters {
        Hyperparameters {
            dim: 32,
            batch_size: 1024,
            optimizer: Default::default(),
            learning_rate: 1e-3,
            weight_decay: 0.0,
            beta: 0.99,
            negatives: 5,
            temperature: 1.0,
            duplicates: Default::default(),
            keep_last: false,
        }
    }

    fn settings(engine: EngineName, hyper: Hyperparameters) -> Settings {
        Settings {
            name: "onebp".into(),
            method: Method::ONE_BP,
            hyper,
            engine,
            epochs: 1,
            eval_every: 1,
            patience: None,
            protocol: Protocol::Final,
            valid_ratio: 0.1,
            seed: 1,
            checkpoint_every: Default::default(),
        }
    }

    #[test]
    fn ordinary_runs_fit_and_absurd_ones_do_not() {
        let hyper = hyper();
        for engine in EngineName::ALL {
            check(&settings(engine, hyper.clone()), 1000, 1700, 80_000).unwrap();
            let absurd = Hyperparameters { dim: 65_536, ..hyper.clone() };
            if available().is_some() {
                let error = check(&settings(engine, absurd), 1 << 24, 1 << 24, 80_000).unwrap_err().to_string();
                assert!(error.contains("MB of memory are needed"), "{error}");
            }
        }
        let yelp = Hyperparameters { dim: 2048, ..hyper };
        let needed = estimate(&settings(EngineName::Auto, yelp), 31_668, 38_048, 1_237_259);
        assert!((1_500_000_000..2_500_000_000).contains(&needed), "{needed}");
    }

    /// Gowalla, d 64: what each method needs beyond `mf`, in tables `[M + N, d]` of 18 MB.
    #[test]
    fn what_methods_need_beside_their_tables() {
        let (users, items, pairs) = (29_858, 40_981, 810_128);
        let table = 4.0 * 64.0 * (users + items) as f64;
        let hyper = |batch_size| Hyperparameters { dim: 64, batch_size, ..hyper() };
        let needed = |method: Method, engine, batch_size| {
            estimate(&Settings { method, ..settings(engine, hyper(batch_size)) }, users, items, pairs) as f64
        };
        let more = |method: Method| {
            (needed(method, EngineName::Auto, 1024) - needed(Method::TWO_BP, EngineName::Auto, 1024)) / table
        };
        let encoded = |encoder| Method { encoder, ..Method::TWO_BP };
        let lost = |encoder, loss| Method { encoder, loss, sampler: Sampler::None, update: UpdateName::TwoBp };
        let lightgcn = more(encoded(Encoder::LightGcn(LightGcn::default())));
        let ngcf = more(encoded(Encoder::Ngcf(Ngcf::default())));
        let buir = more(lost(Encoder::Bootstrap(Bootstrap::default()), Loss::Buir(Buir {})));
        let sfcml = more(lost(Encoder::MF, Loss::Sfcml(Sfcml::default())));
        let dpcml = more(Method { loss: Loss::Dpcml(Dpcml::default()), ..encoded(Encoder::Mf(Mf { vectors: 3 })) });
        assert!((7.0..9.0).contains(&lightgcn), "{lightgcn}");
        assert!((34.0..38.0).contains(&ngcf), "{ngcf}");
        assert!((6.0..7.0).contains(&buir), "{buir}");
        assert!((4.5..6.5).contains(&sfcml), "{sfcml}");
        // Two more tables of users, each four times.
        assert!((dpcml - 8.0 * users as f64 / (users + items) as f64).abs() < 0.01, "{dpcml}");
        // 16 users look at all items one by one; pools cost their places.
        let scores = needed(lost(Encoder::MF, Loss::Sfcml(Sfcml::default())), EngineName::Auto, 16);
        assert!(scores > 4.0 * 16.0 * 4.0 * items as f64);
        let pool = Method { sampler: Sampler::Dns(Dynamic { pool: 1000 }), ..Method::TWO_BP };
        assert!(more(pool) * table >= 64.0 * 1024.0 * 990.0);
        let shared =
            Method { sampler: Sampler::TwoStage2019(TwoStage2019 { pool: 1000, exponent: 1.0 }), ..Method::TWO_BP };
        assert_eq!(more(shared), more(pool));
        // Where pools are gathered, so are their rows.
        let gathered = needed(pool, EngineName::Autodiff, 1024) - needed(Method::TWO_BP, EngineName::Autodiff, 1024);
        assert!(gathered > 4.0 * 1024.0 * 990.0 * 64.0 * 4.0);
        let looked_through = needed(pool, EngineName::Rows, 1024) - needed(Method::TWO_BP, EngineName::Rows, 1024);
        assert_eq!(looked_through, more(pool) * table);
        // The oracle's graph has all its zeros.
        let dense = needed(encoded(Encoder::LightGcn(LightGcn::default())), EngineName::Autodiff, 1024);
        assert!(dense > 4.0 * ((users + items) as f64).powi(2));
    }
}
