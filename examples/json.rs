//! JSON by serde, stacked on the handles: what is sealed is any bytes.
mod stage;

use kc::{Deserializer, Outcome, Serializer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const TOPIC: &str = "readings";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

/// Encodes, then seals.
fn seal_json<T: Serialize>(
    serializer: &Serializer,
    value: &T,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut sealed = Vec::new();
    serializer.seal_value(TOPIC, &serde_json::to_vec(value)?, &mut sealed)?;
    Ok(sealed)
}

/// Opens, then decodes.
async fn open_json<T: DeserializeOwned>(
    deserializer: &Deserializer,
    sealed: &[u8],
) -> Result<T, Box<dyn std::error::Error>> {
    match deserializer.open_value(TOPIC, sealed).await {
        Outcome::Plaintext(json) => Ok(serde_json::from_slice(&json)?),
        other => Err(format!("not opened: {}", other.name()).into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let (sender, reader) = (
        stage.node("sender").open().await?,
        stage.node("reader").open().await?,
    );
    let reading = Reading {
        sensor: "berlin-7".into(),
        celsius: 21.5,
    };
    let serializer = sender.node.serializer();
    serializer.prepare(TOPIC).await?;
    let sealed = seal_json(&serializer, &reading)?;
    let opened: Reading = open_json(&reader.node.deserializer(), &sealed).await?;
    assert_eq!(opened, reading);
    println!("{opened:?}, from {} sealed bytes", sealed.len());
    Ok(())
}
