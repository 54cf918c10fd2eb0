//! Scores of blocks of users and items, and the best items of each user.
//!
//! Blocks come transposed, `[d, users]` and `[d, items]`, and scores as `[items, users]`: neighbouring units are
//! neighbouring users, and each reads its own column.

use crate::cube::ranking::TILE;
use cubecl::prelude::*;

/// scores `[items, users]` <- the products of the columns of `users` `[depth, users]` and `items` `[depth, items]`.
///
/// A cube of 16 by 16 units makes a tile of 16 by 16 vectors of N by N scores, with 16 rows of both blocks at a time in
/// workgroup memory. Every score is one chain of fused multiply-adds in the order of the columns, so it does not depend on
/// which block the pair is in. Strides are in vectors, blocks are whole tiles, `depth` is a multiple of 16.
#[cube(launch_unchecked)]
pub fn product<N: Size>(
    users: &[Vector<f32, N>],
    items: &[Vector<f32, N>],
    scores: &mut [Vector<f32, N>],
    user_stride: u32,
    item_stride: u32,
    depth: u32,
) {
    let user_stride = user_stride as usize;
    let item_stride = item_stride as usize;
    let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let first_user = CUBE_POS_X as usize * TILE;
    let first_item = CUBE_POS_Y as usize * TILE;
    let mut u = Shared::<[Vector<f32, N>]>::new_slice(TILE * TILE);
    let mut v = Shared::<[Vector<f32, N>]>::new_slice(TILE * TILE);
    let mut sums = Array::<Vector<f32, N>>::new(N::value());
    #[unroll]
    for c in 0..N::value() {
        sums[c] = Vector::new(0.0f32);
    }
    for from in range_stepped(0usize, depth as usize, TILE) {
        u[y * TILE + x] = users[(from + y) * user_stride + first_user + x];
        v[y * TILE + x] = items[(from + y) * item_stride + first_item + x];
        sync_cube();
        #[unroll]
        for row in 0..TILE {
            let of_users = u[row * TILE + x];
            let of_items = v[row * TILE + y];
            #[unroll]
            for c in 0..N::value() {
                sums[c] = fma(Vector::new(of_items.extract(c)), of_users, sums[c]);
            }
        }
        sync_cube();
    }
    let item = (first_item + y) * N::value();
    #[unroll]
    for c in 0..N::value() {
        scores[(item + c) * user_stride + first_user + x] = sums[c];
    }
}

/// Words of the head of [`select`].
#[derive(Clone, Copy, Debug)]
pub struct SelectHead {
    /// Users of the block.
    pub users: u32,
    /// Section of where each user's seen items begin, `[users + 1]`.
    pub offsets: u32,
    /// Section of seen items, ascending for each user.
    pub seen: u32,
}

impl SelectHead {
    /// The words in their order.
    pub fn words(&self) -> [u32; 3] {
        let Self { users, offsets, seen } = *self;
        [users, offsets, seen]
    }
}

/// Carries the best `k` unseen items of every user over a block of items `first .. end`.
///
/// Unit (part, user) reads the part's `length` items of the block in ascending order and keeps a list of its own, best
/// first, `[parts, k, users]`: an item that ties with one in the list comes after it, so its score alone decides. `fresh`
/// lists are emptied first. The first item whose score is not finite goes to `strays` `[parts, users]`.
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
                list_items[list + slot * stride] = u32::max_value();
            }
            strays[stray_at] = u32::max_value();
        }
        let from = min(first + part as u32 * length, end);
        let to = min(from + length, end);

        // The first seen item that is not before this part.
        let offsets = plan[head + 1] as usize + user;
        let seen = plan[head + 2];
        let mut low = plan[offsets];
        let beyond = plan[offsets + 1];
        let mut high = beyond;
        while low < high {
            let middle = (low + high) / 2;
            if plan[(seen + middle) as usize] < from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut next = u32::max_value();
        if low < beyond {
            next = plan[(seen + low) as usize];
        }

        let mut kept = list_items[last] != u32::max_value();
        let mut threshold = list_scores[last];
        let mut stray = strays[stray_at];
        for item in from..to {
            let score = scores[(item - first) as usize * stride + user];
            if (u32::reinterpret(score) & 0x7f80_0000) == 0x7f80_0000 && stray == u32::max_value() {
                stray = item;
            }
            if item == next {
                low += 1;
                next = u32::max_value();
                if low < beyond {
                    next = plan[(seen + low) as usize];
                }
            } else if !kept || score > threshold {
                let mut slot = last;
                let mut moving = true;
                while slot > list && moving {
                    let above = slot - stride;
                    let free = list_items[above] == u32::max_value();
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
                kept = list_items[last] != u32::max_value();
            }
        }
        strays[stray_at] = stray;
    }
}

/// Merges the lists of the parts of each user: `best` `[users, k]`, then the first stray item of each user, `[users]`;
/// nothing is `u32::MAX`.
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
        let mut stray = u32::max_value();
        #[unroll]
        for part in 0..parts {
            slots[part] = 0u32;
            stray = min(stray, strays[part * stride + user]);
        }
        best[users as usize * k + user] = stray;
        for slot in 0..k {
            let mut item = u32::max_value();
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
                    if candidate != u32::max_value() && (item == u32::max_value() || better) {
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
