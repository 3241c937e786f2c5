//! SLH-DSA, the costly half of a hybrid signature, beside the crate `fips205`.

use fips205::slh_dsa_shake_128f::{KG, PrivateKey, SIG_LEN};
use fips205::traits::{KeyGen, Signer as _, Verifier};
use kc::core::keys::{KeyType, Signer, SigningKey, SlhDsaHalf, VerifyingKey};
use kc::core::secret::Secret;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_core_06::OsRng;

use crate::report::Report;
use crate::rounds::{Plan, Work};

const NAME: &str = "fips205";
const MESSAGE: &[u8] = b"a certificate";

pub fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(1);
    let half = SlhDsaHalf::from_seed(&Secret::fill_with(|seed: &mut [u8; 48]| seed.fill(3)));
    let (public, private): (_, PrivateKey) = KG::keygen_from_seed(&[3; 16], &[3; 16], &[3; 16]);
    let ours = Work::once(|| half.complete(MESSAGE, &mut rng));
    let theirs = Work::once(|| private.try_sign_with_rng(&mut OsRng, MESSAGE, &[], true));
    report.add(plan.compare("sign/slh-dsa", ours, NAME, theirs))?;

    // A hybrid key also verifies a signature of Ed25519.
    let mut rng = StdRng::seed_from_u64(2);
    let key = SigningKey::generate(KeyType::Hybrid, &mut rng);
    let signed = key.sign(MESSAGE, &mut rng)?;
    let hybrid: &VerifyingKey = key.verifying_key();
    let signature: [u8; SIG_LEN] = private
        .try_sign_with_rng(&mut OsRng, MESSAGE, &[], true)
        .map_err(anyhow::Error::msg)?;
    let ours = Work::once(|| assert!(hybrid.verify(&signed).is_ok()));
    let theirs = Work::once(|| assert!(public.verify(MESSAGE, &signature, &[])));
    report.add(plan.compare("verify/hybrid", ours, NAME, theirs))
}
