//! The scripts, with the prefix of all keys written into them.

use lovage_redis::{Script, ScriptPart, Steps, quote};

/// What a broker asks of Redis.
#[derive(Debug)]
pub(super) struct Scripts {
    common: String,
    pub(super) begin: Script,
    pub(super) renew: Script,
    pub(super) reserve: Script,
    pub(super) recover: Script,
    pub(super) overdue: Script,
    pub(super) give_back: Script,
    pub(super) purge: Script,
    pub(super) replay: Script,
}

impl Scripts {
    pub(super) fn new(prefix: &str) -> Self {
        let common =
            format!("local P = {}\n{}", quote(prefix.as_bytes()), include_str!("lua/common.lua"));
        let script = |what, text| Script::new(what, &format!("{common}\n{text}"));
        Self {
            begin: script("beginning a session", include_str!("lua/begin.lua")),
            renew: script("renewing the session", include_str!("lua/renew.lua")),
            reserve: script("receiving", include_str!("lua/reserve.lua")),
            recover: script("receiving again", include_str!("lua/recover.lua")),
            overdue: script("sweeping", include_str!("lua/overdue.lua")),
            give_back: script("giving back", include_str!("lua/return.lua")),
            purge: script("purging kept messages", include_str!("lua/purge.lua")),
            replay: script("replaying", include_str!("lua/replay.lua")),
            common,
        }
    }

    /// The script that closes deliveries with these parts.
    pub(super) fn settle(&self, parts: &[ScriptPart]) -> Script {
        let Self { common, .. } = self;
        let steps = Steps::lua(parts);
        let text = format!("{common}\n{HOLDING}\n{steps}\n{}", include_str!("lua/settle.lua"));
        Script::new("settling", &text)
    }

    /// The script that runs one part alone, for nobody's delivery.
    pub(super) fn alone(&self, what: &'static str, part: &ScriptPart) -> Script {
        let steps = Steps::lua(std::slice::from_ref(part));
        let text = format!(
            "{}\n{steps}\nlocal answers = {{ 1 }}\nrun(closings(1), answers)\nreturn answers[1]",
            self.common
        );
        Script::new(what, &text)
    }
}

/// What settling and its parts share.
const HOLDING: &str = "
local hash, holding = inflight(ARGV[1]), alive(ARGV[1])
local held, entries = {}, {}
";
