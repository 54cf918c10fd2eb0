//! InfoNCE (van den Oord, Li, Vinyals, 2018), the loss of OneBP (equation 4) and of matrix factorisation.
//!
//! With z = (s+, s-_1 .. s-_S) / T and row weights w,
//!
//! L = sum_b w_b (LSE(z_b) - z_b0) / sum_b w_b
//!
//! computed through log-softmax, so scores of any size stay finite. Closed-form gradient with p = softmax(z): dL/dv_j =
//! (p_j - [j = +]) u / (T B). For S = 1 this is BPR, softplus(s- - s+) (Rendle et al., 2009). The negatives are summed
//! inside the logarithm; nothing is averaged over S.

use burn::tensor::{Tensor, activation::log_softmax};

/// InfoNCE with a temperature.
#[derive(Clone, Copy, Debug)]
pub struct InfoNce {
    /// T, which divides the scores; the paper uses 1.
    pub temperature: f64,
}

impl InfoNce {
    /// The loss of `users` `[B, d]` against `items` `[B, 1 + S, d]`, whose first column holds the positives, as `[1]`.
    /// `weights` `[B, 1]` are the rows' shares of the mean and sum to 1.
    pub fn forward(&self, users: Tensor<2>, items: Tensor<3>, weights: Tensor<2>) -> Tensor<1> {
        let [batch, columns, _] = items.dims();
        let scores = (items * users.unsqueeze_dim::<3>(1)).sum_dim(2).reshape([batch, columns]);
        let positive = log_softmax(scores.div_scalar(self.temperature), 1).slice([0..batch, 0..1]);
        (positive * weights).sum().neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ndarray;
    use burn::tensor::{Device, TensorData};

    fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
        let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn mean(batch: usize, device: &Device) -> Tensor<2> {
        tensor(&vec![1.0 / batch as f64; batch], [batch, 1], device)
    }

    /// Scores given directly: d = 1 and u = 1.
    fn loss_of_scores(scores: &[f64], columns: usize, temperature: f64) -> (f64, Vec<f32>) {
        let device = ndarray().autodiff();
        let batch = scores.len() / columns;
        let items = tensor(scores, [batch, columns, 1], &device).require_grad();
        let users = tensor(&vec![1.0; batch], [batch, 1], &device);
        let loss = InfoNce { temperature }.forward(users, items.clone(), mean(batch, &device));
        let gradient = items.grad(&loss.backward()).unwrap();
        (loss.into_scalar::<f32>() as f64, gradient.into_data().try_to_vec().unwrap())
    }

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} is not {b}");
    }

    /// Golden values: U[b,c] = sin(0.7(4b+c)+0.1), P[b,c] = cos(0.5(4b+c)+0.2), Q[b,k,c] = sin(0.3(12b+4k+c)+0.5),
    /// B = S = 3, d = 4, evaluated in f64 outside this program.
    fn golden_inputs(negatives: usize, device: &Device) -> (Tensor<2>, Tensor<3>) {
        let (mut users, mut items) = (vec![], vec![]);
        for b in 0..3 {
            users.extend((0..4).map(|c| (0.7 * (4 * b + c) as f64 + 0.1).sin()));
            items.extend((0..4).map(|c| (0.5 * (4 * b + c) as f64 + 0.2).cos()));
            for k in 0..negatives {
                items.extend((0..4).map(|c| (0.3 * (12 * b + 4 * k + c) as f64 + 0.5).sin()));
            }
        }
        (tensor(&users, [3, 4], device), tensor(&items, [3, 1 + negatives, 4], device))
    }

    #[test]
    fn golden_values() {
        for device in [ndarray(), Device::flex()] {
            for (negatives, temperature, expected) in [(3, 1.0, 1.15899291), (3, 0.5, 1.42532455), (1, 1.0, 0.92930426)]
            {
                let (users, items) = golden_inputs(negatives, &device);
                let loss = InfoNce { temperature }.forward(users, items, mean(3, &device));
                close(loss.into_scalar::<f32>() as f64, expected, 1e-6);
            }
        }
    }

    /// T1: one negative is BPR.
    #[test]
    fn one_negative_is_bpr() {
        let scores = [0.3f64, -1.2, 2.0, 2.5, -0.7, 0.1];
        let bpr = scores.chunks(2).map(|s| (s[1] - s[0]).exp().ln_1p()).sum::<f64>() / 3.0;
        close(loss_of_scores(&scores, 2, 1.0).0, bpr, 1e-6);
    }

    /// T3: equal scores give log(1 + S); a constant added to a row changes nothing.
    #[test]
    fn equal_scores_and_shifts() {
        close(loss_of_scores(&[0.4; 12], 6, 1.0).0, 6f64.ln(), 1e-6);
        let scores = [0.3, -1.2, 2.0, 0.5, -0.7, 0.1];
        let shifted: Vec<f64> = scores.iter().enumerate().map(|(i, s)| s + if i < 3 { 5.0 } else { -3.0 }).collect();
        close(loss_of_scores(&scores, 3, 1.0).0, loss_of_scores(&shifted, 3, 1.0).0, 1e-5);
    }

    /// T4: huge scores stay finite; T = 0.5 is T = 1 on doubled scores, with a doubled gradient.
    #[test]
    fn huge_scores_and_temperature() {
        let (loss, gradient) = loss_of_scores(&[1e4, -1e4, 0.0, -1e4, 1e4, 0.0], 3, 1.0);
        assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()));
        close(loss, 1e4, 1e-6);

        let scores = [0.3, -1.2, 2.0, 0.5, -0.7, 0.1];
        let doubled: Vec<f64> = scores.iter().map(|s| 2.0 * s).collect();
        let (half, half_gradient) = loss_of_scores(&scores, 3, 0.5);
        let (one, one_gradient) = loss_of_scores(&doubled, 3, 1.0);
        close(half, one, 1e-6);
        for (a, b) in half_gradient.iter().zip(one_gradient) {
            close(*a as f64, 2.0 * b as f64, 1e-6);
        }
    }
}
