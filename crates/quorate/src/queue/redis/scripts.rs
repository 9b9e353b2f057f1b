//! The scripts of queues, and what they have in common. Those of one concern are where that is.

use crate::redis::Script;

/// What the scripts have in common.
pub(super) const LIBRARY: &str = include_str!("../library.lua");
/// The same, for those in which jobs end.
pub(super) const WITH_OUTBOX: &str = concat!(
    include_str!("../library.lua"),
    include_str!("../unique.lua"),
    include_str!("../outbox.lua"),
    include_str!("../limits.lua")
);
/// The same, for what groups are told.
pub(super) const WITH_GROUPS: &str = concat!(
    include_str!("../library.lua"),
    include_str!("../unique.lua"),
    include_str!("../outbox.lua"),
    include_str!("../groups.lua")
);

/// The same, for those that queue jobs.
pub(super) const PUSHING: &str = concat!(
    include_str!("../library.lua"),
    include_str!("../unique.lua"),
    include_str!("../pushing.lua")
);

/// The same, for those that make dead jobs ready again.
pub(super) const REDRIVING: &str = concat!(
    include_str!("../library.lua"),
    include_str!("../unique.lua"),
    include_str!("../redriving.lua")
);

pub(super) static PUSH: Script = Script::with_library(include_str!("../scripts/push.lua"), PUSHING);
pub(super) static TURN: Script =
    Script::with_library(include_str!("../scripts/turn.lua"), WITH_OUTBOX);
pub(super) static RENEW: Script =
    Script::with_library(include_str!("../scripts/renew.lua"), LIBRARY);
pub(super) static CANCEL: Script =
    Script::with_library(include_str!("../scripts/cancel.lua"), WITH_OUTBOX);
pub(super) static LOOK: Script = Script::with_library(include_str!("../scripts/look.lua"), LIBRARY);
pub(super) static AWAIT: Script =
    Script::with_library(include_str!("../scripts/await.lua"), LIBRARY);
pub(super) static INSPECT: Script =
    Script::with_library(include_str!("../scripts/inspect.lua"), LIBRARY);
pub(super) static LIST: Script = Script::with_library(include_str!("../scripts/list.lua"), LIBRARY);
pub(super) static STATS: Script =
    Script::with_library(include_str!("../scripts/stats.lua"), LIBRARY);
pub(super) static REDRIVE: Script =
    Script::with_library(include_str!("../scripts/redrive.lua"), REDRIVING);
pub(super) static EDIT: Script = Script::with_library(include_str!("../scripts/edit.lua"), LIBRARY);
pub(super) static REMOVE: Script =
    Script::with_library(include_str!("../scripts/remove.lua"), WITH_OUTBOX);
pub(super) static FSCK: Script =
    Script::with_library(include_str!("../scripts/fsck.lua"), WITH_OUTBOX);
pub(super) static BRING: Script =
    Script::with_library(include_str!("../scripts/bring.lua"), WITH_GROUPS);
pub(super) static PAUSE: Script =
    Script::with_library(include_str!("../scripts/pause.lua"), LIBRARY);
