//! What is stored outlives the version that wrote it: during a roll two versions work side by side, and after a roll-back
//! the older one reads what the newer one wrote. Formats only add fields, and unknown fields are ignored.
//!
//! `formats/before` holds objects as the version before the change to `pushroll-waiting` wrote them, read from a real API
//! server (1.36). Only the namespace of ConfigMaps and the Lease, and the host's name in the Lease, were replaced.

mod read;
mod readers_of_before;
mod recorded;
mod written;

use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(read::recorded_pushes_are_known);
    suite.on_both(read::a_recorded_deferral_holds_nothing_up);
    suite.on_control_plane(read::what_is_left_of_deferrals_is_removed);
    suite.on_both(read::recorded_documents_are_read_everywhere);
    suite.on_both(read::a_recorded_version_of_the_cache_is_the_current_one);
    suite.on_both(read::a_recorded_lease_is_taken_over);
    suite.on_both(read::fields_of_a_later_version_are_ignored);
    suite.on_both(written::the_version_before_reads_the_record);
    suite.on_both(written::the_version_before_reads_the_document);
    suite.on_both(written::the_version_before_reads_versions_of_the_cache_and_the_lease);
    suite.plain(written::the_readers_of_before_read_what_was_recorded);
}
