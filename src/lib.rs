#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod config;
pub mod feed;
pub mod logging;
pub mod private_file;
pub mod service;
