//! onebp-eval
