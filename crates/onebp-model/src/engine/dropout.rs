//! Which elements of a layer a step leaves out.

use super::State;
use crate::{Error, encoder::Encoder};
use burn::tensor::{Device, Tensor, TensorData};
use onebp_data::random::{Purpose, Random};
use rayon::prelude::*;

/// Masks of one step after another. An element's fate depends on (seed, step, layer, place) only.
#[derive(Clone, Debug)]
pub(super) struct Dropout {
    share: f64,
    layers: usize,
    shape: [usize; 2],
    random: Random,
    steps: u64,
}

/// Steps done, in a stored state.
const STEPS: &str = "encoder.steps";

/// Elements that one block of random bits decides on, 16 bits each.
const BLOCK: usize = 8;

impl Dropout {
    /// For layers `[M + N, d]` of `encoder`.
    pub fn new(encoder: &Encoder, shape: [usize; 2], seed: u64) -> Self {
        let (share, layers) = match encoder {
            Encoder::Ngcf(ngcf) => (ngcf.dropout, ngcf.layers),
            _ => (0.0, 0),
        };
        Self { share, layers, shape, random: Random::new(seed, Purpose::Dropout), steps: 0 }
    }

    /// Adds the number of steps to a stored state, where anything depends on it.
    pub fn store(&self, state: &mut State) {
        if self.share > 0.0 {
            state.counters.insert(STEPS.into(), self.steps);
        }
    }

    /// Takes it back.
    pub fn restore(&mut self, state: &State) -> Result<(), Error> {
        if self.share > 0.0 {
            let steps = state.counters.get(STEPS).copied();
            self.steps = steps.ok_or_else(|| Error::State("the number of steps of the encoder is missing".into()))?;
        }
        Ok(())
    }

    /// Counts a step.
    pub fn next(&mut self) {
        self.steps += 1;
    }

    /// Factors of the elements of every layer `[M + N, d]` in the step under way: 0 for those that are left out, 1 / (1 -
    /// share) for the others. Nothing where none is left out.
    pub fn masks(&self, device: &Device) -> Vec<Tensor<2>> {
        if self.share == 0.0 {
            return Vec::new();
        }
        let [rows, dim] = self.shape;
        let (kept, threshold) = ((1.0 / (1.0 - self.share)) as f32, (self.share * 65536.0).round() as u32);
        let mask = |layer: usize| {
            let mut values = vec![0f32; rows * dim];
            values.par_chunks_mut(BLOCK).enumerate().with_min_len(1024).for_each(|(place, values)| {
                let bits = self.random.block(self.steps as u32, place as u64, layer as u32);
                for (at, value) in values.iter_mut().enumerate() {
                    let bits = bits[at / 2] >> (16 * (at % 2)) & 0xFFFF;
                    *value = if bits < threshold { 0.0 } else { kept };
                }
            });
            Tensor::from_data(TensorData::new(values, [rows, dim]), device)
        };
        (0..self.layers).map(mask).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{device::ndarray, encoder::Ngcf};

    #[test]
    fn masks_have_their_share_and_change_with_the_step() {
        let encoder = Encoder::Ngcf(Ngcf { layers: 2, dropout: 0.25, ..Ngcf::default() });
        let mut dropout = Dropout::new(&encoder, [100, 33], 3);
        let read = |dropout: &Dropout| -> Vec<Vec<f32>> {
            let masks = dropout.masks(&ndarray());
            masks.into_iter().map(|mask| mask.into_data().try_to_vec().unwrap()).collect()
        };
        let first = read(&dropout);
        assert_eq!(first.len(), 2);
        assert_ne!(first[0], first[1]);
        for mask in &first {
            let dropped = mask.iter().filter(|x| **x == 0.0).count() as f64 / 3300.0;
            assert!((dropped - 0.25).abs() < 0.03, "{dropped}");
            assert!(mask.iter().all(|x| *x == 0.0 || (x - 4.0 / 3.0).abs() < 1e-6));
        }
        assert_eq!(first, read(&dropout));
        dropout.next();
        assert_ne!(first, read(&dropout));
        assert!(Dropout::new(&Encoder::MF, [10, 2], 3).masks(&ndarray()).is_empty());
    }
}
