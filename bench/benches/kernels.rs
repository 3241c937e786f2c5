//! Sealing and opening by criterion: `cargo bench --manifest-path bench/Cargo.toml`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kc::core::message::{KeyRing, seal};
use kc::core::ratchet::{Component, KeyIdForm, Seed, StepKeys};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn kernels(criterion: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    let next = Seed::generate(&mut rng).advance().unwrap();
    let keys = &mut StepKeys::new(next.stored().0, &KeyIdForm::Short);
    let key = keys.sealing_key(&"readings".into(), &mut rng);
    let mut ring = KeyRing::default();
    ring.add(
        &"readings".into(),
        key.id(),
        key.data_key().expose_copy(),
        None,
    );
    for (name, sealing) in [("seal", true), ("open", false)] {
        let mut group = criterion.benchmark_group(name);
        for length in [100_usize, 1 << 10, 10 << 10, 100 << 10] {
            let plaintext = vec![b'x'; length];
            let mut sealed = Vec::new();
            seal(&key, Component::Value, &plaintext, &mut sealed).unwrap();
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
                let mut out = Vec::with_capacity(2 * length + 200);
                bencher.iter(|| {
                    out.clear();
                    if sealing {
                        seal(&key, Component::Value, &plaintext, &mut out).unwrap();
                    } else {
                        ring.open_into("readings", Component::Value, &sealed, &mut out)
                            .unwrap();
                    }
                });
            });
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
