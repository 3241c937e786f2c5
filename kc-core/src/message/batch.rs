//! Sealing and opening of many messages at once. The results are those of one message after the other, to the byte.

use std::array;
use std::ops::Range;

use kc_kernels::{Engine, MAX_LANES, Message};

use super::keyring::Found;
use super::{KeyRing, Unopened, header_len, reserve, write_header};
use crate::ratchet::{Component, Exhausted, SealingKey};
use crate::symmetric::{self, TAG_LEN};

/// The maximum length of a message that shares vectors with others, in bytes. Longer ones fill the vectors themselves, so
/// that one by one is as fast.
const MAX_SHARED_LEN: usize = 3 << 10;

/// The minimum number of messages for which shared vectors are faster than one by one.
const MIN_SHARED: usize = 4;

/// The length of a message that takes about as long as the derivation of its key, in bytes.
const KEY_COST: usize = 300;

/// The code that seals and opens batches. All kernels give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Option<Engine>);

impl Kernel {
    /// Returns the fastest kernel for this processor.
    #[must_use]
    pub fn fastest() -> Self {
        Self(Engine::detect())
    }

    /// Returns all kernels for this processor. The last one works on any processor, and takes one message
    /// after the other.
    pub fn all() -> impl Iterator<Item = Self> {
        let engines = Engine::all().map(Some);
        engines.chain([None]).map(Self)
    }

    /// Returns the engine, if it seals or opens messages of these lengths faster than one by one: there are enough of them,
    /// and the longest is not much longer than the others, which take as long as the longest.
    fn engine_for(self, lengths: impl Iterator<Item = usize>) -> Option<Engine> {
        let (mut count, mut total, mut longest) = (0, 0, 0);
        for length in lengths {
            count += 1;
            total += length;
            longest = longest.max(length);
        }
        let is_even = longest * count <= 2 * (total + KEY_COST * count);
        self.0.filter(|_| count >= MIN_SHARED && is_even)
    }
}

/// A plaintext to seal, and the buffer to which the sealed component is appended.
#[derive(Debug)]
pub struct ToSeal<'m> {
    /// The plaintext.
    pub plaintext: &'m [u8],
    /// The buffer. It grows by at most [`sealed_len`](super::sealed_len) bytes.
    pub sealed: &'m mut Vec<u8>,
}

/// Seals components with the fastest kernel: see [`seal_batch_with`].
///
/// # Errors
/// Returns [`Exhausted`] if the key must not seal as many messages any more; no buffer is then changed.
pub fn seal_batch(
    key: &SealingKey,
    component: Component,
    messages: &mut [ToSeal<'_>],
) -> Result<(), Exhausted> {
    seal_batch_with(Kernel::fastest(), key, component, messages)
}

/// Appends each sealed component to its buffer, as [`seal`](super::seal) does for one. Messages of similar lengths are sealed
/// fastest. Allocates as `seal` does.
///
/// # Errors
/// Returns [`Exhausted`] if the key must not seal as many messages any more; no buffer is then changed.
pub fn seal_batch_with(
    kernel: Kernel,
    key: &SealingKey,
    component: Component,
    messages: &mut [ToSeal<'_>],
) -> Result<(), Exhausted> {
    let mut salts = key.salts(component, messages.len())?;
    for group in messages.chunks_mut(MAX_LANES) {
        let salts: [_; MAX_LANES] = array::from_fn(|_| salts.next().unwrap_or_default());
        let lengths = group.iter().map(|message| message.plaintext.len());
        let engine = kernel.engine_for(lengths.filter(|length| *length <= MAX_SHARED_LEN));
        let mut lanes: [Message<'_>; MAX_LANES] = array::from_fn(|_| Message::default());
        let mut free = lanes.iter_mut();
        for (ToSeal { plaintext, sealed }, salt) in group.iter_mut().zip(&salts) {
            let sealed_len = TAG_LEN + plaintext.len();
            reserve(sealed, header_len(&key.id(), sealed_len) + sealed_len);
            write_header(sealed, key.id(), salt, sealed_len);
            if engine.is_some()
                && plaintext.len() <= MAX_SHARED_LEN
                && let Some(lane) = free.next()
            {
                let start = sealed.len();
                sealed.resize(start + TAG_LEN + plaintext.len(), 0);
                *lane = Message {
                    data_key: key.data_key().expose(),
                    context: component.context(),
                    salt,
                    input: plaintext,
                    output: sealed.get_mut(start..).unwrap_or_default(),
                };
            } else {
                let message_key = key.data_key().message_key(component, salt);
                symmetric::seal_into(
                    kernel.0,
                    sealed,
                    plaintext,
                    &message_key.nonce,
                    &message_key.key,
                );
            }
        }
        let used = MAX_LANES - free.len();
        if let (Some(engine), Some(lanes)) = (engine, lanes.get_mut(..used)) {
            engine.seal(lanes);
        }
    }
    Ok(())
}

impl KeyRing {
    /// Opens components with the fastest kernel: see [`open_batch_with`](Self::open_batch_with).
    pub fn open_batch<'s>(
        &self,
        root_topic: &str,
        component: Component,
        sealed: impl IntoIterator<Item = &'s [u8]>,
        plaintexts: &mut Vec<u8>,
        opened: impl FnMut(Result<Range<usize>, Unopened>),
    ) {
        let kernel = Kernel::fastest();
        self.open_batch_with(kernel, root_topic, component, sealed, plaintexts, opened);
    }

    /// Opens components of records of a root topic, as [`open_into`](Self::open_into) opens one. Appends the plaintexts to
    /// `plaintexts`, and calls `opened` for each component, in order, with the place of its plaintext in `plaintexts`.
    /// Components of similar lengths are opened fastest. Allocates only to enlarge `plaintexts`.
    ///
    /// A component that no key opens also takes space in `plaintexts`, which contains its ciphertext.
    pub fn open_batch_with<'s>(
        &self,
        kernel: Kernel,
        root_topic: &str,
        component: Component,
        sealed: impl IntoIterator<Item = &'s [u8]>,
        plaintexts: &mut Vec<u8>,
        mut opened: impl FnMut(Result<Range<usize>, Unopened>),
    ) {
        let mut sealed = sealed.into_iter();
        let mut last = None;
        loop {
            let mut end = plaintexts.len();
            let mut found = [None; MAX_LANES];
            let mut failed = [None; MAX_LANES];
            let mut count = 0;
            let places = found.iter_mut().zip(&mut failed);
            for ((found, failed), bytes) in places.zip(&mut sealed) {
                count += 1;
                match self.find(root_topic, bytes, &mut last) {
                    Ok(component) => {
                        plaintexts.extend_from_slice(component.ciphertext);
                        *found = Some(component);
                    }
                    Err(why) => *failed = Some(why),
                }
            }
            if count == 0 {
                return;
            }
            let texts = plaintexts.get_mut(end..).unwrap_or_default();
            let authentic = open_group(kernel, component, &found, texts);
            let outcomes = found.into_iter().zip(failed).zip(authentic).take(count);
            for ((found, failed), authentic) in outcomes {
                let start = end;
                end += found.map_or(0, |found| found.ciphertext.len());
                let unauthentic = found.map(|found| Unopened::Unauthentic(found.id));
                let unopened = failed.or(unauthentic.filter(|_| !authentic));
                opened(unopened.map_or(Ok(start..end), Err));
            }
        }
    }
}

/// Opens the components of a group in `texts`, which contains the ciphertexts, one behind the other. Returns which of the
/// components are authentic.
fn open_group(
    kernel: Kernel,
    component: Component,
    group: &[Option<Found<'_>>; MAX_LANES],
    mut texts: &mut [u8],
) -> [bool; MAX_LANES] {
    let shares =
        |found: &&Found<'_>| found.only_key().is_some() && found.ciphertext.len() <= MAX_SHARED_LEN;
    let shared = group.iter().flatten().filter(shares);
    let engine = kernel.engine_for(shared.map(|found| found.ciphertext.len()));
    let mut authentic = [false; MAX_LANES];
    let mut lanes: [Message<'_>; MAX_LANES] = array::from_fn(|_| Message::default());
    let mut numbers = [0; MAX_LANES];
    let mut free = lanes.iter_mut().zip(&mut numbers);
    for ((number, found), authentic) in group.iter().enumerate().zip(&mut authentic) {
        let Some(found) = found else { continue };
        let (text, rest) = std::mem::take(&mut texts).split_at_mut(found.ciphertext.len());
        texts = rest;
        if engine.is_some()
            && shares(&found)
            && let Some(key) = found.only_key()
            && let Some((lane, of)) = free.next()
        {
            *of = number;
            *lane = Message {
                data_key: key.data_key().expose(),
                context: component.context(),
                salt: found.salt,
                input: found.sealed,
                output: text,
            };
        } else {
            *authentic = found.open_in_place(kernel.0, component, text);
        }
    }
    let used = MAX_LANES - free.len();
    if let (Some(engine), Some(lanes)) = (engine, lanes.get_mut(..used)) {
        engine.open(lanes, |lane, verified| {
            let number = numbers.get(lane).copied().unwrap_or_default();
            if let (true, Some(Some(found))) = (verified, group.get(number))
                && let Some(authentic) = authentic.get_mut(number)
            {
                found.prove();
                *authentic = true;
            }
        });
    }
    authentic
}
