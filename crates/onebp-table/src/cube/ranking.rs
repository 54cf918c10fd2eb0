//! The k best unseen items of each user, found on the device.
//!
//! For a block of users and one block of items after the other: both are read as they are after the last step
//! (transposed, so that units read neighbours), a tiled product makes their scores, and every user's best are carried
//! along; only ids come back. Memory is bounded by the blocks, whatever M and N are.
//!
//! The product is a kernel of our own and not Burn's: Burn chooses an algorithm by shape, and a score that depended on the
//! size of its block would make rankings depend on it too. Here each score is one chain of multiply-adds in the order of
//! the columns.
//!
//! Order: score descending, then id ascending; -0.0 and +0.0 are equal.

use super::{
    CubeTable,
    gpu::{Buffer, Gpu, Traffic, VECTOR, failed},
    kernels::ranking::{SelectHead, merge, product, select},
    parts::Target,
    plan::Plan,
};
use crate::Error;
use cubecl::prelude::{CubeCount, CubeDim};
use std::ops::Range;

/// Units along each side of a cube, and rows of the blocks that are in workgroup memory at a time.
pub const SIDE: usize = 16;
/// Vectors along each side of a tile of scores.
pub const TILE: usize = 2 * SIDE;
/// Users scored together.
const USERS: usize = 2048;
/// Items scored together.
const ITEMS: usize = 4096;
/// Parts of a block of items, each with a list of its own: more units than users alone would be.
const PARTS: usize = 8;
/// Bytes of the lists of all parts.
const LISTS: usize = 32 << 20;
/// No item.
pub const NONE: u32 = u32::MAX;

/// Items that users must not be recommended, as compressed sparse rows: those of user u are
/// `items[offsets[u]..offsets[u + 1]]`, ascending.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where each user's items begin, `[M + 1]`.
    pub offsets: &'a [usize],
    /// All items.
    pub items: &'a [u32],
}

impl Seen<'_> {
    fn of(&self, user: u32) -> Result<&[u32], Error> {
        let ends = self.offsets.get(user as usize).zip(self.offsets.get(user as usize + 1));
        let row = ends.and_then(|(&start, &end)| self.items.get(start..end));
        row.ok_or_else(|| failed(format!("no seen items are known of user {user}")))
    }
}

/// The best items of several users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Best {
    /// Item ids, best first, `[users, k]`; `u32::MAX` beyond a user's candidates.
    pub items: Vec<u32>,
    /// User and item of a score that is not finite, where there is one; then `items` are worth nothing.
    pub stray: Option<(u32, u32)>,
}

/// Blocks of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocks {
    users: usize,
    items: usize,
    parts: usize,
    depth: usize,
    k: usize,
}

/// Ranks items on a device; its memory is used again from call to call.
#[derive(Default)]
pub struct CubeRanking {
    /// Users and items scored together, for tests; rounded up to whole tiles.
    most: Option<(usize, usize)>,
    room: Option<Room>,
    /// Seen items of a block of users.
    seen: Plan,
    /// Rows of a block.
    rows: Plan,
    traffic: Traffic,
}

/// Memory for blocks.
struct Room {
    blocks: Blocks,
    /// `[depth, users]`
    users: Buffer,
    /// `[depth, items]`
    items: Buffer,
    /// `[items, users]`
    scores: Buffer,
    /// `[parts, k, users]`
    list_scores: Buffer,
    list_items: Buffer,
    /// `[parts, users]`
    strays: Buffer,
    /// `[users, k]`, then `[users]`
    best: Buffer,
}

impl Blocks {
    fn new(gpu: &Gpu, (m, n, dim, k): (usize, usize, usize, usize), most: Option<(usize, usize)>) -> Self {
        let unit = TILE * VECTOR;
        let depth = dim.next_multiple_of(SIDE).max(SIDE);
        let limit = gpu.limit() / size_of::<f32>();
        let whole = |count: usize| count.max(1).next_multiple_of(unit);
        let (users, items) = most.unwrap_or((USERS, ITEMS));
        // Neither block may be larger than a buffer, nor longer lists than there is room for.
        let fits = |count: usize| (count / unit * unit).max(unit);
        let users = whole(m).min(whole(users)).min(fits(limit / depth)).min(fits(LISTS / 4 / k));
        let items = whole(n).min(whole(items)).min(fits(limit / depth)).min(fits(limit / users));
        let parts = (LISTS / 4 / (k * users)).clamp(1, PARTS).min(items / unit);
        Self { users, items, parts, depth, k }
    }
}

impl Room {
    fn new(gpu: &Gpu, blocks: Blocks, traffic: &mut Traffic) -> Result<Self, Error> {
        let Blocks { users, items, parts, depth, k } = blocks;
        Ok(Self {
            blocks,
            // Zero beyond d, for good.
            users: gpu.zeros(depth * users, traffic)?,
            items: gpu.zeros(depth * items, traffic)?,
            scores: gpu.room(items * users)?,
            list_scores: gpu.room(parts * k * users)?,
            list_items: gpu.room(parts * k * users)?,
            strays: gpu.room(parts * users)?,
            best: gpu.room(users * (k + 1))?,
        })
    }
}

impl CubeRanking {
    /// Scores at most this many users and items together.
    pub fn with_blocks(users: usize, items: usize) -> Self {
        Self { most: Some((users, items)), ..Self::default() }
    }

    /// What the device was asked for since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// The `k` items outside `seen` with the highest products with each of the users `asked`, as both tables are after
    /// the last step.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is too small, [`Error::Execution`] where it fails or a user is not known.
    pub fn rank(
        &mut self,
        users: &CubeTable,
        items: &CubeTable,
        asked: &[u32],
        seen: Seen<'_>,
        k: usize,
    ) -> Result<Best, Error> {
        let width = k.min(items.rows());
        let mut found = Best { items: vec![NONE; asked.len() * k], stray: None };
        if width == 0 || asked.is_empty() {
            return Ok(found);
        }
        if users.dim() != items.dim() || !users.gpu.is(&items.gpu) {
            return Err(failed("users and items differ in width or device"));
        }
        let gpu = &items.gpu;
        let blocks = Blocks::new(gpu, (asked.len(), items.rows(), items.dim(), width), self.most);
        let room = match self.room.take() {
            Some(room) if room.blocks == blocks => room,
            _ => Room::new(gpu, blocks, &mut self.traffic)?,
        };
        for (block, slots) in asked.chunks(blocks.users).zip(found.items.chunks_mut(blocks.users * k)) {
            let best = self.rank_block(users, items, block, seen, &room)?;
            let (lists, strays) = best.split_at(block.len() * width);
            for (slot, list) in slots.chunks_mut(k).zip(lists.chunks(width)) {
                slot[..width].copy_from_slice(list);
            }
            let stray = block.iter().zip(strays).find(|&(_, &item)| item != NONE);
            if let Some((&user, &item)) = stray {
                found.stray = Some((user, item));
                break;
            }
        }
        self.room = Some(room);
        Ok(found)
    }

    /// The best items of a block of users, `[users, k]`, then their first stray items, `[users]`.
    fn rank_block(
        &mut self,
        users: &CubeTable,
        items: &CubeTable,
        asked: &[u32],
        seen: Seen<'_>,
        room: &Room,
    ) -> Result<Vec<u32>, Error> {
        let gpu = &items.gpu;
        let Blocks { users: stride, items: width, parts, depth, k } = room.blocks;
        self.read(users, asked.iter().copied(), &room.users, stride)?;

        let mut offsets = vec![0];
        let mut all = Vec::new();
        for &user in asked {
            let row = seen.of(user)?;
            if !row.is_sorted() {
                return Err(failed(format!("the seen items of user {user} are not in ascending order")));
            }
            all.extend_from_slice(row);
            offsets.push(all.len() as u32);
        }
        self.seen.begin();
        let (offsets, all) = (self.seen.words(&offsets), self.seen.words(&all));
        let head = self.seen.head(SelectHead { users: asked.len() as u32, offsets, seen: all }.words());
        let sent = self.seen.send(gpu, &mut self.traffic)?;
        let vector = gpu.vector([]);
        let tile = TILE * vector;

        for first in (0..items.rows()).step_by(width) {
            let range: Range<usize> = first..items.rows().min(first + width);
            let ids = range.clone().map(|item| item as u32);
            self.read(items, ids, &room.items, width)?;
            let vectors = |count: usize| (count / vector) as u32;
            let tiles = |count: usize| count.div_ceil(tile) as u32;
            let units = CubeDim::new_2d(SIDE as u32, SIDE as u32);
            // SAFETY: blocks are whole tiles, `depth` is a multiple of SIDE, and the scores have room for all of them.
            unsafe {
                product::launch_unchecked(
                    &gpu.client,
                    CubeCount::Static(tiles(asked.len()), tiles(range.len()), 1),
                    units,
                    vector,
                    room.users.arg(vector),
                    room.items.arg(vector),
                    room.scores.arg(vector),
                    vectors(stride),
                    vectors(width),
                    depth as u32,
                );
            }
            let (cubes, units) = gpu.flat(stride * parts);
            // SAFETY: a unit stays within its user's column of the scores and its own list; seen items come from the plan.
            unsafe {
                select::launch_unchecked(
                    &gpu.client,
                    cubes,
                    units,
                    sent.arg(1),
                    room.scores.arg(1),
                    room.list_scores.arg(1),
                    room.list_items.arg(1),
                    room.strays.arg(1),
                    head,
                    stride as u32,
                    range.start as u32,
                    range.end as u32,
                    width.div_ceil(parts) as u32,
                    k as u32,
                    parts as u32,
                    u32::from(first == 0),
                );
            }
            self.traffic.launches += 2;
        }
        let (cubes, units) = gpu.flat(asked.len());
        // SAFETY: one unit for each user, whose lists and slots are its own.
        unsafe {
            merge::launch_unchecked(
                &gpu.client,
                cubes,
                units,
                room.list_scores.arg(1),
                room.list_items.arg(1),
                room.strays.arg(1),
                room.best.arg(1),
                stride as u32,
                asked.len() as u32,
                k as u32,
                parts,
            );
        }
        self.traffic.launches += 1;
        let mut best = vec![0u32; asked.len() * (k + 1)];
        gpu.read(&room.best, 0, &mut best)?;
        Ok(best)
    }

    /// Reads rows of `table` as they are after the last step into the columns of `out` `[d, stride]`.
    fn read(
        &mut self,
        table: &CubeTable,
        rows: impl Iterator<Item = u32>,
        out: &Buffer,
        stride: usize,
    ) -> Result<(), Error> {
        let ids: Vec<u32> = rows.collect();
        self.rows.begin();
        let (head, caught_up) = table.plan_reading(&ids, &mut self.rows)?;
        let sent = self.rows.send(&table.gpu, &mut self.traffic)?;
        let target = Target { buffer: out, row_step: 1, column_step: stride };
        table.launch_reading((&sent, head, ids.len()), caught_up, &target, &mut self.traffic);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Numbers};
    use super::*;
    use crate::{Embedding, Optimizer, Rule, Table};
    use burn::tensor::Device;

    /// Small whole numbers: products are exact and often tie.
    fn whole(numbers: &mut Numbers, rows: usize, dim: usize) -> Table {
        let mut table = numbers.table(rows, dim);
        table.values.iter_mut().for_each(|x| *x = (*x * 2.5).trunc());
        table
    }

    fn seen(numbers: &mut Numbers, users: usize, items: usize, most: usize) -> (Vec<usize>, Vec<u32>) {
        let (mut offsets, mut all) = (vec![0], Vec::new());
        for _ in 0..users {
            let mut row: Vec<u32> = (0..numbers.below(most + 1)).map(|_| numbers.below(items)).collect();
            row.sort_unstable();
            row.dedup();
            all.extend(row);
            offsets.push(all.len());
        }
        (offsets, all)
    }

    fn expected(users: &Table, items: &Table, asked: &[u32], seen: Seen<'_>, k: usize) -> Vec<u32> {
        let mut lists = Vec::new();
        for &user in asked {
            let score = |item: u32| -> f32 {
                users.row(user as usize).iter().zip(items.row(item as usize)).map(|(a, b)| a * b).sum()
            };
            let mut order: Vec<u32> =
                (0..items.rows as u32).filter(|item| !seen.of(user).unwrap().contains(item)).collect();
            order.sort_by(|&a, &b| score(b).partial_cmp(&score(a)).unwrap().then(a.cmp(&b)));
            order.resize(order.len().max(k), NONE);
            lists.extend(&order[..k]);
        }
        lists
    }

    fn on(device: &Device, table: &Table) -> CubeTable {
        CubeTable::new(table, None, device).unwrap()
    }

    #[test]
    fn cube_ranking_equals_a_full_sort() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(11);
        for (m, n, dim, k, most) in [(150, 300, 5, 20, 30), (70, 40, 17, 50, 60), (3, 1, 4, 2, 1), (65, 200, 16, 1, 0)]
        {
            let (users, items) = (whole(&mut numbers, m, dim), whole(&mut numbers, n, dim));
            let (offsets, all) = seen(&mut numbers, m, n, most);
            let seen = Seen { offsets: &offsets, items: &all };
            let asked: Vec<u32> = (0..m as u32).rev().chain([0, 0]).collect();
            let expected = expected(&users, &items, &asked, seen, k);
            let (on_users, on_items) = (on(&device, &users), on(&device, &items));
            for mut ranking in
                [CubeRanking::default(), CubeRanking::with_blocks(64, 64), CubeRanking::with_blocks(64, 200)]
            {
                let best = ranking.rank(&on_users, &on_items, &asked, seen, k).unwrap();
                assert_eq!(best.stray, None);
                for ((user, found), expected) in asked.iter().zip(best.items.chunks(k)).zip(expected.chunks(k)) {
                    assert_eq!(found, expected, "user {user} of {m}, {n} items, d {dim}");
                }
            }
        }
    }

    /// Zeros of both signs tie, and rows are ranked as they are after the last step.
    #[test]
    fn cube_ranking_sees_zeros_and_late_rows() {
        let Some(device) = testing::device() else { return };
        let users = Table { values: vec![0.0, 1.0], rows: 2, dim: 1 };
        let items = Table { values: vec![1.0, -1.0, 2.0, -0.0], rows: 4, dim: 1 };
        let seen = Seen { offsets: &[0, 0, 0], items: &[] };
        let best = CubeRanking::default().rank(&on(&device, &users), &on(&device, &items), &[0, 1], seen, 4).unwrap();
        assert_eq!(best.items, [0, 1, 2, 3, 2, 0, 3, 1]);

        let mut numbers = Numbers(5);
        let optimizer = Optimizer { rule: Rule::Adam, learning_rate: 0.5, weight_decay: 0.1 };
        let table = numbers.table(30, 8);
        let mut moved = CubeTable::new(&table, Some(&optimizer), &device).unwrap();
        let mut touched = crate::Touched::default();
        for rows in [[1u32, 2, 3], [4, 5, 6], [1, 7, 8]] {
            crate::Grouping::new(30).group(&rows, &mut touched);
            let rows = moved.gather(&touched, &rows).unwrap();
            moved.update(&touched, rows).unwrap();
        }
        let (view, ids) = (moved.view().unwrap(), Vec::from_iter(0..30));
        let seen = Seen { offsets: &[0; 31], items: &[] };
        let caught_up = CubeRanking::default().rank(&moved, &moved, &ids, seen, 5).unwrap();
        let viewed = CubeRanking::default().rank(&on(&device, &view), &on(&device, &view), &ids, seen, 5).unwrap();
        assert_eq!(caught_up, viewed);
        assert_eq!(moved.view().unwrap(), view, "nothing is written back");
    }

    #[test]
    fn cube_ranking_refuses_what_cannot_be_ranked() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(4);
        let (users, mut items) = (numbers.table(3, 4), numbers.table(200, 4));
        items.values[4 * 150] = f32::NAN;
        items.values[4 * 70] = f32::INFINITY;
        let seen = Seen { offsets: &[0; 4], items: &[] };
        let (users, items) = (on(&device, &users), on(&device, &items));
        let mut ranking = CubeRanking::with_blocks(64, 64);
        assert_eq!(ranking.rank(&users, &items, &[2, 0], seen, 3).unwrap().stray, Some((2, 70)));
        assert!(ranking.rank(&users, &items, &[3], seen, 3).is_err());
        assert!(ranking.rank(&users, &items, &[], seen, 3).unwrap().items.is_empty());
        assert!(ranking.rank(&users, &items, &[1], seen, 0).unwrap().items.is_empty());
    }

    /// Time of a ranking of everybody at the size of ML-1M. Run with `--ignored --nocapture`.
    #[test]
    #[ignore = "seconds on a software device"]
    fn cube_ranking_at_full_size() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(8);
        let (m, n, dim, k) = (6040, 3706, 128, 20);
        let (users, items) = (numbers.table(m, dim), numbers.table(n, dim));
        let (offsets, all) = seen(&mut numbers, m, n, 300);
        let seen = Seen { offsets: &offsets, items: &all };
        let asked: Vec<u32> = (0..m as u32).collect();
        let (on_users, on_items) = (on(&device, &users), on(&device, &items));
        let mut ranking = CubeRanking::default();
        for _ in 0..3 {
            let start = std::time::Instant::now();
            let best = ranking.rank(&on_users, &on_items, &asked, seen, k).unwrap();
            println!("{:?} for {m} users, {n} items, d {dim}: {:?}", start.elapsed(), ranking.take_traffic());
            assert_eq!(best.stray, None);
        }
    }
}
