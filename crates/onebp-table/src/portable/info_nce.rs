//! The fused step as tensor formulas: the closed-form gradient of InfoNCE without autodiff.

use super::PortableTable;
use crate::{Batch, Embedding, Error, Follow, FusedStep, Grouping, Touched};
use burn::tensor::{Tensor, TensorData, activation::softmax};

/// The step of two [`PortableTable`]s.
pub struct PortableInfoNce {
    temperature: f64,
    follow: Follow,
    losses: Vec<f32>,
}

impl FusedStep for PortableInfoNce {
    type Table = PortableTable;

    fn new(temperature: f64, follow: Follow) -> Self {
        Self { temperature, follow, losses: Vec::new() }
    }

    fn step(&mut self, users: &mut PortableTable, items: &mut PortableTable, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (rows, width, device) = (batch.len(), batch.width(), users.device.clone());
        let u = users.gather(&batch.touched_users, &batch.users)?;
        let v = items.gather(&batch.touched_items, &batch.items)?;
        let [_, dim] = u.dims();
        let (u, v) = (u.reshape([rows, 1, dim]), v.reshape([rows, width, dim]));

        let scores = (u.clone() * v.clone()).sum_dim(2).div_scalar(self.temperature);
        let p = softmax(scores, 1);
        let shares: Vec<f32> = batch.shares().collect();
        let shares = Tensor::<3>::from_data(TensorData::new(shares, [rows, 1, 1]), &device);
        let losses = p.clone().slice([0..rows, 0..1]).log().neg() * shares.clone();
        let loss = losses.sum().try_into_scalar::<f32>().map_err(|error| Error::Execution(format!("{error:?}")))?;
        self.losses.push(loss);

        // (p - [j = +]) w / T
        let positive: Vec<f32> = (0..width).map(|column| if column == 0 { 1.0 } else { 0.0 }).collect();
        let positive = Tensor::<3>::from_data(TensorData::new(positive, [1, width, 1]), &device);
        let factors = (p - positive) * shares.div_scalar(self.temperature);
        let of_items = (factors.clone() * u).reshape([rows * width, dim]);
        let of_users = (factors * v).sum_dim(1).reshape([rows, dim]);

        if !matches!(self.follow, Follow::Users(_)) {
            users.update(&batch.touched_users, of_users)?;
        }
        if !matches!(self.follow, Follow::Items(_)) {
            items.update(&batch.touched_items, of_items)?;
        }
        match &self.follow {
            Follow::Neither => Ok(()),
            Follow::Users(aggregation) => users.aggregate(&batch.touched_users, aggregation, items, &batch.positives),
            Follow::Items(aggregation) => {
                let mut touched = Touched::default();
                let [rows, _] = items.weights.dims();
                Grouping::new(rows).group(&batch.positives, &mut touched);
                items.aggregate(&touched, aggregation, users, &batch.users)
            }
        }
    }

    fn take_losses(&mut self) -> Result<Vec<f32>, Error> {
        Ok(std::mem::take(&mut self.losses))
    }
}
