//! The cells of the matrix, and the choice of some that cover the combinations of all.

use std::collections::HashSet;
use std::fmt;

use kc_testkit::kafka::Version;

/// An exchange between kc and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) peer: PeerKind,
    pub(super) way: Way,
    pub(super) client: Client,
    pub(super) exchange: Exchange,
    pub(super) key_type: KeyType,
    pub(super) nodes: Nodes,
    pub(super) scenario: Scenario,
}

/// Defines the values of a dimension, each with its name in the tables.
macro_rules! dimension {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum $name { $($value),+ }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$value),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $text),+ })
            }
        }
    };
}

dimension! {
    /// A peer, with its Kafka client.
    PeerKind {
        Confluent = "Python (confluent-kafka)",
        KafkaPython = "Python (kafka-python)",
        Java = "Java",
    }
}

dimension! {
    /// The direction of the messages.
    Way {
        ToOurs = "peer to kc",
        FromOurs = "kc to peer",
    }
}

dimension! {
    /// The backend of kc, with the version of Apache Kafka.
    Client {
        Pure4 = "pure, Kafka 4.4.0",
        Rdkafka4 = "rdkafka, Kafka 4.4.0",
        Pure3 = "pure, Kafka 3.9.2",
        Rdkafka3 = "rdkafka, Kafka 3.9.2",
        Legacy3 = "legacy, Kafka 3.9.2",
    }
}

dimension! {
    /// The versions of the key exchange: of requests, and of replies.
    Exchange {
        Classical = "exchange 1",
        NtruPrime = "exchange 2/3",
        MlKem = "exchange 5/6",
    }
}

dimension! {
    /// The type of the signing keys of all nodes.
    KeyType {
        Ed25519 = "key type 1",
        Hybrid = "key type 4",
    }
}

dimension! {
    /// The origin of the nodes.
    Nodes {
        Provisioned = "kc provision",
        SimpleProvision = "simple_provision",
    }
}

dimension! {
    /// What happens meanwhile, and who takes part.
    Scenario {
        Direct = "direct",
        OurController = "controller of kc",
        TheirController = "controller of Python",
        OurChainServer = "chain server of kc",
        TheirChainServer = "chain server of Python",
        SenderKilled = "SIGKILL of the sender",
        ReaderKilled = "SIGKILL of the reader",
        TwoProducers = "two producers",
    }
}

impl Client {
    /// Returns the name of kc's backend.
    pub(super) fn backend(self) -> &'static str {
        match self {
            Self::Pure4 | Self::Pure3 => "pure",
            Self::Rdkafka4 | Self::Rdkafka3 => "rdkafka",
            Self::Legacy3 => "legacy",
        }
    }

    pub(super) fn version(self) -> Version {
        match self {
            Self::Pure4 | Self::Rdkafka4 => Version::V4,
            Self::Pure3 | Self::Rdkafka3 | Self::Legacy3 => Version::V3_9,
        }
    }
}

impl Cell {
    /// Returns all cells with these peers.
    pub(super) fn all(peers: &[PeerKind]) -> Vec<Self> {
        let cells = peers.iter().map(|&peer| Self {
            peer,
            way: Way::ToOurs,
            client: Client::Pure4,
            exchange: Exchange::Classical,
            key_type: KeyType::Ed25519,
            nodes: Nodes::Provisioned,
            scenario: Scenario::Direct,
        });
        let cells = cells.flat_map(|cell| Way::ALL.iter().map(move |&way| Self { way, ..cell }));
        let cells = cells.flat_map(|cell| {
            Client::ALL
                .iter()
                .map(move |&client| Self { client, ..cell })
        });
        let cells = cells.flat_map(|cell| {
            Exchange::ALL
                .iter()
                .map(move |&exchange| Self { exchange, ..cell })
        });
        let cells = cells.flat_map(|cell| {
            KeyType::ALL
                .iter()
                .map(move |&key_type| Self { key_type, ..cell })
        });
        let cells =
            cells.flat_map(|cell| Nodes::ALL.iter().map(move |&nodes| Self { nodes, ..cell }));
        let cells = cells.flat_map(|cell| {
            Scenario::ALL
                .iter()
                .map(move |&scenario| Self { scenario, ..cell })
        });
        cells.filter(|cell| cell.is_possible()).collect()
    }

    fn is_possible(self) -> bool {
        let served = matches!(
            self.scenario,
            Scenario::OurChainServer | Scenario::TheirChainServer
        );
        // The Java peer takes no chain from the topic `chains`: a fault of its own.
        let takes_chains = self.peer != PeerKind::Java || self.way == Way::FromOurs;
        // The folders of the vectors: a producer, a prodcon, a limited consumer and a controller, all with key type 1.
        let in_vectors = self.key_type == KeyType::Ed25519
            && matches!(
                self.scenario,
                Scenario::Direct | Scenario::OurController | Scenario::TheirController
            );
        (!served || takes_chains) && (self.nodes == Nodes::Provisioned || in_vectors)
    }

    /// Returns the index of the value in each dimension.
    fn values(self) -> [usize; 7] {
        let Self {
            peer,
            way,
            client,
            exchange,
            key_type,
            nodes,
            scenario,
        } = self;
        [
            peer as usize,
            way as usize,
            client as usize,
            exchange as usize,
            key_type as usize,
            nodes as usize,
            scenario as usize,
        ]
    }

    /// Returns the combinations of this many values in the cell, each value with the number of its dimension.
    fn combinations(self, strength: usize) -> impl Iterator<Item = Vec<(usize, usize)>> {
        let values = self.values();
        let choices = (0_u32..1 << values.len()).filter(move |choice| {
            usize::try_from(choice.count_ones()).is_ok_and(|ones| ones == strength)
        });
        choices.map(move |choice| {
            let values = values.into_iter().enumerate();
            values
                .filter(|(dimension, _)| choice & (1 << dimension) != 0)
                .collect()
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            peer,
            way,
            client,
            exchange,
            key_type,
            nodes,
            scenario,
        } = self;
        write!(
            f,
            "{peer}: {way} ({client}), {exchange}, {key_type}, nodes by {nodes}, {scenario}"
        )
    }
}

/// Chooses at most `limit` cells that contain the combinations of `strength` values of all cells; with fewer cells, as
/// many combinations as a greedy choice gives.
pub(super) fn choose(cells: &[Cell], strength: usize, limit: usize) -> Vec<Cell> {
    let all = cells.iter().flat_map(|cell| cell.combinations(strength));
    let mut uncovered: HashSet<_> = all.collect();
    let mut chosen = Vec::new();
    while !uncovered.is_empty() && chosen.len() < limit {
        let new = |cell: &Cell| {
            let combinations = cell.combinations(strength);
            combinations
                .filter(|combination| uncovered.contains(combination))
                .count()
        };
        // Of equal cells the first.
        let Some(best) = cells.iter().rev().max_by_key(|cell| new(cell)).copied() else {
            break;
        };
        for combination in best.combinations(strength) {
            uncovered.remove(&combination);
        }
        chosen.push(best);
    }
    chosen
}

/// Returns a table in Markdown: how many of the cells with a value passed, for each peer and direction.
pub(super) fn table(cells: &[Cell], passed: &[bool]) -> String {
    let peers = PeerKind::ALL.iter();
    let columns = peers.flat_map(|peer| Way::ALL.iter().map(move |way| (*peer, *way)));
    let columns = Vec::from_iter(columns);
    let heads = columns.iter().map(|(peer, way)| match way {
        Way::ToOurs => format!("from {peer}"),
        Way::FromOurs => format!("to {peer}"),
    });
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        Vec::from_iter(heads).join(" | "),
        "---|".repeat(columns.len())
    );
    let rows = [
        names(2, Client::ALL),
        names(3, Exchange::ALL),
        names(4, KeyType::ALL),
        names(5, Nodes::ALL),
        names(6, Scenario::ALL),
    ];
    for (dimension, value, name) in rows.into_iter().flatten() {
        let counts = columns.iter().map(|column| {
            let results = cells.iter().zip(passed).filter(|(cell, _)| {
                (cell.peer, cell.way) == *column && cell.values().get(dimension) == Some(&value)
            });
            let results = Vec::from_iter(results.map(|(_, passed)| *passed));
            let passed = results.iter().filter(|passed| **passed).count();
            match results.len() {
                0 => "-".to_owned(),
                tried => format!("{passed} of {tried}"),
            }
        });
        table += &format!("| {name} | {} |\n", Vec::from_iter(counts).join(" | "));
    }
    table
}

/// Returns the values of a dimension, each with the numbers of the dimension and of the value.
fn names(dimension: usize, values: &[impl fmt::Display]) -> Vec<(usize, usize, String)> {
    let values = values.iter().enumerate();
    values
        .map(|(index, value)| (dimension, index, value.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(cells: &[Cell], strength: usize) -> HashSet<Vec<(usize, usize)>> {
        let all = cells.iter().flat_map(|cell| cell.combinations(strength));
        all.collect()
    }

    #[test]
    fn twelve_cells_contain_each_value_and_most_pairs() {
        let all = Cell::all(PeerKind::ALL);
        let chosen = choose(&all, 2, 12);
        assert_eq!(chosen.len(), 12);
        assert_eq!(covered(&chosen, 1), covered(&all, 1));
        let (pairs, of) = (covered(&chosen, 2).len(), covered(&all, 2).len());
        assert!(pairs * 10 >= of * 7, "{pairs} of {of} pairs");
    }

    #[test]
    fn without_a_limit_each_triple_is_in_a_chosen_cell() {
        let all = Cell::all(PeerKind::ALL);
        let chosen = choose(&all, 3, usize::MAX);
        assert_eq!(covered(&chosen, 3), covered(&all, 3));
        assert!(chosen.len() < 250, "{} cells", chosen.len());
    }
}
