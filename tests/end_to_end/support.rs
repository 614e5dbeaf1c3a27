//! What the tests stand on. See `suite` for how a test is written, `ground` for where it runs.

pub mod believable;
pub mod certificates;
pub mod chance;
pub mod command;
pub mod control_plane;
pub mod deliverer;
pub mod documents;
pub mod fixtures;
pub mod gate;
pub mod ground;
pub mod http;
pub mod in_process;
pub mod issuer;
pub mod kubectl;
pub mod kubernetes;
pub mod load_balancer;
pub mod policy;
pub mod problem;
pub mod proxy;
pub mod recorded;
pub mod replica;
pub mod service;
pub mod service_account;
pub mod suite;
pub mod volume;
pub mod wait;
