//! A table on a device.

use super::{
    CubeRanking, CubeSparse,
    clock::Ways,
    gpu::{Buffer, Gpu, Limits, Scratch, Traffic, failed},
    kernels::update::Source,
    moves::Gradients,
    parts::{Parts, Target, download},
    plan::Plan,
    state::State,
};
use crate::{Aggregation, Embedding, Error, Optimizer, Ranked, Ranking, Table, TableState, Touched};
use burn::tensor::{Device, Tensor};

/// A table of a CubeCL device, worked on in place.
pub struct CubeTable {
    pub(super) gpu: Gpu,
    pub(super) shape: [usize; 2],
    pub(super) weights: Parts,
    pub(super) state: Option<State>,
    plan: Plan,
    pub(super) late: Vec<u32>,
    pub(super) ways: Ways,
    pub(super) squares: Scratch,
    pub(super) traffic: Traffic,
    /// Bound where a kernel of some rule has no use for an argument.
    pub(super) unused: Buffer,
    ranking: CubeRanking,
}

impl CubeTable {
    /// As [`Embedding::new`], on a device that is treated as if it could less.
    ///
    /// # Errors
    /// As [`Embedding::new`].
    pub fn with_limits(
        table: &Table,
        optimizer: Option<&Optimizer>,
        device: &Device,
        limits: Limits,
    ) -> Result<Self, Error> {
        optimizer.map_or(Ok(()), |optimizer| optimizer.check(table.dim))?;
        let gpu = Gpu::new(device, limits)?;
        let shape = [table.rows, table.dim];
        let mut traffic = Traffic::default();
        let weights = Parts::room(&gpu, shape)?;
        weights.write(&gpu, table, &mut traffic)?;
        let state = optimizer.map(|optimizer| State::new(&gpu, optimizer, shape, &mut traffic)).transpose()?;
        Ok(Self {
            unused: gpu.zeros(1, &mut traffic)?,
            gpu,
            shape,
            weights,
            state,
            plan: Plan::default(),
            late: Vec::new(),
            ways: Ways::default(),
            squares: Scratch::default(),
            traffic: Traffic::default(),
            ranking: CubeRanking::default(),
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Width of a row.
    pub fn dim(&self) -> usize {
        self.shape[1]
    }

    /// Number of buffers that the rows are spread over.
    pub fn shards(&self) -> usize {
        self.weights.buffers.len()
    }

    /// What the device was asked for by this table since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Bytes of `rows` rows.
    pub(super) fn bytes(&self, rows: usize) -> u64 {
        (rows * self.shape[1] * size_of::<f32>()) as u64
    }
}

impl Embedding for CubeTable {
    type Sparse = CubeSparse;

    fn new(table: &Table, optimizer: Option<&Optimizer>, device: &Device) -> Result<Self, Error> {
        Self::with_limits(table, optimizer, device, Limits::default())
    }

    fn gather(&mut self, touched: &Touched, rows: &[u32]) -> Result<Tensor<2>, Error> {
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let settling = self.plan_settling(touched, &mut plan)?;
        let ids = plan.ids(rows, self.shape[0])?;
        let head = plan.head([rows.len() as u32, ids, 0, 0]);
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        self.launch_settling(&sent, &settling)?;
        let dim = self.shape[1];
        let out = self.gpu.temporary(rows.len() * dim)?;
        let target = Target { buffer: &out, row_step: dim, column_step: 1 };
        let mut traffic = std::mem::take(&mut self.traffic);
        let done = self.launch_reading((&sent, head, rows.len()), None, &target, &mut traffic);
        self.traffic = traffic;
        done?;
        Ok(self.gpu.tensor(out, [rows.len(), dim]))
    }

    fn settle(&mut self, touched: &Touched) -> Result<(), Error> {
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let settling = self.plan_settling(touched, &mut plan)?;
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        self.launch_settling(&sent, &settling)?;
        Ok(())
    }

    fn update(&mut self, touched: &Touched, gradients: Tensor<2>) -> Result<(), Error> {
        let dims = gradients.dims();
        if dims != [touched.places.len(), self.shape[1]] {
            return Err(failed(format!("gradients {dims:?} for {} places", touched.places.len())));
        }
        let others = Parts::whole(self.gpu.buffer(gradients)?, self.shape[1]);
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let groups = plan.groups(touched, self.shape[0], dims[0])?;
        let head = self.plan_update(touched, groups, (0, 1, 1), &mut plan)?;
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        let unused = self.unused.clone();
        let gradients = Gradients { source: Source::Tensor, factors: &unused, others: &others, reads: dims[0] };
        self.launch_update((&sent, head, touched.len()), &gradients, None)
    }

    fn aggregate(
        &mut self,
        touched: &Touched,
        aggregation: &Aggregation,
        other: &mut Self,
        towards: &[u32],
    ) -> Result<(), Error> {
        let mut plan = std::mem::take(&mut self.plan);
        plan.begin();
        let groups = plan.groups(touched, self.shape[0], towards.len())?;
        let others = plan.ids(towards, other.shape[0])?;
        let head = self.plan_following(touched, groups, aggregation, (others, 1), &mut plan);
        let sent = plan.send(&self.gpu, &mut self.traffic)?;
        self.plan = plan;
        self.launch_following((&sent, head, touched.len()), &other.weights, towards.len());
        Ok(())
    }

    fn view(&self) -> Result<Table, Error> {
        download(&self.gpu, &self.weights, self.shape, |rows| {
            let state = self.state.as_ref()?;
            Some((state.clock.view(rows.map(|row| row as u32))?, state.moments()?))
        })
    }

    fn rank(&mut self, users: &Self, ranking: &Ranking<'_>) -> Result<Option<Ranked>, Error> {
        // What is left behind where it fails is empty, and grows again.
        let mut memory = std::mem::take(&mut self.ranking);
        let found = memory.rank(users, self, ranking)?;
        self.traffic = self.traffic.plus(memory.take_traffic());
        self.ranking = memory;
        Ok(found)
    }

    fn state(&self) -> Result<TableState, Error> {
        let weights = download(&self.gpu, &self.weights, self.shape, |_| None)?;
        let mut stored = TableState { weights, ..TableState::default() };
        if let Some(state) = &self.state {
            state.store(&self.gpu, self.shape, &mut stored)?;
        }
        Ok(stored)
    }

    fn restore(&mut self, stored: &TableState) -> Result<(), Error> {
        stored.check(self.shape, self.state.as_ref().map(|state| &state.optimizer))?;
        self.weights.write(&self.gpu, &stored.weights, &mut self.traffic)?;
        match &mut self.state {
            Some(state) => state.restore(&self.gpu, stored, &mut self.traffic),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CubeInfoNce, CubeRanking, testing};
    use super::*;
    use crate::{Grouping, Rule};
    use testing::Numbers;

    /// Engines go from thread to thread.
    #[test]
    fn everything_can_be_sent() {
        fn send<T: Send>() {}
        send::<CubeTable>();
        send::<CubeInfoNce>();
        send::<CubeRanking>();
    }

    /// Gradients come as Burn makes them: broadcast, transposed, sliced.
    #[test]
    fn cube_gradients_of_any_layout() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(6);
        let (rows, dim, places) = (9, 8, vec![3u32, 1, 3, 7, 8, 0]);
        let start = numbers.table(rows, dim);
        let sgd = Optimizer { rule: Rule::Sgd, learning_rate: 0.1, weight_decay: 0.0, projection: None };
        let mut touched = Touched::default();
        Grouping::new(rows).group(&places, &mut touched);
        let tensor = |rows: usize, dim: usize, seed| {
            let values = Numbers(seed).table(rows, dim).values;
            Tensor::<2>::from_data(burn::tensor::TensorData::new(values, [rows, dim]), &device)
        };
        let layouts = [
            tensor(1, dim, 1).expand([places.len(), dim]),
            tensor(dim, places.len(), 2).transpose(),
            tensor(places.len() + 2, dim + 4, 3).slice([1..places.len() + 1, 4..dim + 4]),
            tensor(places.len() + 2, dim, 4).slice([2..places.len() + 2, 0..dim]),
            Tensor::ones([places.len(), dim], &device),
        ];
        for gradients in layouts {
            let values = gradients.clone().into_data().try_to_vec::<f32>().unwrap();
            let mut expected = start.values.clone();
            for (&row, gradient) in places.iter().zip(values.chunks(dim)) {
                let row = &mut expected[row as usize * dim..][..dim];
                row.iter_mut().zip(gradient).for_each(|(w, g)| *w -= 0.1 * g);
            }
            let mut table = CubeTable::new(&start, Some(&sgd), &device).unwrap();
            table.gather(&touched, &places).unwrap();
            table.update(&touched, gradients).unwrap();
            testing::assert_close(&table.view().unwrap().values, &expected, 1e-6, "table");
        }
        let mut table = CubeTable::new(&start, Some(&sgd), &device).unwrap();
        assert!(table.update(&touched, tensor(places.len(), dim + 1, 5)).is_err());
        let elsewhere = Tensor::ones([places.len(), dim], &Device::flex());
        assert!(table.update(&touched, elsewhere).is_err());
        assert!(table.gather(&touched, &[9]).is_err());
    }
}
