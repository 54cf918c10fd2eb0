//! onebp-model
