//! The optimizers of [`crate::optimizer`] as formulas on whole tensors.

use super::{ids, to_device, to_host};
use crate::{
    Error, Onto, Optimizer, Projection, Rule, TableState,
    optimizer::{ADAGRAD_EPSILON, ADAM_EPSILON, BETA_1, BETA_2},
};
use burn::tensor::{Device, IndexingUpdateOp, Tensor};

/// An optimizer and its state, dense.
#[derive(Clone, Debug)]
pub struct PortableOptimizer {
    optimizer: Optimizer,
    /// The matrices of [`Rule::state`].
    matrices: Vec<Tensor<2>>,
    step: u64,
    rows: usize,
}

impl PortableOptimizer {
    /// No step yet, for a table of shape `[rows, dim]` on `device`, whose width suits the optimizer ([`Optimizer::check`]).
    pub fn new(optimizer: &Optimizer, [rows, dim]: [usize; 2], device: &Device) -> Self {
        let width = |whole| if whole { dim } else { 1 };
        let matrices =
            optimizer.rule.state().iter().map(|&(_, whole)| Tensor::zeros([rows, width(whole)], device)).collect();
        Self { optimizer: *optimizer, matrices, step: 0, rows }
    }

    /// The optimizer without its state.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// One step of `table` `[rows, d]` along `gradient` `[rows, d]`, which is zero but in the rows `touched` (distinct);
    /// rows that moved are projected.
    pub fn step(&mut self, table: Tensor<2>, gradient: Tensor<2>, touched: &[u32]) -> Tensor<2> {
        self.step += 1;
        if self.optimizer.rule == Rule::Adam {
            let state = std::mem::take(&mut self.matrices);
            let (table, state) = self.formula(table, gradient, state);
            self.matrices = state;
            return self.project(table);
        }
        // Every other rule moves touched rows only.
        let rows = ids(touched, &table.device());
        let pick = |matrix: &Tensor<2>| matrix.clone().select(0, rows.clone());
        let put = |matrix: Tensor<2>, new| matrix.select_assign(0, rows.clone(), new, IndexingUpdateOp::Assign);
        let picked = self.matrices.iter().map(pick).collect();
        let (moved, state) = self.formula(pick(&table), pick(&gradient), picked);
        let matrices = std::mem::take(&mut self.matrices);
        self.matrices = matrices.into_iter().zip(state).map(|(matrix, new)| put(matrix, new)).collect();
        put(table, self.project(moved))
    }

    /// Rows `w` `[rows, d]` after a step.
    fn project(&self, w: Tensor<2>) -> Tensor<2> {
        match &self.optimizer.projection {
            Some(projection) => project(w, projection),
            None => w,
        }
    }

    /// The rule on rows `w` with gradients `g` and state; all of the same height.
    fn formula(&self, w: Tensor<2>, g: Tensor<2>, state: Vec<Tensor<2>>) -> (Tensor<2>, Vec<Tensor<2>>) {
        let Optimizer { rule, learning_rate, weight_decay, .. } = self.optimizer;
        let g = if weight_decay > 0.0 { g + w.clone().mul_scalar(weight_decay) } else { g };
        let mut state = state.into_iter();
        match (rule, state.next(), state.next()) {
            (Rule::Adam | Rule::LazyAdam, Some(m), Some(v)) => {
                let m = m.mul_scalar(BETA_1) + g.clone().mul_scalar(1.0 - BETA_1);
                let v = v.mul_scalar(BETA_2) + (g.clone() * g).mul_scalar(1.0 - BETA_2);
                let correct = |beta: f64| 1.0 - beta.powi(self.step.min(1 << 30) as i32);
                let below = v.clone().div_scalar(correct(BETA_2)).sqrt().add_scalar(ADAM_EPSILON);
                let moved = m.clone().div_scalar(correct(BETA_1)) / below;
                (w - moved.mul_scalar(learning_rate), vec![m, v])
            }
            (Rule::Adagrad, Some(sum), _) => {
                let sum = sum + g.clone() * g.clone();
                let moved = g / sum.clone().sqrt().add_scalar(ADAGRAD_EPSILON);
                (w - moved.mul_scalar(learning_rate), vec![sum])
            }
            (Rule::RowwiseAdagrad, Some(sum), _) => {
                let sum = sum + (g.clone() * g.clone()).mean_dim(1);
                let moved = g / sum.clone().sqrt().add_scalar(ADAGRAD_EPSILON);
                (w - moved.mul_scalar(learning_rate), vec![sum])
            }
            _ => (w - g.mul_scalar(learning_rate), Vec::new()),
        }
    }

    /// Adds the state to `state`, every row standing at the last step.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device cannot be read.
    pub fn store(&self, state: &mut TableState) -> Result<(), Error> {
        for ((name, _), matrix) in self.optimizer.rule.state().iter().zip(&self.matrices) {
            state.matrices.insert((*name).into(), to_host(matrix.clone())?);
        }
        if self.optimizer.rule == Rule::Adam {
            state.time = vec![self.step as u32; self.rows];
        }
        state.step = self.step;
        Ok(())
    }

    /// Takes back what [`PortableOptimizer::store`] stored.
    ///
    /// # Errors
    /// [`Error::State`] where rows stand at different steps: dense tensors have one.
    pub fn restore(&mut self, state: &TableState, device: &Device) -> Result<(), Error> {
        if state.time.iter().any(|&time| u64::from(time) != state.step) {
            return Err(Error::State("rows stand at different steps, this engine moves all of them together".into()));
        }
        let names = self.optimizer.rule.state().iter().map(|&(name, _)| name);
        self.matrices =
            names.filter_map(|name| state.matrices.get(name)).map(|table| to_device(table, device)).collect();
        self.step = state.step;
        Ok(())
    }
}

/// Projects every row of `w` `[rows, d]`.
fn project(w: Tensor<2>, projection: &Projection) -> Tensor<2> {
    let [rows, dim] = w.dims();
    if rows == 0 {
        return w;
    }
    let vectors = w.reshape([rows * projection.vectors, dim / projection.vectors]);
    let norms = (vectors.clone() * vectors.clone()).sum_dim(1).sqrt();
    let divisors = match projection.onto {
        Onto::Ball => norms.clamp_min(1.0),
        Onto::Sphere => norms.clone().mask_fill(norms.equal_elem(0.0), 1.0),
    };
    (vectors / divisors).reshape([rows, dim])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::{AdamConfig, Optimizer as _, decay::WeightDecayConfig};
    use burn::tensor::TensorData;

    /// Burn's own Adam is the outside witness.
    #[test]
    fn adam_equals_burns() {
        #[allow(deprecated)]
        let device = Device::ndarray();
        for weight_decay in [0.0, 1e-2] {
            let optimizer = Optimizer { rule: Rule::Adam, learning_rate: 1e-2, weight_decay, projection: None };
            let mut ours = PortableOptimizer::new(&optimizer, [3, 4], &device);
            let decay = (weight_decay > 0.0).then_some(WeightDecayConfig { penalty: weight_decay as f32 });
            let burns = AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).build();
            let wave = |phase: f64| {
                let values: Vec<f32> = (0..12).map(|k| (0.7 * k as f64 + phase).sin() as f32).collect();
                Tensor::<2>::from_data(TensorData::new(values, [3, 4]), &device)
            };
            let (mut table, mut state) = (wave(0.0), None);
            let mut witness = table.clone();
            for step in 0..20 {
                let gradient = wave(1.3 * step as f64).mul_scalar(0.1);
                table = ours.step(table, gradient.clone(), &[0, 1, 2]);
                (witness, state) = burns.step(1e-2, witness, gradient, state);
            }
            let (table, witness) = (to_host(table).unwrap(), to_host(witness).unwrap());
            for (ours, burns) in table.values.iter().zip(&witness.values) {
                assert!((ours - burns).abs() < 1e-6, "{ours} is not {burns}");
            }
        }
    }
}
