//! That the scripts count by what their twin counts by.

use super::super::fairness::HEAD_START;
use super::super::group::{BRING_LEASE, MAX_VALUES, MOST_BROUGHT, MOST_VALUES};
use super::super::journal::{BEGUN, MAX_READ, MOST_READ, TOLD};
use super::super::note::{MAX_LOG, MOST_LINES};
use super::super::state::{
    AWAITED, KEEP_DEAD, MOST_MOVED, MOST_TOLD, PARKED, RAN_OUT, REMEMBERED, RETENTION, TELLING,
    WATCHED,
};
use super::scripts::{LIBRARY, WITH_GROUPS, WITH_OUTBOX};
use super::*;

/// What the scripts count by is what their twin counts by.
#[test]
fn the_library_has_the_constants_of_its_twin() {
    let times = [PARKED, REMEMBERED, RETENTION, KEEP_DEAD, AWAITED].map(micros);
    let turn = format!(
        "local MOST_BROUGHT, MOST_TOLD, TELLING = {MOST_BROUGHT}, {MOST_TOLD}, {}\n",
        micros(TELLING)
    );
    assert!(
        include_str!("../scripts/turn.lua").contains(&turn),
        "{turn}"
    );
    let watch = format!("local WATCHED = {}\n", micros(WATCHED));
    assert!(
        include_str!("../scripts/watch.lua").contains(&watch),
        "{watch}"
    );
    let read = format!("local MOST_READ, MAX_READ, STEP = {MOST_READ}, {MAX_READ}, ");
    assert!(
        include_str!("../scripts/read.lua").contains(&read),
        "{read}"
    );
    let begun = std::str::from_utf8(BEGUN).expect("it is JSON");
    let append = include_str!("../scripts/append.lua");
    let told = std::str::from_utf8(TOLD).expect("it is JSON");
    assert!(
        append.contains(&format!("'{begun}', '{told}'\n")),
        "{append}"
    );
    let outbox = format!(
        "local BRING_LEASE, MAX_BROUGHT = {}, {MAX_PAGE}\n",
        micros(BRING_LEASE)
    );
    assert!(WITH_OUTBOX.contains(&outbox), "{outbox}");
    let groups = format!("local MOST_VALUES, MAX_VALUES = {MOST_VALUES}, {MAX_VALUES}\n");
    assert!(WITH_GROUPS.contains(&groups), "{groups}");
    for line in [
        format!("local MOST_MOVED, HEAD_START = {MOST_MOVED}, {HEAD_START}\n"),
        format!(
            "local PARKED, REMEMBERED, RETENTION, KEEP_DEAD, AWAITED = {}\n",
            times.join(", ")
        ),
        format!("local BEGUN, TOLD = '{begun}', '{told}'\n"),
        format!("local RAN_OUT = '{RAN_OUT}'\n"),
        format!("local MOST_LINES, MAX_LOG = {MOST_LINES}, {MAX_LOG}\n"),
    ] {
        assert!(LIBRARY.contains(&line), "{line}");
    }
}
