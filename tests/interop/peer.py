"""Drives a KafkaCrypto node of the Python package, as a process of its own.

    peer.py produce NODE.config SECONDS TOPIC SEED COUNT SIZE
    peer.py consume NODE.config SECONDS TOPIC COUNT [GROUP]
    peer.py controller NODE.config SECONDS
    peer.py chain-server NODE.config SECONDS

`produce` and `consume` print a report: a JSON object on a line. All but `consume` then stay, and answer requests, until
their standard input ends or SECONDS have passed; `consume` opens messages for at most SECONDS.
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


def digest(messages, lenient):
    """The SHA-256 over the sorted messages; `lenient` takes null as empty."""

    def part(content):
        if content is None and not lenient:
            return b"N"
        content = content or b""
        return b"B" + len(content).to_bytes(8, "big") + content

    digest = hashlib.sha256()
    for message in sorted(part(key) + part(value) for key, value in messages):
        digest.update(message)
    return digest.hexdigest()


def report(messages):
    digests = {"sha256": digest(messages, False), "sha256_lenient": digest(messages, True)}
    print(json.dumps({"count": len(messages), **digests}), flush=True)


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
    messages = [message(seed, i, int(size)) for i in range(int(count))]
    for key, value in messages:
        producer.send(topic, key=key, value=value)
    producer.flush()
    report(messages)
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
    # The threads of the clients may not end by themselves.
    os._exit(0)
