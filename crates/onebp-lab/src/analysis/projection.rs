//! A picture of a table in the plane: t-SNE, as in Figure 4 of the paper.
//!
//! Points y_i are moved until the similarities q_ij ~ 1 / (1 + |y_i - y_j|^2) in the plane resemble those of the rows,
//! p_ij, Gaussian with a width per row such that each has about `perplexity` neighbours. It shows who is near whom; sizes
//! of clusters and distances between them mean nothing.
//!
//! Settings (spec section 12): perplexity 30, 1000 iterations, the p_ij 12-fold for the first 250, learning rate
//! max(N / 12 / 4, 50), momentum 0.5 and from iteration 250 on 0.8. The start are the first two principal components,
//! scaled so that the first has standard deviation 1e-4, which makes the picture independent of random numbers.
//!
//! Repulsion between far points is approximated by Barnes-Hut trees with theta 0.5, and a point attracts its 3 x perplexity
//! nearest ones only. All pairs would be exact, but need 43 s on one core for the 1,683 points of ML-100k, where trees need
//! 1.6 s. The neighbours are found here, all of them exactly and equally near ones by number: the library's search draws
//! random numbers that cannot be seeded. Its sums depend on the number of threads, so it runs on one.
//!
//! Source: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008; van der Maaten, "Accelerating t-SNE using
//! tree-based algorithms", JMLR 2014; Kobak and Linderman, Nature Biotechnology 2021 (start).

use super::{Rows, check_length};
use crate::Error;
use bhtsne::Neighbor;
use onebp_data::random::{Purpose, Random};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How rough the trees are: cells that look smaller than this count as one point.
const THETA: f32 = 0.5;

/// How to project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionSettings {
    /// Neighbours that a point has, about; fewer than a third of the points.
    pub perplexity: f32,
    /// Iterations.
    pub iterations: usize,
}

impl Default for ProjectionSettings {
    fn default() -> Self {
        Self { perplexity: 30.0, iterations: 1000 }
    }
}

/// A table in the plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// How it was made.
    pub settings: ProjectionSettings,
    /// Places `[n, 2]` in the order of the rows, rounded to two digits after the point. Their unit means nothing.
    pub points: Vec<[f32; 2]>,
    /// Kullback-Leibler divergence of the q_ij from the p_ij, what t-SNE makes small, in nats.
    pub divergence: f32,
}

/// Projects the rows of `items` `[N, d]`, followed by those of `others` (such as a user), each `[d]`.
///
/// # Errors
/// [`Error::Analysis`] where a value is not finite, a length is another or there are too few points for the perplexity.
pub fn t_sne(items: Rows, others: &[&[f32]], settings: &ProjectionSettings) -> Result<Projection, Error> {
    items.check("items")?;
    for row in others {
        check_length("columns of a further row", row.len(), items.dim)?;
        Rows { values: row, dim: items.dim }.check("further rows")?;
    }
    let rows: Vec<&[f32]> = (0..items.len()).map(|item| items.row(item)).chain(others.iter().copied()).collect();
    // The library stops the program where this does not hold.
    let enough = (rows.len() - 1) as f32 >= 3.0 * settings.perplexity;
    if settings.perplexity.is_nan() || settings.perplexity < 1.0 || !enough {
        return Err(Error::analysis(
            format!("{} points cannot have a perplexity of {}", rows.len(), settings.perplexity),
            "choose a perplexity of at least 1 and at most a third of the other points",
        ));
    }
    let start = start(&rows);
    let neighbours = neighbours(&rows, (3.0 * settings.perplexity) as usize);
    let run = || {
        let mut model: bhtsne::tSNE<f32, &[f32], 2> = bhtsne::tSNE::new(&rows);
        model.perplexity(settings.perplexity).epochs(settings.iterations).initial_embedding(start);
        model.barnes_hut_with_neighbors(THETA, &neighbours);
        (model.embedding(), model.kl_divergence().unwrap_or(f32::NAN))
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|error| Error::analysis(format!("no thread could be started: {error}"), "free some memory"))?;
    let (places, divergence) = pool.install(run);
    if !divergence.is_finite() || places.iter().any(|place| !place.is_finite()) {
        return Err(Error::analysis("t-SNE found no finite places", "the rows may all be equal: look at the table"));
    }
    let round = |value: f32| (value * 100.0).round() / 100.0 + 0.0;
    let points = places.chunks_exact(2).map(|place| [round(place[0]), round(place[1])]).collect();
    Ok(Projection { settings: settings.clone(), points, divergence })
}

/// The `count` rows nearest to each row, fewer than there are, nearest first and equally near ones by number.
fn neighbours(rows: &[&[f32]], count: usize) -> Vec<Vec<Neighbor<f32>>> {
    let of = |point: usize| {
        let others = (0..rows.len()).filter(|&other| other != point);
        let mut all: Vec<(f64, usize)> =
            others.map(|other| (super::squared_distance(rows[point], rows[other]), other)).collect();
        all.select_nth_unstable_by(count - 1, by_distance);
        all.truncate(count);
        all.sort_unstable_by(by_distance);
        all.into_iter().map(|(far, index)| Neighbor { index, distance: far.sqrt() as f32 }).collect()
    };
    (0..rows.len()).into_par_iter().map(of).collect()
}

fn by_distance(a: &(f64, usize), b: &(f64, usize)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// The first two principal components of the rows, scaled to standard deviation 1e-4 of the first, `[n, 2]` row by row.
fn start(rows: &[&[f32]]) -> Vec<f32> {
    let n = rows.len() as f64;
    let components = principal(rows);
    let deviation = (components.iter().map(|[x, _]| x * x).sum::<f64>() / n).sqrt();
    let scale = if deviation > 0.0 { 1e-4 / deviation } else { 0.0 };
    components.iter().flatten().map(|value| (value * scale) as f32).collect()
}

/// Coordinates of the rows along their first two principal directions, `[n, 2]`, by orthogonal iteration: two directions
/// are multiplied by the covariance and made orthonormal until they stand still. The largest element of each is positive.
fn principal(rows: &[&[f32]]) -> Vec<[f64; 2]> {
    let dim = rows.first().map_or(0, |row| row.len());
    let mut centre = vec![0.0; dim];
    rows.iter().for_each(|row| centre.iter_mut().zip(*row).for_each(|(sum, &value)| *sum += f64::from(value)));
    centre.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    let along = |row: &[f32], direction: &[f64]| -> f64 {
        row.iter().zip(&centre).zip(direction).map(|((&value, centre), d)| (f64::from(value) - centre) * d).sum()
    };
    let random = Random::new(0, Purpose::Analysis);
    let mut directions = [0u32, 1]
        .map(|number| (0..dim as u64).map(|element| random.normal_pair(number, element, 0).0).collect::<Vec<f64>>());
    orthonormal(&mut directions);
    for _ in 0..500 {
        let mut next = [vec![0.0; dim], vec![0.0; dim]];
        for row in rows {
            for (next, direction) in next.iter_mut().zip(&directions) {
                let along = along(row, direction);
                next.iter_mut()
                    .zip(row.iter().zip(&centre))
                    .for_each(|(next, (&value, centre))| *next += along * (f64::from(value) - centre));
            }
        }
        orthonormal(&mut next);
        let still = next.iter().zip(&directions).all(|(new, old)| {
            let cosine: f64 = new.iter().zip(old).map(|(a, b)| a * b).sum();
            1.0 - cosine.abs() < 1e-12
        });
        directions = next;
        if still {
            break;
        }
    }
    for direction in &mut directions {
        let largest = direction.iter().fold(0.0f64, |most, &x| if x.abs() > most.abs() { x } else { most });
        if largest < 0.0 {
            direction.iter_mut().for_each(|x| *x = -*x);
        }
    }
    rows.iter().map(|row| [along(row, &directions[0]), along(row, &directions[1])]).collect()
}

/// Gram-Schmidt of two vectors; one without a length of its own becomes zero.
fn orthonormal([first, second]: &mut [Vec<f64>; 2]) {
    let unit = |vector: &mut Vec<f64>, least: f64| {
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|x| *x = if norm > least { *x / norm } else { 0.0 });
    };
    unit(first, 0.0);
    let before = second.iter().map(|x| x * x).sum::<f64>().sqrt();
    let along: f64 = first.iter().zip(&*second).map(|(a, b)| a * b).sum();
    second.iter_mut().zip(first).for_each(|(x, f)| *x -= along * *f);
    // What rounding leaves of a vector along the first is no direction.
    unit(second, before * 1e-12);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clouds of `n` points each in five dimensions, and one point in the middle of the second.
    fn clouds(n: u64) -> (Vec<f32>, Vec<f32>) {
        let random = Random::new(4, Purpose::Analysis);
        let mut values = Vec::new();
        for i in 0..2 * n {
            let centre = if i < n { 0.0 } else { 20.0 };
            values.extend((0..5).map(|element| (centre + random.normal_pair(0, i, element).0) as f32));
        }
        (values, vec![20.0; 5])
    }

    fn settings() -> ProjectionSettings {
        ProjectionSettings { perplexity: 10.0, iterations: 300 }
    }

    #[test]
    fn clouds_stay_apart_and_threads_change_nothing() {
        let (values, other) = clouds(40);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| t_sne(Rows { values: &values, dim: 5 }, &[&other], &settings()).unwrap())
        };
        let found = run(1);
        assert_eq!(found, run(3));
        assert_eq!(found.points.len(), 81);
        let far = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        for point in 0..80 {
            let nearest = (0..80).filter(|&other| other != point).min_by(|&a, &b| {
                far(found.points[a], found.points[point]).total_cmp(&far(found.points[b], found.points[point]))
            });
            assert_eq!(nearest.unwrap() < 40, point < 40, "{point}");
        }
        let mean = |points: &[[f32; 2]]| points.iter().map(|&point| far(point, found.points[80])).sum::<f32>();
        assert!(mean(&found.points[..40]) > 2.0 * mean(&found.points[40..80]));
    }

    /// All rows but one are equal, so every choice among neighbours is one between equally near ones.
    #[test]
    fn equal_rows_are_repeatable() {
        let mut values = vec![1.0; 60];
        values[0] = 2.0;
        let run = || t_sne(Rows { values: &values, dim: 1 }, &[], &settings()).unwrap();
        assert_eq!(run(), run());
        let rows: Vec<&[f32]> = values.chunks(1).collect();
        let nearest = neighbours(&rows, 3);
        assert_eq!(nearest[0].iter().map(|one| one.index).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(nearest[2].iter().map(|one| one.index).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!((nearest[0][0].distance, nearest[2][0].distance), (1.0, 0.0));
    }

    /// Points on a line with a slope of 1/2 and a little across it.
    #[test]
    fn principal_components_by_hand() {
        let rows: [&[f32]; 4] = [&[2.0, 1.0], &[-2.0, -1.0], &[0.1, -0.2], &[-0.1, 0.2]];
        let found = principal(&rows);
        let (long, short) = (5f64.sqrt(), 0.05f64.sqrt());
        for (found, expected) in found.into_iter().zip([[long, 0.0], [-long, 0.0], [0.0, -short], [0.0, short]]) {
            assert!((found[0] - expected[0]).abs() < 1e-6 && (found[1] - expected[1]).abs() < 1e-6, "{found:?}");
        }
        let start = start(&rows);
        let deviation = (start.iter().step_by(2).map(|x| x * x).sum::<f32>() / 4.0).sqrt();
        assert!((deviation - 1e-4).abs() < 1e-9);
    }

    #[test]
    fn rows_without_two_directions_have_a_start() {
        let equal = [&[1.0f32, 2.0][..]; 3];
        assert_eq!(start(&equal), [0.0; 6]);
        let line: Vec<[f32; 1]> = (0..5).map(|x| [x as f32]).collect();
        let line: Vec<&[f32]> = line.iter().map(|row| &row[..]).collect();
        assert!(start(&line).iter().skip(1).step_by(2).all(|y| *y == 0.0));
    }

    #[test]
    fn too_few_points_and_other_rows_are_refused() {
        let rows = Rows { values: &[0.0, 1.0, 2.0], dim: 1 };
        let error = |others: &[&[f32]], settings| t_sne(rows, others, &settings).unwrap_err().to_string();
        assert!(error(&[], ProjectionSettings::default()).starts_with("3 points cannot have a perplexity of 30; "));
        assert!(error(&[&[1.0, 2.0]], settings()).starts_with("columns of a further row: 2 found, 1 expected"));
        assert!(error(&[&[f32::NAN]], settings()).starts_with("row 0 of the table of further rows holds NaN"));
    }
}
