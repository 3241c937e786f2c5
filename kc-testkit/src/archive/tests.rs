//! The cases pass on a correct archive, and each fault is detected by the case for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kc_core::chain_server::ChainKey;
use kc_core::ratchet::{DataKey, RetainedKey};
use kc_core::secret::Secret;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    KeepsOldKeys,
    ForgetsStep,
    RepeatsEntries,
    MixesLists,
    MixesChains,
    ForgetsChainKeys,
}

#[derive(Clone, Debug)]
struct Memory {
    fault: Fault,
    stored: Arc<Mutex<Stored>>,
}

#[derive(Debug, Default)]
struct Stored {
    keys: Vec<RetainedKey>,
    used: Option<u64>,
    lists: Vec<(TrustList, TrustEntry)>,
    chains: BTreeMap<usize, Vec<u8>>,
    chain_keys: BTreeMap<String, ChainKey>,
}

fn copy(key: &RetainedKey) -> RetainedKey {
    RetainedKey {
        root_topic: key.root_topic.clone(),
        id: key.id,
        secret: DataKey::from(Secret::from_slice(key.secret.expose()).unwrap()),
        birth: key.birth,
    }
}

impl RetainedKeysArchive for Memory {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        let mut stored = self.stored.lock().unwrap();
        if self.fault != Fault::KeepsOldKeys {
            stored.keys.clear();
        }
        stored.keys.extend(keys.iter().map(copy));
        if used.is_some() || self.fault == Fault::ForgetsStep {
            stored.used = used;
        }
        Ok(())
    }
}

impl TrustArchive for Memory {
    fn add_entry(&mut self, list: TrustList, entry: &TrustEntry) -> Result<(), StoreError> {
        let mut stored = self.stored.lock().unwrap();
        let list = match self.fault {
            Fault::MixesLists => TrustList::Allow,
            _ => list,
        };
        let entry = (list, entry.clone());
        if !stored.lists.contains(&entry) || self.fault == Fault::RepeatsEntries {
            stored.lists.push(entry);
        }
        Ok(())
    }

    fn replace_chain(&mut self, index: usize, chain: &[u8]) -> Result<(), StoreError> {
        let index = match self.fault {
            Fault::MixesChains => 0,
            _ => index,
        };
        let mut stored = self.stored.lock().unwrap();
        stored.chains.insert(index, chain.to_vec());
        Ok(())
    }
}

impl ChainKeyArchive for Memory {
    fn load(&self) -> Result<Vec<(String, ChainKey)>, StoreError> {
        let stored = self.stored.lock().unwrap();
        Ok(stored.chain_keys.clone().into_iter().collect())
    }

    fn store(&self, name: &str, key: &ChainKey) -> Result<(), StoreError> {
        let mut stored = self.stored.lock().unwrap();
        if self.fault == Fault::ForgetsChainKeys {
            stored.chain_keys.clear();
        }
        stored.chain_keys.insert(name.into(), key.clone());
        Ok(())
    }
}

impl Bench for Memory {
    fn retained_keys(&self) -> Result<Box<dyn RetainedKeysArchive>, StoreError> {
        Ok(Box::new(self.clone()))
    }

    fn stored_keys(&self) -> Result<(RetainedKeys, Option<u64>), StoreError> {
        let stored = self.stored.lock().unwrap();
        let mut keys = RetainedKeys::default();
        for key in &stored.keys {
            keys.insert(copy(key));
        }
        Ok((keys, stored.used))
    }

    fn trust(&self) -> Result<Box<dyn TrustArchive>, StoreError> {
        Ok(Box::new(self.clone()))
    }

    fn stored_entries(&self, list: TrustList) -> Result<Vec<TrustEntry>, StoreError> {
        let stored = self.stored.lock().unwrap();
        let entries = stored.lists.iter().filter(|(of, _)| *of == list);
        Ok(entries.map(|(_, entry)| entry.clone()).collect())
    }

    fn stored_chains(&self, index: usize, _: &VerifyingKey) -> Result<Vec<Vec<u8>>, StoreError> {
        let stored = self.stored.lock().unwrap();
        Ok(stored.chains.get(&index).cloned().into_iter().collect())
    }

    fn chain_keys(&self) -> Result<Box<dyn ChainKeyArchive>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

fn failing(fault: Fault) -> Vec<&'static str> {
    let memory = || Memory {
        fault,
        stored: Arc::default(),
    };
    let failing = CASES.iter().filter(|case| case.run(&memory()).is_err());
    failing.map(|case| case.name).collect()
}

#[test]
fn faultless_archives_pass() {
    assert_eq!(failing(Fault::None), [""; 0]);
}

#[test]
fn each_fault_is_caught() {
    for (fault, caught_by) in [
        (
            Fault::KeepsOldKeys,
            "retained_keys_take_the_place_of_those_before",
        ),
        (
            Fault::ForgetsStep,
            "the_latest_step_stays_until_another_is_stored",
        ),
        (Fault::RepeatsEntries, "each_list_keeps_its_entries_once"),
        (Fault::MixesLists, "each_list_keeps_its_entries_once"),
        (
            Fault::MixesChains,
            "each_signing_key_keeps_its_latest_chain",
        ),
        (
            Fault::ForgetsChainKeys,
            "a_renewed_chain_key_takes_the_place_of_the_one_before",
        ),
    ] {
        assert_eq!(failing(fault), [caught_by], "{fault:?}");
    }
}
