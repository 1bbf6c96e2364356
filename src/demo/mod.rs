//! The demo.

pub mod board;
pub mod sensor;
pub mod view;
