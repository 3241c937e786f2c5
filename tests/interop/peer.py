"""Drives a KafkaCrypto node of the Python package, as a process of its own.

    peer.py produce NODE.config TOPIC COUNT LINGER_SECONDS
    peer.py consume NODE.config TOPIC COUNT SECONDS

Message i has the key "key i" and the value "message i of COUNT". Both commands print the SHA-256 over all
"key=value" lines in order; `produce` then stays to answer requests for its keys, until its standard input
ends or LINGER_SECONDS have passed.
"""

import hashlib
import os
import select
import sys
import time
import warnings

warnings.simplefilter("ignore")

from kafkacrypto import KafkaConsumer, KafkaCrypto, KafkaCryptoStore, KafkaProducer


def node(config):
    os.chdir(os.path.dirname(os.path.abspath(config)))
    store = KafkaCryptoStore(os.path.basename(config))
    crypto_producer = KafkaProducer(**store.get_kafka_config("producer", extra="crypto"))
    crypto_consumer = KafkaConsumer(**store.get_kafka_config("consumer", extra="crypto"))
    return store, KafkaCrypto(None, crypto_producer, crypto_consumer, store)


def line(key, value):
    return key + b"=" + value + b"\n"


def produce(config, topic, count, linger):
    store, crypto = node(config)
    producer = KafkaProducer(
        key_serializer=crypto.getKeySerializer(),
        value_serializer=crypto.getValueSerializer(),
        **store.get_kafka_config("producer"),
    )
    digest = hashlib.sha256()
    for i in range(count):
        key, value = b"key %d" % i, b"message %d of %d" % (i, count)
        producer.send(topic, key=key, value=value)
        digest.update(line(key, value))
    producer.flush()
    print(digest.hexdigest(), flush=True)
    select.select([sys.stdin], [], [], linger)


def consume(config, topic, count, seconds):
    store, crypto = node(config)
    consumer = KafkaConsumer(
        key_deserializer=crypto.getKeyDeserializer(),
        value_deserializer=crypto.getValueDeserializer(),
        **store.get_kafka_config("consumer"),
    )
    consumer.subscribe([topic])
    print("ready", flush=True)
    digest, opened, waiting = hashlib.sha256(), 0, []
    end = time.monotonic() + seconds
    while opened < count and time.monotonic() < end:
        for records in consumer.poll(timeout_ms=200).values():
            waiting.extend(records)
        while waiting and all(
            part.isCleartext(retry=True) for part in (waiting[0].key, waiting[0].value)
        ):
            record = waiting.pop(0)
            digest.update(line(bytes(record.key.getMessage()), bytes(record.value.getMessage())))
            opened += 1
    print(digest.hexdigest() if opened == count else "only %d of %d opened" % (opened, count), flush=True)
    return 0 if opened == count else 1


if __name__ == "__main__":
    command, config, topic, count, seconds = sys.argv[1:]
    run = {"produce": produce, "consume": consume}[command]
    sys.exit(run(config, topic, int(count), float(seconds)))
