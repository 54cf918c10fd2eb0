//! Sparse matrices, and their products with dense ones: how graph encoders (LightGCN, NGCF) mix the rows of their tables.
//!
//! The graph of M users and N items has the users as nodes 0..M and the items as nodes M..M+N, and for every interaction
//! (u, i) an edge (u, M+i) and its mirror. With A its adjacency and D the diagonal matrix of the nodes' degrees, spec 5.2
//! and 5.4 (g):
//!
//! ```text
//! bipartite:                  D^(-1/2) A D^(-1/2), entry 1 / sqrt(deg u * deg i); a node without edges has an empty row
//! bipartite_with_self_loops:  (D+I)^(-1) (A+I), entry 1 / (1 + deg), every row sums to 1; not symmetric
//! ```

use crate::Error;
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// A sparse matrix `[rows, columns]` on the host, row after row (CSR). Its shape and its indices are known to be sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    rows: usize,
    columns: usize,
    offsets: Vec<u32>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

/// The product of one sparse matrix with dense ones, on a device. All implementations agree to float rounding.
pub trait SparseProduct: Sized + Send + Sync {
    /// `matrix` on `device`.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is none of this implementation's, or too small.
    fn new(matrix: &Sparse, device: &Device) -> Result<Self, Error>;

    /// `scale * (A x + added)`, `[rows, d]`, for the matrix A `[rows, columns]`, `x` `[columns, d]` and `added` `[rows, d]`,
    /// both without autodiff and on the matrix's device. The same bytes whatever the number of threads.
    ///
    /// # Errors
    /// [`Error::Device`] where shapes do not fit or the device is too small for a tensor, [`Error::Execution`] where it
    /// fails or a tensor lies elsewhere or is not of f32.
    fn product(&self, x: &Tensor<2>, added: Option<&Tensor<2>>, scale: f32) -> Result<Tensor<2>, Error>;
}

impl Sparse {
    /// A matrix `[rows, columns]` whose row r has the entries `offsets[r]..offsets[r + 1]`: `values` in the columns
    /// `indices`. `offsets` `[rows + 1]`. Entries of one place add up.
    ///
    /// # Errors
    /// [`Error::Device`] where these do not fit each other.
    pub fn new(
        [rows, columns]: [usize; 2],
        offsets: Vec<u32>,
        indices: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self, Error> {
        let entries = [indices.len(), values.len()];
        check_count(entries[0].max(entries[1]))?;
        check_count(rows.max(columns))?;
        if offsets.len() != rows + 1 || entries.iter().any(|&entries| Some(&(entries as u32)) != offsets.last()) {
            let offsets = offsets.len();
            return Err(unfit(format!("{rows} rows with {offsets} offsets, {entries:?} indices and values")));
        }
        if offsets[0] != 0 || offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(unfit("the offsets of a sparse matrix must ascend from 0"));
        }
        if let Some(column) = indices.iter().find(|&&column| column as usize >= columns) {
            return Err(unfit(format!("an entry in column {column} of {columns}")));
        }
        Ok(Self { rows, columns, offsets, indices, values })
    }

    /// The symmetrically normalised adjacency, `[M + N, M + N]`, of M users and N `items`. User u has the items
    /// `chosen[offsets[u]..offsets[u + 1]]`, each once; `offsets` `[M + 1]`.
    ///
    /// # Errors
    /// [`Error::Device`] where these do not fit each other.
    pub fn bipartite(offsets: &[usize], chosen: &[u32], items: usize) -> Result<Self, Error> {
        let mut adjacency = Self::adjacency(offsets, chosen, items, false)?;
        for row in 0..adjacency.rows {
            let degree = f64::from(adjacency.length(row));
            for at in adjacency.range(row) {
                let other = f64::from(adjacency.length(adjacency.indices[at] as usize));
                adjacency.values[at] = (degree * other).sqrt().recip() as f32;
            }
        }
        Ok(adjacency)
    }

    /// The adjacency with a loop at every node, its rows divided by their sums, `[M + N, M + N]`; arguments as for
    /// [`Sparse::bipartite`]. Not symmetric: gradients need it [`Sparse::transposed`].
    ///
    /// # Errors
    /// [`Error::Device`] where the arguments do not fit each other.
    pub fn bipartite_with_self_loops(offsets: &[usize], chosen: &[u32], items: usize) -> Result<Self, Error> {
        let mut adjacency = Self::adjacency(offsets, chosen, items, true)?;
        for row in 0..adjacency.rows {
            let share = f64::from(adjacency.length(row)).recip() as f32;
            let range = adjacency.range(row);
            adjacency.values[range].fill(share);
        }
        Ok(adjacency)
    }

    /// Users first, then items, neighbours in ascending order; all values 0.
    fn adjacency(offsets: &[usize], chosen: &[u32], items: usize, loops: bool) -> Result<Self, Error> {
        let users = offsets.len().saturating_sub(1);
        let sound = offsets.first() == Some(&0)
            && offsets.last() == Some(&chosen.len())
            && offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if !sound {
            return Err(unfit(format!("offsets of {users} users do not fit {} interactions", chosen.len())));
        }
        if let Some(item) = chosen.iter().find(|&&item| item as usize >= items) {
            return Err(unfit(format!("an interaction with item {item} of {items}")));
        }
        let nodes = users + items;
        let entries = 2 * chosen.len() + if loops { nodes } else { 0 };
        check_count(entries)?;
        check_count(nodes)?;
        let mut lengths = vec![u32::from(loops); nodes];
        for user in 0..users {
            lengths[user] += (offsets[user + 1] - offsets[user]) as u32;
        }
        chosen.iter().for_each(|&item| lengths[users + item as usize] += 1);
        let starts = sums(&lengths);
        let (mut next, mut indices) = (starts.clone(), vec![0; entries]);
        let mut enter = |row: usize, column: usize| {
            indices[next[row] as usize] = column as u32;
            next[row] += 1;
        };
        for user in 0..users {
            if loops {
                enter(user, user);
            }
            for &item in &chosen[offsets[user]..offsets[user + 1]] {
                enter(user, users + item as usize);
                enter(users + item as usize, user);
            }
        }
        for node in users..nodes {
            if loops {
                enter(node, node);
            }
        }
        Ok(Self { rows: nodes, columns: nodes, offsets: starts, indices, values: vec![0.0; entries] })
    }

    /// The transposed matrix, `[columns, rows]`.
    pub fn transposed(&self) -> Self {
        let mut lengths = vec![0; self.columns];
        self.indices.iter().for_each(|&column| lengths[column as usize] += 1);
        let offsets = sums(&lengths);
        let (mut next, mut indices, mut values) = (offsets.clone(), vec![0; self.len()], vec![0.0; self.len()]);
        for row in 0..self.rows {
            for at in self.range(row) {
                let place = &mut next[self.indices[at] as usize];
                indices[*place as usize] = row as u32;
                values[*place as usize] = self.values[at];
                *place += 1;
            }
        }
        Self { rows: self.columns, columns: self.rows, offsets, indices, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Columns of all entries, row after row.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Values of all entries, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Row `row`: its columns and the values there.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.range(row);
        (&self.indices[range.clone()], &self.values[range])
    }

    fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    fn length(&self, row: usize) -> u32 {
        self.offsets[row + 1] - self.offsets[row]
    }

    /// The rows in pieces of at most `most` entries.
    pub(crate) fn cut(&self, most: u32) -> Cut {
        let mut cut = Cut::default();
        for row in 0..self.rows {
            let (start, end) = (self.offsets[row], self.offsets[row + 1]);
            if end - start <= most {
                cut.short.push(Span { row: row as u32, start, end });
                continue;
            }
            let first = cut.pieces.len() as u32;
            for (piece, start) in (start..end).step_by(most as usize).enumerate() {
                let end = end.min(start.saturating_add(most));
                cut.pieces.push(Span { row: first + piece as u32, start, end });
            }
            cut.joined.push(Span { row: row as u32, start: first, end: cut.pieces.len() as u32 });
        }
        cut
    }

    /// The dimension d of a product, if the shapes of its operands fit.
    ///
    /// # Errors
    /// [`Error::Device`] where they do not.
    pub(crate) fn check(shape: [usize; 2], x: &Tensor<2>, added: Option<&Tensor<2>>) -> Result<usize, Error> {
        let ([rows, columns], [height, dim]) = (shape, x.dims());
        if height != columns {
            return Err(unfit(format!("a matrix {shape:?} times a tensor {:?}", x.dims())));
        }
        match added.map(Tensor::dims) {
            Some(dims) if dims != [rows, dim] => {
                Err(unfit(format!("a product {:?} plus a tensor {dims:?}", [rows, dim])))
            }
            _ => Ok(dim),
        }
    }

    /// The product where the matrix, or x, has no elements: `scale * added`.
    pub(crate) fn empty_product(x: &Tensor<2>, added: Option<&Tensor<2>>, scale: f32, rows: usize) -> Tensor<2> {
        match added {
            Some(added) => added.clone() * scale,
            None => Tensor::zeros([rows, x.dims()[1]], &x.device()),
        }
    }
}

/// Entries `start..end` of a matrix, whose sum goes to row `row`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub row: u32,
    pub start: u32,
    pub end: u32,
}

/// A matrix whose long rows are cut into pieces, so that no thread has to add up a whole one. Where the cuts are depends on
/// the matrix alone, and so does the order of all additions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Rows that are one piece.
    pub short: Vec<Span>,
    /// Pieces of the others; `row` is the number of the piece.
    pub pieces: Vec<Span>,
    /// The others; entry k is piece k, with value 1.
    pub joined: Vec<Span>,
}

/// What does not fit together.
fn unfit(problem: impl Into<String>) -> Error {
    Error::Device(problem.into())
}

/// Where groups of these lengths begin, and where the last one ends.
fn sums(lengths: &[u32]) -> Vec<u32> {
    let mut sum = 0;
    let ends = lengths.iter().map(|length| {
        sum += length;
        sum
    });
    std::iter::once(0).chain(ends).collect()
}

/// Whether `count` things can be numbered.
fn check_count(count: usize) -> Result<(), Error> {
    match u32::try_from(count) {
        Ok(_) => Ok(()),
        Err(_) => Err(unfit(format!("{count} entries or nodes; a sparse matrix has at most 2^32 - 1"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users 0: items 0, 2; 1: none; 2: items 0, 1, 2. Item 3 has no user.
    const OFFSETS: [usize; 4] = [0, 2, 2, 5];
    const CHOSEN: [u32; 5] = [0, 2, 0, 1, 2];

    fn dense(matrix: &Sparse) -> Vec<Vec<f32>> {
        let mut dense = vec![vec![0.0; matrix.columns()]; matrix.rows()];
        for (row, dense) in dense.iter_mut().enumerate() {
            let (columns, values) = matrix.row(row);
            columns.iter().zip(values).for_each(|(&column, value)| dense[column as usize] += value);
        }
        dense
    }

    #[test]
    fn adjacency_is_normalised() {
        let graph = Sparse::bipartite(&OFFSETS, &CHOSEN, 4).unwrap();
        assert_eq!((graph.rows(), graph.columns(), graph.len()), (7, 7, 10));
        let dense = dense(&graph);
        let value = |product: f64| product.sqrt().recip() as f32;
        assert_eq!(dense[0], [0.0, 0.0, 0.0, value(4.0), 0.0, value(4.0), 0.0]);
        assert_eq!(dense[1], [0.0; 7]);
        assert_eq!(dense[2], [0.0, 0.0, 0.0, value(6.0), value(3.0), value(6.0), 0.0]);
        assert_eq!(dense[3], [value(4.0), 0.0, value(6.0), 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(dense[6], [0.0; 7]);
        assert_eq!(graph, graph.transposed(), "it is symmetric, and rows ascend");
    }

    #[test]
    fn rows_with_loops_sum_to_one() {
        let graph = Sparse::bipartite_with_self_loops(&OFFSETS, &CHOSEN, 4).unwrap();
        assert_eq!(graph.len(), 17);
        let dense = dense(&graph);
        for (row, dense) in dense.iter().enumerate() {
            assert!((dense.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(dense[row] > 0.0 && graph.row(row).0.is_sorted());
        }
        assert_eq!(dense[1][1], 1.0);
        assert_eq!(dense[0], [1.0 / 3.0, 0.0, 0.0, 1.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
        let transposed = graph.transposed();
        assert_ne!(transposed, graph);
        assert_eq!(transposed.transposed(), graph);
        assert_eq!(transposed.row(0), (&[0, 3, 5][..], &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0][..]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |found: Result<Sparse, Error>| assert!(found.is_err(), "{found:?}");
        refused(Sparse::bipartite(&[0, 2, 1], &[0], 4));
        refused(Sparse::bipartite(&[0, 2], &[0], 4));
        refused(Sparse::bipartite(&[], &[], 4));
        refused(Sparse::bipartite(&[0, 1], &[4], 4));
        refused(Sparse::new([2, 2], vec![0, 1], vec![0], vec![1.0]));
        refused(Sparse::new([1, 2], vec![0, 1], vec![2], vec![1.0]));
        refused(Sparse::new([1, 2], vec![1, 1], vec![0], vec![1.0]));
        refused(Sparse::new([1, 2], vec![0, 1], vec![0], vec![]));
        refused(Sparse::new([2, 2], vec![0, 2, 1], vec![0], vec![1.0]));
        assert!(Sparse::new([0, 0], vec![0], vec![], vec![]).unwrap().is_empty());
        assert_eq!(Sparse::bipartite(&[0], &[], 3).unwrap().rows(), 3);
    }

    #[test]
    fn long_rows_are_cut() {
        let matrix = Sparse::new([3, 1], vec![0, 3, 3, 10], vec![0; 10], vec![1.0; 10]).unwrap();
        let cut = matrix.cut(3);
        let span = |row, start, end| Span { row, start, end };
        assert_eq!(cut.short, [span(0, 0, 3), span(1, 3, 3)]);
        assert_eq!(cut.pieces, [span(0, 3, 6), span(1, 6, 9), span(2, 9, 10)]);
        assert_eq!(cut.joined, [span(2, 0, 3)]);
    }
}
