//! The quirks of the reference that kc does not share.

/// Quirk cases in which kc deviates from the reference. Never matches a must case.
#[derive(Debug)]
pub(crate) struct Deviation {
    pub(crate) family: &'static str,
    /// The name of the case, or of an operation, for all its cases.
    pub(crate) case: &'static str,
    of_op: bool,
    pub(crate) instead: Instead,
    /// The behaviour of kc, as a text.
    pub(crate) ours: &'static str,
    /// The reason why that behaviour is better.
    pub(crate) reason: &'static str,
}

/// The behaviour of kc in a [`Deviation`], as far as the runner checks it.
#[derive(Debug)]
pub(crate) enum Instead {
    /// kc refuses an input that the reference accepts.
    Rejects,
    /// kc accepts an input that the reference refuses.
    Accepts,
    /// kc agrees on acceptance, and differs only in these fields of `out` or `reject`: `roots[].root`, where `[]`
    /// stands for every element.
    Differs(&'static [&'static str]),
}

impl Deviation {
    pub(crate) fn names_one(&self) -> bool {
        !self.of_op
    }
}

/// Returns the row for a case.
pub(crate) fn row(family: &str, case: &str, op: &str) -> Option<&'static Deviation> {
    let named = |row: &Deviation| row.case == if row.of_op { op } else { case };
    let mut rows = DEVIATIONS.iter();
    rows.find(|row| row.family == family && named(row))
}

type Text = &'static str;

const fn row_of(
    [family, case]: [Text; 2],
    instead: Instead,
    ours: Text,
    reason: Text,
) -> Deviation {
    Deviation {
        family,
        case,
        of_op: false,
        instead,
        ours,
        reason,
    }
}

const fn rejects(family: Text, case: Text, ours: Text, reason: Text) -> Deviation {
    row_of([family, case], Instead::Rejects, ours, reason)
}

const fn accepts(family: Text, case: Text, ours: Text, reason: Text) -> Deviation {
    row_of([family, case], Instead::Accepts, ours, reason)
}

const fn differs(
    family: Text,
    case: Text,
    fields: &'static [Text],
    ours: Text,
    reason: Text,
) -> Deviation {
    row_of([family, case], Instead::Differs(fields), ours, reason)
}

const fn of_op(row: Deviation) -> Deviation {
    Deviation { of_op: true, ..row }
}

/// All deviations.
#[rustfmt::skip]
pub(crate) static DEVIATIONS: &[Deviation] = &[
    rejects("chains", "negative-leaf-timestamp", "a negative end of validity has passed",
        "only 0 means without end; a certificate that ended before 1970 has ended"),
    rejects("chains", "nan-root-timestamp",
        "a time is finite", "nothing is later than NaN, so it would never end"),
    rejects("chains", "inf-timestamp",
        "a time is finite", "0 means without end"),
    accepts("chains", "topic-all-regex-matches-regex",
        "a topic is granted by a regular expression that the chain keeps",
        "the reference fails with a type error where acceptance is evidently meant"),
    accepts("chains", "regex-left-in-final-set", "a topic is granted by a regular expression that the chain keeps",
        "the reference fails with a type error where acceptance is evidently meant"),
    accepts("chains", "usage-regex-makes-link-invalid", "usages may be granted by regular expressions, as topics are",
        "the reference fails with a type error where acceptance is evidently meant"),
    rejects("chains", "regex-parent-dollar-newline",
        "`$` matches at the end alone", "a topic that ends in a newline is another topic"),
    rejects("chains", "regex-parent-lookahead", "syntax that needs backtracking matches nothing",
        "matching takes linear time, so that no certificate can stall a node"),
    rejects("chains", "pathlen-nil-ignored",
        "a path length is an integer", "a restriction that cannot be understood must not be ignored"),
    rejects("chains", "deny-entry-multi-key-never-matches", "a denylist entry for several keys denies each of them",
        "an entry that an operator put on the denylist must have an effect"),
    rejects("chains", "selfrevoke-usage-none", "a self-revocation is valid for the usage key-denylist alone",
        "it proves only that its own key asks to be denied; every key can make one"),
    accepts("chains", "mm-mixed-text-bytes-regex",
        "text and bytes are the same type, and are compared by bytes", "the reference fails with a type error"),
    differs("get_root", "empty-separator", &["roots[].root"], "without a separator each topic is its own root",
        "one root for all topics would share data keys between all of them"),
    rejects("keygenerator", "short-salt-zero-padded",
        "a salt has 16 bytes", "padding lets two salts give one key and nonce"),
    rejects("keys", "sp1-list-31-bytes", "a key's length is checked when it is read",
        "parse, don't validate later: the reference accepts it and fails at its first use"),
    rejects("keys", "sp4-list-one-element", "a hybrid key has both its parts",
        "parse, don't validate later: the reference accepts it and fails at its first use"),
    rejects("keys", "sp-list-bool-version",
        "a version is an integer", "no peer writes a boolean there"),
    rejects("keys", "ks-generate-9-becomes-1", "an unknown version is an error",
        "a typing mistake in a configuration must not silently give up post-quantum security"),
    rejects("keys", "pks-nested-list",
        "a list of keys holds keys alone", "no peer writes lists in lists, and no rule says what they would mean"),
    rejects("keys", "kem2-encap-short-pk",
        "a KEM's public key has its exact length", "no node has the secret of a padded key"),
    rejects("keys", "kem5-decap-short-ct",
        "a KEM's ciphertext has its exact length", "a padded ciphertext gives a secret that no other node has"),
    rejects("keys", "kem2-encap-again", "a secret key encapsulates once",
        "an ephemeral key is for one exchange; a second use would tie two peers' secrets to one"),
    rejects("keys", "kem5-encap-again", "a secret key encapsulates once",
        "an ephemeral key is for one exchange; a second use would tie two peers' secrets to one"),
    differs("management", "allow-entry-wider-than-signer", &["returned[]", "allowlist_after[]", "config_entry_name"],
        "an entry of the allowlist is limited to the topics of the chain that brought it",
        "no chain can pass on more than it was granted"),
    rejects("management", "chain-shorter-expiry", "the chain that ends later stays",
        "the reference intends the same; an old message must not bring back an old chain"),
    accepts("management", "chain-zero-expiry-replacing", "a chain without end ends after any other",
        "the reference intends the same, but it compares with a byte of the stored chain"),
    accepts("message", "map-of-3-raises",
        "a map is no envelope: never decryptable", "one record must not stop a consumer"),
    differs("message", "raw-of-3-bytes", &["results[].possibly_decryptable", "waiting_after", "subscriptions_after"],
        "a byte string is no envelope: never decryptable",
        "no node has a key 97, and every client of the broker could cause such requests"),
    differs("message", "salt-1-byte-is-zero-padded", &["results[].cleartext", "results[].bytes"],
        "a salt has 16 bytes", "padding lets two salts give one key and nonce; no peer writes another length"),
    differs("message", "index-true-equals-1", &["results[].cleartext", "results[].bytes", "results[].possibly_decryptable"],
        "a key id is 32 bytes or an integer", "no peer writes a boolean"),
    differs("message", "index-unhashable-list", &["results[].possibly_decryptable"],
        "a key id is 32 bytes or an integer", "no key can have a list as its id"),
    differs("message", "index-nil", &["results[].possibly_decryptable", "waiting_after", "subscriptions_after"],
        "a key id is 32 bytes or an integer",
        "no key can have nil as its id, and every client of the broker could cause such requests"),
    differs("mgmtloop", "list-updates-in-real-deployment", &["steps[].config_sections_after"],
        "entries that arrive at run time are accepted and stored, for any content of the file",
        "a revoked key must not stay trusted: the reference drops them silently"),
    differs("mgmtloop", "restored-seed-file", &["steps[].result"],
        "the step that was used is skipped, and the next one seals",
        "no key and nonce is used twice, and the node works: the reference fails until the next step"),
    differs("mgmtloop", "request-interval", &["steps[].effects[]"],
        "an unanswered first request is repeated after about 3 s and 10 s, then each interval",
        "if a peer was not running yet or its reply was lost, the node does not wait for a whole interval"),
    rejects("ratchet", "negative-index",
        "an index is not negative", "no ratchet writes one: the file is damaged, and no key id can name it"),
    accepts("exchange", "answer-to-superseded-request",
        "a request stays answerable until nothing that it asked for is wanted, four newer ones exist, or it expires",
        "a late reply is as good as an early one, and the number of kept requests is limited"),
    accepts("exchange", "second-producer-answer-dropped",
        "every valid reply counts while a key that its request asked for is wanted",
        "several producers may have the keys of one request; a node that drops all replies but the first waits an interval for each further producer"),
    differs("exchange", "legacy-flag-with-pq", &["steps[].result[]"],
        "no bare key is sent beside hybrid key exchanges, whatever the legacy flag says",
        "a broker that withholds the list would choose the classical exchange"),
    rejects("exchange", "request-random0-short",
        "a random value has 32 to 256 bytes", "it prevents that replies are replayed"),
    rejects("exchange", "response-key-not-32-bytes-passes-exchange",
        "a secret has 32 bytes, in what is sent and in what is accepted",
        "no other can be used: the reference fails on it later"),
    differs("exchange", "controller-legacy-single-key", &["steps[].result.message"],
        "a bare key that a controller vouches for has path length 0",
        "it may be an Ed25519 key, which would certify further ones in the controller's name"),
    rejects("exchange", "no-own-chains-temporary-root",
        "without a chain of its own a node sends nothing, and the temporary root is never trusted",
        "its private key is public: a node that trusts it trusts every sender"),
    of_op(differs("stores", "config_create", &["file"], "the allowlist of a fresh configuration is empty",
        "the private key of the temporary root is public: a node that trusts it trusts every sender")),
    differs("stores", "mixed-case-keys", &["values[].value"],
        "the names of settings ignore case when they are looked up",
        "a setting must not be ignored silently"),
    rejects("stores", "keys-differ-by-case-only",
        "refused, with both lines", "it is not clear which of the two is meant"),
    differs("stores", "value-types-unusual-numbers", &["values[].value"],
        "a number has ASCII digits", "a text that only one language reads as a number is a text"),
    accepts("stores", "crypto-v2-unknown-plus-request-new",
        "a key is added behind one of an unknown type, which stays as it is",
        "the requested key can be added to a file that a newer version has written"),
    differs("stores", "kafka-config-numeric-override-fails", &["values[].value", "values[].error"],
        "numbers override like any other value",
        "the reference fails with a type error where an override is evidently meant"),
    differs("stores", "kafka-config-default-values-dropped", &["values[].value"],
        "a value of a section counts, even if [DEFAULT] has the same value", "adding a default must not take a setting away"),
    differs("stores", "write-comments-are-lost", &["file_after"],
        "a person's comments and layout survive", "the file is edited by people, too"),
    rejects("stores", "write-text-that-looks-like-number",
        "a text that would lose its outer spaces is refused", "a written value must be read unchanged"),
    accepts("stores", "write-percent-refused",
        "a percent sign is written as the syntax has it, doubled", "it reads back as it was"),
];
