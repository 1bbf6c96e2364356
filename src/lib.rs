#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod consumer;
pub mod demo;
pub mod feed;
pub mod host;
pub mod logging;
pub mod private_file;
pub mod process;
pub mod reload;
pub mod service;
pub mod systemd;
pub mod telemetry;
