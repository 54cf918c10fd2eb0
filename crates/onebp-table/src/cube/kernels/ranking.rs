//! Scores of blocks of users and items, the best items of each user, and what they lose to others.
//!
//! Blocks come transposed, `[d, users]` and `[d, items]`, and scores as `[items, users]`: neighbouring units are
//! neighbouring users, and each reads its own column.

use crate::cube::ranking::{NONE, SIDE, TILE};
use cubecl::prelude::*;

/// Vectors of users, and of items, that a unit of `product` works on.
const HALVES: usize = TILE / SIDE;

/// scores `[items, users]` <- the products of the columns of `users` `[depth, users]` and `items` `[depth, items]`.
///
/// A cube of 16 by 16 units makes a tile of 32 by 32 vectors of N by N scores, each unit four of them, with 16 rows of both
/// blocks at a time in workgroup memory: 16 N^2 multiply-adds for every 4 vectors that a unit loads. Every score is one
/// chain of fused multiply-adds in the order of the columns, so it does not depend on which block the pair is in. Strides
/// are in vectors, blocks are whole tiles, `depth` is a multiple of 16.
#[cube(launch_unchecked)]
pub fn product<N: Size>(
    users: &[Vector<f32, N>],
    items: &[Vector<f32, N>],
    scores: &mut [Vector<f32, N>],
    user_stride: u32,
    item_stride: u32,
    depth: u32,
) {
    let wide = N::value();
    let user_stride = user_stride as usize;
    let item_stride = item_stride as usize;
    let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let first_user = CUBE_POS_X as usize * TILE;
    let first_item = CUBE_POS_Y as usize * TILE;
    let mut u = Shared::<[Vector<f32, N>]>::new_slice(SIDE * TILE);
    let mut v = Shared::<[Vector<f32, N>]>::new_slice(SIDE * TILE);
    let mut sums = Array::<Vector<f32, N>>::new(comptime!(4 * wide));
    #[unroll]
    for at in 0..comptime!(4 * wide) {
        sums[at] = Vector::new(0.0f32);
    }
    for from in range_stepped(0usize, depth as usize, SIDE) {
        #[unroll]
        for half in 0..HALVES {
            let column = comptime!(half * SIDE) + x;
            u[y * TILE + column] = users[(from + y) * user_stride + first_user + column];
            v[y * TILE + column] = items[(from + y) * item_stride + first_item + column];
        }
        sync_cube();
        #[unroll]
        for row in 0..SIDE {
            let low = u[row * TILE + x];
            let high = u[row * TILE + SIDE + x];
            #[unroll]
            for half in 0..HALVES {
                let of_items = v[row * TILE + comptime!(half * SIDE) + y];
                #[unroll]
                for c in 0..wide {
                    let at = comptime!(2 * (half * wide + c));
                    let factor = Vector::new(of_items.extract(c));
                    sums[at] = fma(factor, low, sums[at]);
                    sums[at + 1] = fma(factor, high, sums[at + 1]);
                }
            }
        }
        sync_cube();
    }
    #[unroll]
    for half in 0..HALVES {
        let item = (first_item + comptime!(half * SIDE) + y) * wide;
        #[unroll]
        for c in 0..wide {
            let at = comptime!(2 * (half * wide + c));
            let out = (item + c) * user_stride + first_user + x;
            scores[out] = sums[at];
            scores[out + SIDE] = sums[at + 1];
        }
    }
}

/// Words of the head of the kernels below.
#[derive(Clone, Copy, Debug)]
pub struct RankHead {
    /// Users of the block.
    pub users: u32,
    /// Section of where each user's seen items begin, `[users + 1]`.
    pub offsets: u32,
    /// Section of seen items, ascending for each user.
    pub seen: u32,
    /// Pairs of a user and one of their truth items.
    pub pairs: u32,
    /// Section of the users of pairs, by their places in the block.
    pub pair_users: u32,
    /// Section of the items of pairs.
    pub pair_items: u32,
}

impl RankHead {
    /// The words in their order.
    pub fn words(&self) -> [u32; 6] {
        let Self { users, offsets, seen, pairs, pair_users, pair_items } = *self;
        [users, offsets, seen, pairs, pair_users, pair_items]
    }
}

/// The first place from `low` on, before `beyond`, whose seen item is not below `from`; `beyond` where there is none.
#[cube]
fn first_seen(plan: &[u32], seen: u32, low: u32, beyond: u32, from: u32) -> u32 {
    let mut low = low;
    let mut high = beyond;
    while low < high {
        let middle = (low + high) / 2;
        if plan[(seen + middle) as usize] < from {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Carries the best `k` unseen items of every user over a block of items `first .. end`.
///
/// Unit (part, user) reads the part's `length` items of the block in ascending order and keeps a list of its own, best
/// first, `[parts, k, users]`: an item that ties with one in the list comes after it, so its score alone decides. `fresh`
/// lists are emptied first. `strays` `[parts, users]` become 1 where a score is not finite.
#[cube(launch_unchecked)]
pub fn select(
    plan: &[u32],
    scores: &[f32],
    list_scores: &mut [f32],
    list_items: &mut [u32],
    strays: &mut [u32],
    head: u32,
    stride: u32,
    first: u32,
    end: u32,
    length: u32,
    k: u32,
    parts: u32,
    fresh: u32,
) {
    let head = head as usize;
    let stride = stride as usize;
    let part = ABSOLUTE_POS / stride;
    let user = ABSOLUTE_POS % stride;
    if part < parts as usize && user < plan[head] as usize {
        let k = k as usize;
        let list = part * k * stride + user;
        let last = list + (k - 1) * stride;
        let stray_at = part * stride + user;
        if fresh != 0 {
            for slot in 0..k {
                list_scores[list + slot * stride] = f32::min_value();
                list_items[list + slot * stride] = NONE;
            }
            strays[stray_at] = 0;
        }
        let from = min(first + part as u32 * length, end);
        let to = min(from + length, end);

        let offsets = plan[head + 1] as usize + user;
        let seen = plan[head + 2];
        let beyond = plan[offsets + 1];
        let mut low = first_seen(plan, seen, plan[offsets], beyond, from);
        let mut next = NONE.runtime();
        if low < beyond {
            next = plan[(seen + low) as usize];
        }

        let mut kept = list_items[last] != NONE;
        let mut threshold = list_scores[last];
        let mut stray = strays[stray_at];
        for item in from..to {
            let score = scores[(item - first) as usize * stride + user];
            if (u32::reinterpret(score) & 0x7f80_0000) == 0x7f80_0000 {
                stray = 1u32;
            }
            if item == next {
                low += 1;
                next = NONE;
                if low < beyond {
                    next = plan[(seen + low) as usize];
                }
            } else if !kept || score > threshold {
                let mut slot = last;
                let mut moving = true;
                while slot > list && moving {
                    let above = slot - stride;
                    let free = list_items[above] == NONE;
                    if free || list_scores[above] < score {
                        list_scores[slot] = list_scores[above];
                        list_items[slot] = list_items[above];
                        slot = above;
                    } else {
                        moving = false;
                    }
                }
                list_scores[slot] = score;
                list_items[slot] = item;
                threshold = list_scores[last];
                kept = list_items[last] != NONE;
            }
        }
        strays[stray_at] = stray;
    }
}

/// Merges the lists of the parts of each user: `best` `[users, k]`, where `u32::MAX` is no item, then for each user whether
/// a score is not finite, `[users]`.
#[cube(launch_unchecked)]
pub fn merge(
    list_scores: &[f32],
    list_items: &[u32],
    strays: &[u32],
    best: &mut [u32],
    stride: u32,
    users: u32,
    k: u32,
    #[comptime] parts: usize,
) {
    let user = ABSOLUTE_POS;
    if user < users as usize {
        let stride = stride as usize;
        let k = k as usize;
        // The next slot of every part's list.
        let mut slots = Array::<u32>::new(parts);
        let mut stray = 0u32.runtime();
        #[unroll]
        for part in 0..parts {
            slots[part] = 0u32;
            stray |= strays[part * stride + user];
        }
        best[users as usize * k + user] = stray;
        for slot in 0..k {
            let mut item = NONE.runtime();
            let mut score = f32::min_value();
            let mut from = 0u32;
            #[unroll]
            for part in 0..parts {
                let next = slots[part] as usize;
                if next < k {
                    let at = (part * k + next) * stride + user;
                    let candidate = list_items[at];
                    let its = list_scores[at];
                    let better = its > score || (its == score && candidate < item);
                    if candidate != NONE && (item == NONE || better) {
                        item = candidate;
                        score = its;
                        from = comptime!(part as u32).runtime();
                    }
                }
            }
            best[user * k + slot] = item;
            #[unroll]
            for part in 0..parts {
                if from == comptime!(part as u32) {
                    slots[part] += 1u32;
                }
            }
        }
    }
}

/// Picks up the scores of the truth items that lie in a block of items `first .. end`: `truth` `[pairs]`.
#[cube(launch_unchecked)]
pub fn pick(plan: &[u32], scores: &[f32], truth: &mut [f32], head: u32, stride: u32, first: u32, end: u32) {
    let head = head as usize;
    let pair = ABSOLUTE_POS;
    if pair < plan[head + 3] as usize {
        let user = plan[plan[head + 4] as usize + pair] as usize;
        let item = plan[plan[head + 5] as usize + pair];
        if item >= first && item < end {
            truth[pair] = scores[(item - first) as usize * stride as usize + user];
        }
    }
}

/// How many candidates of a block of items `first .. end` score above each truth item, plus how many do not score below it;
/// added to `lost` `[parts, pairs]`, which starts from 0 where it is `fresh`.
///
/// Unit (part, pair) counts over the part's `length` items of the block. Seen items are counted along and taken off again:
/// there are few of them, and the long loop has no branch.
#[cube(launch_unchecked)]
pub fn count(
    plan: &[u32],
    scores: &[f32],
    truth: &[f32],
    lost: &mut [u32],
    head: u32,
    stride: u32,
    first: u32,
    end: u32,
    length: u32,
    parts: u32,
    fresh: u32,
) {
    let head = head as usize;
    let stride = stride as usize;
    let pairs = plan[head + 3] as usize;
    let part = ABSOLUTE_POS / pairs;
    let pair = ABSOLUTE_POS % pairs;
    if part < parts as usize {
        let user = plan[plan[head + 4] as usize + pair] as usize;
        let own = truth[pair];
        let from = min(first + part as u32 * length, end);
        let to = min(from + length, end);
        let mut counted = 0u32.runtime();
        for item in from..to {
            let score = scores[(item - first) as usize * stride + user];
            counted += u32::cast_from(score > own) + u32::cast_from(score >= own);
        }
        let offsets = plan[head + 1] as usize + user;
        let seen = plan[head + 2];
        let beyond = plan[offsets + 1];
        let low = first_seen(plan, seen, plan[offsets], beyond, from);
        let high = first_seen(plan, seen, low, beyond, to);
        for at in low..high {
            let item = plan[(seen + at) as usize];
            let score = scores[(item - first) as usize * stride + user];
            counted -= u32::cast_from(score > own) + u32::cast_from(score >= own);
        }
        if fresh == 0 {
            counted += lost[ABSOLUTE_POS];
        }
        lost[ABSOLUTE_POS] = counted;
    }
}
