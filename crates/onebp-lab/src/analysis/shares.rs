//! How even shares are, and how far two sets of shares lie apart.
//!
//! | quantity | definition | range |
//! |---|---|---|
//! | normalised entropy | -sum p_i ln p_i / ln n | 0 (one share is everything) to 1 (all n equal) |
//! | Jensen-Shannon divergence | (KL(p, m) + KL(q, m)) / 2 with m = (p + q) / 2 and logarithms to base 2 | 0 (equal) to 1 (disjoint) |
//!
//! Source: Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 1991.

/// `weights`, none negative, divided by their sum; `None` where that is 0.
pub fn normalised(weights: &[f64]) -> Option<Vec<f64>> {
    let sum: f64 = weights.iter().sum();
    (sum > 0.0).then(|| weights.iter().map(|weight| weight / sum).collect())
}

/// Entropy of `shares` (sum 1) divided by the largest possible one; 0 for a single share.
pub fn normalised_entropy(shares: &[f64]) -> f64 {
    if shares.len() < 2 {
        return 0.0;
    }
    let entropy: f64 = shares.iter().filter(|share| **share > 0.0).map(|share| -share * share.ln()).sum();
    // Without max, a single share of 1 gives -0.
    (entropy / (shares.len() as f64).ln()).max(0.0)
}

/// Jensen-Shannon divergence in bits of `p` and `q`, of equal length and each of sum 1.
pub fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let half = |a: f64, b: f64| if a > 0.0 { a * (2.0 * a / (a + b)).log2() } else { 0.0 };
    let sum: f64 = p.iter().zip(q).map(|(&p, &q)| half(p, q) + half(q, p)).sum();
    // Rounding may leave a tiny negative number.
    (sum / 2.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(normalised_entropy(&[0.25; 4]), 1.0);
        assert_eq!(normalised_entropy(&[0.0, 1.0, 0.0]), 0.0);
        assert_eq!(normalised_entropy(&[1.0]), 0.0);
        assert!((normalised_entropy(&[0.5, 0.25, 0.25]) - 1.5 / 3f64.log2()).abs() < 1e-15);
        assert_eq!(jensen_shannon(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        assert_eq!(jensen_shannon(&[0.3, 0.7], &[0.3, 0.7]), 0.0);
        // m = (3/4, 1/4): (log2(4/3) + log2(2/3)/2 + log2(2)/2) / 2.
        let expected = ((4f64 / 3.0).log2() + (2f64 / 3.0).log2() / 2.0 + 0.5) / 2.0;
        assert!((jensen_shannon(&[1.0, 0.0], &[0.5, 0.5]) - expected).abs() < 1e-15);
        assert_eq!(normalised(&[1.0, 3.0]), Some(vec![0.25, 0.75]));
        assert_eq!(normalised(&[0.0]), None);
    }
}
