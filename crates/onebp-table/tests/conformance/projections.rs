//! Projections after the steps of an optimizer.

use super::{rows::*, script::*, *};
use onebp_table::{
    Embedding, Onto, Optimizer, Projection, Rule, cube::CubeTable, host::HostTable, portable::PortableTable,
};

/// Widths of rows of one vector, and of three: what fills vectors of four floats and what does not.
const DIMS: [(usize, &[usize]); 2] = [(1, &[1, 3, 16, 33]), (3, &[3, 33, 48, 72])];

/// Every rule with every projection, and the widths for it.
fn optimizers() -> impl Iterator<Item = (Optimizer, &'static [usize])> {
    let kinds = [
        (Rule::Adam, 0.01, 0.0),
        (Rule::Adam, 0.01, 0.03),
        (Rule::LazyAdam, 0.01, 0.0),
        (Rule::Adagrad, 0.1, 0.03),
        (Rule::RowwiseAdagrad, 0.1, 0.0),
        (Rule::Sgd, 0.1, 0.0),
    ];
    kinds.into_iter().flat_map(|(rule, learning_rate, weight_decay)| {
        [Onto::Ball, Onto::Sphere].into_iter().flat_map(move |onto| {
            DIMS.map(|(vectors, dims)| {
                let projection = Some(Projection { onto, vectors });
                (Optimizer { rule, learning_rate, weight_decay, projection }, dims)
            })
        })
    })
}

/// The vectors of the rows that a step has moved are where they belong; zero vectors are nowhere else than before.
fn assert_projected(table: &Table, moved: impl Fn(u32) -> bool, projection: &Projection, what: &str) {
    for row in (0..table.rows).filter(|row| moved(*row as u32)) {
        for vector in table.row(row).chunks(table.dim / projection.vectors) {
            let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let fits = match projection.onto {
                Onto::Ball => norm <= 1.0 + 1e-6,
                Onto::Sphere => (norm - 1.0).abs() <= 1e-6 || norm == 0.0,
            };
            assert!(fits, "{what}: row {row} has norm {norm}");
        }
    }
}

/// The first row begins at zero.
fn from_zero(script: &Script) -> Script {
    let mut script = script.clone();
    script.start.values[..script.start.dim].fill(0.0);
    script
}

fn agrees<E: Embedding>(device: &Device, cases: u32) {
    for (optimizer, dims) in optimizers() {
        for_scripts(cases, 12, dims, |script| {
            let script = from_zero(script);
            follows_the_oracle::<E>(device, &script, &optimizer);
            projects::<E>(device, &script, &optimizer);
        });
    }
}

/// After every step the rows that it moved are projected, and looking at them leaves no trace.
fn projects<E: Embedding>(device: &Device, script: &Script, optimizer: &Optimizer) {
    let Some(projection) = &optimizer.projection else { return };
    let dim = script.start.dim;
    let mut table = E::new(&script.start, Some(optimizer), device).unwrap();
    let mut unseen = E::new(&script.start, Some(optimizer), device).unwrap();
    let mut moved = vec![optimizer.rule == Rule::Adam; script.start.rows];
    assert_eq!(table.view().unwrap(), script.start, "nothing is projected before the first step");
    for one in script.steps.iter().filter(|one| !one.places.is_empty()) {
        step(&mut table, one, dim, device);
        step(&mut unseen, one, dim, device);
        one.touched.rows.iter().for_each(|&row| moved[row as usize] = true);
        let view = table.view().unwrap();
        assert_projected(&view, |row| moved[row as usize], projection, &format!("{optimizer:?}"));
        assert!(view == table.view().unwrap(), "the same bytes twice");
    }
    assert!(table.state().unwrap() == unseen.state().unwrap(), "{optimizer:?}");
}

/// A table cannot be projected in vectors that it does not consist of.
fn refuses<E: Embedding>(device: &Device) {
    for vectors in [0, 2, 14] {
        let projection = Some(Projection { onto: Onto::Ball, vectors });
        let optimizer = Optimizer { rule: Rule::Sgd, learning_rate: 0.1, weight_decay: 0.0, projection };
        assert!(E::new(&Table::filled(0.5, 3, 7), Some(&optimizer), device).is_err());
    }
}

fn restores_projected<E: Embedding>(device: &Device, cases: u32) {
    for (optimizer, dims) in optimizers() {
        restores::<E>(device, cases, &optimizer, dims);
    }
}

/// Rows that rest for hundreds of steps.
fn rests_projected<E: Embedding>(device: &Device, steps: usize) {
    for (weight_decay, onto) in [(0.0, Onto::Sphere), (0.0, Onto::Ball), (1e-2, Onto::Sphere)] {
        let projection = Some(Projection { onto, vectors: 2 });
        long_rests::<E>(device, steps, &Optimizer { rule: Rule::Adam, learning_rate: 1e-3, weight_decay, projection });
    }
}

#[test]
fn projections_agree_on_the_host() {
    agrees::<HostTable>(&ndarray(), 20);
    agrees::<HostTable>(&Device::flex(), 5);
    agrees::<PortableTable>(&ndarray(), 5);
    restores_projected::<HostTable>(&Device::flex(), 5);
    refuses::<HostTable>(&ndarray());
    refuses::<PortableTable>(&ndarray());
}

#[test]
fn long_projected_rests_agree_on_the_host() {
    rests_projected::<HostTable>(&ndarray(), 1500);
}

#[test]
fn projections_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        agrees::<CubeTable>(&device, 2);
        restores_projected::<CubeTable>(&device, 1);
        refuses::<CubeTable>(&device);
    }
}

#[test]
fn long_projected_rests_agree_on_wgpu() {
    if let Some(device) = wgpu() {
        rests_projected::<CubeTable>(&device, 500);
    }
}
