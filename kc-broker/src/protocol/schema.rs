//! The layout of every request, in the terms of [`shape`](super::shape). Source: the message
//! definitions of Apache Kafka, as the codec implements them; a test compares the two.

/// A field and the versions that have it.
pub(super) struct Field {
    pub(super) since: i16,
    pub(super) until: i16,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, null or not.
    Text,
    /// Bytes or records, null or not.
    Blob,
    /// An array, null or not.
    List(&'static Kind),
    Struct(&'static [Field]),
}

use Kind::{Blob, Fixed, List, Struct, Text};

/// In all versions.
const fn all(kind: Kind) -> Field {
    span(0, i16::MAX, kind)
}

const fn since(since: i16, kind: Kind) -> Field {
    span(since, i16::MAX, kind)
}

const fn span(since: i16, until: i16, kind: Kind) -> Field {
    Field { since, until, kind }
}

const BOOL: Kind = Fixed(1);
const INT8: Kind = Fixed(1);
const INT16: Kind = Fixed(2);
const INT32: Kind = Fixed(4);
const INT64: Kind = Fixed(8);
const UUID: Kind = Fixed(16);
const TEXTS: Kind = List(&Text);
const INT32S: Kind = List(&INT32);

type Layout = &'static [Field];

pub(super) const PRODUCE: Layout = &[
    all(Text),  // transactional id
    all(INT16), // acks
    all(INT32), // timeout
    all(List(&Struct(&[
        all(Text),
        all(List(&Struct(&[all(INT32), all(Blob)]))),
    ]))),
];

pub(super) const FETCH: Layout = &[
    all(INT32),      // replica id
    all(INT32),      // max wait
    all(INT32),      // min bytes
    all(INT32),      // max bytes
    all(INT8),       // isolation level
    since(7, INT32), // session id
    since(7, INT32), // session epoch
    all(List(&Struct(&[
        all(Text),
        all(List(&Struct(&[
            all(INT32),       // partition
            since(9, INT32),  // current leader epoch
            all(INT64),       // fetch offset
            since(12, INT32), // last fetched epoch
            since(5, INT64),  // log start offset
            all(INT32),       // max bytes
        ]))),
    ]))),
    since(7, List(&Struct(&[all(Text), all(INT32S)]))), // forgotten topics
    since(11, Text),                                    // rack
];

pub(super) const LIST_OFFSETS: Layout = &[
    all(INT32),     // replica id
    since(2, INT8), // isolation level
    all(List(&Struct(&[
        all(Text),
        all(List(&Struct(&[
            all(INT32),      // partition
            since(4, INT32), // current leader epoch
            all(INT64),      // timestamp
        ]))),
    ]))),
];

pub(super) const METADATA: Layout = &[
    all(List(&Struct(&[since(10, UUID), all(Text)]))),
    since(4, BOOL),    // allow auto-creation
    span(8, 10, BOOL), // include cluster operations
    since(8, BOOL),    // include topic operations
];

pub(super) const OFFSET_COMMIT: Layout = &[
    all(Text),         // group
    all(INT32),        // generation
    all(Text),         // member
    since(7, Text),    // instance
    span(2, 4, INT64), // retention
    all(List(&Struct(&[
        all(Text),
        all(List(&Struct(&[
            all(INT32),      // partition
            all(INT64),      // offset
            since(6, INT32), // leader epoch
            all(Text),       // metadata
        ]))),
    ]))),
];

const TOPIC_PARTITIONS: Kind = List(&Struct(&[all(Text), all(INT32S)]));

pub(super) const OFFSET_FETCH: Layout = &[
    span(1, 7, Text), // group
    span(1, 7, TOPIC_PARTITIONS),
    since(
        8,
        List(&Struct(&[
            all(Text),       // group
            since(9, Text),  // member
            since(9, INT32), // member epoch
            all(TOPIC_PARTITIONS),
        ])),
    ),
    since(7, BOOL), // require stable
];

pub(super) const FIND_COORDINATOR: Layout = &[
    span(0, 3, Text), // key
    since(1, INT8),   // key type
    since(4, TEXTS),  // keys
];

pub(super) const JOIN_GROUP: Layout = &[
    all(Text),       // group
    all(INT32),      // session timeout
    since(1, INT32), // rebalance timeout
    all(Text),       // member
    since(5, Text),  // instance
    all(Text),       // protocol type
    all(List(&Struct(&[all(Text), all(Blob)]))),
    since(8, Text), // reason
];

pub(super) const HEARTBEAT: Layout = &[
    all(Text),      // group
    all(INT32),     // generation
    all(Text),      // member
    since(3, Text), // instance
];

pub(super) const LEAVE_GROUP: Layout = &[
    all(Text),        // group
    span(0, 2, Text), // member
    since(
        3,
        List(&Struct(&[
            all(Text),      // member
            all(Text),      // instance
            since(5, Text), // reason
        ])),
    ),
];

pub(super) const SYNC_GROUP: Layout = &[
    all(Text),      // group
    all(INT32),     // generation
    all(Text),      // member
    since(3, Text), // instance
    since(5, Text), // protocol type
    since(5, Text), // protocol
    all(List(&Struct(&[all(Text), all(Blob)]))),
];

pub(super) const DESCRIBE_GROUPS: Layout = &[all(TEXTS), since(3, BOOL)];

pub(super) const LIST_GROUPS: Layout = &[since(4, TEXTS), since(5, TEXTS)];

pub(super) const API_VERSIONS: Layout = &[since(3, Text), since(3, Text)];

pub(super) const CREATE_TOPICS: Layout = &[
    all(List(&Struct(&[
        all(Text),
        all(INT32),                                     // partitions
        all(INT16),                                     // replication factor
        all(List(&Struct(&[all(INT32), all(INT32S)]))), // assignments
        all(List(&Struct(&[all(Text), all(Text)]))),    // settings
    ]))),
    all(INT32), // timeout
    all(BOOL),  // validate only
];

pub(super) const DELETE_TOPICS: Layout = &[
    since(6, List(&Struct(&[all(Text), all(UUID)]))),
    span(1, 5, TEXTS),
    all(INT32), // timeout
];

pub(super) const DELETE_RECORDS: Layout = &[
    all(List(&Struct(&[
        all(Text),
        all(List(&Struct(&[all(INT32), all(INT64)]))),
    ]))),
    all(INT32), // timeout
];

pub(super) const INIT_PRODUCER_ID: Layout = &[
    all(Text),       // transactional id
    all(INT32),      // transaction timeout
    since(3, INT64), // producer id
    since(3, INT16), // producer epoch
];

pub(super) const DESCRIBE_CONFIGS: Layout = &[
    all(List(&Struct(&[all(INT8), all(Text), all(TEXTS)]))),
    all(BOOL),      // include synonyms
    since(3, BOOL), // include documentation
];

pub(super) const CREATE_PARTITIONS: Layout = &[
    all(List(&Struct(&[
        all(Text),
        all(INT32),                         // count
        all(List(&Struct(&[all(INT32S)]))), // assignments
    ]))),
    all(INT32), // timeout
    all(BOOL),  // validate only
];

pub(super) const DELETE_GROUPS: Layout = &[all(TEXTS)];

pub(super) const INCREMENTAL_ALTER_CONFIGS: Layout = &[
    all(List(&Struct(&[
        all(INT8), // resource type
        all(Text), // resource name
        all(List(&Struct(&[all(Text), all(INT8), all(Text)]))),
    ]))),
    all(BOOL), // validate only
];
