//! The losses of steps, kept on the device until they are asked for.
//!
//! The rows of a batch leave their losses in a ring of some hundred steps; when it is full, one launch adds up each step's,
//! in the order of the rows. So a step launches nothing for its loss and waits for nothing.

use super::{
    gpu::{Buffer, Gpu, Traffic},
    kernels::losses::sum_losses,
};
use crate::Error;

/// Steps whose row losses wait to be added up, at most.
const RING: usize = 256;
/// Words of the ring, at most, unless one step needs more.
const RING_WORDS: usize = 4 << 20;
/// Steps whose losses wait on the device.
const WAITING: usize = 1 << 14;

/// Losses on a device.
#[derive(Default)]
pub struct Losses {
    there: Option<There>,
    /// Losses that had to leave the device before they were asked for.
    early: Vec<f32>,
}

struct There {
    gpu: Gpu,
    /// Row losses of the last steps, `[ring, stride]`.
    rows: Buffer,
    ring: usize,
    stride: usize,
    /// Rows of each of these steps.
    counts: Vec<u32>,
    counts_there: Buffer,
    /// Losses of steps, `[WAITING]`, of which `summed` are there.
    sums: Buffer,
    summed: usize,
}

impl Losses {
    /// Where a step of `rows` rows leaves their losses: a buffer and the first word in it.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has no room, [`Error::Execution`] where it fails.
    pub fn slot(&mut self, gpu: &Gpu, rows: usize, traffic: &mut Traffic) -> Result<(Buffer, u32), Error> {
        if let Some(mut there) = self.there.take_if(|there| there.stride < rows) {
            // A larger batch than ever: what waits goes to the host first.
            there.take(&mut self.early, traffic)?;
        }
        let there = match &mut self.there {
            Some(there) => there,
            none => none.insert(There::new(gpu, rows)?),
        };
        if there.counts.len() == there.ring {
            there.sum(traffic)?;
            if there.summed + there.ring > WAITING {
                there.take(&mut self.early, traffic)?;
            }
        }
        there.counts.push(rows as u32);
        Ok((there.rows.clone(), ((there.counts.len() - 1) * there.stride) as u32))
    }

    /// The losses since the last call, in order; waits for the device.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn take(&mut self, traffic: &mut Traffic) -> Result<Vec<f32>, Error> {
        let mut taken = std::mem::take(&mut self.early);
        if let Some(there) = &mut self.there {
            there.take(&mut taken, traffic)?;
        }
        Ok(taken)
    }
}

impl There {
    fn new(gpu: &Gpu, stride: usize) -> Result<Self, Error> {
        let ring = (RING_WORDS / stride).clamp(1, RING);
        Ok(Self {
            gpu: gpu.clone(),
            rows: gpu.room(ring * stride)?,
            ring,
            stride,
            counts: Vec::with_capacity(ring),
            counts_there: gpu.room(ring)?,
            sums: gpu.room(WAITING)?,
            summed: 0,
        })
    }

    /// Adds up the steps that wait.
    fn sum(&mut self, traffic: &mut Traffic) -> Result<(), Error> {
        let steps = self.counts.len();
        if steps == 0 {
            return Ok(());
        }
        self.gpu.write(&self.counts_there, 0, std::mem::take(&mut self.counts), traffic)?;
        let (cubes, dim) = self.gpu.flat(steps);
        traffic.launches += 1;
        // SAFETY: `steps` is at most the ring, counts at most the stride, and `summed + steps` at most WAITING.
        unsafe {
            sum_losses::launch_unchecked(
                &self.gpu.client,
                cubes,
                dim,
                self.rows.arg(1),
                self.counts_there.arg(1),
                self.sums.arg(1),
                self.summed as u32,
                steps as u32,
                self.stride as u32,
            );
        }
        self.summed += steps;
        Ok(())
    }

    /// Adds up what waits, and moves it to `losses`.
    fn take(&mut self, losses: &mut Vec<f32>, traffic: &mut Traffic) -> Result<(), Error> {
        self.sum(traffic)?;
        let first = losses.len();
        losses.resize(first + self.summed, 0.0);
        self.gpu.read(&self.sums, 0, &mut losses[first..])?;
        self.summed = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, testing};
    use super::*;

    /// Batches of several sizes, more of them than the ring holds.
    #[test]
    fn cube_losses_come_back_in_order() {
        let Some(device) = testing::device() else { return };
        let gpu = Gpu::new(&device, Limits::default()).unwrap();
        let (mut losses, mut traffic) = (Losses::default(), Traffic::default());
        let steps = RING + 30;
        for step in 0..steps {
            let rows = if step < RING + 10 { 3 - step % 2 } else { 5 };
            let (buffer, first) = losses.slot(&gpu, rows, &mut traffic).unwrap();
            gpu.write(&buffer, first as usize, vec![step as f32; rows], &mut traffic).unwrap();
        }
        let expected = |step: usize| step as f32 * if step < RING + 10 { 3 - step % 2 } else { 5 } as f32;
        assert!(losses.take(&mut traffic).unwrap().into_iter().eq((0..steps).map(expected)));
        assert!(losses.take(&mut traffic).unwrap().is_empty());
        assert_eq!(traffic.launches, 3, "a full ring, a larger batch, and what was left");
    }
}
