//! Gradients of rows that something else made of tables, such as a graph encoder: dense, where the optimizer of the fused step
//! would move rows.
//!
//! The two passes of the fused step, by user and by item, over one matrix that holds users and below them items, into a
//! second one of its shape, zero but for the rows of the batch.

use super::{
    crew::{Crew, RowWork},
    lent::{Lent, Spares, Strided, pack},
    scores::{Chosen, OfItems, Outlet, Scores},
    shared::Rows,
    simd::{Add, apply},
    sum::{Gradients, sum},
};
use crate::{Batch, Error, RowLoss, Score, total::total};
use burn::tensor::{Device, Tensor};
use pulp::Simd;
use rayon::prelude::*;
use std::ops::Range;

/// Gradients of a loss in closed form.
pub struct HostGradients {
    temperature: f64,
    /// InfoNCE where there is none.
    loss: Option<Box<dyn RowLoss>>,
    /// Users M; the rows below are items.
    users: usize,
    /// Whether gradients of users and of items are wanted.
    wanted: [bool; 2],
    factors: Vec<f32>,
    chosen: Vec<u32>,
    row_losses: Vec<f32>,
    row_counted: Vec<f32>,
    losses: Vec<f32>,
    counted: Vec<f32>,
    spares: Spares,
    crew: Crew,
    device: Device,
}

/// Writes gradients of users.
struct Writes<'a> {
    batch: &'a Batch,
    gradients: Option<&'a Rows<'a>>,
}

impl Outlet for Writes<'_> {
    #[inline(always)]
    fn wants_users(&self) -> bool {
        self.gradients.is_some()
    }

    #[inline(always)]
    unsafe fn user<S: Simd>(&self, _: S, q: usize, _: &[f32], g: &mut [f32]) {
        if let Some(gradients) = self.gradients {
            let user = self.batch.touched_users.rows[q] as usize;
            // SAFETY: users are distinct.
            unsafe { gradients.row(user) }.copy_from_slice(&g[..]);
        }
    }
}

/// Writes gradients of items.
struct Items<'a> {
    batch: &'a Batch,
    users: usize,
    rows: &'a Rows<'a>,
    of_items: OfItems<'a>,
    gradients: &'a Rows<'a>,
}

impl RowWork for Items<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, range: Range<usize>, _: &mut [f32]) {
        let touched = &self.batch.touched_items;
        for q in range {
            let (node, places) = (self.users + touched.rows[q] as usize, touched.places(q));
            // SAFETY: items are distinct, and no user.
            let g = unsafe { self.gradients.row(node) };
            sum(simd, places, &self.of_items, g);
            let own = self.of_items.own(places);
            if own != 0.0 {
                // SAFETY: nobody writes these rows.
                apply(simd, &Add(own), [g], [unsafe { self.rows.read(node) }]);
            }
        }
    }
}

impl HostGradients {
    /// For scores divided by `temperature`, with InfoNCE where no other loss is given, and for `users` users.
    pub fn new(
        loss: Option<Box<dyn RowLoss>>,
        temperature: f64,
        users: usize,
        wanted: [bool; 2],
        device: &Device,
    ) -> Self {
        Self {
            temperature,
            loss,
            users,
            wanted,
            factors: Vec::new(),
            chosen: Vec::new(),
            row_losses: Vec::new(),
            row_counted: Vec::new(),
            losses: Vec::new(),
            counted: Vec::new(),
            spares: Spares::default(),
            crew: Crew::all(),
            device: device.clone(),
        }
    }

    /// The gradient of the batch's loss by the rows `[M + N, d]`, of their shape.
    ///
    /// # Errors
    /// [`Error::Execution`] where `rows` are not on the device.
    pub fn of(&mut self, rows: &Tensor<2>, batch: &Batch) -> Result<Tensor<2>, Error> {
        let [nodes, dim] = rows.dims();
        let lent = Lent::new(rows, &self.device)?;
        let mut packed = (Vec::new(), 0);
        let strided = lent.rows();
        let Strided { values, .. } = if strided.stride == dim { strided } else { pack(strided, 0, dim, &mut packed) };
        let (of_users, of_items) = values.split_at(self.users * dim);
        let mut memory = self.spares.take([nodes, dim], &self.device)?;
        memory.as_mut_slice().par_chunks_mut(1 << 16).for_each(|part| part.fill(0.0));
        let width = batch.width();
        self.factors.resize(batch.items.len(), 0.0);
        self.chosen.resize(batch.items.len(), 0);
        self.row_losses.resize(batch.len(), 0.0);
        self.row_counted.resize(batch.len(), 0.0);
        let score = self.loss.as_ref().map_or(Score::Product, |loss| loss.score());
        // SAFETY: only ever read.
        let [users, items, all] = [of_users, of_items, values].map(|rows| unsafe { Rows::read_only(rows, dim) });
        let gradients = Rows::new(memory.as_mut_slice(), dim);
        let scores = Scores {
            batch,
            sharpness: (1.0 / self.temperature) as f32,
            share: batch.share(),
            users: &users,
            items: &items,
            dim,
            vectors: 1,
            score,
            far: false,
            loss: self.loss.as_deref(),
            spread: None,
            factors: Rows::new(&mut self.factors, width),
            chosen: Rows::new(&mut self.chosen, width),
            losses: Rows::new(&mut self.row_losses, 1),
            counted: Rows::new(&mut self.row_counted, 1),
            outlet: Writes { batch, gradients: Some(&gradients).filter(|_| self.wanted[0]) },
        };
        self.crew.for_rows(batch.touched_users.len(), dim, width, &scores);
        self.losses.push(total(&self.row_losses));
        if self.loss.is_some() {
            self.counted.push(total(&self.row_counted));
        }
        if self.wanted[1] {
            let chosen = Chosen::Best(&self.chosen);
            let of_items = OfItems { factors: &self.factors, chosen, users: of_users, score, dim };
            let work = Items { batch, users: self.users, rows: &all, of_items, gradients: &gradients };
            self.crew.for_rows(batch.touched_items.len(), dim, 1, &work);
        }
        Ok(self.spares.lend([nodes, dim], memory))
    }

    /// Losses of the calls since this was last asked, in order, and shares of the rows that the loss counts.
    pub fn take_losses(&mut self) -> (Vec<f32>, Vec<f32>) {
        (std::mem::take(&mut self.losses), std::mem::take(&mut self.counted))
    }
}
