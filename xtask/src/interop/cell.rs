//! The cells of the matrix, and the choice of some that cover the combinations of all.

use std::collections::HashSet;
use std::fmt;

use kc_testkit::kafka::Version;

/// An exchange between kc and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) peer: PeerKind,
    pub(super) direction: Direction,
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
            const ALL: &[Self] = &[$(Self::$value),+];
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
    Direction {
        ToKc = "peer to kc",
        FromKc = "kc to peer",
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
        KcController = "controller of kc",
        PythonController = "controller of Python",
        KcChainServer = "chain server of kc",
        PythonChainServer = "chain server of Python",
        SenderKilled = "SIGKILL of the sender",
        ReaderKilled = "SIGKILL of the reader",
        TwoProducers = "two producers",
    }
}

/// The backend of kc, with the version of Apache Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    Pure4,
    Rdkafka4,
    Pure3,
    Rdkafka3,
    Legacy3,
}

impl Client {
    const ALL: &[Self] = &[
        Self::Pure4,
        Self::Rdkafka4,
        Self::Pure3,
        Self::Rdkafka3,
        Self::Legacy3,
    ];

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

impl Scenario {
    pub(super) fn has_controller(self) -> bool {
        matches!(self, Self::KcController | Self::PythonController)
    }

    pub(super) fn has_chain_server(self) -> bool {
        matches!(self, Self::KcChainServer | Self::PythonChainServer)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kafka {}", self.backend(), self.version())
    }
}

impl Cell {
    /// Returns all cells with these peers.
    pub(super) fn all(peers: &[PeerKind]) -> Vec<Self> {
        let first = Self {
            peer: PeerKind::Confluent,
            direction: Direction::ToKc,
            client: Client::Pure4,
            exchange: Exchange::Classical,
            key_type: KeyType::Ed25519,
            nodes: Nodes::Provisioned,
            scenario: Scenario::Direct,
        };
        let cells = with_each(&[first], peers, |cell, peer| cell.peer = peer);
        let cells = with_each(&cells, Direction::ALL, |cell, it| cell.direction = it);
        let cells = with_each(&cells, Client::ALL, |cell, it| cell.client = it);
        let cells = with_each(&cells, Exchange::ALL, |cell, it| cell.exchange = it);
        let cells = with_each(&cells, KeyType::ALL, |cell, it| cell.key_type = it);
        let cells = with_each(&cells, Nodes::ALL, |cell, it| cell.nodes = it);
        let mut cells = with_each(&cells, Scenario::ALL, |cell, it| cell.scenario = it);
        cells.retain(|cell| cell.is_possible());
        cells
    }

    fn is_possible(self) -> bool {
        // The Java peer takes no chain from the topic `chains`: see docs/interop.md.
        let takes_chains = self.peer != PeerKind::Java || self.direction == Direction::FromKc;
        // The folders of the vectors: a producer, a prodcon, a limited consumer and a controller, all with key type 1.
        let in_vectors = self.key_type == KeyType::Ed25519
            && (self.scenario == Scenario::Direct || self.scenario.has_controller());
        (!self.scenario.has_chain_server() || takes_chains)
            && (self.nodes == Nodes::Provisioned || in_vectors)
    }

    /// Returns the index of the value in each dimension.
    fn values(self) -> [usize; 7] {
        let Self {
            peer,
            direction,
            client,
            exchange,
            key_type,
            nodes,
            scenario,
        } = self;
        [
            peer as usize,
            direction as usize,
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
            direction,
            client,
            exchange,
            key_type,
            nodes,
            scenario,
        } = self;
        write!(
            f,
            "{peer}: {direction} ({client}), {exchange}, {key_type}, nodes by {nodes}, {scenario}"
        )
    }
}

/// Returns each of the cells with each of the values.
fn with_each<V: Copy>(cells: &[Cell], values: &[V], set: fn(&mut Cell, V)) -> Vec<Cell> {
    let each = cells.iter().flat_map(|cell| {
        values.iter().map(move |value| {
            let mut cell = *cell;
            set(&mut cell, *value);
            cell
        })
    });
    each.collect()
}

/// Chooses cells until each combination of `strength` values is in a chosen cell, but at most `limit` cells; always the
/// cell with most new combinations.
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
    let columns = peers.flat_map(|peer| {
        Direction::ALL
            .iter()
            .map(move |direction| (*peer, *direction))
    });
    let columns = Vec::from_iter(columns);
    let heads = columns.iter().map(|(peer, direction)| match direction {
        Direction::ToKc => format!("from {peer}"),
        Direction::FromKc => format!("to {peer}"),
    });
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        Vec::from_iter(heads).join(" | "),
        "---|".repeat(columns.len())
    );
    let rows = [
        rows(Client::ALL, |cell| cell.client),
        rows(Exchange::ALL, |cell| cell.exchange),
        rows(KeyType::ALL, |cell| cell.key_type),
        rows(Nodes::ALL, |cell| cell.nodes),
        rows(Scenario::ALL, |cell| cell.scenario),
    ];
    for (name, has) in rows.into_iter().flatten() {
        let counts = columns.iter().map(|column| {
            let results = cells
                .iter()
                .zip(passed)
                .filter(|(cell, _)| (cell.peer, cell.direction) == *column && has(cell));
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

/// A row of the table: its name, and whether a cell belongs to it.
type Row = (String, Box<dyn Fn(&Cell) -> bool>);

/// Returns the rows of a dimension.
fn rows<V: Copy + PartialEq + fmt::Display + 'static>(
    values: &'static [V],
    of: fn(&Cell) -> V,
) -> Vec<Row> {
    let row = |value: &V| -> Row {
        let value = *value;
        (value.to_string(), Box::new(move |cell| of(cell) == value))
    };
    values.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::CELLS;
    use super::*;

    fn covered(cells: &[Cell], strength: usize) -> HashSet<Vec<(usize, usize)>> {
        let all = cells.iter().flat_map(|cell| cell.combinations(strength));
        all.collect()
    }

    #[test]
    fn the_cells_of_the_gate_contain_each_value_and_most_pairs() {
        let all = Cell::all(PeerKind::ALL);
        let chosen = choose(&all, 2, CELLS);
        assert_eq!(chosen.len(), CELLS);
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
