mod config;
mod secrets;

use crate::vectors::{Family, Op};

pub(in crate::vectors) use config::{normalise_errors, normalise_last_line};
pub(in crate::vectors) use secrets::normalise_births;

pub(super) const FAMILY: Family = Family {
    name: "stores",
    ops: &[
        Op::new("crypto_open", &["file", "keytypes"], secrets::crypto_open),
        Op::new(
            "opaque_wrap",
            &["opaque_key", "plain"],
            secrets::opaque_wrap,
        ),
        Op::new(
            "opaque_unwrap",
            &["opaque_key", "wrapped"],
            secrets::opaque_unwrap,
        ),
        Op::new(
            "oldkeys_load",
            &["opaque_key", "wrapped", "plain", "time"],
            secrets::oldkeys_load,
        )
        .with_recorded(secrets::oldkeys_recorded),
        Op::new(
            "config_read",
            &[
                "file",
                "node_id",
                "store",
                "queries[].fn",
                "queries[].name",
                "queries[].name_hex",
                "queries[].section",
                "queries[].default",
                "queries[].defaults",
                "queries[].use",
                "queries[].extra",
            ],
            config::read,
        ),
        Op::new(
            "config_write",
            &[
                "file",
                "node_id",
                "store",
                "actions[].name typed",
                "actions[].value typed",
                "actions[].section",
            ],
            config::write,
        ),
        Op::new("config_create", &["node_id", "store"], config::create),
        Op::new("value_encode", &["value typed"], config::value_encode),
        Op::new("legacy_migration", &["file", "role"], config::migrate),
    ],
};
