//! About how long a run takes: good enough to do the cheap ones first and to tell the time that is left.

use onebp_data::Csr;
use onebp_model::{encoder::Encoder, loss::Loss};
use onebp_train::Settings;

/// Multiply-adds that two cores of today do in a second, and elements that they move there.
const OPERATIONS: f64 = 5e10;
const ELEMENTS: f64 = 1e9;

/// Seconds of training and evaluating `settings` on `fit` `[M, N]`, if they go on to their last epoch.
pub fn seconds(settings: &Settings, fit: &Csr) -> f64 {
    let hyper = &settings.hyper;
    let method = &settings.method;
    let (users, items, pairs) = (fit.rows() as f64, fit.columns() as f64, fit.len() as f64);
    let dim = hyper.dim as f64;
    let steps = (pairs / hyper.batch_size as f64).max(1.0);
    let rows = method.sampler.pool().map_or(hyper.negatives, |pool| pool.size) as f64 + 2.0;
    let lookup = match method.loss {
        Loss::Buir(_) => 16.0 * pairs * dim * dim / OPERATIONS + steps * (users + items) * dim / ELEMENTS,
        Loss::Sfcml(_) => 8.0 * users * items * dim / OPERATIONS,
        _ => pairs * rows * dim / ELEMENTS,
    };
    let edges = 2.0 * pairs;
    let encoder = match method.encoder {
        Encoder::LightGcn(graph) => 2.0 * graph.layers as f64 * edges * dim * 30.0 / OPERATIONS,
        Encoder::Ngcf(graph) => {
            let dense = 12.0 * (users + items) * dim * dim / OPERATIONS;
            graph.layers as f64 * (2.0 * edges * dim * 30.0 / OPERATIONS + dense)
        }
        _ => 0.0,
    };
    let width = if let Encoder::Ngcf(graph) = method.encoder { dim * (graph.layers as f64 + 1.0) } else { dim };
    let evaluation = 2.0 * users * items * width / OPERATIONS / f64::from(settings.eval_every);
    f64::from(settings.epochs) * (lookup + steps * encoder + evaluation)
}
