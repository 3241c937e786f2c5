use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, WrapFuture};

use super::children::restart_dead;
use super::parts::SupervisorParts;
use crate::actors::ChainServerActor;

/// How often the children are looked after.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the actors when it is told to, and puts a new one behind the slots of any that has died.
#[derive(Debug)]
pub(super) struct Supervisor {
    parts: SupervisorParts,
    chain_server: Option<Addr<ChainServerActor>>,
}

impl Supervisor {
    pub(super) fn new(parts: SupervisorParts) -> Self {
        Self {
            parts,
            chain_server: None,
        }
    }

    pub(super) fn look_after_children(&mut self) {
        restart_dead(&self.parts);
        if let Some(settings) = &self.parts.chain_server
            && !self.chain_server.as_ref().is_some_and(Addr::connected)
        {
            self.chain_server = Some(self.parts.chain_server(settings).start());
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.parts.watch_management();
        self.parts.serve_retained_keys();
        ctx.spawn(self.parts.tend_trust().into_actor(self));
        ctx.run_interval(LOOK_INTERVAL, |actor, _| {
            actor.look_after_children();
            actor.parts.stores.look(Instant::now());
        });
    }
}
