//! The market maker.

pub mod account;
pub mod book;
pub mod lane;
pub mod offer;
pub mod outcome;
pub mod purchase;
pub mod reject;
pub mod store;
