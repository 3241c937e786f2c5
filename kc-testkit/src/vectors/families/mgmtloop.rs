mod chain_server;
mod files;
mod kafka;
mod node;
mod producer;
mod trace;
mod turn;

use crate::vectors::{Family, Op};

pub(in crate::vectors) use trace::{normalise_seeks, normalise_sends};

pub(super) const FAMILY: Family = Family {
    name: "mgmtloop",
    ops: &[
        Op::new(
            "chain_server",
            &["config", "crypto_file", "time"],
            chain_server::chain_server,
        ),
        Op::new(
            "trace",
            &[
                "nodes.*.config",
                "nodes.*.crypto_file",
                "nodes.*.seed_file",
                "events[].node",
                "events[].do",
                "events[].time",
                "events[].topic",
                "events[].kv",
                "events[].plaintext",
                "events[].message",
                "events[].delivered[].topic",
                "events[].delivered[].offset",
                "events[].delivered[].key",
                "events[].delivered[].value",
                "events[].draws any",
                "events[].effects any",
                "events[].result any",
                "events[].seed_file_after",
                "events[].tracked_topics_after",
                "events[].config_after_contains",
                "events[].config_sections_after.*",
            ],
            trace::trace,
        )
        .with_recorded(trace::recorded),
    ],
};
