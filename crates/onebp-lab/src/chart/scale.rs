//! From values to places: axes, linear or logarithmic, and where their ticks are.
//!
//! Ticks are multiples of 1, 2 or 5 times a power of ten; a linear axis ends at ticks. A logarithmic axis with few different
//! values has its ticks at these, since they were chosen (5, 10, 20, 50), else at powers of ten.

/// Most ticks on an axis, about.
const TICKS: f64 = 6.0;
/// With at most so many different values, a logarithmic axis has its ticks there.
const OWN_TICKS: usize = 9;

/// An axis from `low` to `high` with its ticks.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    /// Values of the ticks and their text.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Scale {
    /// A linear axis that holds all `values`, finite and at least one, and begins at 0 where `zero` asks for it or is near.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>, zero: bool) -> Self {
        let (mut low, mut high) = ends(values);
        if low > 0.0 && (zero || low < 0.4 * high) {
            low = 0.0;
        }
        if high < 0.0 && zero {
            high = 0.0;
        }
        if high - low <= 1e-9 * high.abs().max(low.abs()) {
            let around = if high == 0.0 { 1.0 } else { 0.1 * high.abs() };
            (low, high) = (if low == 0.0 { 0.0 } else { low - around }, high + around);
        }
        let rough = (high - low) / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let (first, last) = ((low / step + 1e-6).floor(), (high / step - 1e-6).ceil());
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let ticks = (0..=(last - first) as usize).map(|number| (first + number as f64) * step);
        Self {
            low: first * step,
            high: last * step,
            log: false,
            ticks: ticks.map(|value| (value, format!("{:.decimals$}", value + 0.0))).collect(),
        }
    }

    /// A linear axis without ticks that holds all `values` and a twentieth more on either side.
    pub(super) fn bare(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = ends(values);
        let room = if high > low { 0.05 * (high - low) } else { 1.0 };
        Self { low: low - room, high: high + room, log: false, ticks: Vec::new() }
    }

    /// A logarithmic axis that holds all `values`, positive and at least one.
    pub(super) fn logarithmic(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        let (low, high) = ends(values.iter().copied());
        if values.len() > OWN_TICKS {
            let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
            let every = ((last - first) as usize).div_ceil(OWN_TICKS).max(1);
            values = (first..=last).step_by(every).map(|power| 10f64.powi(power)).collect();
        }
        let ticks = values.into_iter().map(|value| (value, plain(value))).collect::<Vec<_>>();
        let (low, high) = ends(ticks.iter().map(|(value, _)| *value).chain([low, high]));
        // A single value stands in the middle.
        let (low, high) = if high > low { (low, high) } else { (low / 2.0, high * 2.0) };
        Self { low, high, log: true, ticks }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let (low, high, value) = match self.log {
            true => (self.low.ln(), self.high.ln(), value.ln()),
            false => (self.low, self.high, value),
        };
        (value - low) / (high - low)
    }
}

fn ends(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    values.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// A number without an exponent where that is short.
pub(super) fn plain(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&size) { format!("{value}") } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, text)| &**text).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (values, zero, expected) in [
            (&[0.0, 0.47][..], true, "0.0 0.1 0.2 0.3 0.4 0.5"),
            (&[0.31, 0.335], false, "0.310 0.315 0.320 0.325 0.330 0.335"),
            (&[0.05, 0.335], false, "0.0 0.1 0.2 0.3 0.4"),
            (&[-3.0, 4.0], true, "-4 -2 0 2 4"),
            (&[1234.0], true, "0 500 1000 1500"),
            (&[2.0], false, "1.8 1.9 2.0 2.1 2.2"),
            (&[0.0], true, "0.0 0.2 0.4 0.6 0.8 1.0"),
            (&[-2.0], true, "-2.0 -1.5 -1.0 -0.5 0.0"),
        ] {
            let scale = Scale::linear(values.iter().copied(), zero);
            assert_eq!(texts(&scale).join(" "), expected, "{values:?}");
            assert!(values.iter().all(|&value| (-1e-9..=1.0 + 1e-9).contains(&scale.at(value))), "{values:?}");
        }
    }

    #[test]
    fn logarithmic_axes_have_their_values_or_powers_of_ten() {
        assert_eq!(texts(&Scale::logarithmic([5.0, 10.0, 20.0, 50.0, 10.0])), ["5", "10", "20", "50"]);
        assert_eq!(texts(&Scale::logarithmic([1e-6, 1e-1])), ["1e-6", "0.1"]);
        assert_eq!(texts(&Scale::logarithmic((1..=100).map(f64::from))), ["1", "10", "100"]);
        let scale = Scale::logarithmic([1.0, 10.0, 100.0]);
        assert!((scale.at(10.0) - 0.5).abs() < 1e-12);
        assert!((Scale::logarithmic([7.0]).at(7.0) - 0.5).abs() < 1e-12);
    }
}
