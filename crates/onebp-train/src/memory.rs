//! Refuses what cannot fit, before it is tried: running out of memory ends a process without a word.

use crate::{Error, Settings};
use onebp_model::engine::EngineName;

/// Bytes that training M users and N items on `pairs` pairs needs at its peak, within a factor of two.
fn estimate(settings: &Settings, users: usize, items: usize, pairs: usize) -> u64 {
    let hyper = &settings.hyper;
    let width = 4 * hyper.dim as u64;
    // Tables alive at the peak. Autodiff over whole tables holds weights, gradient, two moments, and their successors
    // while the optimizer computes them; the other engines weights and moments, and a view of them while they are
    // evaluated.
    let copies = if settings.engine == EngineName::Autodiff { 6 } else { 4 };
    // Gathered rows alive at the peak of a step: embeddings, products and their gradients.
    let gathered = if matches!(settings.engine, EngineName::Autodiff | EngineName::Rows) { 4 } else { 0 };
    let tables = (users as u64 + items as u64).saturating_mul(width).saturating_mul(copies);
    let places = (hyper.batch_size.min(pairs) as u64).saturating_mul((1 + settings.method.columns(hyper)) as u64);
    // A place of a batch is grouped ahead, in a handful of words.
    let ahead = places.saturating_mul(64);
    // The pairs in order of users, shuffled, and as they were read; what is known of every user and item.
    let data = (pairs as u64).saturating_mul(32).saturating_add((users as u64 + items as u64).saturating_mul(64));
    let step = places.saturating_mul(width).saturating_mul(gathered);
    tables.saturating_add(step).saturating_add(ahead).saturating_add(data)
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
    use onebp_model::{Hyperparameters, Method};

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
        let hyper = Hyperparameters {
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
        };
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
}
