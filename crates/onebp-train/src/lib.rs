//! onebp-train
