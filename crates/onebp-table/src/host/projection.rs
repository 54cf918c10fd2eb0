//! Projections of rows, see [`crate::optimizer::projection`], and the silent steps of projected rows.
//!
//! What a silent step moves depends on the step before as a whole, so there is no closed form. But without weight decay moments
//! only fade: the `k`-th step after step t moves a row by rate m / (sqrt(v) root + eps) with the moments of step t and with
//! corrections that know k ([`Schedule::faded`]). From one step to the next 1 / (sqrt(v) root + eps) changes by less than .2 %
//! (from step 300 on), so that it is followed by Halley's iteration, x <- x (1 + e + e^2) with e = 1 - x (sqrt(v) root + eps),
//! whose error is e^3: one square root and one division an element, however many steps there are.

use super::{
    rules::{EPSILON, silent_step},
    simd::{Elementwise, Scale, apply, dot},
};
use crate::{
    Onto, Projection,
    optimizer::{
        BETA_1, BETA_2,
        adam::{Correction, FORGOTTEN, Schedule, TAIL_FROM},
    },
};
use pulp::Simd;

/// What a vector of this square is multiplied by, where it is not where it should be.
#[inline(always)]
fn factor(onto: Onto, square: f32) -> Option<f32> {
    let norm = square.sqrt();
    let apart = match onto {
        Onto::Ball => norm > 1.0,
        Onto::Sphere => norm > 0.0,
    };
    if apart { Some(1.0 / norm) } else { None }
}

/// Projects the vectors of one row.
#[inline(always)]
pub fn project<S: Simd>(simd: S, projection: &Projection, row: &mut [f32]) {
    for vector in row.chunks_exact_mut(projection.width(row.len())) {
        if let Some(factor) = factor(projection.onto, dot(simd, vector, vector)) {
            apply(simd, &Scale(factor), [vector], []);
        }
    }
}

/// Silent steps `time + 1 ..= now`, each with its projection. `scratch` is at least two rows long.
#[inline(always)]
pub fn rest_projected<S: Simd>(
    simd: S,
    schedule: &Schedule,
    (decay, projection): (f32, &Projection),
    (time, now): (u32, u32),
    [w, m, v]: [&mut [f32]; 3],
    scratch: &mut [f32],
) {
    if decay == 0.0 && time >= TAIL_FROM {
        return rest_fading(simd, schedule, projection, (time, now), [w, m, v], scratch);
    }
    for step in time + 1..=now {
        silent_step(simd, schedule, decay, step, [&mut *w, &mut *m, &mut *v]);
        project(simd, projection, w);
    }
}

/// s <- sqrt(v), x <- 1 / (s root + eps).
struct Roots(f32);
impl Elementwise<2, 1> for Roots {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, _: [S::f32s; 2], [v]: [S::f32s; 1]) -> [S::f32s; 2] {
        let s = simd.sqrt_f32s(v);
        let below = simd.mul_add_f32s(s, simd.splat_f32s(self.0), simd.splat_f32s(EPSILON));
        [s, simd.div_f32s(simd.splat_f32s(1.0), below)]
    }
}

/// Vectors of one silent step: x follows 1 / (s root + eps), and w <- scale w - rate m x.
struct Fading {
    correction: Correction,
    scale: f32,
}

impl Fading {
    #[inline(always)]
    fn step<S: Simd>(&self, simd: S, w: S::f32s, x: S::f32s, m: S::f32s, s: S::f32s) -> [S::f32s; 2] {
        let constant = |value: f32| simd.splat_f32s(value);
        let minus = simd.mul_add_f32s(s, constant(-self.correction.root), constant(-EPSILON));
        let e = simd.mul_add_f32s(minus, x, constant(1.0));
        let x = simd.mul_add_f32s(x, simd.mul_add_f32s(e, e, e), x);
        let moved = simd.mul_f32s(simd.mul_f32s(constant(-self.correction.rate), m), x);
        [simd.mul_add_f32s(constant(self.scale), w, moved), x]
    }

    /// Over a whole vector; returns the square of what it comes to.
    #[inline(always)]
    fn over<S: Simd>(&self, simd: S, [w, x]: [&mut [f32]; 2], [m, s]: [&[f32]; 2]) -> f32 {
        let ((w, w_rest), (x, x_rest)) = (S::as_mut_simd_f32s(w), S::as_mut_simd_f32s(x));
        let ((m, m_rest), (s, s_rest)) = (S::as_simd_f32s(m), S::as_simd_f32s(s));
        let mut sums = [simd.splat_f32s(0.0); 2];
        for (((w, x), &m), &s) in w.iter_mut().zip(x).zip(m).zip(s) {
            [*w, *x] = self.step(simd, *w, *x, m, s);
            sums = [sums[1], simd.mul_add_f32s(*w, *w, sums[0])];
        }
        if !w_rest.is_empty() {
            let load = |part: &[f32]| simd.partial_load_f32s(part);
            let [new, followed] = self.step(simd, load(w_rest), load(x_rest), load(m_rest), load(s_rest));
            simd.partial_store_f32s(w_rest, new);
            simd.partial_store_f32s(x_rest, followed);
            sums[0] = simd.mul_add_f32s(new, new, sums[0]);
        }
        simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]))
    }
}

/// [`rest_projected`] without weight decay, late enough.
#[inline(always)]
fn rest_fading<S: Simd>(
    simd: S,
    schedule: &Schedule,
    projection: &Projection,
    (time, now): (u32, u32),
    [w, m, v]: [&mut [f32]; 3],
    scratch: &mut [f32],
) {
    let (s, rest) = scratch.split_at_mut(w.len());
    let x = &mut rest[..w.len()];
    let steps = now - time;
    apply(simd, &Roots(schedule.faded(time, 1).root), [&mut *s, &mut *x], [&*v]);
    let width = projection.width(w.len());
    for (((w, x), m), s) in
        w.chunks_exact_mut(width).zip(x.chunks_exact_mut(width)).zip(m.chunks_exact(width)).zip(s.chunks_exact(width))
    {
        // A step's factor is applied by the next one.
        let mut scale = None;
        for k in 1..=steps.min(FORGOTTEN as u32) {
            let fading = Fading { correction: schedule.faded(time, k), scale: scale.unwrap_or(1.0) };
            scale = factor(projection.onto, fading.over(simd, [&mut *w, &mut *x], [m, s]));
        }
        if let Some(scale) = scale {
            apply(simd, &Scale(scale), [w], []);
        }
    }
    let fade = |beta: f64| Scale(beta.powi(steps as i32) as f32);
    apply(simd, &fade(BETA_1), [m], []);
    apply(simd, &fade(BETA_2), [v], []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Optimizer, Rule};
    use proptest::prelude::*;
    use pulp::{Arch, WithSimd};

    struct Run<'a>(Projection, &'a mut [f32]);
    impl WithSimd for Run<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            project(simd, &self.0, self.1);
        }
    }

    struct Rest<'a>(&'a Schedule, Projection, (u32, u32), [&'a mut [f32]; 3]);
    impl WithSimd for Rest<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(schedule, projection, times, row) = self;
            let mut scratch = vec![f32::NAN; 2 * row[0].len()];
            rest_projected(simd, schedule, (0.0, &projection), times, row, &mut scratch);
        }
    }

    /// Silent steps one by one in f64, from f32 numbers; the projection as it is.
    fn replay(rate: f64, projection: Projection, (time, now): (u32, u32), row: [&[f32]; 3]) -> [Vec<f64>; 3] {
        let [mut w, mut m, mut v] = row.map(|part| part.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        for step in time + 1..=now {
            for ((w, m), v) in w.iter_mut().zip(&mut m).zip(&mut v) {
                (*m, *v) = (BETA_1 * *m, BETA_2 * *v);
                let corrected = [(BETA_1, *m), (BETA_2, *v)].map(|(beta, x)| x / (1.0 - beta.powi(step as i32)));
                *w -= rate * corrected[0] / (corrected[1].sqrt() + f64::from(EPSILON));
            }
            for vector in w.chunks_mut(row[0].len() / projection.vectors) {
                let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
                let divisor = if projection.onto == Onto::Ball { norm.max(1.0) } else { norm };
                vector.iter_mut().for_each(|x| *x /= divisor);
            }
        }
        [w, m, v]
    }

    proptest! {
        /// Rows that drift out of the ball, around on the sphere, or about within the ball; second moments from far below
        /// epsilon to far above.
        #[test]
        fn silent_steps_equal_a_replay_in_double_precision(
            onto in prop::sample::select(vec![Onto::Ball, Onto::Sphere]),
            vectors in 1usize..3,
            width in 1usize..40,
            time in prop::sample::select(vec![300u32, 301, 700, 5000, 100_000]),
            steps in prop::sample::select(vec![1u32, 2, 7, 31, 100, 400, 1000]),
            length in prop::sample::select(vec![0.3f32, 0.999, 1.0]),
            exponents in prop::collection::vec(-20f32..2.0, 80),
            noise in prop::collection::vec(-1f32..1.0, 160),
        ) {
            const RATE: f64 = 0.01;
            let dim = vectors * width;
            let projection = Projection { onto, vectors };
            let mut w = noise[..dim].to_vec();
            for vector in w.chunks_mut(width) {
                let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
                vector.iter_mut().for_each(|x| *x *= length / norm);
            }
            let mut v: Vec<f32> = exponents[..dim].iter().map(|x| 10f32.powf(*x)).collect();
            // Larger than Adam's own ever are, beside their second moments.
            let mut m: Vec<f32> = noise[80..][..dim].iter().zip(&v).map(|(x, v)| 3.0 * x * v.sqrt()).collect();
            let optimizer = Optimizer {
                rule: Rule::Adam, learning_rate: RATE, weight_decay: 0.0, projection: Some(projection),
            };
            let times = (time, time + steps);
            let expected = replay(RATE, projection, times, [&w, &m, &v]);
            let row: [&mut [f32]; 3] = [&mut w, &mut m, &mut v];
            Arch::new().dispatch(Rest(&Schedule::new(&optimizer), projection, times, row));
            for (found, expected) in w.iter().zip(&expected[0]) {
                prop_assert!((f64::from(*found) - expected).abs() < 3e-6, "{found} is not {expected}");
            }
            for (found, expected) in m.iter().chain(&v).zip(expected[1].iter().chain(&expected[2])) {
                let apart = (f64::from(*found) - expected).abs();
                prop_assert!(apart <= 1e-6 * expected.abs() + 1e-37, "{found} is not {expected}");
            }
        }
    }

    fn projected(onto: Onto, vectors: usize, row: &[f32]) -> Vec<f32> {
        let mut found = row.to_vec();
        Arch::new().dispatch(Run(Projection { onto, vectors }, &mut found));
        found
    }

    fn norms(vectors: usize, row: &[f32]) -> Vec<f64> {
        let norm = |vector: &[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        row.chunks(row.len() / vectors).map(norm).collect()
    }

    proptest! {
        /// Norms are as they should be, directions stay, and a second projection moves nothing but roundings.
        #[test]
        fn vectors_come_where_they_belong(
            vectors in 1usize..4,
            width in 1usize..80,
            scale in prop::sample::select(vec![1e-12f32, 1e-3, 0.1, 1.0, 1e3, 1e12]),
            noise in prop::collection::vec(-1f32..1.0, 240),
        ) {
            let row: Vec<f32> = noise[..vectors * width].iter().map(|x| x * scale).collect();
            for onto in [Onto::Ball, Onto::Sphere] {
                let found = projected(onto, vectors, &row);
                let before = norms(vectors, &row);
                for (at, (&before, after)) in before.iter().zip(norms(vectors, &found)).enumerate() {
                    let expected = match onto {
                        Onto::Sphere if before > 0.0 => 1.0,
                        _ => before.min(1.0),
                    };
                    prop_assert!((after - expected).abs() <= 1e-6 * expected, "{onto:?}: {after} is not {expected}");
                    for k in at * width..(at + 1) * width {
                        let same = f64::from(row[k]) / before.max(f64::MIN_POSITIVE) * expected;
                        prop_assert!((f64::from(found[k]) - same).abs() <= 1e-6 * expected);
                    }
                }
                for (again, once) in projected(onto, vectors, &found).iter().zip(&found) {
                    prop_assert!((again - once).abs() <= 3e-7 * once.abs(), "{onto:?}: {again} is not {once}");
                }
            }
        }

        /// Bit by bit.
        #[test]
        fn short_vectors_stay_in_the_ball(width in 1usize..80, noise in prop::collection::vec(-0.1f32..0.1, 80)) {
            prop_assert_eq!(projected(Onto::Ball, 1, &noise[..width]), &noise[..width]);
        }
    }

    #[test]
    fn zero_stays_and_what_is_no_number_shows() {
        for onto in [Onto::Ball, Onto::Sphere] {
            assert_eq!(projected(onto, 2, &[0.0, -0.0, 3.0, 4.0]), [0.0, 0.0, 0.6, 0.8]);
            assert!(projected(onto, 1, &[f32::NAN, 1.0])[0].is_nan());
            assert!(projected(onto, 1, &[f32::INFINITY, 1.0])[0].is_nan());
        }
    }
}
