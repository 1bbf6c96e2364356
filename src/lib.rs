#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod consumer;
pub mod demo;
pub mod doctor;
pub mod feed;
pub mod host;
pub mod http;
mod in_order;
pub mod logging;
pub mod private_file;
pub mod process;
pub mod receipts;
pub mod reload;
pub mod service;
pub mod systemd;
pub mod telemetry;
pub mod when;
