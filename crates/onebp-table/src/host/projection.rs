//! Projections of rows, see [`crate::optimizer::projection`], and the silent steps of projected rows.

use super::{
    rules::silent_step,
    simd::{Scale, apply, dot},
};
use crate::{Onto, Projection, optimizer::adam::Schedule};
use pulp::Simd;

/// Projects the vectors of one row.
#[inline(always)]
pub fn project<S: Simd>(simd: S, projection: &Projection, row: &mut [f32]) {
    for vector in row.chunks_exact_mut(projection.width(row.len())) {
        let norm = dot(simd, vector, vector).sqrt();
        let apart = match projection.onto {
            Onto::Ball => norm > 1.0,
            Onto::Sphere => norm > 0.0,
        };
        if apart {
            apply(simd, &Scale(1.0 / norm), [vector], []);
        }
    }
}

/// Silent steps `time + 1 ..= now`, each with its projection: what a step moves depends on the step before as a whole, so
/// there is no closed form.
#[inline(always)]
pub fn rest_projected<S: Simd>(
    simd: S,
    schedule: &Schedule,
    (decay, projection): (f32, &Projection),
    (time, now): (u32, u32),
    [w, m, v]: [&mut [f32]; 3],
) {
    for step in time + 1..=now {
        silent_step(simd, schedule, decay, step, [&mut *w, &mut *m, &mut *v]);
        project(simd, projection, w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
