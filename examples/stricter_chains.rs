//! A chain validation that is stricter than the default: only keys on a list of the application get data keys. Here
//! the list is empty, so the reader is refused.
mod stage;

use actix::{Actor, Context, Handler, ResponseFuture};
use kc::actors::{Slot, chain::ValidateChain};
use kc::core::chain::{ChainError, Usage, ValidatedChain};
use kc::core::keys::VerifyingKey;
use kc::{Error, NodeEvent};

/// Refuses nodes that the default accepts, unless they are on the list.
struct OnlyTheListed {
    default: Slot<ValidateChain>,
    listed: Vec<VerifyingKey>,
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
            // The last signing key of the chain is the node's own.
            let own = chain.signers().last();
            if asks && !own.is_some_and(|own| listed.contains(own)) {
                return Err(ChainError::Denied);
            }
            Ok(chain)
        })
    }
}

#[actix::main]
async fn main() -> Result<(), Error> {
    let stage = stage::Stage::set().await?;
    let sender = stage.node("sender").open().await?;
    let reader = stage.node("reader").open().await?;
    let validate = &sender.actors().roles().chain.validate;
    let (default, listed) = (validate.own(), Vec::new());
    validate.replace(&OnlyTheListed { default, listed }.start());

    let mut events = sender.events();
    let sealed = sender.sealer("readings").await?.seal_value(b"21.5")?;
    assert!(reader.opener().try_open_value("readings", &sealed).is_err());
    let refused = loop {
        if let Some(NodeEvent::Refused { check, .. }) = events.next().await {
            break check;
        }
    };
    println!("the sender refused the reader (check {refused})");
    Ok(())
}
