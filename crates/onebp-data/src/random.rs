//! Counter-based random numbers: Philox4x32-10.
//!
//! A number is a pure function of (seed, purpose, epoch, position, draw), so shuffles, negatives and initial tables do
//! not depend on threads, batch size or device, and a resumed run needs no generator state: the counters are enough.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. The tests hold the known
//! answers published with its Random123 library.
//!
//! A block is forty multiplications that wait for each other; many blocks at once keep the vectors of a CPU busy.

use pulp::{Arch, Scalar, Simd, WithSimd};

/// What a number is drawn for. Streams of different purposes never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Train/test split of the interactions.
    Split = 1,
    /// Validation part cut from train.
    Validation = 2,
    /// Order of the training interactions within an epoch.
    Shuffle = 3,
    /// Negative items.
    Negatives = 4,
    /// Initial user table.
    InitUsers = 5,
    /// Initial item table.
    InitItems = 6,
    /// The built-in synthetic data set.
    Synthetic = 7,
    /// Further positives of a row.
    Positives = 8,
    /// Negatives that the rows of a batch share.
    Pool = 9,
    /// Noise by which a row chooses among them.
    Choice = 10,
    /// Initial weights of an encoder.
    InitEncoder = 11,
    /// Elements that dropout leaves out.
    Dropout = 12,
    /// Users drawn with replacement, to see how far a mean may be off.
    Bootstrap = 13,
    /// Pairs of users to be compared.
    UserPairs = 14,
    /// First centres of clusters, first directions of a projection.
    Analysis = 15,
}

/// All random numbers of one seed and purpose.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    keys: Keys,
    purpose: Purpose,
}

/// The keys of the ten rounds of Philox4x32-10.
type Keys = [[u32; 2]; 10];

impl Random {
    /// Numbers for `purpose` under `seed`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { keys: keys([seed as u32, (seed >> 32) as u32]), purpose }
    }

    /// The 128 bits at (`epoch`, `position`, `draw`). `position` must stay below 2^56.
    #[inline]
    pub fn block(&self, epoch: u32, position: u64, draw: u32) -> [u32; 4] {
        philox(Scalar, self.counter(epoch, position, draw), &self.keys)
    }

    /// The counter of a block.
    #[inline(always)]
    fn counter(&self, epoch: u32, position: u64, draw: u32) -> [u32; 4] {
        debug_assert!(position < 1 << 56);
        let top = (self.purpose as u32) | (((position >> 32) as u32) << 8);
        [draw, position as u32, epoch, top]
    }

    /// The blocks at `draw` of as many positions from `position` on as a vector has lanes: the first words of all, their second
    /// words and so on.
    #[inline(always)]
    pub fn lanes<S: Simd>(&self, simd: S, epoch: u32, position: u64, draw: u32) -> [S::u32s; 4] {
        let [_, low, _, top] = self.counter(epoch, position, draw);
        let first = simd.splat_u32s(low);
        let low = simd.add_u32s(first, lane_numbers::<S>());
        // The upper bits of the position are above the purpose.
        let carried = simd.splat_u32s(top.wrapping_add(1 << 8));
        let top = simd.select_u32s(simd.less_than_u32s(low, first), carried, simd.splat_u32s(top));
        philox(simd, [simd.splat_u32s(draw), low, simd.splat_u32s(epoch), top], &self.keys)
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&self, epoch: u32, position: u64, draw: u32) -> u64 {
        let b = self.block(epoch, position, draw);
        (b[1] as u64) << 32 | b[0] as u64
    }

    /// Uniform integer in `0..n`. The bias of the multiply-shift is below n / 2^64.
    #[inline]
    pub fn below(&self, n: u64, epoch: u32, position: u64, draw: u32) -> u64 {
        ((self.bits(epoch, position, draw) as u128 * n as u128) >> 64) as u64
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn unit(&self, epoch: u32, position: u64, draw: u32) -> f64 {
        (self.bits(epoch, position, draw) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Two independent standard normal numbers (Box-Muller).
    #[inline]
    pub fn normal_pair(&self, epoch: u32, position: u64, draw: u32) -> (f64, f64) {
        let b = self.block(epoch, position, draw);
        let bits = |lo: u32, hi: u32| ((hi as u64) << 32 | lo as u64) >> 11;
        let scale = 1.0 / (1u64 << 53) as f64;
        let radius = (-2.0 * ((bits(b[0], b[1]) as f64 + 0.5) * scale).ln()).sqrt();
        let angle = std::f64::consts::TAU * bits(b[2], b[3]) as f64 * scale;
        (radius * angle.cos(), radius * angle.sin())
    }

    /// The words of the blocks at (`epoch`, `position`, 0), (`epoch`, `position`, 1) and so on, one after another.
    #[inline]
    pub fn words(&self, epoch: u32, position: u64) -> Words {
        Words { random: *self, epoch, position, drawn: 0, blocks: [[0; 4]] }
    }

    /// Shuffles `items`, fewer than 2^32, uniformly (Fisher-Yates on the words at `epoch` and `position`).
    pub fn shuffle<T>(&self, items: &mut [T], epoch: u32, position: u64) {
        let mut words = Words { random: *self, epoch, position, drawn: 0, blocks: [[0; 4]; 4 * MOST_LANES] };
        for i in (1..items.len()).rev() {
            items.swap(i, words.below(i as u32 + 1) as usize);
        }
    }
}

/// A stream of 32-bit numbers, four to a block, and `BLOCKS` blocks worked out at a time.
#[derive(Clone, Debug)]
pub struct Words<const BLOCKS: usize = 1> {
    random: Random,
    epoch: u32,
    position: u64,
    /// Words taken so far.
    drawn: u32,
    blocks: [[u32; 4]; BLOCKS],
}

impl<const BLOCKS: usize> Words<BLOCKS> {
    /// The next 32 random bits.
    #[inline]
    pub fn word(&mut self) -> u32 {
        let place = self.drawn as usize % (4 * BLOCKS);
        if place == 0 {
            let draw = self.drawn / 4;
            match &mut self.blocks[..] {
                [block] => *block = self.random.block(self.epoch, self.position, draw),
                blocks => Arch::new().dispatch(FillBlocks {
                    at: (self.epoch, self.position, draw),
                    random: &self.random,
                    blocks,
                }),
            }
        }
        self.drawn = self.drawn.wrapping_add(1);
        self.blocks[place / 4][place % 4]
    }

    /// Uniform integer in `0..n`, without bias (Lemire, "Fast Random Integer Generation in an Interval", 2019).
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        let mut product = u64::from(self.word()) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u32) < threshold {
                product = u64::from(self.word()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        let bits = u64::from(self.word()) << 32 | u64::from(self.word());
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Lanes of a vector at most.
pub const MOST_LANES: usize = 16;

/// Fills `blocks` with the blocks at an epoch, a position and the draws from a first one on.
struct FillBlocks<'a> {
    random: &'a Random,
    at: (u32, u64, u32),
    blocks: &'a mut [[u32; 4]],
}

impl WithSimd for FillBlocks<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { random, at: (epoch, position, mut draw), blocks } = self;
        for blocks in blocks.chunks_mut(S::U32_LANES) {
            let [first, low, epoch, top] = random.counter(epoch, position, draw).map(|word| simd.splat_u32s(word));
            draw = draw.wrapping_add(S::U32_LANES as u32);
            let draws = simd.add_u32s(first, lane_numbers::<S>());
            let words = philox(simd, [draws, low, epoch, top], &random.keys);
            for word in 0..4 {
                let lanes = lanes_of::<S>(words[word]);
                for (block, lane) in blocks.iter_mut().zip(lanes) {
                    block[word] = lane;
                }
            }
        }
    }
}

/// The lanes of a vector, in an array that is long enough for the widest one.
#[inline(always)]
pub fn lanes_of<S: Simd>(vector: S::u32s) -> [u32; MOST_LANES] {
    let mut lanes = [0; MOST_LANES];
    S::as_mut_simd_u32s(&mut lanes).0[0] = vector;
    lanes
}

/// The first lanes, as many as a vector has.
#[inline(always)]
pub fn vector_of<S: Simd>(lanes: &[u32; MOST_LANES]) -> S::u32s {
    S::as_simd_u32s(lanes).0[0]
}

/// A vector of 0, 1, 2 and so on.
#[inline(always)]
fn lane_numbers<S: Simd>() -> S::u32s {
    const NUMBERS: [u32; MOST_LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    vector_of::<S>(&NUMBERS)
}

/// One Philox4x32 block with ten rounds.
#[inline]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox(Scalar, counter, &keys(key))
}

/// The keys of all rounds from that of the first.
fn keys(first: [u32; 2]) -> Keys {
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    std::array::from_fn(|round| {
        let of_round = |word: usize| first[word].wrapping_add(WEYL[word].wrapping_mul(round as u32));
        [of_round(0), of_round(1)]
    })
}

/// Philox4x32 blocks with ten rounds, one in each lane.
#[inline(always)]
fn philox<S: Simd>(simd: S, mut counter: [S::u32s; 4], keys: &Keys) -> [S::u32s; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    for key in keys {
        let (a_low, a_high) = simd.widening_mul_u32s(simd.splat_u32s(MULTIPLIERS[0]), counter[0]);
        let (b_low, b_high) = simd.widening_mul_u32s(simd.splat_u32s(MULTIPLIERS[1]), counter[2]);
        let first = simd.xor_u32s(simd.xor_u32s(b_high, counter[1]), simd.splat_u32s(key[0]));
        let third = simd.xor_u32s(simd.xor_u32s(a_high, counter[3]), simd.splat_u32s(key[1]));
        counter = [first, b_low, third, a_low];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123: philox4x32, 10 rounds.
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32_10([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox4x32_10([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn purposes_and_counters_give_different_numbers() {
        let shuffle = Random::new(7, Purpose::Shuffle);
        let negatives = Random::new(7, Purpose::Negatives);
        let mut seen = std::collections::HashSet::new();
        for random in [shuffle, negatives] {
            for (epoch, position, draw) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1 << 32, 0)] {
                assert!(seen.insert(random.block(epoch, position, draw)));
            }
        }
    }

    struct Lanes(Random, u32, u64, u32);
    impl WithSimd for Lanes {
        type Output = Vec<[u32; 4]>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let lanes = self.0.lanes(simd, self.1, self.2, self.3).map(|words| lanes_of::<S>(words));
            (0..S::U32_LANES).map(|lane| lanes.map(|lanes| lanes[lane])).collect()
        }
    }

    /// Many blocks at once are those of one by one, with every instruction set.
    #[test]
    fn blocks_at_once_are_blocks() {
        let random = Random::new(11, Purpose::Negatives);
        let position = (1 << 32) - 2;
        for arch in [Arch::new(), Arch::Scalar] {
            let lanes = arch.dispatch(Lanes(random, 2, position, 3));
            let expected = (0..lanes.len() as u64).map(|lane| random.block(2, position + lane, 3));
            assert!(!lanes.is_empty() && lanes == Vec::from_iter(expected));
            let mut blocks = [[0; 4]; MOST_LANES + 3];
            arch.dispatch(FillBlocks { random: &random, at: (2, position, 7), blocks: &mut blocks });
            assert_eq!(blocks, std::array::from_fn(|at| random.block(2, position, 7 + at as u32)));
        }
    }

    #[test]
    fn shuffle_is_a_permutation_and_moves_things() {
        let mut v: Vec<u32> = (0..100).collect();
        Random::new(1, Purpose::Shuffle).shuffle(&mut v, 3, 0);
        assert_ne!(v, (0..100).collect::<Vec<_>>());
        v.sort_unstable();
        assert_eq!(v, (0..100).collect::<Vec<_>>());
    }

    /// 2^32 modulo 3 is 1: one word of all would favour 0 if it were not drawn again.
    #[test]
    fn words_are_the_blocks_in_order_and_bounded_without_bias() {
        let random = Random::new(3, Purpose::Negatives);
        let mut words = random.words(2, 5);
        let expected: Vec<u32> = (0..3).flat_map(|draw| random.block(2, 5, draw)).collect();
        assert_eq!((0..12).map(|_| words.word()).collect::<Vec<_>>(), expected);
        let mut many = Words { random, epoch: 2, position: 5, drawn: 0, blocks: [[0; 4]; 2] };
        assert_eq!((0..12).map(|_| many.word()).collect::<Vec<_>>(), expected);
        let mut counts = [0f64; 3];
        let mut words = random.words(0, 0);
        (0..30_000).for_each(|_| counts[words.below(3) as usize] += 1.0);
        // Chi-square with 2 degrees of freedom: 18.4 is its 0.9999 quantile.
        assert!(counts.iter().map(|count| (count - 1e4f64).powi(2) / 1e4).sum::<f64>() < 18.4, "{counts:?}");
        assert_eq!(random.words(0, 1).below(1), 0);
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let random = Random::new(5, Purpose::InitItems);
        let (mut sum, mut squares) = (0.0, 0.0);
        let n = 20_000;
        for i in 0..n {
            let (a, b) = random.normal_pair(0, i, 0);
            sum += a + b;
            squares += a * a + b * b;
        }
        let n = 2.0 * n as f64;
        assert!((sum / n).abs() < 0.02);
        assert!((squares / n - 1.0).abs() < 0.03);
    }
}
