//! Experiments: grids of runs, analysis of what they trained, and the report.
