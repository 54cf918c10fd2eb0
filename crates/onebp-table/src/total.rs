//! Sums of many numbers.

/// The sum of `values`, in sixteen lanes, so that additions need not wait for each other; in one order on every CPU.
pub fn total(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0; 16];
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_counts_once() {
        for length in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (1..=length).map(|value| value as f32).collect();
            assert_eq!(total(&values), (length * (length + 1) / 2) as f32);
        }
    }
}
