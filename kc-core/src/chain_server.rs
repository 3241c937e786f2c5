//! The chain server (protocol §9), which renews short-lived chains of other nodes.
//!
//! A chain server stores a *chain key* for each node: an unsigned certificate with the node's key, its rights, and
//! the end of its latest chain. Before that end, the server signs a new certificate under its own chain, and the
//! node takes the new chain from the topic `chains`. The caller passes the time; this module reads no clock.

use std::time::Duration;

use crate::chain::{
    Certificate, CertificateKeys, ChainError, Constraints, MaxAge, ToBeSigned, ValidIdentity,
    encode_certificate,
};
use crate::keys::VerifyingKey;
use crate::types::Timestamp;

/// The rules of renewal: the time before the end of a chain at which it is renewed, and the validity of the new
/// chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenewalPolicy {
    /// The validity of a new chain.
    pub lifetime: Duration,
    /// The time before the end of a chain at which the chain is renewed, as a fraction (0 to 1) of `lifetime`.
    pub refresh_fraction: f64,
}

/// A key whose chain a chain server renews.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainKey {
    key: VerifyingKey,
    max_age: MaxAge,
    constraints: Vec<u8>,
}

/// A new chain, and the entry to store after the chain has been published. The caller signs the chain and publishes
/// it with the byte form of the node's key as the Kafka key.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    /// The chain, complete except for the signature of its last certificate.
    pub to_be_signed: ToBeSigned,
    /// The entry that replaces the old one.
    pub renewed: ChainKey,
}

impl Default for RenewalPolicy {
    /// Returns the defaults of the protocol (§9): a chain is valid for a week, and is renewed about one day before
    /// its end.
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(604_800),
            refresh_fraction: 0.143,
        }
    }
}

impl ChainKey {
    /// Reads a stored entry.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of one of the checks C06 to C08 if the entry is malformed, and
    /// [`ChainError::NotASingleKey`] (C10) if it is not for a single signing key.
    pub fn parse(entry: &[u8]) -> Result<Self, ChainError> {
        let certificate = Certificate::parse(entry)?;
        let key = match &certificate.keys {
            CertificateKeys::Single(key) => key.as_signing(),
            CertificateKeys::List(_) => None,
        };
        Ok(Self {
            key: key.ok_or(ChainError::NotASingleKey)?.clone(),
            max_age: certificate.max_age,
            constraints: certificate.encoded_constraints.to_vec(),
        })
    }

    /// Creates the entry of a key that has no chain yet. Its first chain is due at `now`.
    #[must_use]
    pub fn due_at(now: Timestamp, key: &VerifyingKey, constraints: &Constraints) -> Self {
        Self {
            key: key.clone(),
            max_age: MaxAge::until(now),
            constraints: constraints.encode(),
        }
    }

    /// Encodes the entry for storage: an unsigned certificate.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let write_key = |writer: &mut _| self.key.write_to(writer);
        encode_certificate(self.max_age, &self.constraints, write_key, (0, |_| {}))
    }

    /// Returns the key whose chain is renewed.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Returns the end of the latest chain.
    #[must_use]
    pub fn max_age(&self) -> MaxAge {
        self.max_age
    }
}

impl RenewalPolicy {
    /// Returns the time at which a key's chain must be renewed, or `None` if the chain has no end.
    #[must_use]
    pub fn due(&self, key: &ChainKey) -> Option<Timestamp> {
        let early = self.lifetime.as_secs_f64() * self.refresh_fraction;
        let end = key.max_age.timestamp()?;
        Timestamp::from_secs(end.as_secs() - early)
    }

    /// Returns the renewal of a key's chain. Returns `None` if the renewal is not due, if `own` is empty, or if the new
    /// chain would not end later than the present one.
    ///
    /// `own` are the identities of the chain server. The server signs with its first identity of the same key type as
    /// the node's key. If no identity has this type, it signs with its first identity.
    #[must_use]
    pub fn renew(&self, key: &ChainKey, own: &[ValidIdentity], now: Timestamp) -> Option<Renewal> {
        if self.due(key)? > now {
            return None;
        }
        let same_type = |own: &&ValidIdentity| own.key().key_type() == key.key.key_type();
        let identity = own.iter().find(same_type).or(own.first())?;
        let end = MaxAge::until(now.plus(self.lifetime));
        // No chain outlives the server's own. If a new chain would end no later than the present one, renewal is
        // useless.
        let lasts = end.earlier(identity.max_age());
        if !key.max_age.is_before(lasts) {
            return None;
        }
        let renewed = ChainKey {
            max_age: end,
            ..key.clone()
        };
        Some(Renewal {
            to_be_signed: identity.certify(&renewed.encode()),
            renewed: ChainKey {
                max_age: lasts,
                ..renewed
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_until(secs: f64) -> ChainKey {
        let end = Timestamp::from_secs(secs).unwrap();
        ChainKey::due_at(
            end,
            &VerifyingKey::Ed25519([7; 32]),
            &Constraints::default(),
        )
    }

    #[test]
    fn a_renewed_chain_ends_with_the_servers_own_at_the_latest_and_is_not_renewed_for_nothing() {
        let policy = RenewalPolicy {
            lifetime: Duration::from_secs(100),
            refresh_fraction: 0.25,
        };
        let at = |secs| Timestamp::from_secs(secs).unwrap();
        let server = |end| {
            let chain = vec![0x90];
            vec![ValidIdentity::of_chain(
                VerifyingKey::Ed25519([1; 32]),
                chain,
                MaxAge::until(at(end)),
            )]
        };
        let renewal = policy.renew(&key_until(1000.0), &server(1050.0), at(990.0));
        assert_eq!(renewal.unwrap().renewed, key_until(1050.0));
        let renewal = policy.renew(&key_until(1050.0), &server(1050.0), at(1040.0));
        assert_eq!(renewal, None);
    }

    #[test]
    fn an_entry_survives_its_form() {
        let key = key_until(1000.5);
        assert_eq!(ChainKey::parse(&key.encode()), Ok(key));
        assert!(ChainKey::parse(b"garbage").is_err());
    }

    #[test]
    fn a_chain_is_due_when_a_part_of_its_lifetime_is_left() {
        let policy = RenewalPolicy {
            lifetime: Duration::from_secs(100),
            refresh_fraction: 0.25,
        };
        assert_eq!(policy.due(&key_until(1000.0)).unwrap().as_secs(), 975.0);
        let unlimited = ChainKey {
            max_age: MaxAge::UNLIMITED,
            ..key_until(0.0)
        };
        assert_eq!(policy.due(&unlimited), None);
    }
}
