//! Counter-based random numbers: Philox4x32-10.
//!
//! A number is a pure function of (seed, purpose, epoch, position, draw), so shuffles, negatives and initial tables do
//! not depend on threads, batch size or device, and a resumed run needs no generator state: the counters are enough.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. The tests hold the known
//! answers published with its Random123 library.

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
    key: [u32; 2],
    purpose: Purpose,
}

impl Random {
    /// Numbers for `purpose` under `seed`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], purpose }
    }

    /// The 128 bits at (`epoch`, `position`, `draw`). `position` must stay below 2^56.
    #[inline]
    pub fn block(&self, epoch: u32, position: u64, draw: u32) -> [u32; 4] {
        debug_assert!(position < 1 << 56);
        let top = (self.purpose as u32) | (((position >> 32) as u32) << 8);
        philox4x32_10([draw, position as u32, epoch, top], self.key)
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
        Words { random: *self, epoch, position, drawn: 0, block: [0; 4] }
    }

    /// Shuffles `items`, fewer than 2^32, uniformly (Fisher-Yates on the words at `epoch` and `position`).
    pub fn shuffle<T>(&self, items: &mut [T], epoch: u32, position: u64) {
        let mut words = self.words(epoch, position);
        for i in (1..items.len()).rev() {
            items.swap(i, words.below(i as u32 + 1) as usize);
        }
    }
}

/// A stream of 32-bit numbers, four to a block.
#[derive(Clone, Debug)]
pub struct Words {
    random: Random,
    epoch: u32,
    position: u64,
    /// Words taken so far.
    drawn: u32,
    block: [u32; 4],
}

impl Words {
    /// The next 32 random bits.
    #[inline]
    pub fn word(&mut self) -> u32 {
        let place = self.drawn % 4;
        if place == 0 {
            self.block = self.random.block(self.epoch, self.position, self.drawn / 4);
        }
        self.drawn = self.drawn.wrapping_add(1);
        self.block[place as usize]
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

/// One Philox4x32 block with ten rounds.
#[inline]
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let a = MULTIPLIERS[0] * counter[0] as u64;
        let b = MULTIPLIERS[1] * counter[2] as u64;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
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
