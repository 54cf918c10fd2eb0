//! Projections of rows, see [`crate::optimizer::projection`], and the silent steps of projected rows.
//!
//! Without weight decay moments only fade over silent steps: the j-th after step t moves a vector w by c_j m / (s d_j + eps), with
//! s = sqrt(v), the moments of step t, and c_j and d_j that are the same for all rows. As 1 / (s d + eps) hardly curves over the
//! d_j, it is interpolated between the two nodes of the closed form ([`Schedule::tail`]), and all steps move w in the plane of
//! p = m / (s x1 + eps) and q = m / (s x2 + eps), by shares that know j ([`Schedule::shares`]). A projection scales. So after every step
//!
//!   w_j = (w - a_j p - b_j q) / l_j,  (a_j, b_j) = (a_(j-1), b_(j-1)) + l_(j-1) (shares of j)
//!
//! where l_j = |w - a_j p - b_j q| on the sphere, and the largest of that, l_(j-1) and l_0 = 1 in the ball: scalars, since the square of
//! the norm is a polynomial in a_j and b_j. However many the steps are, elements see one square root and one division.

use super::{
    rules::{EPSILON, silent_step},
    simd::{Elementwise, Scale, apply, dot},
};
use crate::{
    Onto, Projection,
    optimizer::adam::{FORGOTTEN, Schedule, TAIL_FROM, Tail},
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
        return rest_in_planes(simd, schedule, projection, (time, now), [w, m, v], scratch);
    }
    for step in time + 1..=now {
        silent_step(simd, schedule, decay, step, [&mut *w, &mut *m, &mut *v]);
        project(simd, projection, w);
    }
}

/// The plane in which silent steps move a vector.
struct Plane<'a>(&'a Tail);

impl Plane<'_> {
    /// m / (sqrt(v) x + eps) at both nodes.
    #[inline(always)]
    fn span<S: Simd>(&self, simd: S, m: S::f32s, v: S::f32s) -> [S::f32s; 2] {
        let (s, epsilon) = (simd.sqrt_f32s(v), simd.splat_f32s(EPSILON));
        let one = simd.mul_add_f32s(s, simd.splat_f32s(self.0.x1), epsilon);
        let two = simd.mul_add_f32s(s, simd.splat_f32s(self.0.x2), epsilon);
        let both = simd.div_f32s(m, simd.mul_f32s(one, two));
        [simd.mul_f32s(both, two), simd.mul_f32s(both, one)]
    }

    /// Fills p and q, and returns the square of what lies in their plane.
    #[inline(always)]
    fn fill<S: Simd>(&self, simd: S, [p, q]: [&mut [f32]; 2], [w, m, v]: [&[f32]; 3]) -> Square {
        let ((p, p_rest), (q, q_rest)) = (S::as_mut_simd_f32s(p), S::as_mut_simd_f32s(q));
        let ((w, w_rest), (m, m_rest), (v, v_rest)) = (S::as_simd_f32s(w), S::as_simd_f32s(m), S::as_simd_f32s(v));
        let mut sums = [simd.splat_f32s(0.0); 6];
        for ((((p, q), &w), &m), &v) in p.iter_mut().zip(q).zip(w).zip(m).zip(v) {
            [*p, *q] = self.span(simd, m, v);
            add_products(simd, &mut sums, w, *p, *q);
        }
        if !w_rest.is_empty() {
            let [new_p, new_q] = self.span(simd, simd.partial_load_f32s(m_rest), simd.partial_load_f32s(v_rest));
            simd.partial_store_f32s(p_rest, new_p);
            simd.partial_store_f32s(q_rest, new_q);
            add_products(simd, &mut sums, simd.partial_load_f32s(w_rest), new_p, new_q);
        }
        Square {
            ww: simd.reduce_sum_f32s(sums[0]),
            wp: simd.reduce_sum_f32s(sums[1]),
            wq: simd.reduce_sum_f32s(sums[2]),
            pp: simd.reduce_sum_f32s(sums[3]),
            pq: simd.reduce_sum_f32s(sums[4]),
            qq: simd.reduce_sum_f32s(sums[5]),
        }
    }
}

/// Adds to the inner products of [`Square`].
#[inline(always)]
fn add_products<S: Simd>(simd: S, sums: &mut [S::f32s; 6], w: S::f32s, p: S::f32s, q: S::f32s) {
    sums[0] = simd.mul_add_f32s(w, w, sums[0]);
    sums[1] = simd.mul_add_f32s(w, p, sums[1]);
    sums[2] = simd.mul_add_f32s(w, q, sums[2]);
    sums[3] = simd.mul_add_f32s(p, p, sums[3]);
    sums[4] = simd.mul_add_f32s(p, q, sums[4]);
    sums[5] = simd.mul_add_f32s(q, q, sums[5]);
}

/// |w - a p - b q|^2 as a polynomial in a and b: inner products.
struct Square {
    ww: f32,
    wp: f32,
    wq: f32,
    pp: f32,
    pq: f32,
    qq: f32,
}

impl Square {
    /// As few operations after one another as there can be: the next step waits for them.
    #[inline(always)]
    fn at(&self, a: f32, b: f32) -> f32 {
        let Self { ww, wp, wq, pp, pq, qq } = *self;
        let of_a = a.mul_add(pp, b.mul_add(2.0 * pq, -2.0 * wp));
        let of_b = b.mul_add(qq, -2.0 * wq);
        a.mul_add(of_a, b.mul_add(of_b, ww))
    }
}

/// w <- factor (w - a p - b q).
struct InPlane {
    factor: f32,
    a: f32,
    b: f32,
}
impl Elementwise<1, 2> for InPlane {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, [w]: [S::f32s; 1], [p, q]: [S::f32s; 2]) -> [S::f32s; 1] {
        let moved = simd.mul_add_f32s(simd.splat_f32s(-self.a), p, w);
        let moved = simd.mul_add_f32s(simd.splat_f32s(-self.b), q, moved);
        [simd.mul_f32s(simd.splat_f32s(self.factor), moved)]
    }
}

/// [`rest_projected`] without weight decay, late enough.
#[inline(always)]
fn rest_in_planes<S: Simd>(
    simd: S,
    schedule: &Schedule,
    projection: &Projection,
    (time, now): (u32, u32),
    [w, m, v]: [&mut [f32]; 3],
    scratch: &mut [f32],
) {
    let (p, rest) = scratch.split_at_mut(w.len());
    let q = &mut rest[..w.len()];
    let tail = schedule.tail(time, now - time, false);
    let width = projection.width(w.len());
    for ((((w, p), q), m), v) in w
        .chunks_exact_mut(width)
        .zip(p.chunks_exact_mut(width))
        .zip(q.chunks_exact_mut(width))
        .zip(m.chunks_exact(width))
        .zip(v.chunks_exact(width))
    {
        let square = Plane(&tail).fill(simd, [&mut *p, &mut *q], [&*w, m, v]);
        let (mut a, mut b, mut length) = (0.0f32, 0.0f32, 1.0f32);
        // The square of a length that is no reason to scale.
        let mut kept = if projection.onto == Onto::Ball { 1.0 } else { 0.0 };
        for j in 1..=(now - time).min(FORGOTTEN as u32) {
            let [first, second] = schedule.shares(time, j, &tail);
            (a, b) = (length.mul_add(first, a), length.mul_add(second, b));
            let squared = square.at(a, b);
            if squared > kept {
                length = squared.sqrt();
                if projection.onto == Onto::Ball {
                    kept = squared;
                }
            }
        }
        apply(simd, &InPlane { factor: 1.0 / length, a, b }, [w], [&*p, &*q]);
    }
    apply(simd, &Scale(tail.fade_m), [m], []);
    apply(simd, &Scale(tail.fade_v), [v], []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Optimizer, Rule,
        optimizer::{BETA_1, BETA_2},
    };
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
            // Where the projection of the step before has left them.
            let length = if onto == Onto::Sphere { 1.0 } else { length };
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
