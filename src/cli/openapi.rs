//! `pushroll openapi`: the contract of the HTTP endpoints, as the service has it at `/openapi.yaml`.

use super::Answered;
use super::output::print_bytes;
use crate::server::openapi::OPENAPI;

pub(super) fn run() -> anyhow::Result<Answered> {
    print_bytes(OPENAPI.as_bytes())?;
    Ok(Answered::Yes)
}
