//! SFCML, sampling-free collaborative metric learning (Bao et al., "Rethinking Collaborative Metric Learning: Toward an
//! Efficient Alternative without Negative Sampling", TPAMI 2022).
//!
//! All pairs of an item that a user chose and one that they did not, with a squared margin, and rows on the unit sphere,
//! where -|u - v|^2 = 2 <u, v> - 2. With s = 2 U V^T, Y the chosen items, n and k numbers of a user's chosen and other items,
//! D = s - m Y:
//!
//! L = mean over users of (mean_chosen D^2 + mean_rest D^2 - 2 mean_chosen D mean_rest D)
//!
//! which is the mean over all pairs (i, j) of (m + |u - v_i|^2 - |u - v_j|^2)^2. Gradient on s, with a = mean_chosen D and b =
//! mean_rest D: (2 / Bu) (D_i - b) / n for a chosen item, (2 / Bu) (s_j - a) / k for any other; its rows add up to 0. Users who
//! chose nothing or everything do not count.
//!
//! Chosen items are few. Everything else is the same for all items: with c = sum_j v_j and G = V^T V, sum_j s_j = 2 <u, c> and
//! sum_j s_j^2 = 4 u^T G u. G u is (U V^T) V, by scores one by one, 6 Bu N d operations a batch, or U (V^T V), which needs none:
//! the Gram form, 4 (N + Bu) d^2. [`Sfcml::gradients`] takes whichever is cheaper.

use super::{Draws, LossRows, LossSetting, Objective, Value, cml::check_margin};
use crate::Error;
use burn::tensor::{DType, Device, Tensor, TensorData};
use onebp_table::{AllItems, CatalogueLoss, OfUser, Onto, Score};
use serde::{Deserialize, Serialize};

/// Parameters of `sfcml`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sfcml {
    /// m, by how much any other item must be farther than a chosen one. Default 2.
    pub margin: f64,
}

impl Default for Sfcml {
    fn default() -> Self {
        Self { margin: 2.0 }
    }
}

impl Objective for Sfcml {
    fn check(&self) -> Result<(), Error> {
        check_margin(self.margin)
    }

    fn draws(&self) -> Draws {
        Draws::Users
    }

    fn score(&self) -> Score {
        Score::Distance
    }

    fn projections(&self) -> [Option<Onto>; 2] {
        [Some(Onto::Sphere), Some(Onto::Sphere)]
    }

    fn has_temperature(&self) -> bool {
        false
    }

    /// By scores one by one, under autodiff: the oracle of [`Sfcml::gradients`].
    fn forward(&self, _: LossSetting, rows: LossRows) -> Value {
        let [_, count, dim] = rows.items.dims();
        let scores = rows.users.matmul(rows.items.reshape([count, dim]).transpose()).mul_scalar(2.0);
        let chosen = rows.chosen.unwrap_or_else(|| scores.zeros_like());
        let rest = chosen.clone().neg().add_scalar(1.0);
        let differences = scores - chosen.clone().mul_scalar(self.margin);
        let squares = differences.clone() * differences.clone();
        let mean = |values: &Tensor<2>, part: &Tensor<2>| {
            (values.clone() * part.clone()).sum_dim(1) / part.clone().sum_dim(1).clamp_min(1.0)
        };
        let product = mean(&differences, &chosen) * mean(&differences, &rest);
        let losses = mean(&squares, &chosen) + mean(&squares, &rest) - product.mul_scalar(2.0);
        Value { loss: (losses * rows.shares).sum(), counted: None }
    }

    fn catalogue(&self) -> Option<&Sfcml> {
        Some(self)
    }
}

/// How the sums over the whole catalogue are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Scores of all items one by one.
    Scores,
    /// By the Gram matrix of the items.
    Gram,
}

/// A batch of whole users.
pub struct Users<'a> {
    /// Distinct users, `[Q, d]`.
    pub users: Tensor<2>,
    /// The catalogue, `[N, d]`.
    pub items: Tensor<2>,
    /// The user of each pair, `[R, d]`.
    pub user_of_pair: Tensor<2>,
    /// The item of each pair, `[R, d]`.
    pub item_of_pair: Tensor<2>,
    /// Index of the user of each pair among the distinct ones, `[R]`.
    pub slots: &'a [u32],
}

/// Loss and gradients of a batch of whole users.
pub struct CatalogueGradients {
    /// The mean loss.
    pub loss: f64,
    /// A user's gradient is the sum over their pairs, `[R, d]`.
    pub users: Tensor<2>,
    /// Of every item of the catalogue, `[N, d]` ..
    pub items: Tensor<2>,
    /// .. and on top of that of the item of each pair, `[R, d]`.
    pub item_of_pair: Tensor<2>,
}

/// A tensor's numbers on the host, in f64 whatever its type.
fn to_host(tensor: Tensor<2>) -> Result<Vec<f64>, Error> {
    let failed = |error: String| Error::Execution(error);
    let data = tensor.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
    data.convert::<f64>().try_to_vec().map_err(|error| failed(format!("{error:?}")))
}

impl Sfcml {
    /// The cheaper form for Q users, N items of width d.
    pub fn form(users: usize, dim: usize) -> Form {
        if 2 * dim < 3 * users { Form::Gram } else { Form::Scores }
    }

    /// Loss and gradients in closed form. What there is one of for each user or pair is summed on the host, in f64.
    ///
    /// # Errors
    /// [`Error::Execution`] where the device fails.
    pub fn gradients(&self, batch: Users<'_>, form: Form) -> Result<CatalogueGradients, Error> {
        let Users { users, items, user_of_pair, item_of_pair, slots } = batch;
        let ([count, _], [catalogue, _]) = (users.dims(), items.dims());
        // G U, by half the scores or by G.
        let half = (form == Form::Scores).then(|| users.clone().matmul(items.clone().transpose()));
        let all = match &half {
            Some(half) => half.clone().matmul(items.clone()),
            None => users.clone().matmul(items.clone().transpose().matmul(items.clone())),
        };
        let total: Tensor<2> = items.clone().sum_dim(0);
        let sums = (users.clone() * total.clone()).sum_dim(1).mul_scalar(2.0);
        let squares = (users.clone() * all.clone()).sum_dim(1).mul_scalar(4.0);
        let scores = (user_of_pair.clone() * item_of_pair.clone()).sum_dim(1).mul_scalar(2.0);
        let scalars = self.scalars(&to_host(sums)?, &to_host(squares)?, &to_host(scores)?, (slots, catalogue));
        let (device, dtype): (Device, DType) = (users.device(), users.dtype());
        let column = |values: &[f64]| -> Tensor<2> {
            let data = TensorData::new(values.to_vec(), [values.len(), 1]);
            Tensor::from_data(data.convert_dtype(dtype), (&device, dtype))
        };
        let Scalars { loss, means, shares, pairs } = scalars;
        let (a, share, pair) = (column(&means), column(&shares), column(&pairs));
        // dL/ds_j = share (s_j - a) for every item, and `pair` more for chosen ones.
        let of_users = ((all.mul_scalar(2.0) - a.clone().matmul(total)) * share.clone()).mul_scalar(2.0);
        let weighted = users.clone() * share;
        let constant = (weighted.clone() * a).sum_dim(0).mul_scalar(2.0);
        let squared = match half {
            Some(half) => half.transpose().matmul(weighted),
            None => items.matmul(weighted.transpose().matmul(users)),
        };
        let of_items = squared.mul_scalar(4.0) - constant;
        // A user's gradient is spread evenly over their pairs.
        let mut pairs_of = vec![0.0; count];
        slots.iter().for_each(|&slot| pairs_of[slot as usize] += 1.0);
        let parts = of_users / column(&pairs_of);
        let parts = parts.select(0, onebp_table::portable::ids(slots, &device));
        let pair = pair.mul_scalar(2.0);
        Ok(CatalogueGradients {
            loss,
            users: item_of_pair * pair.clone() + parts,
            items: of_items,
            item_of_pair: user_of_pair * pair,
        })
    }

    /// The numbers of each user and pair, from sums over all items `[Q]` and scores of pairs `[R]`.
    fn scalars(&self, sums: &[f64], squares: &[f64], scores: &[f64], (slots, items): (&[u32], usize)) -> Scalars {
        let users = sums.len();
        let mut own: Vec<Vec<usize>> = vec![Vec::new(); users];
        slots.iter().enumerate().for_each(|(pair, &slot)| own[slot as usize].push(pair));
        let counted = own.iter().filter(|own| own.len() < items).count().max(1);
        let (means, shares, pairs) = (vec![0.0; users], vec![0.0; users], vec![0.0; scores.len()]);
        let mut scalars = Scalars { loss: 0.0, means, shares, pairs };
        for (slot, own) in own.iter().enumerate() {
            let mut slopes: Vec<f64> = own.iter().map(|&pair| scores[pair]).collect();
            let all = AllItems { sum: sums[slot], squares: squares[slot], items, counted };
            let OfUser { loss, share, mean } = self.of_user(all, &mut slopes);
            scalars.loss += loss;
            (scalars.means[slot], scalars.shares[slot]) = (mean, share);
            own.iter().zip(slopes).for_each(|(&pair, slope)| scalars.pairs[pair] = slope);
        }
        scalars
    }
}

impl CatalogueLoss for Sfcml {
    fn of_user(&self, all: AllItems, scores: &mut [f64]) -> OfUser {
        let (n, m, counted) = (scores.len() as f64, self.margin, all.counted as f64);
        let k = all.items as f64 - n;
        if n == 0.0 || k <= 0.0 {
            scores.fill(0.0);
            return OfUser::default();
        }
        let (chosen, chosen_squares) = scores.iter().fold((0.0, 0.0), |(sum, squares), s| (sum + s, squares + s * s));
        let (a, b) = (chosen / n - m, (all.sum - chosen) / k);
        let of_chosen = (chosen_squares - 2.0 * m * chosen) / n + m * m;
        let of_rest = (all.squares - chosen_squares) / k;
        let share = 2.0 / (k * counted);
        for score in scores {
            *score = 2.0 / (n * counted) * (*score - m - b) - share * (*score - a);
        }
        OfUser { loss: (of_chosen + of_rest - 2.0 * a * b) / counted, share, mean: a }
    }
}

/// What there is one of for each user, or for each pair.
struct Scalars {
    loss: f64,
    /// a, `[Q]`.
    means: Vec<f64>,
    /// 2 / (k Bu), `[Q]`; 0 for users who do not count.
    shares: Vec<f64>,
    /// What a chosen item's slope is more than that of another one with its score, `[R]`.
    pairs: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ndarray;
    use burn::tensor::Device;

    const USERS: usize = 3;
    const ITEMS: usize = 5;
    /// Y = 10100 / 01000 / 11010.
    const PAIRS: [(u32, u32); 6] = [(0, 0), (0, 2), (1, 1), (2, 0), (2, 1), (2, 3)];

    /// Rows of length 1 from U[b,c] = sin(0.7(4b+c)+0.1) and V[j,c] = sin(1.1(4j+c)+0.4), in f64.
    fn rows() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let unit = |rows: usize, step: f64, start: f64| -> Vec<Vec<f64>> {
            let row = |r: usize| -> Vec<f64> { (0..4).map(|c| (step * (4 * r + c) as f64 + start).sin()).collect() };
            let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
            (0..rows).map(row).map(|row| row.iter().map(|x| x / norm(&row)).collect()).collect()
        };
        (unit(USERS, 0.7, 0.1), unit(ITEMS, 1.1, 0.4))
    }

    fn tensor(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
        let data = TensorData::new(rows.concat(), [rows.len(), 4]);
        Tensor::from_data(data, (device, DType::F64))
    }

    fn gradients(form: Form, device: &Device) -> (f64, Vec<f64>, Vec<f64>) {
        let (u, v) = rows();
        let pick = |rows: &[Vec<f64>], ids: Vec<u32>| {
            tensor(&ids.iter().map(|&id| rows[id as usize].clone()).collect::<Vec<_>>(), device)
        };
        let slots: Vec<u32> = PAIRS.iter().map(|pair| pair.0).collect();
        let batch = Users {
            users: tensor(&u, device),
            items: tensor(&v, device),
            user_of_pair: pick(&u, slots.clone()),
            item_of_pair: pick(&v, PAIRS.iter().map(|pair| pair.1).collect()),
            slots: &slots,
        };
        let found = Sfcml::default().gradients(batch, form).unwrap();
        let (mut users, mut items) = (vec![0.0; 4 * USERS], to_host(found.items).unwrap());
        let [of_users, of_items] = [found.users, found.item_of_pair].map(|tensor| to_host(tensor).unwrap());
        for (at, &(user, item)) in PAIRS.iter().enumerate() {
            for c in 0..4 {
                users[4 * user as usize + c] += of_users[4 * at + c];
                items[4 * item as usize + c] += of_items[4 * at + c];
            }
        }
        (found.loss, users, items)
    }

    /// The mean over all pairs of a chosen and another item.
    fn double_loop(u: &[Vec<f64>], v: &[Vec<f64>], margin: f64) -> f64 {
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let of_user = |(user, u): (usize, &Vec<f64>)| {
            let chosen = |item: &usize| PAIRS.contains(&(user as u32, *item as u32));
            let (mine, rest): (Vec<usize>, Vec<usize>) = (0..ITEMS).partition(chosen);
            let of_pair = |i: usize, j: usize| (margin + square(u, &v[i]) - square(u, &v[j])).powi(2);
            let sum: f64 = mine.iter().flat_map(|&i| rest.iter().map(move |&j| of_pair(i, j))).sum();
            sum / (mine.len() * rest.len()) as f64
        };
        u.iter().enumerate().map(of_user).sum::<f64>() / USERS as f64
    }

    /// T10: both forms are the double loop, and the golden value (evaluated in f64 outside this program).
    #[test]
    fn forms_equal_the_double_loop() {
        let (u, v) = rows();
        let expected = double_loop(&u, &v, 2.0);
        assert!((expected - 11.61971474).abs() < 1e-8, "{expected}");
        for device in [ndarray(), Device::flex()] {
            let [scores, gram] = [Form::Scores, Form::Gram].map(|form| gradients(form, &device));
            for (loss, users, items) in [&scores, &gram] {
                assert!((loss - expected).abs() < 1e-12, "{loss} is not {expected}");
                let both = users.iter().chain(items).zip(scores.1.iter().chain(&scores.2));
                both.for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} is not {b}"));
            }
        }
    }

    /// Gradients are differences of the fast form's own loss, which off the sphere is not the double loop, and are those of
    /// autodiff.
    #[test]
    fn gradients_are_those_of_autodiff() {
        let device = ndarray().autodiff();
        let (u, v) = rows();
        let (users, items) = (tensor(&u, &device).require_grad(), tensor(&v, &device).require_grad());
        let mut chosen = vec![0f64; USERS * ITEMS];
        PAIRS.iter().for_each(|&(user, item)| chosen[user as usize * ITEMS + item as usize] = 1.0);
        let of = |values: Vec<f64>, shape: [usize; 2]| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values, shape), (&device, DType::F64))
        };
        let shares = of(vec![1.0 / 3.0; USERS], [USERS, 1]);
        let rows = LossRows {
            users: users.clone(),
            items: items.clone().reshape([1, ITEMS, 4]),
            shares: shares.clone(),
            user_shares: shares,
            chosen: Some(of(chosen, [USERS, ITEMS])),
        };
        let loss = Sfcml::default().forward(LossSetting { temperature: 1.0, items: ITEMS }, rows).loss;
        let backward = loss.backward();
        let found = [users.grad(&backward).unwrap(), items.grad(&backward).unwrap()].map(|g| to_host(g).unwrap());
        let (_, of_users, of_items) = gradients(Form::Gram, &ndarray());
        for (a, b) in found.iter().flatten().zip(of_users.iter().chain(&of_items)) {
            assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        }
    }

    /// T10: a user's slopes add up to 0. Items' gradients are slopes times users, so with all users equal they do too.
    #[test]
    fn slopes_add_up_to_nothing() {
        let scores = [0.3, -0.2, 0.5, 0.1];
        let scalars = Sfcml::default().scalars(&[1.0], &[0.7], &scores[..2], (&[0, 0], 6));
        let Scalars { means, shares, pairs, .. } = scalars;
        let everywhere = shares[0] * (1.0 - 6.0 * means[0]);
        assert!((everywhere + pairs.iter().sum::<f64>()).abs() < 1e-12);
    }

    /// Without a margin, equal scores cost nothing; a user who chose everything does not count.
    #[test]
    fn edges() {
        let none = Sfcml { margin: 0.0 }.scalars(&[3.0], &[1.5], &[0.5, 0.5], (&[0, 0], 6));
        assert!(none.loss.abs() < 1e-12 && none.pairs.iter().all(|slope| slope.abs() < 1e-12));
        let all = Sfcml::default().scalars(&[1.0, 1.0], &[1.0, 1.0], &[0.5, 0.5, 0.2], (&[0, 0, 1], 2));
        let alone = Sfcml::default().scalars(&[1.0], &[1.0], &[0.2], (&[0], 2));
        assert_eq!((all.loss, &all.pairs[..2], all.pairs[2]), (alone.loss, &[0.0, 0.0][..], alone.pairs[0]));
    }
}
