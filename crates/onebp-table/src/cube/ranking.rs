//! The k best unseen items of each user, found on the device, and what truth items lose to others.
//!
//! For a block of users and one block of items after the other: both are read as they are after the last step
//! (transposed, so that units read neighbours), a tiled product makes their scores, and every user's best are carried
//! along; only ids come back. Memory is bounded by the blocks, whatever M and N are.
//!
//! Losses take a second pass: the first one picks up the scores of the truth items, the second one compares all candidates
//! with them, an exact count for each pair of a user and a truth item. Scores that are not there any more are computed
//! again, by the same kernel from the same rows, so that they have the same bits.
//!
//! The product is a kernel of our own and not Burn's: Burn chooses an algorithm by shape, and a score that depended on the
//! size of its block would make rankings depend on it too. Here each score is one chain of multiply-adds in the order of
//! the columns.
//!
//! Order: score descending, then id ascending; -0.0 and +0.0 are equal.

use super::{
    CubeTable,
    gpu::{Buffer, Gpu, Scratch, Traffic, VECTOR, failed},
    kernels::ranking::{RankHead, count, merge, pick, product, select},
    parts::Target,
    plan::Plan,
};
use crate::{Error, Ranked, Ranking};
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
/// Longest lists. A unit finds the place of an item in its list step by step, for at most ITEMS / PARTS items in a launch,
/// and Mesa's software Vulkan ends the loops of a unit, without a word, after 65,535 steps in all.
const LONGEST: usize = 100;
/// Words that the seen items and the truth items of a block of users may take; those of one user may exceed it.
const WORDS: usize = 8 << 20;
/// No item.
pub const NONE: u32 = Ranked::NONE;

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
    /// Seen items and truth items of a block of users.
    lists: Plan,
    /// Rows of a block.
    rows: Plan,
    truth: Scratch,
    lost: Scratch,
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

/// Users that are ranked together, and their items.
#[derive(Default)]
struct Block<'a> {
    users: &'a [u32],
    /// Where each user's seen items begin, `[users + 1]`.
    offsets: Vec<u32>,
    seen: Vec<u32>,
    /// Where each user's pairs with truth items begin, `[users + 1]`.
    starts: Vec<usize>,
    /// The places in the block of the users of pairs.
    pair_users: Vec<u32>,
    pair_items: Vec<u32>,
}

/// A block on the device.
struct Sent {
    plan: Buffer,
    head: u32,
    users: usize,
    pairs: usize,
    /// Scores of truth items, `[pairs]`.
    truth: Buffer,
    /// Their losses, `[parts, pairs]`.
    lost: Buffer,
}

impl<'a> Block<'a> {
    /// The first users of `ranking.users[from..]`, at most `users` and no more than there are [`WORDS`] for.
    fn new(ranking: &Ranking<'a>, from: usize, users: usize, items: usize) -> Result<Self, Error> {
        let asked = &ranking.users[from..];
        let mut block = Self { offsets: vec![0], starts: vec![0], ..Self::default() };
        for (place, &user) in asked.iter().take(users).enumerate() {
            let seen = ranking.seen.of(user, items)?;
            let truth = ranking.truth.map_or(Ok(&[][..]), |truth| truth.of(user, items))?;
            let words = block.seen.len() + seen.len() + PARTS * (block.pair_items.len() + truth.len());
            if place > 0 && words > WORDS {
                break;
            }
            block.seen.extend_from_slice(seen);
            block.pair_items.extend_from_slice(truth);
            block.pair_users.resize(block.pair_items.len(), place as u32);
            block.offsets.push(block.seen.len() as u32);
            block.starts.push(block.pair_items.len());
            block.users = &asked[..=place];
        }
        Ok(block)
    }
}

impl Blocks {
    /// The blocks of a catalogue of `rows` items.
    fn ranges(self, rows: usize) -> impl Iterator<Item = Range<usize>> {
        (0..rows).step_by(self.items).map(move |first| first..rows.min(first + self.items))
    }

    fn new(gpu: &Gpu, (m, n, dim, k): (usize, usize, usize, usize), most: Option<(usize, usize)>) -> Self {
        let unit = TILE * VECTOR;
        let depth = dim.next_multiple_of(SIDE).max(SIDE);
        let limit = gpu.limit() / size_of::<f32>();
        let whole = |count: usize| count.max(1).next_multiple_of(unit);
        let (users, items) = most.unwrap_or((USERS, ITEMS));
        // No block may be larger than a buffer.
        let fits = |count: usize| (count / unit * unit).max(unit);
        let users = whole(m).min(whole(users)).min(fits(limit / depth));
        let items = whole(n).min(whole(items)).min(fits(limit / depth)).min(fits(limit / users));
        Self { users, items, parts: PARTS.min(items / unit), depth, k }
    }

    /// The items of each part of a block.
    fn part(&self) -> usize {
        self.items.div_ceil(self.parts)
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

    /// Ranks by the products of the rows of `users` and `items`, as both are after the last step. Nothing where lists are
    /// too long for this, or a score is not finite.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is too small, [`Error::Execution`] where it fails or a user is not known.
    pub fn rank(
        &mut self,
        users: &CubeTable,
        items: &CubeTable,
        ranking: &Ranking<'_>,
    ) -> Result<Option<Ranked>, Error> {
        let (asked, k) = (ranking.users, ranking.k);
        let width = k.min(items.rows());
        if k == 0 || width > LONGEST {
            return Ok(None);
        }
        let lost = vec![0; ranking.truth.map_or(0, |_| asked.len())];
        let mut found = Ranked { items: vec![NONE; asked.len() * k], lost };
        if asked.is_empty() || width == 0 {
            return Ok(Some(found));
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
        let mut finite = true;
        let mut from = 0;
        while finite && from < asked.len() {
            let block = Block::new(ranking, from, blocks.users, items.rows())?;
            let sent = self.send(gpu, &block, blocks.parts)?;
            let best = self.best(users, items, &block, &sent, &room)?;
            let (lists, strays) = best.split_at(sent.users * width);
            for (slot, list) in found.items[from * k..].chunks_mut(k).zip(lists.chunks(width)) {
                slot[..width].copy_from_slice(list);
            }
            let lost = self.losses(items, &sent, &room)?;
            for (slot, ends) in found.lost.iter_mut().skip(from).zip(block.starts.windows(2)) {
                let of_user = lost.chunks(sent.pairs.max(1)).flat_map(|part| &part[ends[0]..ends[1]]);
                *slot = of_user.map(|&lost| u64::from(lost)).sum();
            }
            finite = strays.iter().all(|&stray| stray == 0);
            from += sent.users;
        }
        self.room = Some(room);
        Ok(finite.then_some(found))
    }

    /// Puts what the kernels need to know of a block on the device.
    fn send(&mut self, gpu: &Gpu, block: &Block<'_>, parts: usize) -> Result<Sent, Error> {
        self.lists.begin();
        let (users, pairs) = (block.users.len(), block.pair_items.len());
        let head = RankHead {
            users: users as u32,
            offsets: self.lists.words(&block.offsets),
            seen: self.lists.words(&block.seen),
            pairs: pairs as u32,
            pair_users: self.lists.words(&block.pair_users),
            pair_items: self.lists.words(&block.pair_items),
        };
        let head = self.lists.head(head.words());
        let (truth, lost) = (self.truth.room(gpu, pairs)?, self.lost.room(gpu, parts * pairs)?);
        Ok(Sent { plan: self.lists.send(gpu, &mut self.traffic)?, head, users, pairs, truth, lost })
    }

    /// The best items of a block of users, `[users, k]`, then whether they have scores that are not finite, `[users]`. Picks
    /// up the scores of truth items.
    fn best(
        &mut self,
        users: &CubeTable,
        items: &CubeTable,
        block: &Block<'_>,
        sent: &Sent,
        room: &Room,
    ) -> Result<Vec<u32>, Error> {
        let gpu = &items.gpu;
        let Blocks { users: stride, parts, k, .. } = room.blocks;
        self.read(users, block.users.iter().copied(), &room.users, stride)?;
        for range in room.blocks.ranges(items.rows()) {
            self.score(items, range.clone(), sent, room)?;
            let (cubes, units) = gpu.flat(stride * parts);
            // SAFETY: a unit stays within its user's column of the scores and its own list; seen items come from the plan.
            unsafe {
                select::launch_unchecked(
                    &gpu.client,
                    cubes,
                    units,
                    sent.plan.arg(1),
                    room.scores.arg(1),
                    room.list_scores.arg(1),
                    room.list_items.arg(1),
                    room.strays.arg(1),
                    sent.head,
                    stride as u32,
                    range.start as u32,
                    range.end as u32,
                    room.blocks.part() as u32,
                    k as u32,
                    parts as u32,
                    u32::from(range.start == 0),
                );
            }
            self.traffic.launches += 1;
            if sent.pairs > 0 {
                let (cubes, units) = gpu.flat(sent.pairs);
                // SAFETY: one unit for each pair, whose user is in the block and whose item, where it is in the range, has a
                // score.
                unsafe {
                    pick::launch_unchecked(
                        &gpu.client,
                        cubes,
                        units,
                        sent.plan.arg(1),
                        room.scores.arg(1),
                        sent.truth.arg(1),
                        sent.head,
                        stride as u32,
                        range.start as u32,
                        range.end as u32,
                    );
                }
                self.traffic.launches += 1;
            }
        }
        let (cubes, units) = gpu.flat(sent.users);
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
                sent.users as u32,
                k as u32,
                parts,
            );
        }
        self.traffic.launches += 1;
        let mut best = vec![0u32; sent.users * (k + 1)];
        gpu.read(&room.best, 0, &mut best)?;
        Ok(best)
    }

    /// The losses of the pairs of a block, `[parts, pairs]`, after [`CubeRanking::best`] of the same block.
    fn losses(&mut self, items: &CubeTable, sent: &Sent, room: &Room) -> Result<Vec<u32>, Error> {
        if sent.pairs == 0 {
            return Ok(Vec::new());
        }
        let gpu = &items.gpu;
        let Blocks { users: stride, items: width, parts, .. } = room.blocks;
        for range in room.blocks.ranges(items.rows()) {
            // The scores of a single block are still there.
            if items.rows() > width {
                self.score(items, range.clone(), sent, room)?;
            }
            let (cubes, units) = gpu.flat(parts * sent.pairs);
            // SAFETY: one unit for each part and pair, whose user is in the block; seen items of the range have scores.
            unsafe {
                count::launch_unchecked(
                    &gpu.client,
                    cubes,
                    units,
                    sent.plan.arg(1),
                    room.scores.arg(1),
                    sent.truth.arg(1),
                    sent.lost.arg(1),
                    sent.head,
                    stride as u32,
                    range.start as u32,
                    range.end as u32,
                    room.blocks.part() as u32,
                    parts as u32,
                    u32::from(range.start == 0),
                );
            }
            self.traffic.launches += 1;
        }
        let mut counts = vec![0u32; parts * sent.pairs];
        gpu.read(&sent.lost, 0, &mut counts)?;
        Ok(counts)
    }

    /// The scores of a range of items and the users of the block, which have been read.
    fn score(&mut self, items: &CubeTable, range: Range<usize>, sent: &Sent, room: &Room) -> Result<(), Error> {
        let gpu = &items.gpu;
        let Blocks { users: stride, items: width, depth, .. } = room.blocks;
        let count = range.len();
        self.read(items, range.map(|item| item as u32), &room.items, width)?;
        let vector = gpu.vector([]);
        let vectors = |count: usize| (count / vector) as u32;
        let tiles = |count: usize| count.div_ceil(TILE * vector) as u32;
        // SAFETY: blocks are whole tiles, `depth` is a multiple of SIDE, and the scores have room for all of them.
        unsafe {
            product::launch_unchecked(
                &gpu.client,
                CubeCount::Static(tiles(sent.users), tiles(count), 1),
                CubeDim::new_2d(SIDE as u32, SIDE as u32),
                vector,
                room.users.arg(vector),
                room.items.arg(vector),
                room.scores.arg(vector),
                vectors(stride),
                vectors(width),
                depth as u32,
            );
        }
        self.traffic.launches += 1;
        Ok(())
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
        table.launch_reading((&sent, head, ids.len()), caught_up, &target, &mut self.traffic)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Numbers};
    use super::*;
    use crate::{Embedding, Lists, Onto, Optimizer, Projection, Rule, Table};
    use burn::tensor::Device;

    /// Small whole numbers: products are exact and often tie.
    fn whole(numbers: &mut Numbers, rows: usize, dim: usize) -> Table {
        let mut table = numbers.table(rows, dim);
        table.values.iter_mut().for_each(|x| *x = (*x * 2.5).trunc());
        table
    }

    /// Items of users.
    struct Owned {
        offsets: Vec<usize>,
        items: Vec<u32>,
    }

    impl Owned {
        /// Up to `most` of each user, none of those of `others`.
        fn new(numbers: &mut Numbers, users: usize, items: usize, most: usize, others: Option<&Self>) -> Self {
            let mut lists = Self { offsets: vec![0], items: Vec::new() };
            for user in 0..users as u32 {
                let others = others.map_or(&[][..], |others| others.lists().of(user, items).unwrap());
                let mut row: Vec<u32> = (0..numbers.below(most + 1)).map(|_| numbers.below(items)).collect();
                row.sort_unstable();
                row.dedup();
                lists.items.extend(row.into_iter().filter(|item| !others.contains(item)));
                lists.offsets.push(lists.items.len());
            }
            lists
        }

        fn lists(&self) -> Lists<'_> {
            Lists { offsets: &self.offsets, items: &self.items }
        }
    }

    /// By sorting all candidates, and comparing each with every truth item.
    fn expected(users: &Table, items: &Table, ranking: &Ranking<'_>) -> Ranked {
        let mut found = Ranked::default();
        for &user in ranking.users {
            let score = |item: u32| -> f32 {
                users.row(user as usize).iter().zip(items.row(item as usize)).map(|(a, b)| a * b).sum()
            };
            let seen = ranking.seen.of(user, items.rows).unwrap();
            let mut order: Vec<u32> = (0..items.rows as u32).filter(|item| !seen.contains(item)).collect();
            order.sort_by(|&a, &b| score(b).partial_cmp(&score(a)).unwrap().then(a.cmp(&b)));
            if let Some(truth) = ranking.truth {
                let lost = |own: f32| -> usize {
                    order.iter().map(|&item| usize::from(score(item) > own) + usize::from(score(item) >= own)).sum()
                };
                let truth = truth.of(user, items.rows).unwrap();
                found.lost.push(truth.iter().map(|&item| lost(score(item)) as u64).sum());
            }
            order.resize(order.len().max(ranking.k), NONE);
            found.items.extend(&order[..ranking.k]);
        }
        found
    }

    /// Nothing seen by `users` users.
    fn nothing(offsets: &[usize]) -> Lists<'_> {
        Lists { offsets, items: &[] }
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
            let seen = Owned::new(&mut numbers, m, n, most, None);
            let truth = Owned::new(&mut numbers, m, n, most + 1, Some(&seen));
            let asked: Vec<u32> = (0..m as u32).rev().chain([0, 0]).collect();
            let (on_users, on_items) = (on(&device, &users), on(&device, &items));
            for truth in [Some(truth.lists()), None] {
                let asked = Ranking { users: &asked, k, seen: seen.lists(), truth };
                let expected = expected(&users, &items, &asked);
                for mut ranking in
                    [CubeRanking::default(), CubeRanking::with_blocks(64, 64), CubeRanking::with_blocks(64, 200)]
                {
                    let found = ranking.rank(&on_users, &on_items, &asked).unwrap().unwrap();
                    assert!(found == expected, "{m} users, {n} items, d {dim}: {found:?} is not {expected:?}");
                }
            }
        }
    }

    /// Scores that are computed again have the same bits: a truth item neither loses to itself nor wins.
    #[test]
    fn cube_ranking_counts_the_scores_it_ranks() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(3);
        let (m, n, dim) = (70, 700, 33);
        let (users, items) = (numbers.table(m, dim), numbers.table(n, dim));
        let seen = Owned::new(&mut numbers, m, n, 90, None);
        let truth = Owned::new(&mut numbers, m, n, 9, Some(&seen));
        let all: Vec<u32> = (0..m as u32).collect();
        let asked = Ranking { users: &all, k: 50, seen: seen.lists(), truth: Some(truth.lists()) };
        let expected = expected(&users, &items, &asked);
        let (users, items) = (on(&device, &users), on(&device, &items));
        for mut ranking in [CubeRanking::default(), CubeRanking::with_blocks(64, 200)] {
            assert!(ranking.rank(&users, &items, &asked).unwrap().unwrap() == expected);
        }
    }

    /// Every item is better than all before it, so that each goes through the whole list.
    #[test]
    fn cube_ranking_of_ever_better_items() {
        let Some(device) = testing::device() else { return };
        let n = ITEMS + 900;
        let items = Table { values: (0..n).map(|item| item as f32).collect(), rows: n, dim: 1 };
        let (users, items) = (on(&device, &Table::filled(1.0, 3, 1)), on(&device, &items));
        let mut asked = Ranking { users: &[1], k: LONGEST, seen: nothing(&[0; 4]), truth: None };
        let found = CubeRanking::default().rank(&users, &items, &asked).unwrap().unwrap();
        assert!(found.items.into_iter().eq((0..n as u32).rev().take(LONGEST)));
        asked.k += 1;
        assert_eq!(CubeRanking::default().rank(&users, &items, &asked).unwrap(), None);
    }

    /// Users whose lists are long are ranked in smaller blocks.
    #[test]
    fn cube_ranking_bounds_the_lists_of_a_block() {
        let offsets: Vec<usize> = (0..=10).map(|user| user * WORDS / 4).collect();
        let items = vec![0; 10 * WORDS / 4];
        let seen = Lists { offsets: &offsets, items: &items };
        let all: Vec<u32> = (0..10).collect();
        let asked = Ranking { users: &all, k: 1, seen, truth: None };
        let users = |from, most| Block::new(&asked, from, most, 1).unwrap().users.to_vec();
        assert_eq!((users(0, 9), users(7, 9), users(5, 2)), (vec![0, 1, 2, 3], vec![7, 8, 9], vec![5, 6]));
        let truth = Some(Lists { offsets: &offsets, items: &items });
        let block = Block::new(&Ranking { truth, ..asked }, 3, 9, 1).unwrap();
        assert_eq!((block.users, block.starts, block.pair_users.len()), (&all[3..4], vec![0, WORDS / 4], WORDS / 4));
    }

    /// Zeros of both signs tie, and rows are ranked as they are after the last step.
    #[test]
    fn cube_ranking_sees_zeros_and_late_rows() {
        let Some(device) = testing::device() else { return };
        let users = Table { values: vec![0.0, 1.0], rows: 2, dim: 1 };
        let items = Table { values: vec![1.0, -1.0, 2.0, -0.0], rows: 4, dim: 1 };
        let truth = Some(Lists { offsets: &[0, 1, 2], items: &[1, 3] });
        let asked = Ranking { users: &[0, 1], k: 4, seen: nothing(&[0; 3]), truth };
        let found = CubeRanking::default().rank(&on(&device, &users), &on(&device, &items), &asked).unwrap().unwrap();
        assert_eq!((found.items, found.lost), (vec![0, 1, 2, 3, 2, 0, 3, 1], vec![4, 5]));

        let mut numbers = Numbers(5);
        for projection in [None, Some(Projection { onto: Onto::Sphere, vectors: 2 })] {
            let optimizer = Optimizer { rule: Rule::Adam, learning_rate: 0.5, weight_decay: 0.1, projection };
            let table = numbers.table(30, 8);
            let mut moved = CubeTable::new(&table, Some(&optimizer), &device).unwrap();
            let mut touched = crate::Touched::default();
            for rows in [[1u32, 2, 3], [4, 5, 6], [1, 7, 8]] {
                crate::Grouping::new(30).group(&rows, &mut touched);
                let rows = moved.gather(&touched, &rows).unwrap();
                moved.update(&touched, rows).unwrap();
            }
            let (view, ids) = (moved.view().unwrap(), Vec::from_iter(0..30));
            let asked = Ranking { users: &ids, k: 5, seen: nothing(&[0; 31]), truth: None };
            let caught_up = CubeRanking::default().rank(&moved, &moved, &asked).unwrap();
            let mut viewed = on(&device, &view);
            assert_eq!(caught_up, viewed.rank(&on(&device, &view), &asked).unwrap());
            assert_eq!(moved.view().unwrap(), view, "nothing is written back");
        }
    }

    #[test]
    fn cube_ranking_refuses_what_cannot_be_ranked() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(4);
        let (users, mut items) = (numbers.table(3, 4), numbers.table(200, 4));
        items.values[4 * 150] = f32::NAN;
        items.values[4 * 70] = f32::INFINITY;
        let (users, stray) = (on(&device, &users), on(&device, &items));
        let mut ranking = CubeRanking::with_blocks(64, 64);
        let seen = nothing(&[0; 4]);
        let mut rank = |items: &CubeTable, asked: &[u32], k, seen| {
            ranking.rank(&users, items, &Ranking { users: asked, k, seen, truth: None })
        };
        assert_eq!(rank(&stray, &[2, 0], 3, seen), Ok(None), "not finite");
        assert_eq!(rank(&stray, &[], 3, seen), Ok(Some(Ranked::default())));
        items.values.fill(1.0);
        let items = on(&device, &items);
        assert_eq!(rank(&items, &[2], 1, seen).unwrap().unwrap().items, [0]);
        assert_eq!(rank(&items, &[2], 0, seen), Ok(None));
        assert!(rank(&items, &[3], 3, seen).is_err(), "no such user");
        for wrong in [&[1, 0][..], &[7, 200]] {
            assert!(rank(&items, &[0], 3, Lists { offsets: &[0, 2, 2, 2], items: wrong }).is_err(), "{wrong:?}");
        }
    }

    /// Time of a ranking of everybody at the size of ML-1M, and of its losses. Run with `--ignored --nocapture`.
    #[test]
    #[ignore = "seconds on a software device"]
    fn cube_ranking_at_full_size() {
        let Some(device) = testing::device() else { return };
        let mut numbers = Numbers(8);
        let (m, n, dim, k) = (6040, 3706, 128, 20);
        let (users, items) = (on(&device, &numbers.table(m, dim)), on(&device, &numbers.table(n, dim)));
        let seen = Owned::new(&mut numbers, m, n, 300, None);
        let truth = Owned::new(&mut numbers, m, n, 70, Some(&seen));
        let all: Vec<u32> = (0..m as u32).collect();
        let mut ranking = CubeRanking::default();
        for truth in [None, Some(truth.lists())].repeat(3) {
            let start = std::time::Instant::now();
            let asked = Ranking { users: &all, k, seen: seen.lists(), truth };
            assert!(ranking.rank(&users, &items, &asked).unwrap().is_some());
            let (time, traffic) = (start.elapsed(), ranking.take_traffic());
            println!("{time:?} for {m} users, {n} items, d {dim}, losses {}: {traffic:?}", truth.is_some());
        }
    }
}
