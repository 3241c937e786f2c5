//! Connections that say nothing, or not all, hold nobody up.

use std::time::Duration;

use kc_broker::{Broker, MAX_FRAME_BYTES};

use crate::wire::Wire;

/// How many there are of each kind.
const SILENT: usize = 50;

#[tokio::test]
async fn connections_that_never_end_what_they_began_hold_up_no_other() {
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, silent_ones()).await.unwrap();
}

async fn silent_ones() {
    let broker = Broker::builder().start().await.unwrap();
    let largest = u32::try_from(MAX_FRAME_BYTES).unwrap().to_be_bytes();
    // Nothing, half a length, a length and nothing of what it promises, all but the end of a request.
    let beginnings = [&[][..], &largest[..2], &largest, &[0, 0, 0, 12, 0, 3, 0, 9]];
    let mut silent = Vec::new();
    for beginning in beginnings {
        for _ in 0..SILENT {
            let mut wire = Wire::connect(broker.address()).await;
            wire.send_bytes(beginning).await;
            silent.push(wire);
        }
    }
    let mut other = Wire::connect(broker.address()).await;
    for topic in ["a", "b"] {
        let answer = other.metadata(topic, true).await;
        assert_eq!(answer.topics[0].error_code, 0);
    }
    // Who ends what it began is answered, however many wait.
    let mut late = silent.remove(0);
    assert_eq!(late.metadata("a", false).await.topics[0].error_code, 0);
    // They do not keep it from stopping, either.
    broker.shutdown().await;
    for wire in silent {
        wire.expect_hang_up().await;
    }
}
