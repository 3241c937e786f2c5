"""Drives a KafkaCrypto node of the Python package, as a process of its own.

    peer.py produce NODE.config SECONDS TOPIC SEED COUNT SIZE
    peer.py consume NODE.config SECONDS TOPIC COUNT [GROUP]
    peer.py controller NODE.config SECONDS
    peer.py chain-server NODE.config SECONDS

`consume` opens messages for at most SECONDS, and prints a report: a JSON object on a line. The others answer requests until
their standard input ends or SECONDS have passed.
"""

import hashlib
import json
import logging
import os
import select
import sys
import time
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

from kafkacrypto import (
    KafkaConsumer,
    KafkaCrypto,
    KafkaCryptoChainServer,
    KafkaCryptoController,
    KafkaCryptoStore,
    KafkaProducer,
)


def size_of(i, size):
    if i % 50 == 49:
        return None
    return {5: 0, 3: 1, 7: 4 * size}.get(i % 10, size)


def message(seed, i, size):
    """Message i of a batch: the same bytes in every driver."""
    length = size_of(i, size)
    key = b"%s-%08d" % (seed.encode(), i)
    if length is None:
        return key, None
    blocks = (hashlib.sha256(b"%s:%d:%d" % (seed.encode(), i, j)).digest() for j in range((length + 31) // 32))
    return key, b"".join(blocks)[:length]


def report(messages):
    """Prints the number of the messages and the SHA-256 over the sorted messages."""

    def encode(part):
        return b"N" if part is None else b"B" + len(part).to_bytes(8, "big") + part

    encoded = sorted(encode(key) + encode(value) for key, value in messages)
    digest = hashlib.sha256(b"".join(encoded)).hexdigest()
    print(json.dumps({"count": len(messages), "sha256": digest}), flush=True)


def stay(seconds):
    select.select([sys.stdin], [], [], seconds)


def open_store(config):
    """Opens the store of a node, and makes the clients for its side topics."""
    os.chdir(os.path.dirname(os.path.abspath(config)))
    store = KafkaCryptoStore(os.path.basename(config))
    producer = KafkaProducer(**store.get_kafka_config("producer", extra="crypto"))
    consumer = KafkaConsumer(**store.get_kafka_config("consumer", extra="crypto"))
    return store, producer, consumer


def produce(config, seconds, topic, seed, count, size):
    store, *clients = open_store(config)
    crypto = KafkaCrypto(None, *clients, store)
    producer = KafkaProducer(
        key_serializer=crypto.getKeySerializer(),
        value_serializer=crypto.getValueSerializer(),
        **store.get_kafka_config("producer"),
    )
    for i in range(int(count)):
        key, value = message(seed, i, int(size))
        producer.send(topic, key=key, value=value)
    producer.flush()
    stay(seconds)


def opened(component):
    """The content of a key or value in a tuple, or None while it cannot be opened."""
    if component is None:
        return (None,)
    return (bytes(component.getMessage()),) if component.isCleartext(retry=True) else None


def consume(config, seconds, topic, count, group=None):
    store, *clients = open_store(config)
    crypto = KafkaCrypto(None, *clients, store)
    settings = store.get_kafka_config("consumer")
    # The messages may have been sent before. The setting of the node applies to the side topics.
    settings["auto_offset_reset"] = "earliest"
    if group is not None:
        settings["group_id"] = group
    consumer = KafkaConsumer(
        key_deserializer=crypto.getKeyDeserializer(), value_deserializer=crypto.getValueDeserializer(), **settings
    )
    consumer.subscribe([topic])
    messages, waiting = [], []
    end = time.monotonic() + seconds
    while len(messages) < int(count) and time.monotonic() < end:
        for records in consumer.poll(timeout_ms=200).values():
            waiting.extend(records)
        remaining = []
        for record in waiting:
            key, value = opened(record.key), opened(record.value)
            if key is None or value is None:
                remaining.append(record)
            else:
                messages.append((key[0], value[0]))
        waiting = remaining
    report(messages)


def controller(config, seconds):
    store, *clients = open_store(config)
    _controller = KafkaCryptoController(None, *clients, store)
    stay(seconds)


def chain_server(config, seconds):
    os.chdir(os.path.dirname(os.path.abspath(config)))
    _server = KafkaCryptoChainServer(None, KafkaCryptoStore(os.path.basename(config)))
    stay(seconds)


if __name__ == "__main__":
    commands = {"produce": produce, "consume": consume, "controller": controller, "chain-server": chain_server}
    command, config, seconds, *rest = sys.argv[1:]
    commands[command](config, float(seconds), *rest)
