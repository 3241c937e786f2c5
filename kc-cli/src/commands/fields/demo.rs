//! `kc fields demo`: a shop encrypts fields of its records. The broker stores what can be routed and counted, the post
//! reads addresses, and the support reads telephone numbers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kc::core::backend::{LogStart, TopicSpec};
use kc::core::provision::Role;
use kc::core::text::counted;
use kc::{BackendChoice, ClientSettings, Node, Record};
use kc_broker::Broker;
use kc_fields::{FieldCipher, Purpose, Rules, create_key};
use tokio::time::{sleep, timeout};

use crate::commands::demo::stage::provision;
use crate::error::CliError;
use crate::ui::Ui;

const TOPIC: &str = "purchases";
/// The time limit of each step.
const DEADLINE: Duration = Duration::from_secs(60);
/// The time between two looks for a data key.
const LOOK: Duration = Duration::from_millis(100);

const RULES: &str = r#"[[rule]]
topics = ["purchases"]
path = "$.address"
engine = "kc"
key_topic = "purchases--address"
bind = "$.id"

[[rule]]
topics = ["purchases"]
path = "$.phone"
engine = "kc"
key_topic = "purchases--phone"
bind = "$.id"

[[rule]]
topics = ["purchases"]
path = "$.card"
engine = "fpe"
key = "file:card.key"
format = "card"
keep_last = 4
luhn = true
"#;

/// Engines whose speed is measured, with the entries of their rule.
const ENGINES: [(&str, &str); 5] = [
    ("kc", "engine = \"kc\"\nkey_topic = \"purchases--card\""),
    (
        "fpe",
        "engine = \"fpe\"\nkey = \"file:card.key\"\nformat = \"card\"",
    ),
    (
        "fpe with a valid check digit",
        "engine = \"fpe\"\nkey = \"file:card.key\"\nformat = \"card\"\nluhn = true",
    ),
    (
        "deterministic",
        "engine = \"deterministic\"\nkey = \"file:card.key\"",
    ),
    ("envelope", "engine = \"envelope\"\nkey = \"file:card.key\""),
];

/// Show encryption of fields at work: a broker that cannot read them, and two consumers, each of which reads another
/// field
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The number of records
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    records: u32,
}

fn purchase(id: u32) -> String {
    let (street, phone, card) = (id % 90 + 1, 1_234_567 + id, card(id));
    format!(
        "{{\"id\": {id}, \"total\": 1.50, \"address\": \"{street} Main Street\", \"phone\": \"+49 30 {phone}\", \
         \"card\": \"{card}\"}}"
    )
}

/// Returns a card number with a valid check digit.
fn card(id: u32) -> String {
    let digits = format!("4111111{id:08}");
    let digits = digits.bytes().map(|digit| u32::from(digit - b'0'));
    let sum: u32 = digits
        .clone()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit * 2 / 10 + digit * 2 % 10,
            _ => digit,
        })
        .sum();
    let digits = digits.chain([(10 - sum % 10) % 10]);
    let mut card = String::new();
    for (place, digit) in digits.enumerate() {
        if place > 0 && place % 4 == 0 {
            card.push('-');
        }
        card.push(char::from_digit(digit, 10).unwrap_or_default());
    }
    card
}

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] if a step fails, or if the broker or a consumer could read a field that it must not read.
pub(super) async fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let folder = tempfile::tempdir().map_err(CliError::from_error)?;
    let broker = Broker::builder().start().await?;
    let servers = broker.address().to_string();
    let mut nodes = Vec::new();
    for (id, role, topics) in [
        ("shop", Role::Producer, vec![]),
        (
            "post",
            Role::Consumer,
            vec!["purchases--address".to_owned()],
        ),
        (
            "support",
            Role::Consumer,
            vec!["purchases--phone".to_owned()],
        ),
    ] {
        let options = provision(
            folder.path(),
            &servers,
            id,
            (role, &topics),
            "our root password",
        )?;
        nodes.push(options.open().await?);
    }
    let shown = match nodes.as_slice() {
        [shop, post, support] => {
            show(args, folder.path(), &servers, [shop, post, support], ui).await
        }
        _ => Ok(()),
    };
    for node in nodes {
        // The results are already printed, so an error is ignored.
        let _ = node.close_within(DEADLINE).await;
    }
    broker.shutdown().await;
    shown
}

async fn show(
    args: &Args,
    folder: &Path,
    servers: &str,
    [shop, post, support]: [&Node; 3],
    ui: Ui,
) -> Result<(), CliError> {
    let path = folder.join("rules.toml");
    fs::write(&path, RULES).map_err(CliError::from_error)?;
    create_key(&folder.join("card.key"))?;
    let rules = Rules::read(&path)?;
    ui.result(format!(
        "kc fields demo: {} with encrypted fields, through a broker at {servers}\n\nThe rules\n\n  {}",
        counted(args.records, "record"),
        RULES.trim_end().replace('\n', "\n  ")
    ))?;

    let cipher = FieldCipher::builder(&rules, Purpose::Encrypt)
        .node(shop)
        .open()
        .await?;
    let plain: Vec<Vec<u8>> = (0..args.records)
        .map(|id| purchase(id).into_bytes())
        .collect();
    let mut records = plain.clone();
    for result in cipher.encrypt_batch(TOPIC, &mut records).await {
        result?;
    }
    send(shop, servers, &records).await?;
    let stored = stored(servers, records.len()).await?;
    for (record, id) in stored.iter().zip(0..) {
        if contains(record, "Main Street")
            || contains(record, "+49 30")
            || contains(record, &card(id))
        {
            return Err(CliError::failure("the broker could read a field"));
        }
    }
    let first = |records: &[Vec<u8>]| {
        String::from_utf8_lossy(records.first().map_or(&[], Vec::as_slice)).into_owned()
    };
    ui.result(format!(
        "\nThe shop has\n  {}\nThe broker stores\n  {}",
        first(&plain),
        first(&stored)
    ))?;

    for (name, node, reads, not) in [
        ("The post", post, "Main Street", "+49 30"),
        ("The support", support, "+49 30", "Main Street"),
    ] {
        let reader = FieldCipher::builder(&rules, Purpose::Decrypt)
            .node(node)
            .open()
            .await?;
        let opened = timeout(DEADLINE, opened(&reader, &stored, reads)).await;
        let opened = opened.map_err(|_| CliError::failure(format!("{name} got no data key")))??;
        if !opened.iter().all(|record| contains(record, reads))
            || opened.iter().any(|record| contains(record, not))
        {
            return Err(CliError::failure(format!(
                "{name} did not read exactly the fields that its chain grants"
            )));
        }
        ui.result(format!("{name} reads\n  {}", first(&opened)))?;
    }
    ui.result(
        "\nThe card numbers are hidden by a key file, which both readers have here; the other fields by data keys that\n\
         the nodes exchange over Kafka.\n\nOne field in each record, encrypted on one processor",
    )?;
    for (name, options) in ENGINES {
        let text = format!("[[rule]]\npath = \"$.card\"\n{options}\n");
        fs::write(&path, text).map_err(CliError::from_error)?;
        let rules = Rules::read(&path)?;
        let cipher = FieldCipher::builder(&rules, Purpose::Encrypt)
            .node(shop)
            .open()
            .await?;
        let mut records = plain.clone();
        let began = Instant::now();
        for result in cipher.encrypt_batch(TOPIC, &mut records).await {
            result?;
        }
        let speed = f64::from(args.records) / began.elapsed().as_secs_f64().max(1e-6);
        ui.result(format!("  {name:<32} {speed:>10.0} records/s"))?;
    }
    Ok(())
}

/// Sends records as they are: only their fields are encrypted.
async fn send(shop: &Node, servers: &str, records: &[Vec<u8>]) -> Result<(), CliError> {
    let plain = plain(servers)?;
    let admin = plain.admin().await?;
    let created = admin
        .create_topic(&TopicSpec::data(TOPIC, 1), DEADLINE)
        .await;
    admin.close().await;
    created?;
    let producer = shop.producer().plain().await?;
    for record in records {
        drop(producer.enqueue(Record::to(TOPIC).value(record)).await?);
    }
    producer.flush_within(DEADLINE).await?;
    Ok(producer.close_within(DEADLINE).await?)
}

fn plain(servers: &str) -> Result<std::sync::Arc<dyn kc::Backend>, CliError> {
    let settings = [
        ("bootstrap_servers", servers),
        ("security_protocol", "PLAINTEXT"),
    ];
    Ok(BackendChoice::default().backend(ClientSettings::parse(settings)?)?)
}

/// Returns the records that the broker stores.
async fn stored(servers: &str, count: usize) -> Result<Vec<Vec<u8>>, CliError> {
    let mut reader = plain(servers)?.log_reader(None).await?;
    reader
        .assign(&[(TOPIC.to_owned(), LogStart::Earliest)])
        .await?;
    let mut stored = Vec::with_capacity(count);
    let reading = async {
        while stored.len() < count {
            let records = reader.poll(LOOK).await?;
            stored.extend(
                records
                    .into_iter()
                    .filter_map(|record| record.value.map(|value| value.to_vec())),
            );
        }
        Ok::<_, CliError>(())
    };
    let read = timeout(DEADLINE, reading).await;
    read.map_err(|_| CliError::failure("the broker does not return the records"))??;
    reader.close().await;
    Ok(stored)
}

/// Decrypts the records, again and again until a data key has arrived.
async fn opened(
    cipher: &FieldCipher,
    stored: &[Vec<u8>],
    until: &str,
) -> Result<Vec<Vec<u8>>, CliError> {
    loop {
        let mut records = stored.to_vec();
        for result in cipher.decrypt_batch(TOPIC, &mut records).await {
            result?;
        }
        if records.iter().all(|record| contains(record, until)) {
            return Ok(records);
        }
        sleep(LOOK).await;
    }
}

fn contains(record: &[u8], text: &str) -> bool {
    record
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_valid() {
        assert_eq!(card(11_111_111), "4111-1111-1111-1111");
        assert_eq!(card(0), "4111-1110-0000-0003");
    }
}
