//! One file per command: wiring and printing only.

pub mod bench;
pub mod data;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod methods;
pub mod recommend;
pub mod report;
pub mod similar;
pub mod train;
