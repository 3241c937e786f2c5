use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

use actix::{Context, Handler, ResponseFuture};
use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, Capabilities, GroupConsumer, GroupStart, LogReader, Producer, Subscription,
};
use kc_core::ratchet::{KeyIdForm, RatchetConfig, RetainedKeys, Step};
use kc_core::store::{RatchetStore, StoreError};

use super::super::supervisor::tests::{Nothing, parts};
use super::*;
use crate::actors::ratchet::{RatchetActor, RatchetParts, SealingKeyFor};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// Blocks the calling thread until the test has ended.
#[derive(Debug)]
struct Stuck {
    entered: Sender<()>,
    test: Arc<Mutex<Receiver<Infallible>>>,
}

/// Reports that a thread is blocked, and releases the thread when this value is dropped.
struct Gate {
    entered: Receiver<()>,
    _test: Sender<Infallible>,
}

impl Stuck {
    fn new() -> (Self, Gate) {
        let ((entering, entered), (running, test)) = (channel(), channel());
        let stuck = Self {
            entered: entering,
            test: Arc::new(Mutex::new(test)),
        };
        let gate = Gate {
            entered,
            _test: running,
        };
        (stuck, gate)
    }

    fn block<T>(&self) -> T {
        let _ = self.entered.send(());
        let _ = self.test.lock().unwrap().recv();
        panic!("the test has ended");
    }
}

#[async_trait]
impl Backend for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::MINIMAL
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        self.block()
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        self.block()
    }

    async fn log_reader(&self, _: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        self.block()
    }

    async fn group_consumer(
        &self,
        _: &str,
        _: &Subscription,
        _: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        self.block()
    }
}

impl RatchetStore for Stuck {
    fn step(&mut self) -> Result<Step, StoreError> {
        self.block()
    }
}

/// A gateway that never closes.
struct Open;

impl Actor for Open {
    type Context = Context<Self>;
}

impl Handler<CloseGateway> for Open {
    type Result = ResponseFuture<Result<(), BackendError>>;

    fn handle(&mut self, _: CloseGateway, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

fn stop(node: NodeThread, deadline: Duration) -> ShutdownReport {
    pollster::block_on(node.stop(deadline)).unwrap()
}

fn kind(report: &ShutdownReport) -> Option<BackendErrorKind> {
    report.gateway.as_ref().err().map(BackendError::kind)
}

#[test]
fn a_node_whose_thread_is_blocked_is_left_behind() {
    let (stuck, gate) = Stuck::new();
    let mut parts = parts();
    parts.backend = Arc::new(stuck);
    let node = NodeThread::spawn(parts).unwrap();
    gate.entered.recv().unwrap();
    let report = stop(node, Duration::ZERO);
    assert_eq!(kind(&report), Some(BackendErrorKind::Timeout));
    assert!(report.still_running.contains(&"node"), "{report:?}");
}

#[test]
fn a_blocked_actor_is_left_behind_and_named() {
    let (stuck, gate) = Stuck::new();
    let mut parts = parts();
    parts.ratchet = RatchetActor::new(RatchetParts {
        store: Some(Box::new(stuck)),
        archive: Some(Box::new(Nothing)),
        retained: RetainedKeys::default(),
        used: None,
        config: RatchetConfig {
            form: KeyIdForm::Short,
            interval: Duration::MAX,
            max_age: Duration::MAX,
        },
        entropy: Entropy::system(),
        clock: Clock::system(),
    });
    let sealing_keys = parts.roles.ratchet.sealing_key.clone();
    let node = NodeThread::spawn(parts).unwrap();
    thread::spawn(move || {
        let root_topic = "t".into();
        pollster::block_on(sealing_keys.send(SealingKeyFor { root_topic }))
    });
    gate.entered.recv().unwrap();
    let report = stop(node, Duration::from_secs(2));
    assert_eq!(kind(&report), None);
    assert!(report.still_running.contains(&"ratchet"), "{report:?}");
}

#[test]
fn a_gateway_that_never_closes_ends_at_the_deadline() {
    let parts = parts();
    let close_gateway = parts.roles.gateway.close.clone();
    let node = NodeThread::spawn(parts).unwrap();
    let (connected, connects) = channel();
    thread::spawn(move || {
        System::new().block_on(async {
            close_gateway.replace(&Open.start());
            connected.send(()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    connects.recv().unwrap();
    let report = stop(node, Duration::ZERO);
    assert_eq!(kind(&report), Some(BackendErrorKind::Timeout));
}

#[test]
fn work_is_done_elsewhere_without_any_runtime() {
    let worker = pollster::block_on(run_on_thread(|| thread::current().id())).unwrap();
    assert_ne!(worker, thread::current().id());
}

#[test]
fn a_panic_is_passed_on_to_the_caller() {
    let failing = || pollster::block_on(run_on_thread(|| -> () { panic!("of the work") }));
    let panic = catch_unwind(AssertUnwindSafe(failing)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"of the work"));
}
