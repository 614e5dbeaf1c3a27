//! What the tests stand on. See `suite` for how a test is written, `ground` for where it runs.

pub mod command;
pub mod control_plane;
pub mod fixtures;
pub mod ground;
pub mod http;
pub mod problem;
pub mod recorded;
pub mod service;
pub mod suite;
pub mod wait;
