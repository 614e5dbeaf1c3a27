//! What waits, whatever others do to the workload meanwhile: undo a rollout, refuse the restart with whatever code,
//! remove what we write, wipe the workload's metadata.

mod refusals;
mod stripped;
mod undo;

use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    refusals::tests(suite);
    stripped::tests(suite);
    undo::tests(suite);
}
