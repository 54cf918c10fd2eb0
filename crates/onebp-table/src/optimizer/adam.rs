//! Dense Adam that does not touch what it need not.
//!
//! In dense Adam every row moves at every step, by its momentum tail and its weight decay. A row that no batch touches for
//! k steps has a known future: k steps with zero loss gradient, here called silent. So a row is left alone until it is
//! next read, or carried over the silent steps at once when it is written. Two ways, chosen by [`Schedule::way`]:
//!
//! - **Replay**: the silent steps one after another. Always right; the only way with weight decay, which depends on w, with a
//!   projection after every step (which at least stay in a plane: [`Schedule::shares`]), and for rows that something follows step
//!   by step.
//! - **Tail**, without these. With c_j = b1^j / (1 - b1^(t+j)), d_j = sqrt(b2^j / (1 - b2^(t+j))) and s = sqrt(v) at
//!   step t, the steps t + j, j = first ..= k, together move w by
//!
//!   lr * m * sum_j c_j / (s d_j + eps)
//!
//!   (j = 0 is step t itself). c and d depend on (t, k) only. A two-point Gauss quadrature of the measure that puts mass
//!   c_j at d_j, exact for cubic polynomials of d, turns the sum into a rational function of s: one square root and one
//!   division per element, however large k is. From t = 300 on the displacement is within 1e-6 of the exact one (the tests
//!   check it against an f64 replay); before, steps are replayed.
//!
//! The moments M_p = sum_j c_j d_j^p of the measure come in constant time from the infinite tails R_p(t), j = 1 to
//! infinity: M_p(t, k) = R_p(t) - (b1 b2^(p/2))^k R_p(t + k).

use super::{ADAM_EPSILON, BETA_1, BETA_2, Optimizer};

/// From this step on a tail is good to float rounding, and bias corrections change slowly.
pub const TAIL_FROM: u32 = 300;

/// From this step on bias corrections are 1, far below the rounding of f32: 0.999^20000 = 2e-9.
const SETTLED: usize = 20_000;

/// From this many steps on, powers of b1 vanish beside 1 in f64.
pub const FORGOTTEN: usize = 400;

/// Bias corrections of one step: w <- w - rate * m / (sqrt(v) * root + eps).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// lr / (1 - b1^t).
    pub rate: f32,
    /// 1 / sqrt(1 - b2^t).
    pub root: f32,
}

/// Several steps as one: w <- w - m (n0 + n1 s) / ((s x1 + eps) (s x2 + eps)) with s = sqrt(v), then m <- m fade_m and
/// v <- v fade_v.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Numerator, constant term.
    pub n0: f32,
    /// Numerator, linear term.
    pub n1: f32,
    /// First node.
    pub x1: f32,
    /// Second node.
    pub x2: f32,
    /// b1^k.
    pub fade_m: f32,
    /// b2^k.
    pub fade_v: f32,
}

/// How a row gets over its silent steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// One by one, with these steps' corrections.
    Replay {
        /// The first step, from 1.
        from: u32,
        /// The last one.
        to: u32,
    },
    /// All at once.
    Tail(Tail),
}

/// Everything about Adam that depends on the step and not on the row.
#[derive(Clone, Debug)]
pub struct Schedule {
    learning_rate: f64,
    replay_always: bool,
    /// Corrections of steps 1 .. [`SETTLED`], at index step - 1.
    corrections: Vec<Correction>,
    /// R_p(t), p = 0 .. 3, at index t; the last entry holds for all later steps.
    tails: Vec<[f64; 4]>,
    /// (b1 b2^(p/2))^k at index k up to [`FORGOTTEN`].
    fading: Vec<[f64; 4]>,
    /// b1^k and b2^(k/2), likewise.
    faded: Vec<[f32; 2]>,
}

impl Schedule {
    /// For an optimizer; with weight decay or a projection there is no closed form.
    pub fn new(optimizer: &Optimizer) -> Self {
        let &Optimizer { learning_rate, weight_decay, projection, .. } = optimizer;
        let correction = |step: usize| Correction {
            rate: (learning_rate / (1.0 - BETA_1.powi(step as i32))) as f32,
            root: (1.0 / (1.0 - BETA_2.powi(step as i32)).sqrt()) as f32,
        };
        let ratios: [f64; 4] = std::array::from_fn(|p| BETA_1 * BETA_2.powf(p as f64 / 2.0));
        let mut tails = vec![ratios.map(|ratio| ratio / (1.0 - ratio)); SETTLED + 1];
        for t in (0..SETTLED).rev() {
            // R(t) = ratio (term(t + 1) + R(t + 1)), term being c_0 d_0^p at that step.
            let (c, d) = first_term(t + 1);
            tails[t] = std::array::from_fn(|p| ratios[p] * (c * d.powi(p as i32) + tails[t + 1][p]));
        }
        Self {
            learning_rate,
            replay_always: weight_decay > 0.0 || projection.is_some(),
            corrections: (1..=SETTLED).map(correction).collect(),
            tails,
            fading: (0..=FORGOTTEN).map(|k| ratios.map(|ratio| ratio.powi(k as i32))).collect(),
            faded: (0..=FORGOTTEN)
                .map(|k| [BETA_1.powi(k as i32) as f32, BETA_2.powf(k as f64 / 2.0) as f32])
                .collect(),
        }
    }

    /// Replays silent steps from now on, also where they have a closed form.
    pub fn replay(&mut self) {
        self.replay_always = true;
    }

    /// Corrections of `step`, from 1.
    #[inline(always)]
    pub fn correction(&self, step: u32) -> Correction {
        self.corrections[(step as usize).min(SETTLED) - 1]
    }

    /// The silent steps after step `t` one by one, without weight decay: the j-th, at most the [`FORGOTTEN`]th, moves a row by
    /// a m / (s x1 + eps) + b m / (s x2 + eps) with the moments of step t, the nodes of `tail` and the numbers [a, b] of j: 1 / (s d + eps)
    /// is taken as linear between the nodes. All of them together come to what the tail says.
    #[inline(always)]
    pub fn shares(&self, t: u32, j: u32, tail: &Tail) -> [f32; 2] {
        let (Correction { rate, root }, [m, s]) = (self.correction(t + j), self.faded[j as usize]);
        // One step has one node.
        let apart = tail.x1 - tail.x2;
        let slope = if apart > 0.0 { 1.0 / apart } else { 0.0 };
        let second = rate * m * (tail.x1 - root * s) * slope;
        [rate * m - second, second]
    }

    /// How a row whose moments stand at step `at` gets to step `to`: over its silent steps only, or over step `at` itself
    /// as well where that step has changed the moments but not yet the row (`inclusive`).
    pub fn way(&self, at: u32, to: u32, inclusive: bool) -> Way {
        if self.replay_always || at < TAIL_FROM {
            Way::Replay { from: if inclusive { at } else { at + 1 }, to }
        } else {
            Way::Tail(self.tail(at, to - at, inclusive))
        }
    }

    /// The closed form over steps `t + first ..= t + k`, first being 0 where `inclusive` and else 1.
    pub fn tail(&self, t: u32, k: u32, inclusive: bool) -> Tail {
        let at = |step: usize| self.tails[step.min(SETTLED)];
        let (t, k) = (t as usize, k as usize);
        let (start, end) = (at(t), at(t + k));
        let fading = if k <= FORGOTTEN { self.fading[k] } else { [0.0; 4] };
        let (c, d) = if inclusive { first_term(t) } else { (0.0, 1.0) };
        let moment = |p: usize| c * d.powi(p as i32) + start[p] - fading[p] * end[p];
        let (mass, nodes, weights) = two_nodes([moment(0), moment(1), moment(2), moment(3)]);
        let rate = self.learning_rate;
        Tail {
            n0: (rate * mass * ADAM_EPSILON) as f32,
            n1: (rate * (weights[0] * nodes[1] + weights[1] * nodes[0])) as f32,
            x1: nodes[0] as f32,
            x2: nodes[1] as f32,
            fade_m: BETA_1.powi(k as i32) as f32,
            fade_v: BETA_2.powi(k as i32) as f32,
        }
    }
}

/// c_0 and d_0 at step `t`.
fn first_term(t: usize) -> (f64, f64) {
    let t = t.min(SETTLED) as i32;
    (1.0 / (1.0 - BETA_1.powi(t)), (1.0 / (1.0 - BETA_2.powi(t))).sqrt())
}

/// Two-point Gauss quadrature of a positive measure with these moments: its mass, nodes and weights.
fn two_nodes(moments: [f64; 4]) -> (f64, [f64; 2], [f64; 2]) {
    let mass = moments[0];
    if mass <= 0.0 {
        return (0.0, [1.0; 2], [0.0; 2]);
    }
    let [m1, m2, m3] = [1, 2, 3].map(|p| moments[p] / mass);
    let variance = m2 - m1 * m1;
    // All mass in one point, up to rounding.
    if variance <= 1e-13 * m1 * m1 {
        return (mass, [m1; 2], [mass, 0.0]);
    }
    let skew = m3 - 3.0 * m1 * m2 + 2.0 * m1 * m1 * m1;
    let half = skew / (2.0 * variance);
    let spread = (half * half + variance).sqrt();
    let (high, low) = (half + spread, half - spread);
    (mass, [m1 + high, m1 + low], [mass * -low / (high - low), mass * high / (high - low)])
}

#[cfg(test)]
mod tests {
    use super::super::{Onto, Projection, Rule};
    use super::*;

    fn schedule(learning_rate: f64, weight_decay: f64) -> Schedule {
        Schedule::new(&Optimizer { rule: Rule::Adam, learning_rate, weight_decay, projection: None })
    }

    /// Displacement of `k` silent steps after step `t` in f64, one by one.
    fn replay(t: u32, k: u32, s: f64, learning_rate: f64) -> f64 {
        let (mut m, mut v, mut moved) = (1.0f64, s * s, 0.0f64);
        for step in t + 1..=t + k {
            m *= BETA_1;
            v *= BETA_2;
            let m_hat = m / (1.0 - BETA_1.powi(step as i32));
            let v_hat = v / (1.0 - BETA_2.powi(step as i32));
            moved += learning_rate * m_hat / (v_hat.sqrt() + ADAM_EPSILON);
        }
        moved
    }

    fn displacement(tail: &Tail, s: f32) -> f64 {
        let eps = ADAM_EPSILON as f32;
        f64::from((tail.n0 + tail.n1 * s) / ((s * tail.x1 + eps) * (s * tail.x2 + eps)))
    }

    /// k from 1 to 10,000, second moments from far below to far above epsilon. f32 rounding alone is 3e-7.
    #[test]
    fn tail_equals_a_replay_in_double_precision() {
        let schedule = schedule(5e-4, 0.0);
        let mut worst = 0.0f64;
        for t in [300, 301, 500, 1000, 3000, 16_000, 50_000, 1_000_000] {
            for k in [1, 2, 3, 5, 10, 31, 100, 399, 400, 401, 1000, 10_000] {
                for exponent in -4..=5 {
                    let s = 10f64.powi(exponent) * ADAM_EPSILON;
                    let s = f64::from(s as f32);
                    let exact = replay(t, k, s, 5e-4);
                    let found = displacement(&schedule.tail(t, k, false), s as f32);
                    let error = (found / exact - 1.0).abs();
                    worst = worst.max(error);
                    assert!(error < 1e-6, "t {t} k {k} s {s:e}: {found} is not {exact}, {error:e}");
                }
            }
        }
        assert!(worst > 0.0);
    }

    #[test]
    fn a_step_and_its_tail_are_one() {
        let schedule = schedule(5e-4, 0.0);
        for t in [300, 5000] {
            for k in [0, 1, 7, 60] {
                for s in [1e-10, 1e-8, 1e-5f32] {
                    let correction = schedule.correction(t);
                    let step = correction.rate / (s * correction.root + ADAM_EPSILON as f32);
                    let both = f64::from(step) + replay(t, k, f64::from(s), 5e-4);
                    let found = displacement(&schedule.tail(t, k, true), s);
                    assert!((found / both - 1.0).abs() < 1e-6, "t {t} k {k} s {s:e}: {found} is not {both}");
                }
            }
        }
    }

    #[test]
    fn early_steps_decay_and_projections_are_replayed() {
        assert_eq!(schedule(1e-3, 0.0).way(299, 310, false), Way::Replay { from: 300, to: 310 });
        assert_eq!(schedule(1e-3, 0.0).way(299, 310, true), Way::Replay { from: 299, to: 310 });
        assert!(matches!(schedule(1e-3, 0.0).way(300, 310, false), Way::Tail(_)));
        assert!(matches!(schedule(1e-3, 1e-6).way(3000, 3010, false), Way::Replay { .. }));
        let projection = Some(Projection { onto: Onto::Ball, vectors: 1 });
        let projected = Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay: 0.0, projection };
        assert!(matches!(Schedule::new(&projected).way(3000, 3010, false), Way::Replay { .. }));
    }

    #[test]
    fn corrections_settle() {
        let schedule = schedule(1e-3, 0.0);
        let first = schedule.correction(1);
        assert!((first.rate - 1e-2).abs() < 1e-8 && (first.root - 1000f32.sqrt()).abs() < 1e-3);
        assert_eq!(schedule.correction(u32::MAX), Correction { rate: 1e-3, root: 1.0 });
    }
}
