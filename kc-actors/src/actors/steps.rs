use std::time::Duration;

use tokio::time::sleep;

use super::gateway::{ControlTopic, GatewayRole, Watch};
use super::retry::{Told, delay};

/// How long to wait before trying again to read a topic.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Has a topic read as soon as that is possible; says so if it is not soon, and again if the reason changes. (That there
/// is no broker, whoever starts the node has told.)
pub(crate) async fn watch_until_it_works(gateway: GatewayRole, topic: ControlTopic) {
    let (mut told, mut soon) = (Told::default(), true);
    loop {
        let message = Watch {
            topic: topic.clone(),
        };
        let mut wait = RETRY_DELAY;
        match gateway.watch.send(message).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                wait = delay(&error, RETRY_DELAY);
                if (error.is_fatal() || !soon) && told.fails((), &error) {
                    tracing::warn!(target: "kc::gateway", ?topic, %error, "cannot be read yet");
                }
            }
            // The gateway may be restarted.
            Err(_) => {}
        }
        soon = false;
        sleep(wait).await;
    }
}
