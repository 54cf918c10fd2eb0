//! Refuses what cannot fit, before it is tried: running out of memory ends a process without a word.

use crate::Error;
use onebp_model::Hyperparameters;

/// Tables alive at the peak of a step: weights, gradient, two moments, and their successors while Adam computes them.
const COPIES: u64 = 6;

/// Gathered rows alive at the peak of a step: embeddings, products and their gradients.
const GATHERED: u64 = 4;

/// Bytes that training M users and N items on `pairs` pairs needs at its peak, within a factor of two.
fn estimate(hyper: &Hyperparameters, users: usize, items: usize, pairs: usize) -> u64 {
    let width = 4 * hyper.dim as u64;
    let tables = (users as u64 + items as u64).saturating_mul(width).saturating_mul(COPIES);
    let rows = (hyper.batch_size.min(pairs) as u64).saturating_mul(2 + hyper.negatives as u64);
    tables.saturating_add(rows.saturating_mul(width).saturating_mul(GATHERED))
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
pub(crate) fn check(hyper: &Hyperparameters, users: usize, items: usize, pairs: usize) -> Result<(), Error> {
    let needed = estimate(hyper, users, items, pairs);
    match available() {
        Some(free) if needed > free => Err(Error::Settings {
            problem: format!("about {} MB of memory are needed, {} MB are free", needed / 1_000_000, free / 1_000_000),
            remedy: "lower --dim, --batch-size or --negatives".into(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check(&hyper, 1000, 1700, 80_000).unwrap();
        let absurd = Hyperparameters { dim: 65_536, batch_size: 1 << 24, negatives: 65_536, ..hyper };
        if available().is_some() {
            assert!(check(&absurd, 1000, 1700, 80_000).unwrap_err().to_string().contains("MB of memory are needed"));
        }
    }
}
