//! Every backend keeps the promises of the traits, on every version that it supports.

use kc::BackendChoice;
use kc_testkit::backend::{Bench, Case, PORTABLE};
use kc_testkit::kafka::{Listener, Version};
use libtest_mimic::Trial;

use crate::backends::{self, impatient};
use crate::brokers::shared;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let all = backends::ALL.into_iter();
    let cases = all.flat_map(|under_test| PORTABLE.iter().map(move |case| (under_test, *case)));
    cases
        .map(|((choice, version), case)| {
            let name = format!("conformance::{choice}_on_{version}::{}", case.name);
            trial(name, move || run(choice, version, case))
        })
        .collect()
}

async fn run(choice: BackendChoice, version: Version, case: Case) {
    let address = shared(version).address(Listener::Plaintext);
    let bench = Bench::external(move |bootstrap| impatient(choice, bootstrap), address)
        .administered_by(|bootstrap| impatient(BackendChoice::Pure, bootstrap));
    case.run(&bench).await.unwrap();
}
