//! Chain validation that is stricter than the default: beside all that a node checks, only keys of a list
//! of one's own get data keys. Here the list is empty, so the reader is refused.
mod stage;

use std::collections::HashSet;

use actix::{Actor, Context, Handler, ResponseFuture};
use kc::NodeEvent;
use kc::actors::Slot;
use kc::actors::chain::ValidateChain;
use kc::core::chain::{ChainError, Usage, ValidatedChain};
use kc::core::keys::VerifyingKey;

const TOPIC: &str = "readings";

/// Refuses whoever is not on the list, after the default has accepted them.
struct OnlyTheListed {
    default: Slot<ValidateChain>,
    listed: HashSet<VerifyingKey>,
}

impl Actor for OnlyTheListed {
    type Context = Context<Self>;
}

impl Handler<ValidateChain> for OnlyTheListed {
    type Result = ResponseFuture<Result<ValidatedChain, ChainError>>;

    fn handle(&mut self, message: ValidateChain, _: &mut Self::Context) -> Self::Result {
        let (default, listed) = (self.default.clone(), self.listed.clone());
        let asks = message.usage == Usage::EncryptRequest;
        Box::pin(async move {
            let validated = default.send(message).await;
            let chain = validated.unwrap_or(Err(ChainError::Denied))?;
            // The last signing key along the chain is the node's own.
            let node = chain.path().last();
            if asks && !node.is_some_and(|key| listed.contains(key)) {
                return Err(ChainError::Denied);
            }
            Ok(chain)
        })
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let (sender, reader) = (
        stage.node("sender").open().await?,
        stage.node("reader").open().await?,
    );
    let validate = &sender.node.roles().chain.validate;
    let stricter = OnlyTheListed {
        default: validate.own(),
        listed: HashSet::new(),
    };
    validate.replace(&stricter.start());

    let mut events = sender.node.events();
    let serializer = sender.node.serializer();
    serializer.prepare(TOPIC).await?;
    let mut sealed = Vec::new();
    serializer.seal_value(TOPIC, b"21.5 degrees", &mut sealed)?;
    let outcome = reader.node.deserializer().try_open_value(TOPIC, &sealed);
    println!("the reader: {}", outcome.name());
    while let Some(event) = events.next().await {
        if let NodeEvent::Refused { check, reason, .. } = event {
            assert_eq!(check.to_string(), "C11");
            println!("the sender: refused, {reason} (check {check})");
            return Ok(());
        }
    }
    Err("the sender has closed".into())
}
